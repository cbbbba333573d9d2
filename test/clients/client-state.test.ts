import { test } from 'node:test'
import { SlixmppClient, withoutSlixmpp } from '../support/slixmpp.ts'
import { XmppJsClient, xml } from '../support/xmpp-js.ts'
import { type Stage, setStage } from './stage.ts'

const CSI = 'urn:xmpp:csi:0'

type Sleeper = {
  readonly client: SlixmppClient | XmppJsClient
  readonly tell: (state: 'active' | 'inactive') => Promise<void>
}

const sleepers = [
  {
    name: 'slixmpp',
    skip: withoutSlixmpp,
    async connect({ romeo }: Stage): Promise<Sleeper> {
      const client = await SlixmppClient.connect(romeo)
      return { client, tell: (state) => client.tellState(state) }
    },
  },
  {
    name: '@xmpp/client',
    skip: false,
    async connect({ romeo }: Stage): Promise<Sleeper> {
      const client = await XmppJsClient.connect(romeo)
      return { client, tell: (state) => client.library.send(xml(state, { xmlns: CSI })) }
    },
  },
]

for (const { name, skip, connect } of sleepers) {
  test(`${name} is told only the last presence, when somebody looks again`, { skip }, async () => {
    await using stage = await setStage()
    const { client, tell } = await connect(stage)
    await using romeo = client
    await using other = await XmppJsClient.connect(stage.romeo)
    await romeo.receives({ kind: 'presence', from: other.jid })
    await tell('inactive')
    await romeo.ping()
    for (const show of ['away', 'xa', 'dnd']) {
      await other.library.send(xml('presence', {}, xml('show', {}, show)))
    }
    await other.ping()
    await tell('active')
    await romeo.receives({ kind: 'presence', from: other.jid, xml: /dnd/ })
    await romeo.receivesNo({ kind: 'presence', from: other.jid })
  })
}

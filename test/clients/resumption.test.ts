import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SlixmppClient, withoutSlixmpp } from '../support/slixmpp.ts'
import { XmppJsClient } from '../support/xmpp-js.ts'
import { type Stage, setStage } from './stage.ts'

const resuming = [
  {
    name: 'slixmpp',
    skip: withoutSlixmpp,
    connect: ({ juliet }: Stage) => SlixmppClient.connect({ ...juliet, streamManagement: true }),
  },
  {
    name: '@xmpp/client',
    skip: false,
    connect: ({ juliet }: Stage) => XmppJsClient.connect(juliet),
  },
]

for (const { name, skip, connect } of resuming) {
  test(`${name} resumes its stream and gets what it missed, once`, { skip }, async () => {
    await using stage = await setStage()
    await using romeo = await XmppJsClient.connect(stage.romeo)
    await using juliet = await connect(stage)
    const { jid } = juliet

    await juliet.abort()
    await romeo.sendChat(jid, 'Hist! Juliet, hist!')
    await romeo.receivesNo({ kind: 'message' })

    assert.equal(await juliet.reconnect(), true)
    await juliet.receives({ kind: 'message', body: 'Hist! Juliet, hist!', from: romeo.jid })
    await juliet.receivesNo({ kind: 'message' })
    assert.equal(juliet.jid, jid)
  })
}

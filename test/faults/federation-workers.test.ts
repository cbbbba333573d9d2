/** One server of several processes: whoever is asked, it is the same server to others. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { callCommand } from '../../src/admin/control-client.ts'
import { el } from '../../src/xmpp/xml.ts'
import { emptyDirectory } from '../support/directory.ts'
import { Internet } from '../support/federation.ts'
import { freePort } from '../support/free-port.ts'
import { ListeningPeer } from '../support/listening-peer.ts'
import { DIALBACK_NS, TestPeer } from '../support/peer.ts'
import { DOMAIN, PASSWORD } from '../support/server.ts'
import { ServerProcess } from '../support/server-process.ts'
import { chat } from '../support/stanzas.ts'
import { enable, handled, handles } from '../support/stream-management.ts'

const REMOTE = 'montague.example'
/** So many connections are not all with the same process. */
const MANY = 12

/** Two processes with a user, and another server that she has written to. */
async function setStage() {
  const stack = new AsyncDisposableStack()
  const internet = stack.use(await Internet.start())
  const directory = stack.use(await emptyDirectory())
  const port = await freePort()
  const settings = `workers = 2\n${await internet.tables(DOMAIN, '127.0.0.1', port)}`
  const listen = await freePort()
  const database = `sqlite:${directory.path}/meerkat.db`
  const server = stack.use(
    await ServerProcess.start(directory.path, settings, '', database, listen),
  )
  const account = { jid: `juliet@${DOMAIN}`, password: PASSWORD }
  await callCommand(join(directory.path, 'meerkat.sock'), 'account register', account)
  const montague = stack.use(await ListeningPeer.start(REMOTE))
  internet.locateAt(REMOTE, montague.address.host, montague.address.port)
  const shown = internet.certify(REMOTE)
  const juliet = await server.connect('juliet', 'balcony')
  await enable(juliet)
  await juliet.sends(chat(`romeo@${REMOTE}`, 'first'))
  const connectBack = async () => {
    const peer = stack.use(
      await TestPeer.connect({ host: '127.0.0.1', port, domain: DOMAIN }, REMOTE),
    )
    await peer.startStream()
    await peer.startTls({ cert: shown.pem, key: shown.pem })
    return peer
  }
  return {
    juliet,
    out: await montague.next(),
    shown,
    connectBack,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

test('each process knows the keys of dialback that another has made', async () => {
  await using stage = await setStage()
  const { text: key } = await stage.out.acceptsDialback(stage.shown)

  for (let i = 0; i < MANY; i++) {
    const peer = await stage.connectBack()
    peer.send(`<db:verify from='${REMOTE}' to='${DOMAIN}' id='D60000229F'>${key}</db:verify>`)
    const { attributes } = await peer.receivesNext({ name: 'verify', ns: DIALBACK_NS })
    assert.equal(attributes.type, 'valid')
  }
})

test('the answer to a ping counts at whatever process it comes in', async () => {
  await using stage = await setStage()
  const { juliet, out } = stage
  await out.acceptsExternal(stage.shown)
  await out.receives({ body: 'first' })

  for (let i = 1; i <= MANY; i++) {
    const ping = await out.receives({ name: 'iq', child: 'urn:xmpp:ping' })
    assert.equal(await handled(juliet), i - 1)
    const peer = await stage.connectBack()
    await peer.authenticatesExternally()
    peer.send(el('iq', { type: 'result', id: ping.attr('id'), from: REMOTE, to: DOMAIN }))
    await handles(juliet, i)
    await juliet.sends(chat(`romeo@${REMOTE}`, `message ${i}`))
    await out.receives({ body: `message ${i}` })
  }
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Element, el } from '../../src/xmpp/xml.ts'
import { Internet } from '../support/federation.ts'
import { TestPeer } from '../support/peer.ts'
import { Relay } from '../support/relay.ts'
import type { TestServer } from '../support/server.ts'
import { chat } from '../support/stanzas.ts'
import {
  acknowledge,
  enable,
  handled,
  handledLater,
  handles,
  SM_NS,
} from '../support/stream-management.ts'

const message = (to: string, body: string) =>
  el('message', { from: 'romeo@montague.example', to, type: 'chat' }, el('body', {}, body))

const BIDI = el('bidi', { xmlns: 'urn:xmpp:bidi' })

/** Proved by a certificate. */
async function connect(
  internet: Internet,
  server: TestServer,
  ...wishes: readonly Element[]
): Promise<TestPeer> {
  const [listener] = server.server.serverListeners
  assert(listener !== undefined)
  const options = { ...listener.address, domain: server.domain }
  const peer = await TestPeer.connect(options, 'montague.example')
  const { pem } = internet.certify('montague.example')
  await peer.startStream()
  await peer.startTls({ cert: pem, key: pem })
  peer.send(...wishes)
  await peer.authenticatesExternally()
  return peer
}

async function resume(peer: TestPeer, previd: string, h: number): Promise<Element> {
  peer.send(el('resume', { xmlns: SM_NS, previd, h }))
  return await peer.receives({ ns: SM_NS })
}

test('a sender is told that the server has a message when the other server has it', async () => {
  await using internet = await Internet.start()
  const capulet = await internet.server('capulet.example')
  const montague = await internet.server('montague.example')
  const [listener] = montague.server.serverListeners
  assert(listener !== undefined)
  await using relay = await Relay.start(listener.address)
  internet.locateAt('montague.example', relay.address.host, relay.address.port)
  const juliet = await capulet.connect('juliet', 'balcony')
  const romeo = await montague.connect('romeo', 'orchard')
  await juliet.sends(chat(romeo.fullJid, 'first'))
  await romeo.receives({ body: 'first' })
  await enable(juliet)

  relay.hang()
  await juliet.sends(chat(romeo.fullJid, 'second'))
  assert.equal(await handled(juliet), 0)

  relay.cut()
  await romeo.receives({ body: 'second' })
  assert.equal(await handledLater(juliet), 1)
})

test('a message that waits for a server is not acknowledged before it is returned', async () => {
  await using internet = await Internet.start()
  const capulet = await internet.server('capulet.example', { s2s: { queue_timeout: '1s' } })
  internet.locateAt('mantua.example', '127.0.0.250', 1)
  const juliet = await capulet.connect('juliet', 'balcony')
  await enable(juliet)

  await juliet.sends(chat('romeo@mantua.example', 'Art thou there?'))
  assert.equal(await handled(juliet), 0)

  await juliet.receives({ error: 'remote-server-timeout' })
  assert.equal(await handledLater(juliet), 1)
})

test('counting begins when it is enabled, and goes on after resumption', async () => {
  await using internet = await Internet.start()
  const capulet = await internet.server('capulet.example')
  const juliet = await capulet.connect('juliet', 'balcony')
  const peer = await connect(internet, capulet)
  peer.send(message(juliet.fullJid, 'before'))
  const enabled = await enable(peer)
  const id = enabled.attr('id') ?? ''
  assert.equal(enabled.attr('resume'), 'true')
  peer.send(message(juliet.fullJid, 'one'), message(juliet.fullJid, 'two'))
  await handles(peer, 2)
  await peer.vanishes()

  await using again = await connect(internet, capulet)
  const resumed = await resume(again, id, 0)
  assert.equal(resumed.name, 'resumed')
  assert.equal(resumed.attr('h'), '2')
  again.send(message(juliet.fullJid, 'three'))
  await handles(again, 3)

  for (const body of ['before', 'one', 'two', 'three']) await juliet.receivesNext({ body })
})

test('who resumes while the old connection is still there takes over', async () => {
  await using internet = await Internet.start()
  const capulet = await internet.server('capulet.example')
  await using peer = await connect(internet, capulet)
  const id = (await enable(peer)).attr('id') ?? ''

  await using again = await connect(internet, capulet)
  assert.equal((await resume(again, id, 0)).name, 'resumed')
  await peer.closes()
})

test('a stream of nobody, and one of somebody else, are not resumed', async () => {
  await using internet = await Internet.start()
  const capulet = await internet.server('capulet.example', { domains: ['capulet.example'] })
  await using peer = await connect(internet, capulet)
  const id = (await enable(peer)).attr('id') ?? ''
  const [listener] = capulet.server.serverListeners
  assert(listener !== undefined)
  const options = { ...listener.address, domain: capulet.domain }
  await using other = await TestPeer.connect(options, 'paris.example')
  const { pem } = internet.certify('paris.example')
  await other.startStream()
  await other.startTls({ cert: pem, key: pem })
  await other.authenticatesExternally()

  assert.equal((await resume(other, id, 0)).name, 'failed')
  assert.equal((await resume(other, 'no such stream', 0)).name, 'failed')
  assert.equal(peer.isClosed, false)
  assert.equal((await enable(other)).name, 'enabled')
})

test('the way back: what is not acknowledged is sent again when the other side resumes', async () => {
  await using internet = await Internet.start()
  const capulet = await internet.server('capulet.example')
  const juliet = await capulet.connect('juliet', 'balcony')
  const [listener] = capulet.server.serverListeners
  assert(listener !== undefined)
  const bidirectional = async () => {
    const options = { ...listener.address, domain: capulet.domain }
    const peer = await TestPeer.connect(options, 'montague.example')
    const { pem } = internet.certify('montague.example')
    await peer.startStream()
    await peer.startTls({ cert: pem, key: pem })
    peer.send(el('bidi', { xmlns: 'urn:xmpp:bidi' }))
    await peer.authenticatesExternally()
    return peer
  }
  const peer = await bidirectional()
  const id = (await enable(peer)).attr('id') ?? ''
  await peer.receives({ name: 'r', ns: SM_NS })
  acknowledge(peer, 0)
  await juliet.sends(chat('romeo@montague.example', 'one'), chat('romeo@montague.example', 'two'))
  await peer.receives({ body: 'one' })
  await peer.receives({ body: 'two' })
  await peer.vanishes()

  await juliet.sends(chat('romeo@montague.example', 'three'))
  await using again = await bidirectional()
  assert.equal((await resume(again, id, 1)).name, 'resumed')

  await again.receives({ body: 'two' })
  await again.receives({ body: 'three' })
  acknowledge(again, 3)
  await juliet.receivesNothing({ type: 'error' })
})

test('the way back: who resumes without it is sent nothing again, and senders hear that', async () => {
  await using internet = await Internet.start()
  const capulet = await internet.server('capulet.example', { s2s: { resume_timeout: '3s' } })
  const juliet = await capulet.connect('juliet', 'balcony')
  const peer = await connect(internet, capulet, BIDI)
  const id = (await enable(peer)).attr('id') ?? ''
  await peer.receives({ name: 'r', ns: SM_NS })
  acknowledge(peer, 0)
  peer.send(message(juliet.fullJid, 'zero'))
  await juliet.sends(chat('romeo@montague.example', 'one'), chat('romeo@montague.example', 'two'))
  await peer.receives({ body: 'two' })
  await peer.vanishes()

  await using again = await connect(internet, capulet)
  const answer = await resume(again, id, 1)
  assert.deepEqual([answer.name, answer.attr('h')], ['failed', '1'])
  await enable(again)
  again.send(message(juliet.fullJid, 'three'))
  await handles(again, 1)

  await juliet.receives({ error: 'remote-server-timeout', body: 'two' })
  assert.deepEqual(juliet.inbox({ type: 'error' }), [])
  assert.deepEqual(again.inbox({ name: 'message' }), [])
})

test('who asks for more than can be told is told once, and again when there is more', async () => {
  await using internet = await Internet.start()
  const capulet = await internet.server('capulet.example')
  const juliet = await capulet.connect('juliet', 'balcony')
  await using peer = await connect(internet, capulet, BIDI)
  await enable(peer)
  await peer.receives({ name: 'r', ns: SM_NS })
  acknowledge(peer, 0)
  const { promise: decision, resolve: decide } = Promise.withResolvers<void>()
  capulet.server.hooks.on('s2s_receive_packet', async (envelope) => {
    await decision
    return envelope
  })

  peer.send(message(juliet.fullJid, 'one'))
  assert.equal(await handled(peer), 0)
  for (const body of ['two', 'three']) {
    await juliet.sends(chat('romeo@montague.example', body))
    await peer.receives({ body })
  }
  assert.deepEqual(peer.inbox({ name: 'a', ns: SM_NS }), [])
  decide()

  assert.equal(await handledLater(peer), 1)
})

test('who acknowledges more than was sent is out', async () => {
  await using internet = await Internet.start()
  const capulet = await internet.server('capulet.example')
  await using peer = await connect(internet, capulet)
  await enable(peer)

  acknowledge(peer, 1)

  const error = await peer.receivesStreamError('undefined-condition')
  assert.match(String(error), /handled-count-too-high/)
})

test('a stanza larger than the other server takes comes back, and the others get through', async () => {
  await using internet = await Internet.start()
  const capulet = await internet.server('capulet.example')
  const montague = await internet.server('montague.example', {
    listener: { max_stanza_size: '16KiB' },
  })
  const juliet = await capulet.connect('juliet', 'balcony')
  const romeo = await montague.connect('romeo', 'orchard')

  await juliet.sends(
    chat(romeo.fullJid, 'one'),
    chat(romeo.fullJid, 'x'.repeat(20_000)),
    chat(romeo.fullJid, 'two'),
  )

  await juliet.receives({ error: 'policy-violation' })
  await romeo.receivesNext({ body: 'one' })
  await romeo.receivesNext({ body: 'two' })
})

test('who enables stream management twice is out', async () => {
  await using internet = await Internet.start()
  const capulet = await internet.server('capulet.example')
  await using peer = await connect(internet, capulet)
  await enable(peer)

  peer.send(el('enable', { xmlns: SM_NS }))

  await peer.receivesStreamError('policy-violation')
})

test('the way back: an answer under the count says that what came before it has arrived', async () => {
  await using internet = await Internet.start()
  const capulet = await internet.server('capulet.example')
  const juliet = await capulet.connect('juliet', 'balcony')
  await enable(juliet)
  await using peer = await connect(internet, capulet, BIDI)
  for (const body of ['one', 'two']) {
    await juliet.sends(chat('romeo@montague.example', body))
    await peer.receives({ body })
  }
  await peer.receives({ name: 'iq', child: 'urn:xmpp:ping' })
  assert.equal(await handled(juliet), 0)

  await enable(peer)
  await peer.receives({ name: 'r', ns: SM_NS })
  acknowledge(peer, 0)

  await handles(juliet, 2)
})

test('what comes before counting begins is not overtaken by what comes after', async () => {
  await using internet = await Internet.start()
  const capulet = await internet.server('capulet.example')
  const juliet = await capulet.connect('juliet', 'balcony')
  await using peer = await connect(internet, capulet)
  const { promise: decision, resolve: decide } = Promise.withResolvers<void>()
  capulet.server.hooks.on('s2s_receive_packet', (envelope) => {
    const isFirst = envelope.stanza.child('body')?.text === 'before'
    return isFirst ? decision.then(() => envelope) : envelope
  })

  peer.send(message(juliet.fullJid, 'before'))
  await enable(peer)
  peer.send(message(juliet.fullJid, 'after'))
  assert.equal(await handled(peer), 0)
  decide()

  await juliet.receivesNext({ body: 'before' })
  await juliet.receivesNext({ body: 'after' })
})

test('an error of which no stanza is the cause says nothing of what has arrived', async () => {
  await using internet = await Internet.start()
  const capulet = await internet.server('capulet.example')
  const juliet = await capulet.connect('juliet', 'balcony')
  await using peer = await connect(internet, capulet, BIDI)
  await enable(peer, {})
  await peer.receives({ name: 'r', ns: SM_NS })
  acknowledge(peer, 0)
  await juliet.sends(chat('romeo@montague.example', 'one'))
  await peer.receives({ body: 'one' })

  peer.send(
    "<stream:error><internal-server-error xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
    '</stream:stream>',
  )

  await juliet.receives({ error: 'remote-server-timeout', body: 'one' })
})

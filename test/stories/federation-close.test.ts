/** Streams between servers that end in order. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { el } from '../../src/xmpp/xml.ts'
import { type Client, NS } from '../support/client.ts'
import type { AcceptedPeer } from '../support/listening-peer.ts'
import { TestPeer } from '../support/peer.ts'
import { greeting, type Stage, setStage } from '../support/peer-stage.ts'
import { chat } from '../support/stanzas.ts'
import { acknowledge, enable, SM_NS } from '../support/stream-management.ts'

const BIDI = el('bidi', { xmlns: 'urn:xmpp:features:bidi' })
const SM = el('sm', { xmlns: SM_NS })

const late = (body: string) =>
  el(
    'message',
    { from: 'romeo@montague.example', to: 'juliet@capulet.example' },
    el('body', {}, body),
  )

/** A stream that montague.example has opened, proved, and does not close by itself. */
async function connectBack({ capulet, shown }: Stage, ...before: string[]): Promise<TestPeer> {
  const [listener] = capulet.server.serverListeners
  assert(listener !== undefined)
  const options = { ...listener.address, domain: 'capulet.example' }
  const peer = await TestPeer.connect(options, 'montague.example')
  peer.keepsOpen = true
  await peer.startStream()
  await peer.startTls({ cert: shown.pem, key: shown.pem })
  peer.send(...before)
  await peer.authenticatesExternally()
  return peer
}

/** It closes its side, too. */
async function closesToo(peer: Client): Promise<void> {
  peer.keepsOpen = false
  peer.send('</stream:stream>')
  peer.socket.end()
  await peer.closes()
}

/** Takes a ping, and answers it: all before it has arrived. */
async function answersPing(peer: Client): Promise<void> {
  const ping = await peer.receives({ name: 'iq', child: 'urn:xmpp:ping' })
  const addresses = { from: 'montague.example', to: 'capulet.example' }
  peer.send(el('iq', { type: 'result', id: ping.attr('id'), ...addresses }))
}

/** The stream that a first message has opened: with acknowledgements, and not closed by itself. */
async function opened({ juliet, montague, shown }: Stage): Promise<AcceptedPeer> {
  await juliet.sends(greeting)
  const peer = await montague.next()
  peer.keepsOpen = true
  await peer.acceptsExternal(shown, SM)
  await peer.receives({ name: 'enable', ns: SM_NS })
  peer.send(el('enabled', { xmlns: SM_NS, id: 'some-id', resume: 'true' }))
  await peer.receives({ body: 'Wherefore art thou Romeo?' })
  return peer
}

test('what comes after an idle connection is closed waits for nobody to close its side', async () => {
  await using stage = await setStage({ s2s: { idle_timeout: '1s' } })
  const idle = await opened(stage)
  acknowledge(idle, 1)
  await idle.receivesStreamEnd()

  await stage.juliet.sends(chat('romeo@montague.example', 'Shall I hear more?'))
  const fresh = await stage.montague.next()
  await fresh.acceptsExternal(stage.shown)
  await fresh.receives({ body: 'Shall I hear more?' })

  assert.equal(stage.capulet.server.federation?.connectionCount, 2)
})

test('the same where the other side had opened it', async () => {
  await using stage = await setStage({ s2s: { idle_timeout: '1s' } })
  await using idle = await connectBack(stage, "<bidi xmlns='urn:xmpp:bidi'/>")
  await stage.juliet.sends(greeting)
  await idle.receives({ body: 'Wherefore art thou Romeo?' })
  await answersPing(idle)
  await idle.receivesStreamEnd()

  await stage.juliet.sends(chat('romeo@montague.example', 'Shall I hear more?'))
  const fresh = await stage.montague.next()
  await fresh.acceptsExternal(stage.shown)
  await fresh.receives({ body: 'Shall I hear more?' })

  assert.equal(stage.capulet.server.serverListeners[0]?.connectionCount, 1)
})

test('what the other side says before it closes its own is taken, on a stream of ours', async () => {
  await using stage = await setStage({ s2s: { idle_timeout: '1s' } })
  await stage.juliet.sends(greeting)
  const peer = await stage.montague.next()
  peer.keepsOpen = true
  await peer.acceptsTls(stage.shown)
  const mechanism = el('mechanism', {}, 'EXTERNAL')
  await peer.answersHeader([el('mechanisms', { xmlns: NS.sasl }, mechanism), BIDI])
  await peer.receives({ name: 'auth' })
  peer.restart()
  peer.send(el('success', { xmlns: NS.sasl }))
  await peer.answersHeader([])
  await peer.receives({ body: 'Wherefore art thou Romeo?' })
  await answersPing(peer)
  await peer.receivesStreamEnd()

  peer.send(late('Shall I hear more?'), late('or shall I speak at this?'))
  await stage.juliet.receives({ body: 'Shall I hear more?' })
  await stage.juliet.receives({ body: 'or shall I speak at this?' })
  await closesToo(peer)
})

test('the same on a stream that the other side has opened', async () => {
  await using stage = await setStage({ s2s: { idle_timeout: '1s' } })
  await using peer = await connectBack(stage)
  await peer.receivesStreamEnd()

  peer.send(late('Shall I hear more?'))
  await stage.juliet.receives({ body: 'Shall I hear more?' })
  peer.send(late('or shall I speak at this?'))
  await closesToo(peer)
  await stage.juliet.receives({ body: 'or shall I speak at this?' })
})

test('the same as the server stops', async () => {
  await using stage = await setStage()
  const { server } = stage.capulet
  await using peer = await connectBack(stage)
  const seen = Promise.withResolvers<void>()
  server.hooks.on('s2s_receive_packet', (envelope) => {
    if (envelope.stanza.child('body')?.text === 'Shall I hear more?') seen.resolve()
    return envelope
  })
  const stopped = server.stop()
  await peer.receivesStreamEnd()
  peer.send(late('Shall I hear more?'))
  await seen.promise
  await Promise.all([closesToo(peer), stopped])
})

test('whoever is there as the server stops hears of all that has not left, however much it is', async () => {
  await using stage = await setStage()
  const { juliet, capulet, montague } = stage
  const bodies = Array.from({ length: 60 }, (_, n) => `${n} ${'x'.repeat(12_000)}`)
  await juliet.sends(...bodies.map((body) => chat('romeo@montague.example', body)))
  await montague.next()
  const { received } = capulet.server.router.counts
  while (received.c2s.message < bodies.length) await setTimeout(1)

  const stopped = capulet.server.stop()

  for (const body of bodies) await juliet.receives({ error: 'remote-server-timeout', body })
  await stopped
})

test('what comes after the last count is not taken: whoever counts sends it again', async () => {
  await using stage = await setStage({ s2s: { idle_timeout: '1s' } })
  await using peer = await connectBack(stage)
  peer.send(el('enable', { xmlns: SM_NS }))
  await peer.receives({ name: 'enabled', ns: SM_NS })
  peer.send(late('one'))
  await stage.juliet.receives({ body: 'one' })
  await peer.receivesStreamEnd()
  assert.equal(peer.inbox({ name: 'a' }).at(-1)?.attr('h'), '1')

  peer.send(late('two'))
  await closesToo(peer)
  await stage.juliet.receivesNothing({ body: 'two' })
})

test('what is no stanza is not listened to any more', async () => {
  await using stage = await setStage({ s2s: { idle_timeout: '1s' } })
  await using peer = await connectBack(stage)
  await peer.receivesStreamEnd()
  peer.sendKey('of another stream', 'verona.example')
  peer.send(el('enable', { xmlns: SM_NS }), late('still there'))
  await stage.juliet.receives({ body: 'still there' })
  peer.keepsOpen = false
  peer.send(late('of another').withAttributes({ from: 'tybalt@verona.example' }))
  await peer.closes()
  await stage.juliet.receivesNothing({ body: 'of another' })
})

test('a last acknowledgement counts: nothing is sent twice', async () => {
  await using stage = await setStage()
  const peer = await opened(stage)
  await stage.juliet.sends(chat('romeo@montague.example', 'Deny thy father'))
  await peer.receives({ body: 'Deny thy father' })
  for (const link of stage.capulet.server.federation?.links ?? []) link.disconnect()
  await peer.receivesStreamEnd()
  acknowledge(peer, 1)
  await closesToo(peer)

  const fresh = await stage.montague.next()
  await fresh.acceptsExternal(stage.shown)
  await fresh.receivesNext({ body: 'Deny thy father' })
  await stage.juliet.sends(chat('romeo@montague.example', 'and refuse thy name'))
  await fresh.receives({ body: 'and refuse thy name' })
  assert.deepEqual(fresh.inbox({ name: 'message' }), [])
})

test('a stream that is closed before all is acknowledged: what the other side says last counts', async () => {
  await using stage = await setStage()
  await using peer = await connectBack(stage, "<bidi xmlns='urn:xmpp:bidi'/>")
  await enable(peer)
  await peer.receives({ name: 'r', ns: SM_NS })
  acknowledge(peer, 0)
  await stage.juliet.sends(greeting)
  await peer.receives({ body: 'Wherefore art thou Romeo?' })
  for (const link of stage.capulet.server.federation?.links ?? []) link.disconnect()
  await peer.receivesStreamEnd()

  acknowledge(peer, 1)
  await closesToo(peer)

  await stage.juliet.sends(chat('romeo@montague.example', 'Shall I hear more?'))
  const fresh = await stage.montague.next()
  await fresh.acceptsExternal(stage.shown)
  await fresh.receivesNext({ body: 'Shall I hear more?' })
})

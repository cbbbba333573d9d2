/** Servers without stream management: what they have got is known by their answers to pings. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { type Element, el } from '../../src/xmpp/xml.ts'
import type { Client } from '../support/client.ts'
import { Internet, type ServerWishes } from '../support/federation.ts'
import { type AcceptedPeer, ListeningPeer } from '../support/listening-peer.ts'
import { DIALBACK_NS, TestPeer } from '../support/peer.ts'
import type { TestServer } from '../support/server.ts'
import { chat } from '../support/stanzas.ts'
import { enable, handled, handles } from '../support/stream-management.ts'

const LOCAL = 'capulet.example'
const REMOTE = 'montague.example'

type Stage = AsyncDisposable & {
  readonly capulet: TestServer
  /** Her stream is managed: she is told what is safe. */
  readonly juliet: Client
  /** The connection for what she writes. */
  readonly out: AcceptedPeer
  /** One of the other server's own. */
  readonly back: TestPeer
  readonly listening: ListeningPeer
  readonly shown: { readonly pem: string }
  certify(domain: string): { readonly pem: string }
}

/** A first message is on its way. */
async function setStage(wishes: ServerWishes = {}, ...features: Element[]): Promise<Stage> {
  const internet = await Internet.start()
  const capulet = await internet.server(LOCAL, wishes)
  const listening = await ListeningPeer.start(REMOTE)
  internet.locateAt(REMOTE, listening.address.host, listening.address.port)
  const juliet = await capulet.connect('juliet', 'balcony')
  await enable(juliet)
  await juliet.sends(chat(`romeo@${REMOTE}`, 'one'))
  const out = await listening.next()
  const shown = internet.certify(REMOTE)
  await out.acceptsExternal(shown, ...features)
  await out.receives({ body: 'one' })
  return {
    capulet,
    juliet,
    out,
    back: await connect(capulet, REMOTE, shown),
    listening,
    shown,
    certify: (domain) => internet.certify(domain),
    async [Symbol.asyncDispose]() {
      await listening[Symbol.asyncDispose]()
      await internet[Symbol.asyncDispose]()
    },
  }
}

async function connect(
  server: TestServer,
  claimed: string,
  { pem }: { readonly pem: string },
): Promise<TestPeer> {
  const [listener] = server.server.serverListeners
  assert(listener !== undefined)
  const peer = await TestPeer.connect({ ...listener.address, domain: LOCAL }, claimed)
  await peer.startStream()
  await peer.startTls({ cert: pem, key: pem })
  await peer.authenticatesExternally()
  return peer
}

const PING = { name: 'iq', from: LOCAL, to: REMOTE, child: 'urn:xmpp:ping' } as const

function answer(ping: Element, from = REMOTE): Element {
  return el('iq', { type: 'result', id: ping.attr('id'), from, to: LOCAL })
}

test('a sender is told that its messages are safe when a ping after them is answered', async () => {
  await using stage = await setStage()
  const { juliet, out, back } = stage
  const first = await out.receivesNext(PING)
  await juliet.sends(chat(`romeo@${REMOTE}`, 'two'), chat(`romeo@${REMOTE}`, 'three'))
  await out.receivesNext({ body: 'two' })
  await out.receivesNext({ body: 'three' })
  assert.equal(await handled(juliet), 0)

  back.send(answer(first))
  await handles(juliet, 1)
  const second = await out.receivesNext(PING)
  // That it does not know what a ping is, is an answer, too.
  back.send(answer(second).withAttributes({ type: 'error' }))
  await handles(juliet, 3)

  await juliet.receivesNothing({ name: 'message' })
  assert.deepEqual(out.inbox(), [])
})

test('what came after the last answer is returned when the connection breaks, once each', async () => {
  await using stage = await setStage()
  const { juliet, out, back } = stage
  back.send(answer(await out.receivesNext(PING)))
  await handles(juliet, 1)
  await juliet.sends(chat(`romeo@${REMOTE}`, 'two'), chat(`romeo@${REMOTE}`, 'three'))
  const late = await out.receives(PING)
  await out.vanishes()

  await juliet.receives({ error: 'remote-server-timeout', body: 'two' })
  await juliet.receives({ error: 'remote-server-timeout', body: 'three' })
  await handles(juliet, 3)
  back.send(answer(late))
  await juliet.receivesNothing({ name: 'message' })
})

test('a stream that is closed in order before the answer', async () => {
  await using stage = await setStage()
  const { juliet, out } = stage
  await out.receives(PING)

  await out.leaves()

  await juliet.receives({ error: 'remote-server-timeout', body: 'one' })
  await handles(juliet, 1)
})

test('answers of others are none', async () => {
  await using stage = await setStage()
  const { juliet, out, back } = stage
  const ping = await out.receives(PING)
  await using paris = await connect(stage.capulet, 'paris.example', stage.certify('paris.example'))

  back.send(answer(ping, `romeo@${REMOTE}`), answer(ping).withAttributes({ id: 'another' }))
  paris.send(answer(ping, 'paris.example'))
  for (const peer of [back, paris]) {
    await enable(peer)
    await peer.roundTrip()
  }

  assert.equal(await handled(juliet), 0)
})

/** A second has passed without an answer to a ping. */
const IMPATIENT = { s2s: { ack_timeout: '1s' } } as const
const DIALBACK = el('dialback', { xmlns: 'urn:xmpp:features:dialback' }, el('errors'))

const QUESTION = { name: 'verify', ns: DIALBACK_NS, from: LOCAL } as const

/** That the key of the question is none of its own; or that it cannot say. */
function denies(out: AcceptedPeer, question: Element, rest = "type='invalid'/>"): void {
  const { id, from: to, to: from } = question.attributes
  out.send(`<db:verify id='${id}' from='${from}' to='${to}' ${rest}`)
}

test('a server that answers no pings but says whether a key is its own has read what came before', {
  timeout: 60_000,
}, async () => {
  await using stage = await setStage(IMPATIENT, DIALBACK)
  const { juliet, out } = stage
  await out.receives(PING)
  assert.equal(await handled(juliet), 0)

  denies(out, await out.receives(QUESTION))
  await handles(juliet, 1)
  const asked = out.inbox(PING).length
  await juliet.sends(chat(`romeo@${REMOTE}`, 'two'), chat(`romeo@${REMOTE}`, 'three'))
  await out.receives({ body: 'three' })
  const question = await out.receives(QUESTION)
  assert.equal(await handled(juliet), 1)
  // That it does not know us is an answer, too.
  const error =
    "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
  denies(out, question, `type='error'>${error}</db:verify>`)
  await handles(juliet, 3)

  // It is pinged no more, nor on the next connection.
  assert.equal(out.inbox(PING).length, asked)
  await out.vanishes()
  while (stage.capulet.server.federation?.connectionCount !== 0) await setTimeout(5)
  await juliet.sends(chat(`romeo@${REMOTE}`, 'four'))
  const again = await stage.listening.next()
  await again.acceptsExternal(stage.shown, DIALBACK)
  await again.receives({ body: 'four' })
  denies(again, await again.receives(QUESTION))
  await handles(juliet, 4)
  assert.deepEqual(again.inbox(), [])
})

test('a server that answers no pings and hangs later: what it has not shown to have read comes back', {
  timeout: 60_000,
}, async () => {
  await using stage = await setStage(IMPATIENT, DIALBACK)
  const { juliet, out } = stage
  await out.receives(PING)
  denies(out, await out.receives(QUESTION))
  await handles(juliet, 1)

  await juliet.sends(chat(`romeo@${REMOTE}`, 'two'))
  await out.receives({ body: 'two' })

  await juliet.receives({ error: 'remote-server-timeout', body: 'two' })
  await handles(juliet, 2)
})

test('a burst to a server that answers no pings has questions in its midst', {
  timeout: 60_000,
}, async () => {
  await using stage = await setStage({ s2s: { ack_timeout: '4s' } }, DIALBACK)
  const { juliet, out } = stage
  await out.receives(PING)
  denies(out, await out.receives(QUESTION))
  await handles(juliet, 1)

  const burst = Array.from({ length: 600 }, (_, number) => chat(`romeo@${REMOTE}`, `${number}`))
  await juliet.sends(burst.join(''))
  await out.receives({ body: '599' })
  // Each says more than the one before it, without an answer to that one.
  assert.ok(out.inbox(QUESTION).length >= 2)
  assert.equal(await handled(juliet), 1)
  denies(out, await out.receives(QUESTION))
  while ((await handled(juliet)) === 1) await setTimeout(5)
  assert.ok((await handled(juliet)) < 600)
  denies(out, await out.receives(QUESTION))
  denies(out, await out.receives(QUESTION))
  await handles(juliet, 601)
})

test('a server that answers a ping late is pinged again', { timeout: 60_000 }, async () => {
  await using stage = await setStage(IMPATIENT, DIALBACK)
  const { juliet, out, back } = stage
  const ping = await out.receives(PING)
  denies(out, await out.receives(QUESTION))
  await handles(juliet, 1)
  await juliet.sends(chat(`romeo@${REMOTE}`, 'two'))
  denies(out, await out.receives(QUESTION))
  await handles(juliet, 2)
  out.forgets()

  back.send(answer(ping))
  let count = 2
  while (out.inbox(PING).length === 0) {
    await juliet.sends(chat(`romeo@${REMOTE}`, String(++count)))
    for (const question of out.inbox(QUESTION)) denies(out, question)
    await setTimeout(50)
  }
  await out.receives({ body: String(count) })
  await out.vanishes()
  await juliet.receives({ error: 'remote-server-timeout', body: String(count) })
  await handles(juliet, count)
})

test('a server that can be asked nothing shows by what it sends that it is there', {
  timeout: 60_000,
}, async () => {
  await using stage = await setStage({ s2s: { ack_timeout: '2s' } })
  const { juliet, out, back } = stage
  await out.receives(PING)
  const message = el('message', { from: `romeo@${REMOTE}`, to: `nobody@${LOCAL}`, type: 'error' })
  const speaking = setInterval(() => back.send(message), 100)

  await handles(juliet, 1)
  await juliet.sends(chat(`romeo@${REMOTE}`, 'two'))
  await handles(juliet, 2)

  clearInterval(speaking)
  await juliet.receivesNothing({ name: 'message' })
  await juliet.sends(chat(`romeo@${REMOTE}`, 'three'))
  await out.receives({ body: 'three' })
  await juliet.receives({ error: 'remote-server-timeout', body: 'three' })
  assert.equal(out.inbox(PING).length, 0)
})

test('a server that says nothing at all hangs: what it was sent comes back', {
  timeout: 60_000,
}, async () => {
  await using stage = await setStage(IMPATIENT, DIALBACK)
  const { juliet, out, back } = stage
  const ping = await out.receives(PING)
  // What was on its way when it was asked says nothing.
  back.send(el('message', { from: `romeo@${REMOTE}`, to: `nobody@${LOCAL}`, type: 'error' }))

  await juliet.receives({ error: 'remote-server-timeout', body: 'one' })
  await handles(juliet, 1)
  while (stage.capulet.server.federation?.connectionCount !== 0) await setTimeout(5)
  back.send(answer(ping))

  // The next attempt is none of a server that is not to be asked.
  await juliet.sends(chat(`romeo@${REMOTE}`, 'two'))
  const again = await stage.listening.next()
  await again.acceptsExternal(stage.shown)
  await again.receives({ body: 'two' })
  await again.receives(PING)
  await juliet.receivesNothing({ name: 'message' })
})

test('a burst has pings in its midst: a slow server is believed as far as it has come', async () => {
  await using stage = await setStage()
  const { capulet, juliet, out, back } = stage
  back.send(answer(await out.receives(PING)))
  await handles(juliet, 1)
  // One alone is read no further while so much of hers is on its way.
  const nurse = await capulet.connect('nurse', 'chamber')
  const tybalt = await capulet.connect('tybalt', 'street')
  for (const client of [nurse, tybalt]) await enable(client)
  const burst = async (client: Client, count: number, name: string) => {
    const bodies = Array.from({ length: count }, (_, number) => `${name} ${number}`)
    await client.sends(bodies.map((body) => chat(`romeo@${REMOTE}`, body)).join(''))
    await out.receives({ body: `${name} ${count - 1}` })
  }

  await burst(juliet, 100, 'juliet')
  await burst(nurse, 200, 'nurse')
  await burst(tybalt, 200, 'tybalt')
  const ping = out.inbox(PING).at(-1)
  assert(ping !== undefined)
  back.send(answer(ping))

  await handles(juliet, 101)
  await out.vanishes()
  for (const client of [nurse, tybalt]) await handles(client, 200)
  const { length: returned } = [nurse, tybalt].flatMap((client) =>
    client.inbox({ error: 'remote-server-timeout' }),
  )
  // Between two pings are 256, and the first one came after juliet's first at the earliest.
  assert.ok(returned >= 400 - 256 && returned <= 400 - 256 + 100, String(returned))
  await juliet.receivesNothing({ name: 'message' })
})

test('a server that has answered and does no more hangs: what it has not got comes back', async () => {
  await using stage = await setStage(IMPATIENT)
  const { juliet, out, back } = stage
  back.send(answer(await out.receives(PING)))
  await handles(juliet, 1)

  await juliet.sends(chat(`romeo@${REMOTE}`, 'two'))
  await out.receives({ body: 'two' })

  await juliet.receives({ error: 'remote-server-timeout', body: 'two' })
  while (stage.capulet.server.federation?.connectionCount !== 0) await setTimeout(5)
})

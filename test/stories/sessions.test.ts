import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { Envelope, SERVER } from '../../src/core/envelope.ts'
import { isLocalSession } from '../../src/core/session.ts'
import { parseJid } from '../../src/xmpp/jid.ts'
import { Stanza } from '../../src/xmpp/stanza.ts'
import { el } from '../../src/xmpp/xml.ts'
import type { Client } from '../support/client.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { chat } from '../support/stanzas.ts'
import { connectResumable } from '../support/stream-management.ts'

const FILLING = 'x'.repeat(32 * 1024)
/** More of them than the kernel and the server together keep for somebody who does not read. */
const FLOOD = 1_000

/** A chat whose body tells its place in a series; heavy, to fill what can be filled. */
const heavy = (to: string, index: number) => chat(to, `${index} ${FILLING}`)

/** Which of the series a client got, in the order in which it got them. */
function series(client: Client): number[] {
  return client
    .inbox({ name: 'message' })
    .map((element) => Number.parseInt(element.child('body')?.text ?? '', 10))
}

const range = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, index) => from + index)

/** Sends messages to `hung`'s account until its session is gone; how many it took. */
async function flood(server: TestServer, sender: Client, hung: Client): Promise<number> {
  const session = server.sessionOf(hung)
  for (let sent = 0; sent < FLOOD; sent++) {
    await sender.sends(heavy(hung.bareJid, sent))
    if (sent % 20 === 0) await sender.roundTrip()
    if ('isClosed' in session && session.isClosed === true) return sent + 1
  }
  throw new Error('the server keeps everything for a client that does not read')
}

test('a second session of the same resource takes the place of the first', async () => {
  await using server = await startServer()
  const juliet = await server.connect('juliet', 'balcony')
  const first = await server.connect('romeo', 'orchard')

  const second = await server.connect('romeo', 'orchard')

  const error = await first.receivesStreamError('conflict')
  assert.match(error.toString(), /Replaced by new connection/)
  juliet.send(chat(second.fullJid, 'Which of you?'))
  await second.receives({ body: 'Which of you?' })
  assert.equal(server.server.sessionManager.sessions.of(second.bareJid).length, 1)
})

test('resources are compared in their prepared form', async () => {
  await using server = await startServer()
  const first = await server.connect('romeo', 'caf\u00e9')
  const second = await server.connect('romeo', 'cafe\u0301')

  assert.equal(second.fullJid, first.fullJid)
  await first.receivesStreamError('conflict')
  await second.roundTrip()
})

test('over the limit of sessions the oldest one goes', async () => {
  await using server = await startServer({ limits: { max_sessions_per_user: 2 } })
  const other = await server.connect('juliet')
  const oldest = await server.connect('romeo', 'one')
  const older = await server.connect('romeo', 'two')

  const newest = await server.connect('romeo', 'three')

  await oldest.receivesStreamError('policy-violation')
  for (const client of [older, newest, other]) await client.roundTrip()
})

test('a server that stops says so, after everything else that it had to say', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo')
  const juliet = await server.connect('juliet')
  for (const index of range(0, 50)) romeo.send(heavy(juliet.fullJid, index))
  await romeo.roundTrip()

  await server.stop()

  await juliet.receivesStreamError('system-shutdown')
  assert.deepEqual(series(juliet), range(0, 50))
  await romeo.receivesStreamError('system-shutdown')
})

test('a server that stops waits no longer than it must for who does not answer', async () => {
  await using server = await startServer()
  const hung = await server.connect('romeo')
  hung.stopsReading()

  await server.server.stop({ timeout: 100 })

  hung.readsOn()
  await hung.closes()
})

test('a server that stops tells clients that are not logged in yet', async () => {
  await using server = await startServer()
  const client = await server.openStream()

  await server.stop()

  await client.receivesStreamError('system-shutdown')
})

test('messages for who goes while the server stops are kept', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo', 'orchard')
  const fates: string[] = []
  const delivered = Promise.withResolvers<void>()
  server.server.hooks.on('message_routed', (outcome, { envelope }) => {
    if (envelope.stanza.kind !== 'message') return outcome
    fates.push(`${envelope.stanza.child('body')?.text}: ${outcome.fate}`)
    delivered.resolve()
    return outcome
  })
  const session = server.sessionOf(romeo)
  assert('hold' in session && typeof session.hold === 'function')
  // Something has to come first: all else waits in the session.
  session.hold()
  romeo.send(chat(romeo.bareJid, 'waiting'))
  await delivered.promise

  await server.stop()

  assert.deepEqual(fates, ['waiting: delivered', 'waiting: stored'])
})

test('what goes first does not pass what its sender sent before it', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo', 'orchard')
  const session = server.sessionOf(romeo)
  assert(session !== undefined && isLocalSession(session))
  const message = (from: string, body: string, id: string) =>
    new Envelope(
      parseJid(from),
      session.jid,
      Stanza.build('message', { type: 'chat' }, el('body', {}, body)),
      SERVER,
      { id },
    )
  const { through, release } = session.hold()
  session.deliver(message('nurse@localhost/hall', 'of another', 'one:1:1'))
  session.deliver(message('juliet@localhost/hall', 'the first', 'one:1:z'))
  session.deliver(message('juliet@localhost/hall', 'elsewhere', 'two:1:1'))
  session.deliver(message('juliet@localhost/hall', 'the last', 'one:1:11'))

  through(message('juliet@localhost/hall', 'kept', 'one:1:10'))
  release()

  for (const body of ['the first', 'kept', 'of another', 'elsewhere', 'the last']) {
    await romeo.receivesNext({ name: 'message', body })
  }
})

for (const [what, settings] of [
  ['of one address', { max_connections_per_address: 2 }],
  ['of all', { max_connections: 2 }],
] as const) {
  test(`over the limit of connections ${what}, another is closed at once`, async () => {
    await using server = await startServer({ listen: settings })
    const first = await server.connect('romeo')
    await server.open()

    const third = await server.open()
    await third.closes()
    assert.equal(third.isStreamEnded, false)

    await first.leaves()
    while ((server.server.listeners[0]?.connectionCount ?? 0) > 1) await setImmediate()
    await server.connect('juliet')
  })
}

test('a client that sends faster than it may waits, others do not', async () => {
  await using server = await startServer({
    listen: [{}, { shaper: { rate: '20KiB', burst: '40KiB' } }],
  })
  const juliet = await server.connect('juliet')
  const nurse = await server.connect('nurse')
  const romeo = await server.connect('romeo', 'orchard', { listener: 1 })

  // It takes more than a second until the next byte is read.
  romeo.send(chat(juliet.fullJid, `0 ${'x'.repeat(60 * 1024)}`))
  await juliet.receivesNext({ body: /^0/ })
  romeo.send(chat(juliet.fullJid, '2'))
  nurse.send(chat(juliet.fullJid, '1'))

  await juliet.receivesNext({ body: '1' })
  await juliet.receivesNext({ body: '2' })
})

test('a client that is slow to read gets everything, in order', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo')
  const juliet = await server.connect('juliet')

  juliet.stopsReading()
  for (const index of range(0, 40)) romeo.send(heavy(juliet.fullJid, index))
  await romeo.roundTrip()
  juliet.readsOn()
  await juliet.receives({ body: /^39 / })

  assert.deepEqual(series(juliet), range(0, 39))
})

test('what a client that hangs does not read goes to the next resource, in order', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo')
  const chamber = await server.connect('juliet', 'chamber', { priority: 0 })
  const balcony = await server.connect('juliet', 'balcony', { priority: 1 })
  chamber.forgets()
  balcony.stopsReading()

  const sent = await flood(server, romeo, balcony)
  for (const index of range(sent, sent + 20)) romeo.send(heavy(chamber.bareJid, index))
  await chamber.receives({ body: new RegExp(`^${sent + 19} `) })
  balcony.readsOn()
  await balcony.receivesStreamError('resource-constraint')

  const [read, moved] = [series(balcony), series(chamber)]
  assert.deepEqual([...read, ...moved], range(0, sent + 19))
  assert.ok(moved.length > 20)
})

test('what a client that hangs does not read is kept for its next session, in order', async () => {
  await using server = await startServer({
    modules: { offline: { max_messages: 10_000, max_bytes: '100MiB' } },
  })
  const romeo = await server.connect('romeo')
  const balcony = await server.connect('juliet', 'balcony')
  balcony.stopsReading()

  const sent = await flood(server, romeo, balcony)
  for (const index of range(sent, sent + 5)) romeo.send(heavy(balcony.bareJid, index))
  await romeo.roundTrip()
  balcony.readsOn()
  await balcony.receivesStreamError('resource-constraint')

  const chamber = await server.connect('juliet', 'chamber', { priority: undefined })
  chamber.send('<presence/>')
  await chamber.receives({ body: new RegExp(`^${sent + 4} `) })
  assert.deepEqual([...series(balcony), ...series(chamber)], range(0, sent + 4))
})

test('a client that reads nothing but asks on is cut off', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo')
  romeo.stopsReading()
  const version =
    "<iq type='get' id='v' to='im.example.com'><query xmlns='jabber:iq:version'/></iq>"
  const questions = version.repeat(500)

  // Answers are longer than questions.
  while (server.server.sessionManager.sessions.size > 0) {
    romeo.send(questions)
    await setImmediate()
  }

  romeo.readsOn()
  await romeo.closes()
})

test('what a replaced session had is decided upon before its successor says what it wants', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo')
  const { client: old } = await connectResumable(server, 'juliet', 'balcony', { priority: 0 })
  for (const body of ['one', 'two', 'three']) romeo.send(chat(old.fullJid, body))
  await old.receives({ body: 'three' })
  // A negative priority: nothing that waits for the account.
  const next = await server.connect('juliet', 'balcony', { priority: -1 })
  await next.receivesNothing({ name: 'message' })
  await next.becomesAvailable(0)
  for (const body of ['one', 'two', 'three']) await next.receives({ body })
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { conditionOf, DOMAIN, startCore } from '../../../test/support/core.ts'
import type { RecordingSession } from '../../../test/support/recording-session.ts'
import { Envelope, idOf } from '../../core/envelope.ts'
import { Settlement } from '../../core/settlement.ts'
import { type SqlValue, type Storage, StorageError } from '../../core/storage.ts'
import { jid, parseJid } from '../../xmpp/jid.ts'
import { Stanza } from '../../xmpp/stanza.ts'
import { type Element, el } from '../../xmpp/xml.ts'
import { offline } from './index.ts'

const JULIET = `juliet@${DOMAIN}`
const ROMEO = 'romeo@elsewhere.example/orchard'
const HINTS = 'urn:xmpp:hints'

const start = (settings = {}) => startCore({ accounts: ['juliet'], modules: [[offline, settings]] })
type Core = Awaited<ReturnType<typeof start>>

const chat = (text: string, ...more: Element[]) =>
  Stanza.build('message', { type: 'chat' }, el('body', {}, text), ...more)

/** What the presence module does when a resource becomes available. */
const comeOnline = async (core: Core, session: RecordingSession, priority = 0) => {
  session.setPresence(priority, Stanza.build('presence'))
  const point = core.hooks.at('resend_offline_messages', session.domainType)
  await point.run(session.jid, { session })
}

/** A client that logs in and gets what waits for it. */
const login = async (core: Core, resource: string, acknowledges = false) => {
  const session = await core.connect('juliet', resource, { priority: undefined, acknowledges })
  await comeOnline(core, session)
  return session
}

const bodiesOf = ({ received }: RecordingSession) => received.map(bodyOf)
const bodyOf = ({ stanza }: Envelope) => stanza.child('body')?.text

/** Everything in progress has come to rest: reads, writes, and what follows from them. */
const rest = async ({ storage }: Core) => {
  for (let round = 0; round < 10; round++) {
    await storage.read('select 1 as one', [])
    await new Promise((resolve) => setImmediate(resolve))
  }
}

const countKept = async ({ storage }: Core) => {
  const [row] = await storage.read<{ n: number }>('select count(*) as n from offline_message', [])
  return row?.n
}

test('what came while away is delivered at login, in order, as it was sent', async () => {
  await using core = await start()
  const outcome = await core.send(ROMEO, JULIET, chat('one', el('x', { xmlns: 'urn:x', a: "'" })))
  assert.equal(outcome.fate, 'stored')
  assert.equal(outcome.by, 'offline')
  core.now += 1000
  await core.send(ROMEO, `${JULIET}/gone`, chat('two'))
  const juliet = await login(core, 'balcony')
  await rest(core)
  assert.deepEqual(bodiesOf(juliet), ['one', 'two'])
  const [first, second] = juliet.received as [Envelope, Envelope]
  assert.equal(first.from.full, ROMEO)
  assert.equal(first.to.full, JULIET)
  assert.equal(second.to.full, `${JULIET}/gone`)
  assert.equal(first.stanza.type, 'chat')
  assert.equal(first.stanza.child('x', 'urn:x')?.attr('a'), "'")
  assert.deepEqual(first.stanza.child('delay', 'urn:xmpp:delay')?.attributes, {
    from: DOMAIN,
    stamp: '2026-08-01T12:00:00.000Z',
  })
})

test('it comes without the key of a copy that whoever stored it had, and is known as before', async () => {
  await using core = await start()
  const notes = { kept: 6, place: 7 }
  const [from, to] = [parseJid(ROMEO), parseJid(JULIET)]
  const origin = { kind: 's2s', domain: from.domain } as const
  await core.router.route(new Envelope(from, to, chat('one'), origin, notes))
  const juliet = await login(core, 'balcony')
  await rest(core)
  const [got] = juliet.received as [Envelope]
  assert.equal(got.notes.kept, undefined)
  assert.equal(got.notes.place, 7)
  assert.equal(idOf(got.notes), idOf(notes))
})

test('it leaves the store when it was acknowledged, not before', async () => {
  await using core = await start()
  await core.send(ROMEO, JULIET, chat('one'))
  await core.send(ROMEO, JULIET, chat('two'))
  const juliet = await login(core, 'balcony', true)
  await rest(core)
  assert.equal(juliet.received.length, 2)
  assert.equal(await countKept(core), 2)
  juliet.acknowledge(1)
  assert.equal(await countKept(core), 1)
  await juliet.end('lost')
  const next = await login(core, 'chamber')
  await rest(core)
  assert.deepEqual(bodiesOf(next), ['two'])
  assert.equal(await countKept(core), 0)
})

test('a negative priority gets nothing', async () => {
  await using core = await start()
  await core.send(ROMEO, JULIET, chat('one'))
  const juliet = await core.connect('juliet', 'bot', { priority: -1 })
  await core.send(ROMEO, JULIET, chat('two'))
  await rest(core)
  assert.equal(juliet.received.length, 0)
  await comeOnline(core, juliet)
  await rest(core)
  assert.deepEqual(bodiesOf(juliet), ['one', 'two'])
})

test('live messages wait behind those that waited longer', async () => {
  await using core = await start({ batch: 2 })
  for (const text of ['1', '2', '3', '4', '5']) await core.send(ROMEO, JULIET, chat(text))
  const juliet = await login(core, 'balcony')
  await core.send(ROMEO, JULIET, chat('6'))
  assert.deepEqual(bodiesOf(juliet), [])
  await rest(core)
  assert.deepEqual(bodiesOf(juliet), ['1', '2', '3', '4', '5', '6'])
})

test('the next batch waits for the acknowledgement of the one before', async () => {
  await using core = await start({ batch: 2 })
  for (const text of ['1', '2', '3']) await core.send(ROMEO, JULIET, chat(text))
  const juliet = await login(core, 'balcony', true)
  await rest(core)
  assert.deepEqual(bodiesOf(juliet), ['1', '2'])
  juliet.acknowledge(1)
  await rest(core)
  assert.deepEqual(bodiesOf(juliet), ['1', '2'])
  juliet.acknowledge(1)
  await rest(core)
  assert.deepEqual(bodiesOf(juliet), ['1', '2', '3'])
})

test('a client that acknowledges nothing gets its live messages, and the rest once it does', async (t) => {
  await using core = await start({ batch: 1, patience: '5s' })
  for (const text of ['1', '2']) await core.send(ROMEO, JULIET, chat(text))
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const juliet = await login(core, 'balcony', true)
  await rest(core)
  await core.send(ROMEO, JULIET, chat('live'))
  t.mock.timers.tick(4999)
  await rest(core)
  assert.deepEqual(bodiesOf(juliet), ['1'])
  t.mock.timers.tick(1)
  await rest(core)
  assert.deepEqual(bodiesOf(juliet), ['1', 'live'])
  juliet.acknowledge()
  await rest(core)
  assert.deepEqual(bodiesOf(juliet), ['1', 'live', '2'])
})

test('of resources that come online together, one gets the messages', async () => {
  await using core = await start({ batch: 2 })
  for (const text of ['1', '2', '3']) await core.send(ROMEO, JULIET, chat(text))
  const [balcony, chamber] = await Promise.all([login(core, 'balcony'), login(core, 'chamber')])
  await rest(core)
  assert.deepEqual(bodiesOf(balcony), ['1', '2', '3'])
  assert.deepEqual(bodiesOf(chamber), [])
})

test('when it dies in the middle, the other gets what was not acknowledged', async () => {
  await using core = await start({ batch: 2 })
  for (const text of ['1', '2', '3']) await core.send(ROMEO, JULIET, chat(text))
  const balcony = await login(core, 'balcony', true)
  const chamber = await login(core, 'chamber')
  await rest(core)
  balcony.acknowledge(1)
  await balcony.end('lost')
  await rest(core)
  assert.deepEqual(bodiesOf(balcony), ['1', '2'])
  assert.deepEqual(bodiesOf(chamber), ['2', '3'])
  assert.equal(await countKept(core), 0)
})

test('whoever comes in place of one that is gone gets what that was reading before anything newer', async () => {
  await using core = await start()
  for (const text of ['1', '2']) await core.send(ROMEO, JULIET, chat(text))
  const gone = await login(core, 'balcony', true)
  await gone.end('replaced')
  const juliet = await login(core, 'balcony')
  assert.deepEqual(bodiesOf(gone), [])
  await core.send(ROMEO, JULIET, chat('3'))
  await rest(core)
  assert.deepEqual(bodiesOf(juliet), ['1', '2', '3'])
  assert.equal(await countKept(core), 0)
})

test('nor does it wait for the acknowledgements of the one that is gone', async () => {
  await using core = await start({ batch: 2 })
  for (const text of ['1', '2', '3']) await core.send(ROMEO, JULIET, chat(text))
  const gone = await login(core, 'balcony', true)
  await rest(core)
  assert.deepEqual(bodiesOf(gone), ['1', '2'])
  // Its end is not through yet: nobody has been told.
  gone.isClosed = true
  const juliet = await login(core, 'chamber')
  await core.send(ROMEO, `${JULIET}/chamber`, chat('4'))
  await rest(core)
  assert.deepEqual(bodiesOf(juliet), ['1', '2', '3', '4'])
  await gone.end('lost')
  await rest(core)
  assert.deepEqual(bodiesOf(juliet), ['1', '2', '3', '4'])
})

test('a message comes out in the place that it had before it was stored', async () => {
  await using core = await start()
  const place = core.places.next()
  await core.send(ROMEO, JULIET, chat('2'))
  core.hooks.on('sm_message_decided', (envelope) => envelope.noted({ place }))
  await core.send(ROMEO, JULIET, chat('1'))
  const juliet = await login(core, 'balcony')
  await rest(core)
  assert.deepEqual(bodiesOf(juliet), ['1', '2'])
})

test('a message stored while its recipient comes online is not left behind', async () => {
  await using core = await start()
  // Whoever decides before us may take its time.
  const [asked, answered] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const hesitate = async <T>(acc: T) => {
    asked.resolve()
    await answered.promise
    return acc
  }
  core.hooks.on('offline_message', hesitate, { order: 40 })
  const sent = core.send(ROMEO, JULIET, chat('late'))
  await asked.promise
  const juliet = await login(core, 'balcony')
  await rest(core)
  assert.deepEqual(bodiesOf(juliet), [])
  answered.resolve()
  assert.equal((await sent).fate, 'stored')
  await rest(core)
  assert.deepEqual(bodiesOf(juliet), ['late'])
})

for (const type of ['headline', 'groupchat', 'error']) {
  test(`a message of type ${type} is not kept`, async () => {
    await using core = await start()
    await core.send(ROMEO, JULIET, Stanza.build('message', { type }, el('body', {}, 'x')))
    assert.equal(await countKept(core), 0)
  })
}

const states = 'http://jabber.org/protocol/chatstates'
const composing = el('composing', { xmlns: states })
const events = (...names: string[]) =>
  el('x', { xmlns: 'jabber:x:event' }, ...names.map((name) => el(name)))
const noStore = el('no-store', { xmlns: HINTS })

const fates: readonly (readonly [string, string, readonly Element[]])[] = [
  ['nobody is told of typing', 'dropped', [composing, el('thread', {}, 't')]],
  ['not even with a hint', 'dropped', [composing, noStore]],
  ['nor of typing as it was told before', 'dropped', [events('composing', 'id')]],
  ['typing somebody wants kept is kept', 'stored', [composing, el('store', { xmlns: HINTS })]],
  ['a state with a body is a message', 'stored', [composing, el('body', {}, 'x')]],
  ['a receipt is kept', 'stored', [events('delivered', 'id')]],
  ['what is not to be kept goes back', 'bounced', [el('body', {}, 'x'), noStore]],
  [
    'archives are not meant',
    'stored',
    [el('body', {}, 'x'), el('no-permanent-store', { xmlns: HINTS })],
  ],
]
for (const [name, fate, children] of fates) {
  test(name, async () => {
    await using core = await start()
    const stanza = Stanza.build('message', { type: 'chat' }, ...children)
    assert.equal((await core.send(ROMEO, JULIET, stanza)).fate, fate)
  })
}

test('nobody else can say that we delayed a message', async () => {
  await using core = await start()
  const delayed = (from: string) => el('delay', { xmlns: 'urn:xmpp:delay', from, stamp: 'x' })
  await core.send(ROMEO, JULIET, chat('one', delayed(DOMAIN), delayed('room@rooms.example')))
  const juliet = await login(core, 'balcony')
  await rest(core)
  const delays = juliet.received[0]?.stanza.elements().filter(({ name }) => name === 'delay')
  assert.deepEqual(
    delays?.map((element) => element.attr('from')),
    ['room@rooms.example', DOMAIN],
  )
})

test('over the limit of messages the sender is told, and room comes back', async () => {
  await using core = await start({ max_messages: 2 })
  const failed: Envelope[] = []
  core.hooks.on('failed_to_store_message', (envelope) => {
    failed.push(envelope)
    return envelope
  })
  for (const text of ['1', '2', '3']) await core.send(ROMEO, JULIET, chat(text))
  assert.equal(failed.length, 1)
  assert.equal(core.sentAway.length, 1)
  assert.equal(conditionOf((core.sentAway[0] as Envelope).stanza), 'service-unavailable')
  const juliet = await login(core, 'balcony')
  await rest(core)
  assert.deepEqual(bodiesOf(juliet), ['1', '2'])
  await juliet.end('closed')
  assert.equal((await core.send(ROMEO, JULIET, chat('4'))).fate, 'stored')
})

test('what was kept before the start counts, too', async () => {
  await using core = await start({ max_messages: 2 })
  for (const text of ['1', '2']) await core.send(ROMEO, JULIET, chat(text))
  await core.modules.unload('offline')
  await core.load(offline, { max_messages: 2 })
  assert.equal((await core.send(ROMEO, JULIET, chat('3'))).fate, 'bounced')
})

test('so does the limit of bytes', async () => {
  await using core = await start({ max_bytes: '64KiB' })
  const large = chat('x'.repeat(40_000))
  assert.equal((await core.send(ROMEO, JULIET, large)).fate, 'stored')
  assert.equal((await core.send(ROMEO, JULIET, large)).fate, 'bounced')
  assert.equal((await core.send(ROMEO, JULIET, chat('small'))).fate, 'stored')
})

function toJuliet(stanza: Stanza, settlement: Settlement): Envelope {
  const romeo = jid('romeo', 'elsewhere.example')
  const origin = { kind: 's2s', domain: romeo.domain } as const
  return new Envelope(romeo, jid('juliet', DOMAIN), stanza, origin, undefined, settlement)
}

/** A storage whose writes are others. */
function writingBy(storage: Storage, write: Storage['write']): Storage {
  return new Proxy(storage, {
    get(target, key) {
      if (key === 'write') return write
      const value: unknown = Reflect.get(target, key, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

test('a write that fails is told to the sender', async () => {
  await using core = await start()
  const write = () => Promise.reject(new StorageError('full', 'No room on the disk'))
  const storage = writingBy(core.storage, write as Storage['write'])
  await using broken = await startCore({ accounts: ['juliet'], modules: [[offline]], storage })
  const settlement = new Settlement()
  const outcome = await broken.router.route(toJuliet(chat('one'), settlement))
  assert.equal(outcome.fate, 'stored')
  // Handled: not by keeping it, but by an answer.
  await settlement.done
  assert.equal(conditionOf((broken.sentAway[0] as Envelope).stanza), 'resource-constraint')
})

test('nobody is told of a failure after which the message is kept all the same', async () => {
  await using core = await start()
  // The connection is lost behind the commit.
  const write = async (sql: string, parameters: readonly SqlValue[]) => {
    await core.storage.write(sql, parameters)
    throw new StorageError('io', 'the connection was closed')
  }
  const storage = writingBy(core.storage, write as Storage['write'])
  await using broken = await startCore({ accounts: ['juliet'], modules: [[offline]], storage })
  const settlement = new Settlement()
  const outcome = await broken.router.route(toJuliet(chat('one'), settlement))
  assert.equal(outcome.fate, 'stored')
  await settlement.done
  assert.deepEqual(broken.sentAway, [])
  const juliet = await login(broken, 'balcony')
  await rest(core)
  assert.deepEqual(bodiesOf(juliet), ['one'])
})

test('a client that counts what is handled is not told, and sends it again', async () => {
  await using core = await start()
  const write = () => Promise.reject(new StorageError('full', 'No room on the disk'))
  const storage = writingBy(core.storage, write as Storage['write'])
  const accounts = ['juliet', 'romeo']
  await using broken = await startCore({ accounts, modules: [[offline]], storage })
  const session = await broken.connect('romeo', 'orchard')
  const settlement = new Settlement()
  const origin = { kind: 'c2s', session } as const
  const to = jid('juliet', DOMAIN)
  await broken.router.route(
    new Envelope(session.jid, to, chat('one'), origin, undefined, settlement),
  )
  await assert.rejects(async () => settlement.done, /No room/)
  await rest(core)
  assert.deepEqual(session.received, [])
})

test('what a client has does not come again though the disk could not forget it', async () => {
  await using own = await startCore({})
  const disk = { isFull: false }
  const write = (...all: Parameters<Storage['write']>) =>
    disk.isFull
      ? Promise.reject(new StorageError('full', 'No room on the disk'))
      : own.storage.write(...all)
  const storage = writingBy(own.storage, write as Storage['write'])
  await using core = await startCore({ accounts: ['juliet'], modules: [[offline]], storage })
  await core.send(ROMEO, JULIET, chat('one'))
  const juliet = await login(core, 'balcony', true)
  await rest(core)
  disk.isFull = true
  juliet.acknowledge()
  await juliet.end('closed')
  const next = await login(core, 'chamber')
  await rest(core)
  assert.deepEqual(bodiesOf(next), [])
  assert.equal(await countKept(core), 1)
  disk.isFull = false
  await core.tick()
  await rest(core)
  assert.equal(await countKept(core), 0)
})

test("the sender's acknowledgement waits until the message is safe", async () => {
  await using core = await start()
  const settlement = new Settlement()
  await core.router.route(toJuliet(chat('one'), settlement))
  assert.notEqual(settlement.done, undefined)
  await settlement.done
  assert.equal(await countKept(core), 1)
})

test('what handlers noted travels with the message', async () => {
  await using core = await start()
  core.hooks.on('sm_message_decided', (envelope) => envelope.noted({ isRetry: true }))
  await core.send(ROMEO, JULIET, chat('one'))
  const juliet = await login(core, 'balcony')
  await rest(core)
  assert.equal(juliet.received[0]?.notes.isRetry, true)
})

test('an account that is removed leaves nothing', async () => {
  await using core = await start()
  await core.send(ROMEO, JULIET, chat('one'))
  assert.equal(await core.lifecycle.remove(jid('juliet', DOMAIN)), true)
  assert.equal(await countKept(core), 0)
})

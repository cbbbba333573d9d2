import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { openEmpty } from '../../../test/support/storage-backends.ts'
import { Envelope, SERVER } from '../../core/envelope.ts'
import { silentLogger } from '../../core/log.ts'
import { Places } from '../../core/places.ts'
import { Settlement } from '../../core/settlement.ts'
import type { Storage } from '../../core/storage.ts'
import { jid } from '../../xmpp/jid.ts'
import { Stanza } from '../../xmpp/stanza.ts'
import { el } from '../../xmpp/xml.ts'
import { Eventually } from './eventually.ts'
import { KeptMessages } from './kept-messages.ts'
import { migrations } from './snapshots.ts'

const JULIET = jid('juliet', 'im.example.com', 'balcony')
const ROMEO = jid('romeo', 'im.example.com')

async function openStorage(context: TestContext): Promise<Storage> {
  const storage = await openEmpty()
  context.after(() => storage.close())
  await storage.migrate(migrations)
  return storage
}

const NODE = 'one'
let runs = 1

/** By another run of the node than all before. */
function keptIn(storage: Storage, now = 1): KeptMessages {
  const run = { node: NODE, epoch: ++runs }
  const clock = { now: () => now }
  const eventually = new Eventually(silentLogger)
  const places = new Places(clock.now)
  const self = () => run
  return new KeptMessages({ storage, self, eventually, places, clock, log: silentLogger })
}

/** What earlier runs have left. */
async function* remains(kept: KeptMessages): AsyncGenerator<Envelope> {
  yield* kept.left(await kept.takeAll({ node: NODE, epoch: runs - 1 }))
}

function chat(body: string, settlement = new Settlement()): Envelope {
  const stanza = Stanza.build('message', { type: 'chat', id: body }, el('body', {}, body))
  return new Envelope(JULIET, ROMEO, stanza, SERVER, undefined, settlement)
}

/** Ids of the messages that are on the disk. */
async function left(storage: Storage): Promise<string[]> {
  const rows = await storage.read<{ stanza: string }>(
    'select stanza from sm_kept order by node, epoch, id',
    [],
  )
  return rows.map(({ stanza }) => /id='([^']*)'/.exec(stanza)?.[1] ?? '')
}

test('a message that is acknowledged at once is never written', async (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] })
  const storage = await openStorage(context)
  const kept = keptIn(storage)
  const settlement = new Settlement()
  const envelope = kept.keep(chat('one', settlement))
  assert.equal(settlement.isSettled, false)
  kept.release(envelope.notes.kept as number)
  assert.equal(settlement.isSettled, true)
  context.mock.timers.tick(1_000)
  await kept.stop()
  assert.deepEqual(await left(storage), [])
})

test('what another node is to take over is written at once', async (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] })
  const storage = await openStorage(context)
  const kept = keptIn(storage)
  const settlement = new Settlement()
  const ids = ['one', 'two', 'three'].map(
    (body) => kept.keep(chat(body, settlement)).notes.kept as number,
  )
  kept.release(ids[1] as number)
  assert.equal(await kept.secure(ids), true)
  assert.deepEqual(await left(storage), ['one', 'three'])
  assert.equal(settlement.isSettled, true)
  await kept.stop()
})

test('of what this run answers for alone nobody hears who handed it over', async (context) => {
  const storage = await openStorage(context)
  const kept = keptIn(storage)
  const handed = ['one', 'two'].map((body) => kept.keep(chat(body).noted({ handed: 'a b 1' })))
  assert.equal(await kept.secure(handed.map(({ notes }) => notes.kept as number)), true)
  await kept.answerAlone(handed.slice(0, 1))
  await kept.stop()
  const found: unknown[] = []
  for await (const { notes } of remains(keptIn(storage))) found.push([notes.handed, notes.place])
  const [one, two] = handed.map(({ notes }) => notes.place)
  assert.deepEqual(found, [
    [undefined, one],
    ['a b 1', two],
  ])
})

test('one that is not is written, and removed when it is', async (context) => {
  const storage = await openStorage(context)
  const kept = keptIn(storage)
  const settlement = new Settlement()
  const envelope = kept.keep(chat('one', settlement))
  await settlement.done
  assert.deepEqual(await left(storage), ['one'])
  kept.release(envelope.notes.kept as number)
  await kept.stop()
  assert.deepEqual(await left(storage), [])
})

test('what is written comes back in order, with its notes', async (context) => {
  const storage = await openStorage(context)
  const kept = keptIn(storage)
  const all = ['one', 'two', 'three', 'four'].map((body) => kept.keep(chat(body)))
  kept.release(all[1]?.notes.kept as number)
  await kept.stop()
  assert.deepEqual(await left(storage), ['one', 'three', 'four'])
  for await (const envelope of remains(keptIn(storage))) {
    const before = all.find(({ stanza }) => stanza.id === envelope.stanza.id)
    assert.equal(envelope.octets, before?.octets)
    assert.notEqual(before, undefined)
    assert.equal(typeof envelope.notes.kept, 'number')
  }
})

test('what is left comes before what is kept from then on, though the clock is behind', async (context) => {
  const storage = await openStorage(context)
  const first = keptIn(storage, 2_000)
  first.keep(chat('before'))
  await first.stop()
  const second = keptIn(storage, 1_000)
  for await (const _ of remains(second));
  second.keep(chat('after'))
  await second.stop()
  assert.deepEqual(await left(storage), ['before', 'after'])
})

/** A store that takes nothing while `isFull`. */
function brokenStorage(storage: Storage) {
  const disk = { isFull: true }
  const write: Storage['write'] = (...all) =>
    disk.isFull ? Promise.reject(new Error('the disk is full')) : storage.write(...all)
  return { disk, broken: Object.create(storage, { write: { value: write } }) as Storage }
}

/** Until all that was begun has failed. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
}

test('a message is known again however often it is taken over, and in its order', async (context) => {
  const storage = await openStorage(context)
  const first = keptIn(storage)
  const before = ['one', 'two'].map((body) => first.keep(chat(body)))
  await first.stop()
  await keptIn(storage).takeAll({ node: NODE, epoch: runs - 1 })
  const third = keptIn(storage)
  const taken = await third.takeAll({ node: NODE, epoch: runs - 1 })
  const now: Envelope[] = []
  for await (const envelope of third.left(taken)) now.push(envelope)
  const numbers = before.map((envelope) => taken.numberOf(envelope))
  assert.deepEqual(
    now.map(({ notes, stanza }) => [stanza.id, notes.kept]),
    [
      ['one', numbers[0]],
      ['two', numbers[1]],
    ],
  )
  await third.stop()
})

test('messages that two nodes have put in the same place are both taken over', async (context) => {
  const storage = await openStorage(context)
  const first = keptIn(storage)
  const before = ['one', 'two'].map((body) => first.keep(chat(body).noted({ place: 7 })))
  await first.stop()
  const second = keptIn(storage)
  const taken = await second.takeAll({ node: NODE, epoch: runs - 1 })
  const now: (string | undefined)[] = []
  for await (const { stanza } of second.left(taken)) now.push(stanza.id)
  assert.deepEqual(now, ['one', 'two'])
  // None is taken for the other.
  for (const envelope of before) assert.equal(taken.numberOf(envelope), undefined)
  await second.stop()
})

test('a write that fails leaves the message unhandled until it is tried again', async (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] })
  const storage = await openStorage(context)
  const { disk, broken } = brokenStorage(storage)
  const kept = keptIn(broken)
  const envelope = kept.keep(chat('one'))
  for (let round = 0; round < 3; round++) context.mock.timers.tick(100)
  await turns()
  assert.equal(envelope.settlement?.isSettled, false)
  disk.isFull = false
  kept.retry()
  await envelope.settlement?.done
  assert.deepEqual(await left(storage), ['one'])
  await kept.stop()
})

test('the recipient is quicker than the disk', async (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] })
  const storage = await openStorage(context)
  const { disk, broken } = brokenStorage(storage)
  const kept = keptIn(broken)
  const envelope = kept.keep(chat('one'))
  for (let round = 0; round < 3; round++) context.mock.timers.tick(100)
  await turns()
  kept.release(envelope.notes.kept as number)
  assert.equal(envelope.settlement?.isSettled, true)
  disk.isFull = false
  kept.retry()
  await kept.stop()
  assert.deepEqual(await left(storage), [])
})

test('one behind another that could not be written waits for that', async (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] })
  const storage = await openStorage(context)
  const { disk, broken } = brokenStorage(storage)
  const kept = keptIn(broken)
  const rounds = async () => {
    for (let round = 0; round < 3; round++) context.mock.timers.tick(100)
    await turns()
  }
  const first = kept.keep(chat('one'))
  await rounds()
  disk.isFull = false
  const second = kept.keep(chat('two'))
  await rounds()
  assert.deepEqual(await left(storage), [])
  kept.retry()
  await first.settlement?.done
  await second.settlement?.done
  assert.deepEqual(await left(storage), ['one', 'two'])
  await kept.stop()
})

test('what cannot be written before the end is not handled', async (context) => {
  const { broken } = brokenStorage(await openStorage(context))
  const kept = keptIn(broken)
  const envelope = kept.keep(chat('one'))
  await kept.stop()
  await assert.rejects(envelope.settlement?.done ?? Promise.resolve(), /not kept/)
})

test('one that could not be written is not kept when it is stored elsewhere', async (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] })
  const storage = await openStorage(context)
  const { disk, broken } = brokenStorage(storage)
  const kept = keptIn(broken)
  const envelope = kept.keep(chat('one'))
  for (let round = 0; round < 3; round++) context.mock.timers.tick(100)
  await turns()
  disk.isFull = false
  kept.handOver(envelope, envelope.notes.kept as number)
  kept.retry()
  await kept.stop()
  assert.deepEqual(await left(storage), [])
})

test('what a removed account would have got is forgotten', async (context) => {
  const storage = await openStorage(context)
  const kept = keptIn(storage)
  const written = chat('written')
  kept.keep(written)
  await written.settlement?.done
  const waiting = chat('waiting')
  kept.keep(waiting)
  kept.releaseAll(ROMEO.bare)
  assert.equal(waiting.settlement?.isSettled, true)
  await kept.stop()
  assert.deepEqual(await left(storage), [])
})

test('one that is stored elsewhere is removed in the turn in which that is written', async (context) => {
  const storage = await openStorage(context)
  const kept = keptIn(storage)
  const envelope = kept.keep(chat('one'))
  await envelope.settlement?.done
  const requests = context.mock.method(storage, 'write')
  kept.handOver(envelope, envelope.notes.kept as number)
  assert.match(String(requests.mock.calls[0]?.arguments[0]), /^delete from sm_kept/)
  await kept.stop()
  assert.deepEqual(await left(storage), [])
})

test('one that could not be stored elsewhere stays', async (context) => {
  const storage = await openStorage(context)
  const before = keptIn(storage)
  before.keep(chat('one'))
  await before.stop()
  const kept = keptIn(storage)
  for await (const envelope of remains(kept)) {
    envelope.settlement?.waitFor(Promise.reject(new Error('the disk is full')))
    kept.handOver(envelope, envelope.notes.kept as number)
  }
  let again = kept.takeHomeless(ROMEO.bare)
  while (again.length === 0) {
    await turns()
    again = kept.takeHomeless(ROMEO.bare)
  }
  assert.deepEqual(
    again.map(({ stanza, settlement }) => [stanza.id, settlement?.isSettled]),
    [['one', true]],
  )
  await kept.stop()
  assert.deepEqual(await left(storage), ['one'])
})

test('one that was acknowledged to its sender stays when it could not be stored elsewhere', async (context) => {
  const storage = await openStorage(context)
  const kept = keptIn(storage)
  const settlement = new Settlement()
  const envelope = kept.keep(chat('one', settlement))
  await settlement.done
  settlement.waitFor(Promise.reject(new Error('the disk is full')))
  kept.handOver(envelope, envelope.notes.kept as number)
  await turns()
  await kept.stop()
  assert.deepEqual(await left(storage), ['one'])
})

test('and when the disk does not take it again either, it is not forgotten', async (context) => {
  const storage = await openStorage(context)
  const kept = keptIn(storage)
  const envelope = kept.keep(chat('one'))
  await envelope.settlement?.done
  const write = Promise.withResolvers<void>()
  envelope.settlement?.waitFor(write.promise)
  kept.handOver(envelope, envelope.notes.kept as number)
  context.mock.method(storage, 'write', async () => {
    throw new Error('the disk is full')
  })
  write.reject(new Error('the disk is full'))
  await kept.handingOver(ROMEO.bare)
  assert.deepEqual(
    kept.takeHomeless(ROMEO.bare).map(({ stanza }) => stanza.id),
    ['one'],
  )
  await kept.stop()
})

test('who comes meanwhile can wait for what is being stored', async (context) => {
  const storage = await openStorage(context)
  const kept = keptIn(storage)
  const envelope = kept.keep(chat('one'))
  await envelope.settlement?.done
  assert.equal(kept.handingOver(ROMEO.bare), undefined)
  const write = Promise.withResolvers<void>()
  envelope.settlement?.waitFor(write.promise)
  kept.handOver(envelope, envelope.notes.kept as number)
  const over = kept.handingOver(ROMEO.bare)
  assert.deepEqual(kept.takeHomeless(ROMEO.bare), [])
  write.reject(new Error('the disk is full'))
  await over
  assert.equal(kept.handingOver(ROMEO.bare), undefined)
  assert.equal(kept.takeHomeless(ROMEO.bare).length, 1)
  await kept.stop()
})

test('what nobody could store is routed anew for one account, in the order in which it came', async (context) => {
  const storage = await openStorage(context)
  const kept = keptIn(storage)
  const all = ['one', 'two'].map((body) => kept.keep(chat(body)))
  for (const { settlement } of all) await settlement?.done
  for (const envelope of all.toReversed()) {
    envelope.settlement?.waitFor(Promise.reject(new Error('the disk is full')))
    kept.handOver(envelope, envelope.notes.kept as number)
  }
  await kept.stop()
  assert.deepEqual(kept.takeHomeless(JULIET.bare), [])
  const idsOf = (envelopes: readonly Envelope[]) => envelopes.map(({ stanza }) => stanza.id)
  assert.deepEqual(idsOf(kept.takeHomeless(ROMEO.bare)), ['one', 'two'])
  assert.deepEqual(kept.takeHomeless(ROMEO.bare), [])
})

test('one that was not written yet is not written any more when it is stored elsewhere', async (context) => {
  const storage = await openStorage(context)
  const kept = keptIn(storage)
  const envelope = kept.keep(chat('one'))
  kept.handOver(envelope, envelope.notes.kept as number)
  assert.equal(envelope.settlement?.isSettled, true)
  await kept.stop()
  assert.deepEqual(await left(storage), [])
})

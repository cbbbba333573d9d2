import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { type Logger, silentLogger } from '../../core/log.ts'
import { StorageError } from '../../core/storage.ts'
import { jid } from '../../xmpp/jid.ts'
import type { ArchivedMessage } from './store.ts'
import { ArchiveWriter } from './writer.ts'

const peer = jid('juliet', 'im.example.com')
const message = (id: string, xml = 'x'): ArchivedMessage => ({
  owner: 'romeo@im.example.com',
  id,
  peer,
  isGroupchat: false,
  xml,
})

/** A store that takes what it is given when the test says so. */
function start(maxBytes = 10_000) {
  const batches: string[][] = []
  const waiting: PromiseWithResolvers<void>[] = []
  const events: string[] = []
  const log: Logger = {
    ...silentLogger,
    error: (event) => void events.push(event),
    info: (event) => void events.push(event),
  }
  let onBatch = () => {}
  const writer = new ArchiveWriter({
    maxBytes,
    log,
    insert(messages) {
      batches.push(messages.map(({ id }) => id))
      const answer = Promise.withResolvers<void>()
      waiting.push(answer)
      onBatch()
      return answer.promise
    },
  })
  /** Resolves when the store has been given its `count`-th batch. */
  const given = (count: number) =>
    new Promise<void>((resolve) => {
      onBatch = () => {
        if (batches.length >= count) resolve()
      }
      onBatch()
    })
  const answer = (error?: Error) => {
    const next = waiting.shift()
    if (error === undefined) next?.resolve()
    else next?.reject(error)
  }
  return { writer, batches, events, given, answer }
}

const isPending = async (promise: Promise<unknown>) =>
  (await Promise.race([promise, new Promise((resolve) => setImmediate(resolve, 'pending'))])) ===
  'pending'

test('what comes in one turn is one batch; the next gathers while it is under way', async () => {
  const { writer, batches, given, answer } = start()
  const [a, b] = [writer.add(message('a')), writer.add(message('b'))]
  await given(1)
  const c = writer.add(message('c'))
  assert.equal(await isPending(c), true)
  writer.add(message('d'))
  answer()
  await Promise.all([a, b])
  await given(2)
  assert.equal(await isPending(c), true)
  answer()
  await c
  assert.deepEqual(batches, [
    ['a', 'b'],
    ['c', 'd'],
  ])
})

test('who reads waits for what was added before, and for no more', async () => {
  const { writer, given, answer } = start()
  await writer.written()
  writer.add(message('a'))
  const afterA = writer.written()
  await given(1)
  writer.add(message('b'))
  const afterB = writer.written()
  assert.equal(await isPending(afterA), true)
  answer()
  await afterA
  assert.equal(await isPending(afterB), true)
  await given(2)
  answer()
  await afterB
})

test('a batch that fails is tried again until the store takes it; readers do not wait for that', async () => {
  mock.timers.enable({ apis: ['setTimeout'] })
  try {
    const { writer, batches, events, given, answer } = start()
    const a = writer.add(message('a'))
    const read = writer.written()
    for (const attempt of [1, 2, 3]) {
      await given(attempt)
      answer(new StorageError('full', 'no room'))
      await read
      await writer.written()
      assert.equal(await isPending(a), true)
      mock.timers.tick(100 * 2 ** (attempt - 1))
    }
    await given(4)
    const b = writer.add(message('b'))
    answer()
    await a
    await given(5)
    answer()
    await b
    assert.deepEqual(batches, [['a'], ['a'], ['a'], ['a'], ['b']])
    assert.deepEqual(events, ['archive_not_written', 'archive_written_again'])
  } finally {
    mock.timers.reset()
  }
})

test('over the bound a message is refused, and the others are kept', async () => {
  const { writer, batches, given, answer } = start(1_000)
  const kept = writer.add(message('kept', 'x'.repeat(700)))
  await given(1)
  await assert.rejects(writer.add(message('refused', 'x'.repeat(200))), { kind: 'busy' })
  answer()
  await kept
  const later = writer.add(message('later', 'x'.repeat(200)))
  await given(2)
  answer()
  await later
  assert.deepEqual(batches, [['kept'], ['later']])
})

test('when half of what may wait does, there is no room until the store has caught up', async () => {
  const { writer, given, answer } = start(1_000)
  assert.equal(writer.room, undefined)
  const first = writer.add(message('first', 'x'.repeat(200)))
  await given(1)
  const second = writer.add(message('second', 'x'.repeat(200)))
  const { room } = writer
  assert.ok(room !== undefined)
  answer()
  await first
  await given(2)
  // 400 of 1,000.
  assert.equal(await isPending(room), true)
  answer()
  await second
  await room
  assert.equal(writer.room, undefined)
})

test('nobody waits for room while the store takes nothing, or when the server stops', async () => {
  for (const end of ['outage', 'stop']) {
    const { writer, given, answer } = start(1_000)
    const written = writer.add(message('a', 'x'.repeat(400)))
    await given(1)
    const { room } = writer
    assert.ok(room !== undefined)
    const closed = end === 'stop' ? writer.close() : undefined
    if (end === 'outage') answer(new StorageError('full', 'no room'))
    await room
    assert.equal(writer.room, undefined)
    if (end === 'stop') answer()
    const over = closed ?? writer.close()
    if (end === 'outage') {
      await given(2)
      answer()
    }
    await over
    await written
  }
})

test('what waits when the server stops is written, or its senders are not told', async () => {
  const { writer, batches, given, answer } = start()
  const a = writer.add(message('a'))
  await given(1)
  const b = writer.add(message('b'))
  const closed = writer.close()
  answer()
  await a
  await given(2)
  answer(new StorageError('io', 'broken'))
  await assert.rejects(b, { kind: 'io' })
  await closed
  await assert.rejects(writer.add(message('c')), { kind: 'busy' })
  assert.equal(batches.length, 2)
})

test('a store that fails does not hold up the stop', async () => {
  const { writer, given, answer } = start()
  const a = writer.add(message('a'))
  await given(1)
  answer(new StorageError('busy', 'locked'))
  await writer.written()
  const closed = writer.close()
  await given(2)
  answer(new StorageError('busy', 'locked'))
  await assert.rejects(a, { kind: 'busy' })
  await closed
})

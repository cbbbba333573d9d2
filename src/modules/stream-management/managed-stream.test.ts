import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Hooks } from '../../core/hooks.ts'
import { silentLogger } from '../../core/log.ts'
import type { StreamSession } from '../../core/session.ts'
import { Settlement } from '../../core/settlement.ts'
import { jid } from '../../xmpp/jid.ts'
import { ManagedStream } from './managed-stream.ts'

/** A session without a connection whose client is about to come back. */
function detached() {
  const saves: number[] = []
  const disk = { isFull: true }
  const forgotten = Promise.withResolvers<void>()
  const session = {
    jid: jid('romeo', 'im.example.com', 'orchard'),
    info: { isAnonymous: false },
    isClosed: false,
    write() {},
    end: () => assert.fail('it ends'),
  } as unknown as StreamSession
  const stream = new ManagedStream(
    session,
    { id: 'sm', patience: 1_000 },
    {
      limits: { maxStanzas: 10, maxBytes: 1_000, ackTimeout: 1_000 },
      snapshots: {
        async save() {
          saves.push(1)
          if (disk.isFull) throw new Error('the disk is full')
        },
        append: () => Promise.resolve(),
        forget: () => forgotten.promise,
      },
      kept: { secure: async () => true, answerAlone: async () => {} },
      unacknowledgedMessage: new Hooks(silentLogger).at('unacknowledged_message'),
      clock: { now: () => 0 },
      log: silentLogger,
    },
  )
  return { stream, saves, disk, forgotten }
}

const turn = () => new Promise((resolve) => setImmediate(resolve))

test('a session that is being resumed is not saved once more', async () => {
  const { stream, saves, disk, forgotten } = detached()
  stream.detach()
  await turn()
  assert.equal(saves.length, 1)
  disk.isFull = false
  const claim = stream.claim()
  const prepared = stream.prepare()
  await turn()
  stream.look(1)
  await turn()
  assert.equal(saves.length, 1)
  forgotten.resolve()
  await prepared
  stream.resume(0)
  claim[Symbol.dispose]()
  stream.look(2)
  await turn()
  assert.equal(saves.length, 1)
})

test('the disk has nothing of a session until that loses its connection, nor once it has forgotten it', async () => {
  const { stream, disk, forgotten } = detached()
  assert.equal(stream.isOnDisk, false)
  stream.detach()
  await turn()
  // What has failed may have been written.
  assert.equal(stream.isOnDisk, true)
  disk.isFull = false
  const prepared = stream.prepare()
  await turn()
  assert.equal(stream.isOnDisk, true)
  forgotten.resolve()
  await prepared
  assert.equal(stream.isOnDisk, false)
})

test('it is, if the disk did not forget it', async () => {
  const { stream, saves, disk, forgotten } = detached()
  stream.detach()
  await turn()
  const prepared = stream.prepare()
  forgotten.reject(new Error('the disk is full'))
  await assert.rejects(prepared)
  disk.isFull = false
  stream.look(1)
  await turn()
  assert.equal(saves.length, 2)
})

test('a client that comes back while the server stops has to come again', async () => {
  for (const isLate of [false, true]) {
    const { stream, saves, disk, forgotten } = detached()
    disk.isFull = false
    stream.detach()
    await turn()
    using _ = stream.claim()
    const left = isLate ? undefined : stream.leave(1_000)
    const prepared = assert.rejects(stream.prepare(), { condition: 'system-shutdown' })
    await turn()
    const leftLate = left ?? stream.leave(1_000)
    forgotten.resolve()
    await Promise.all([prepared, leftLate])
    // What was forgotten is there again.
    assert.equal(saves.length, isLate ? 2 : 1)
  }
})

test('the end of the server does not wait for what is never settled', async () => {
  const { stream, saves, disk } = detached()
  disk.isFull = false
  const unsettled = new Settlement()
  unsettled.begin()
  stream.handled.take(unsettled)
  stream.detach()
  await stream.leave(1)
  assert.equal(saves.length, 1)
})

test('nor is it saved twice when all is settled', async () => {
  const { stream, saves, disk } = detached()
  disk.isFull = false
  stream.detach()
  await stream.leave(60_000)
  assert.equal(saves.length, 1)
})

test('a stanza that waits again behind an earlier one still counts in the end', () => {
  const { stream } = detached()
  const [first, second] = [new Settlement(), new Settlement()]
  first.begin()
  stream.handled.take(first)
  stream.handled.take(second)
  second.begin()
  first.finish()
  assert.equal(stream.handled.h, 1)
  second.finish()
  assert.equal(stream.handled.h, 2)
})

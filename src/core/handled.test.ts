import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Handled, MAX_OPEN } from './handled.ts'
import { Settlement } from './settlement.ts'

function start() {
  const failures: unknown[] = []
  const listener = { onAdvance() {}, onFailure: (error: unknown) => void failures.push(error) }
  const handled = new Handled(listener)
  const take = (size = 0) => {
    const settlement = new Settlement()
    settlement.begin()
    handled.take(settlement, size)
    return settlement
  }
  return { handled, take, failures }
}

/** Whether a promise is resolved by now. */
async function isDone(promise: Promise<void> | undefined): Promise<boolean> {
  const turn = new Promise((resolve) => setImmediate(resolve, 'pending'))
  return (await Promise.race([promise, turn])) !== 'pending'
}

test('there is room until so many are pending, and again when half of them are settled', async () => {
  const { handled, take } = start()
  const all = Array.from({ length: MAX_OPEN.stanzas - 1 }, () => take())
  assert.equal(handled.room, undefined)
  all.push(take())
  const { room } = handled
  assert.ok(room !== undefined)
  for (const settlement of all.splice(0, MAX_OPEN.stanzas / 2)) settlement.finish()
  assert.equal(await isDone(room), false)
  all.shift()?.finish()
  assert.equal(handled.room, undefined)
  assert.equal(await isDone(room), true)
})

test('or so many octets', async () => {
  const { handled, take } = start()
  const large = take(MAX_OPEN.octets - 1)
  assert.equal(handled.room, undefined)
  take(1)
  const { room } = handled
  large.finish()
  assert.equal(await isDone(room), true)
  assert.equal(handled.room, undefined)
})

test('what is settled behind an open one takes no room, or little', async () => {
  const { handled, take } = start()
  const open = take(MAX_OPEN.octets / 2)
  for (let n = 0; n < 9_998; n++) take(1_000).finish()
  assert.equal(handled.room, undefined)
  take(1_000).finish()
  const { room } = handled
  assert.ok(room !== undefined)
  open.finish()
  assert.equal(await isDone(room), true)
  assert.equal(handled.h, 10_000)
})

test('a settlement that is begun again is not counted out twice', () => {
  const { handled, take } = start()
  take()
  const again = take(MAX_OPEN.octets / 2)
  for (let n = 0; n < 10; n++) {
    again.finish()
    again.begin()
  }
  take(MAX_OPEN.octets - 1)
  assert.equal(handled.room, undefined)
  take(1)
  assert.ok(handled.room !== undefined)
})

test('a failure makes room: the peer sends that again, and what came after it', async () => {
  const { handled, take, failures } = start()
  const all = Array.from({ length: MAX_OPEN.stanzas }, () => take())
  const { room } = handled
  all[0]?.finish()
  all[7]?.fail(new Error('the disk is full'))
  assert.equal(await isDone(room), true)
  assert.equal(failures.length, 1)
  assert.equal(handled.h, 1)
  take()
  assert.equal(handled.pending, 6)
  // What came before the one that failed is safe yet, and is not sent again.
  for (const earlier of all.slice(1, 7)) earlier.finish()
  assert.equal(handled.idle, undefined)
  assert.equal(handled.h, 7)
  handled.restart()
  take().finish()
  assert.equal(handled.h, 8)
})

test('what is not settled in time is forgotten', async () => {
  const { handled, take } = start()
  take().finish()
  const late = take()
  await handled.settle(1)
  assert.equal(handled.idle, undefined)
  late.finish()
  assert.equal(handled.h, 1)
  assert.equal(handled.taken, 1)
})

test('what comes as the last one is settled is waited for as well', async () => {
  const { handled, take } = start()
  const first = take()
  const settled = handled.settle(1_000)
  first.finish()
  const second = take()
  assert.equal(await isDone(settled), false)
  second.finish()
  await settled
  assert.equal(handled.h, 2)
})

test('whatever the order in which they settle: those up to the first open one are counted', () => {
  const settling = fc.array(fc.nat({ max: 9 }), { maxLength: 30 })
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 10 }), settling, (count, order) => {
      const { handled, take } = start()
      const all = Array.from({ length: count }, () => take(100))
      const isOpen = all.map(() => true)
      for (const index of order) {
        if (isOpen[index] !== true) continue
        isOpen[index] = false
        all[index]?.finish()
        const first = isOpen.indexOf(true)
        assert.equal(handled.settled, first < 0 ? count : first)
        assert.equal(handled.pending, count - handled.settled)
      }
    }),
  )
})

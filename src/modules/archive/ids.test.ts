import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ALL_IDS, ArchiveIds, boundAt, idAt, isArchiveId, timeOf } from './ids.ts'

const NOON = Date.UTC(2026, 7, 1, 12)

test('ids ascend and never repeat, whatever the clock does', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: -5_000, max: 5_000 }), { maxLength: 200 }), (steps) => {
      let now = NOON
      const ids = new ArchiveIds(() => now)
      let last = ids.next()
      for (const step of steps) {
        now += step
        const id = ids.next()
        assert(id > last, `${id} after ${last}`)
        assert(isArchiveId(id))
        last = id
      }
    }),
  )
})

test('many within a millisecond go on in the next, and still ascend', () => {
  const ids = new ArchiveIds(() => NOON)
  let last = ''
  for (let count = 0; count < 200_000; count++) {
    const id = ids.next()
    assert(id > last)
    last = id
  }
  assert(timeOf(last) - NOON < 10)
})

test('an id tells its time', () => {
  assert.equal(timeOf(new ArchiveIds(() => NOON).next()), NOON)
})

test('ids go on behind those of an earlier run', () => {
  const earlier = new ArchiveIds(() => NOON + 60_000).next()
  const ids = new ArchiveIds(() => NOON)
  ids.startAbove(earlier)
  assert(ids.next() > earlier)
})

test('a bound stands before the ids of its time and behind those before', () => {
  const before = new ArchiveIds(() => NOON - 1).next()
  const id = new ArchiveIds(() => NOON).next()
  assert(before < boundAt(NOON) && boundAt(NOON) < id && id < boundAt(NOON + 1))
  assert.equal(boundAt(Date.UTC(1989, 0)), ALL_IDS.after)
  assert(boundAt(Date.UTC(9999, 0)) <= ALL_IDS.before && boundAt(Date.UTC(9999, 0)) > id)
})

test('two runs at the same moment do not give the same ids', () => {
  const one = new ArchiveIds(() => NOON)
  const other = new ArchiveIds(() => NOON)
  const ids = new Set(Array.from({ length: 100 }, () => [one.next(), other.next()]).flat())
  assert.equal(ids.size, 200)
})

test('messages archived elsewhere sort by their time, then in their order, before 2020 too', () => {
  const times = [Date.UTC(1985, 0), Date.UTC(1999, 5, 1), Date.UTC(2019, 11, 31, 23, 59, 59, 999)]
  times.push(Date.UTC(2020, 0, 1), Date.UTC(2026, 1, 1))
  const ids = times.flatMap((at) => [0, 1, 8191].map((order) => idAt(at, order, 2 ** 32 - 1)))
  assert.deepEqual(ids.toSorted(), ids)
  assert.ok(ids.every(isArchiveId))
  assert.deepEqual(
    ids.slice(3).map(timeOf),
    times.slice(1).flatMap((at) => [at, at, at]),
  )
  assert.equal(timeOf(ids[0] as string), Date.UTC(1990, 0, 1))
  for (const [index, at] of times.entries()) {
    if (index > 0) assert.ok(boundAt(at) < (ids[index * 3] as string))
    if (index > 0) assert.ok(boundAt(at) > (ids[index * 3 - 1] as string))
  }
})

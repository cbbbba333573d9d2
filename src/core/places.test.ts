import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Places } from './places.ts'

test('places ascend within a millisecond, and with the clock', () => {
  let now = 5
  const places = new Places(() => now)
  const first = [places.next(), places.next()]
  now = 6
  const all = [...first, places.next()]
  assert.deepEqual(all, [5_000, 5_001, 6_000])
})

test('they ascend though the clock steps back, or was ahead in an earlier run', () => {
  let now = 5
  const places = new Places(() => now)
  const before = places.next()
  now = 3
  assert.ok(places.next() > before)
  places.startBehind(9_000)
  assert.equal(places.next(), 9_001)
  places.startBehind(1)
  assert.equal(places.next(), 9_002)
})

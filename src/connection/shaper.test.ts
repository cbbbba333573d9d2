import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Shaper } from './shaper.ts'

test('a burst passes at once, what follows at the rate', () => {
  let now = 0
  const shaper = new Shaper(1_000, 500, () => now)
  assert.equal(shaper.take(500), 0)
  assert.equal(shaper.take(100), 100)
  now += 100
  assert.equal(shaper.take(0), 0)
  assert.equal(shaper.take(1_000), 1_000)
})

test('silence earns no more than the burst', () => {
  let now = 0
  const shaper = new Shaper(1_000, 500, () => now)
  now += 60_000
  assert.equal(shaper.take(501), 1)
})

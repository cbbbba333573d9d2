import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RateLimit } from './rate-limit.ts'

test('so often in a window, each key for itself', () => {
  let now = 0
  const limit = new RateLimit({ limit: 2, window: 100, maxKeys: 10, now: () => now })
  assert.deepEqual(
    ['a', 'a', 'a', 'b'].map((key) => limit.take(key)),
    [true, true, false, true],
  )
  now = 99
  assert.equal(limit.take('a'), false)
  now = 100
  assert.equal(limit.take('a'), true)
})

test('only so many keys are remembered, the oldest goes first', () => {
  const limit = new RateLimit({ limit: 1, window: 100, maxKeys: 2, now: () => 0 })
  for (const key of ['a', 'b', 'c']) assert.equal(limit.take(key), true)
  assert.equal(limit.take('c'), false)
  assert.equal(limit.take('b'), false)
  assert.equal(limit.take('a'), true)
})

test('what is given back does not count', () => {
  let now = 0
  const limit = new RateLimit({ limit: 2, window: 100, maxKeys: 2, now: () => now })
  assert.equal(limit.isSpent('a'), false)
  limit.giveBack('a')
  for (let i = 0; i < 10; i++) {
    assert.equal(limit.take('a'), true)
    limit.giveBack('a')
  }
  limit.take('a')
  assert.equal(limit.isSpent('a'), false)
  limit.take('a')
  assert.equal(limit.isSpent('a'), true)
  now = 100
  assert.equal(limit.isSpent('a'), false)
})

test('what is given back begins no window', () => {
  let now = 0
  const limit = new RateLimit({ limit: 1, window: 100, maxKeys: 2, now: () => now })
  limit.take('a')
  limit.giveBack('a')
  now = 50
  limit.take('a')
  now = 120
  assert.equal(limit.isSpent('a'), true)
})

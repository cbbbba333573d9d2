import assert from 'node:assert/strict'
import { test } from 'node:test'
import { chunkBegins, chunkEnds, oncePerChunk } from './chunk-time.ts'

test('time passes between chunks, not within one', () => {
  let now = 0
  const time = oncePerChunk(() => ++now)
  assert.deepEqual([time(), time()], [1, 2])
  chunkBegins()
  assert.deepEqual([time(), time()], [3, 3])
  chunkEnds()
  chunkBegins()
  assert.deepEqual([time(), time()], [4, 4])
  chunkEnds()
  assert.deepEqual([time(), time()], [5, 6])
})

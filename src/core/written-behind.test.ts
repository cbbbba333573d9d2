import assert from 'node:assert/strict'
import { test } from 'node:test'
import { WrittenBehind } from './written-behind.ts'

test('what is written behind waits, and is then asked for in its order, once', () => {
  const behind = new WrittenBehind({ isShared: false })
  const written: number[] = []
  for (const each of [1, 2, 3]) behind.put(async () => void written.push(each))
  assert.deepEqual(written, [])
  behind.flush()
  assert.deepEqual(written, [1, 2, 3])
  behind.flush()
  assert.equal(written.length, 3)
})

test('nothing waits where other nodes read it', () => {
  const behind = new WrittenBehind({ isShared: true })
  let written = 0
  behind.put(async () => void written++)
  assert.equal(written, 1)
})

test('not more than a thousand wait', () => {
  const behind = new WrittenBehind({ isShared: false })
  let written = 0
  for (let i = 0; i < 1_500; i++) behind.put(async () => void written++)
  assert.equal(written, 1_000)
})

test('the end waits for all that was put', async () => {
  const behind = new WrittenBehind({ isShared: false })
  const [first, second] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  behind.put(() => first.promise)
  behind.flush()
  behind.put(() => second.promise)
  let isOver = false
  const stopped = behind.stop().then(() => {
    isOver = true
  })
  first.resolve()
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(isOver, false)
  second.resolve()
  await stopped
})

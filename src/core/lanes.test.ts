import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Lanes } from './lanes.ts'

test('without anything to wait for, work is done at once', () => {
  const lanes = new Lanes()
  assert.equal(
    lanes.run('a', () => 1),
    1,
  )
  assert.equal(lanes.size, 0)
})

test('a lane keeps its order, also behind failures; others do not wait', async () => {
  const lanes = new Lanes()
  const done: string[] = []
  const first = Promise.withResolvers<void>()
  const failed = lanes.run('a', () => first.promise) as Promise<void>
  const second = lanes.run('a', () => void done.push('second'))
  const third = lanes.run('a', () => void done.push('third'))
  void lanes.run('b', () => void done.push('other'))
  assert.deepEqual(done, ['other'])
  first.reject(new Error('on purpose'))
  await assert.rejects(failed)
  await second
  await third
  assert.deepEqual(done, ['other', 'second', 'third'])
  assert.equal(lanes.size, 0)
})

test('what is done aside waits, and is waited for by nobody', async () => {
  const lanes = new Lanes()
  const done: string[] = []
  const first = Promise.withResolvers<void>()
  const aside = Promise.withResolvers<void>()
  const before = lanes.run('a', () => first.promise)
  const waiting = lanes.runAside('a', () => {
    done.push('aside')
    return aside.promise
  })
  const last = lanes.run('a', () => void done.push('last'))
  assert.deepEqual(done, [])
  first.resolve()
  await before
  await last
  assert.deepEqual(done, ['aside', 'last'])
  aside.resolve()
  await waiting
})

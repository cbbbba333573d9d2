import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Feed } from './feed.ts'

const all = async (items: AsyncIterable<string>) => {
  const read: string[] = []
  for await (const item of items) read.push(item)
  return read
}
const missed = (count: number) => `${count} missed`

test('what is pushed is read, before and after it is waited for', async () => {
  const feed = new Feed<string>(10, missed)
  feed.push('a')
  const reader = feed[Symbol.asyncIterator]()
  assert.equal((await reader.next()).value, 'a')
  const waiting = reader.next()
  feed.push('b')
  assert.equal((await waiting).value, 'b')
  feed.push('c')
  feed.end()
  feed.push('too late')
  assert.deepEqual(
    [await reader.next(), (await reader.next()).done],
    [{ value: 'c', done: false }, true],
  )
})

test('a slow reader is told where something is missing, and how much', async () => {
  const feed = new Feed<string>(2, missed)
  const reader = feed[Symbol.asyncIterator]()
  for (const item of ['a', 'b', 'c', 'd']) feed.push(item)
  assert.equal((await reader.next()).value, 'a')
  feed.push('e')
  feed.end()
  assert.deepEqual(await all({ [Symbol.asyncIterator]: () => reader }), ['b', '2 missed', 'e'])
})

test('what is missing at the end is told as well', async () => {
  const feed = new Feed<string>(1, missed)
  feed.push('a')
  feed.push('b')
  feed.end()
  assert.deepEqual(await all(feed), ['a', '1 missed'])
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import type { Connection } from './connection.ts'
import { Turn } from './turn.ts'

function stage() {
  const turn = new Turn()
  const flushed: string[] = []
  const write = (name: string, octets: number) => {
    turn.add({ flush: () => flushed.push(name) } as unknown as Connection)
    turn.written += octets
  }
  return { turn, flushed, write }
}

test('output leaves at the end of the turn, each connection once', async () => {
  const { turn, flushed, write } = stage()
  write('juliet', 100)
  write('romeo', 100)
  turn.relieve()
  assert.deepEqual(flushed, [])
  await setImmediate()
  assert.deepEqual(flushed, ['juliet', 'romeo'])
  write('nurse', 100)
  await setImmediate()
  assert.deepEqual(flushed, ['juliet', 'romeo', 'nurse'])
})

test('much output leaves as soon as what brought it is dealt with', async () => {
  const { turn, flushed, write } = stage()
  write('juliet', 60_000)
  turn.relieve()
  assert.deepEqual(flushed, [])
  write('romeo', 60_000)
  turn.relieve()
  assert.deepEqual(flushed, ['juliet', 'romeo'])
  write('nurse', 60_000)
  turn.relieve()
  await setImmediate()
  assert.deepEqual(flushed, ['juliet', 'romeo', 'nurse'])
})

test('of what many have sent, each has a share in a turn once it is much', async () => {
  const { turn } = stage()
  assert.equal(turn.shareOf(60_000), 60_000)
  assert.equal(turn.shareOf(60_000), 60_000)
  assert.equal(turn.shareOf(60_000), 4 * 1024)
  assert.equal(turn.shareOf(1_000), 1_000)
  await setImmediate()
  assert.equal(turn.shareOf(60_000), 60_000)
})

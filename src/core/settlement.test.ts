import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Settlement } from './settlement.ts'

test('what is begun after all was safe is waited for as well', async () => {
  const settlement = new Settlement()
  settlement.begin()
  const first = settlement.done
  settlement.finish()
  await first
  assert.equal(settlement.done, undefined)
  settlement.begin()
  const second = settlement.done
  assert.notEqual(second, first)
  settlement.fail(new Error('the disk is full'))
  for (const done of [second, settlement.done]) {
    await assert.rejects(async () => done, /the disk is full/)
  }
})

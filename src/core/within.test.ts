import assert from 'node:assert/strict'
import { test } from 'node:test'
import { within } from './within.ts'

test('work that is done in time is waited for', async () => {
  assert.equal(await within(60_000, Promise.resolve()), true)
  await assert.rejects(within(60_000, Promise.reject(new Error('failed'))), /failed/)
})

test('what takes longer is not', async (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] })
  const waited = within(1_000, new Promise(() => {}))
  context.mock.timers.tick(1_000)
  assert.equal(await waited, false)
})

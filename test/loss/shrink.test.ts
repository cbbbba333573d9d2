import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Breach } from './ledger.ts'
import { makePlan, type Plan, shortened } from './plan.ts'
import { shrink } from './shrink.ts'

const plan = makePlan({
  seed: 1,
  messages: 4_000,
  kills: 3,
  senders: 2,
  recipients: 2,
  seconds: 1,
  archive: true,
})

const shrunk = (probe: (plan: Plan) => Promise<ReadonlySet<Breach>>) =>
  shrink(plan, new Set<Breach>(['lost']), probe, {
    tries: 1,
    until: Number.POSITIVE_INFINITY,
    onFound() {},
    shorten: shortened,
  })

test('what has nothing to do with a failure is left out', async () => {
  const guilty = plan.happenings.slice(2, 3)
  const isGuilty = (all: Plan['happenings']) => guilty.every((one) => all.includes(one))
  const found = await shrunk(
    async ({ happenings }) => new Set(isGuilty(happenings) ? ['lost'] : []),
  )
  assert.deepEqual(found.happenings, guilty)
  assert.ok(found.messages < plan.messages)
})

test('another failure does not count', async () => {
  const found = await shrunk(async () => new Set(['reordered'] as const))
  assert.equal(found, plan)
})

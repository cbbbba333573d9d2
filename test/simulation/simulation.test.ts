import assert from 'node:assert/strict'
import { test } from 'node:test'
import { play } from './history.ts'
import { makePlan } from './plan.ts'

/** Always the same, so that whoever changes something sees what it has changed. */
const FIRST = 1
const HISTORIES = 300
/** Failed once. */
const FAILED = [
  3757, 1000318, 1006524, 10012297, 10030155, 10037758, 20000818, 20003784, 20027991, 30005913,
]

test('a cluster loses nothing, and agrees again on who is where, whatever happens', async () => {
  const seeds = Array.from({ length: HISTORIES }, (_, index) => FIRST + index)
  for (const seed of [...seeds, ...FAILED]) {
    const { breaches } = await play(makePlan(seed))
    assert.deepEqual([...breaches], [], `npm run test:simulation -- --seed ${seed} --histories 1`)
  }
})

test('the same seed is the same history', async () => {
  const plan = makePlan(7)
  const [one, other] = [await play(plan, { isLogged: true }), await play(plan, { isLogged: true })]
  assert.ok(one.log.length > 20)
  assert.deepEqual(one.log, other.log)
})

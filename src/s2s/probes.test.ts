import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Probes } from './probes.ts'

test('of a server that leaves out answers nothing is kept before the last that came', () => {
  const probes = new Probes()
  const answered: number[] = []
  const ids = Array.from({ length: 100 }, (_, n) => probes.begin(() => answered.push(n)))
  assert.equal(probes.answered('something else'), false)
  assert.equal(probes.answered(ids[97] as string), true)
  assert.equal(probes.size, 2)
  assert.equal(probes.answered(ids[3] as string), false)
  assert.equal(probes.answered(ids[98] as string), true)
  assert.deepEqual(answered, [97, 98])
  probes.forget()
  assert.equal(probes.size, 0)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { rendezvous } from './rendezvous.ts'

const users = Array.from({ length: 3000 }, (_, i) => `user${i}@im.example.com`)
const same = (name: string) => name
const chosen = (names: readonly string[]) => users.map((user) => rendezvous(user, names, same))

test('of nobody nobody is chosen', () => {
  assert.equal(rendezvous('juliet', [], same), undefined)
})

test('every candidate gets its share', () => {
  const counts = new Map<string | undefined, number>()
  for (const name of chosen(['a', 'b', 'c'])) counts.set(name, (counts.get(name) ?? 0) + 1)
  for (const name of ['a', 'b', 'c']) {
    const share = counts.get(name) ?? 0
    assert.ok(share > 850 && share < 1150, `${name} got ${share}`)
  }
})

test('the order of the candidates decides nothing', () => {
  assert.deepEqual(chosen(['a', 'b', 'c']), chosen(['c', 'a', 'b']))
})

test('when one goes, only what it served is served by others', () => {
  const before = chosen(['a', 'b', 'c'])
  const after = chosen(['a', 'c'])
  before.forEach((name, i) => {
    if (name !== 'b') assert.equal(after[i], name)
  })
})

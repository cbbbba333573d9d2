import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Window } from './window.ts'

type Step = readonly ['set' | 'delete' | 'get', number]

/** Small leaps, and some beyond all that has a place in the ring. */
const leap = fc.oneof(
  { weight: 20, arbitrary: fc.integer({ min: 1, max: 3 }) },
  { weight: 2, arbitrary: fc.integer({ min: 4_000, max: 4_200 }) },
  { weight: 1, arbitrary: fc.integer({ min: 8_000, max: 20_000 }) },
)
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.tuple(fc.constant('set' as const), leap),
  fc.tuple(fc.constantFrom('delete' as const, 'get' as const), fc.nat(30)),
)

test('what is under way is found by its number, and in order', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const window = new Window<string>()
      const map = new Map<number, string>()
      const used: number[] = []
      let newest = 0
      for (const [what, value] of steps) {
        if (what === 'set') {
          newest += value
          window.set(newest, `item ${newest}`)
          map.set(newest, `item ${newest}`)
          used.push(newest)
          continue
        }
        const number = used[value % used.length] ?? value
        assert.equal(window.get(number), map.get(number))
        if (what === 'delete') {
          window.delete(number)
          map.delete(number)
        }
      }
      assert.deepEqual([...window], [...map])
      assert.equal(window.size, map.size)
      assert.equal(window.get(newest + 1), undefined)
      window.clear()
      assert.deepEqual([...window], [])
    }),
  )
})

test('what is taken away while all are looked at is left out', () => {
  const window = new Window<number>()
  for (let number = 1; number <= 5_000; number++) window.set(number, number)
  const seen: number[] = []
  for (const [number] of window) {
    seen.push(number)
    window.delete(number)
    window.delete(number + 1)
  }
  assert.equal(seen.length, 2_500)
  assert.deepEqual([...window], [])
})

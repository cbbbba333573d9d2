import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { editDistance, nearest } from './near.ts'

const keys = ['address', 'port', 'tls', 'max_stanza_size', 'max_connections']

test('the nearest candidate is proposed, if it is near enough', () => {
  const cases: [string, string | undefined][] = [
    ['adress', 'address'],
    ['prot', 'port'],
    ['PORT', 'port'],
    ['tsl', 'tls'],
    ['max_stanzasize', 'max_stanza_size'],
    ['max_conections', 'max_connections'],
    ['colour', undefined],
    ['x', undefined],
  ]
  for (const [word, expected] of cases) assert.equal(nearest(word, keys), expected, word)
})

test('distances are those of a metric', () => {
  const word = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 6 })
  fc.assert(
    fc.property(word, word, (a, b) => {
      const distance = editDistance(a, b)
      assert.equal(distance === 0, a === b)
      assert.equal(distance, editDistance(b, a))
      assert.ok(distance >= Math.abs(a.length - b.length))
      assert.ok(distance <= Math.max(a.length, b.length))
    }),
  )
})

test('a swap, a letter too many, one too few and a wrong one count as one mistake each', () => {
  for (const word of ['prot', 'portt', 'pot', 'pork']) assert.equal(editDistance(word, 'port'), 1)
  assert.equal(editDistance('kitten', 'sitting'), 3)
})

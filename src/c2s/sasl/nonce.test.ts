import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newNonce } from './nonce.ts'

test('no nonce comes twice, and each is printable', () => {
  const nonces = Array.from({ length: 1000 }, newNonce)
  assert.equal(new Set(nonces).size, nonces.length)
  for (const nonce of nonces) assert.match(nonce, /^[A-Za-z0-9+/]{32}$/)
  // Nothing of one is in another: they do not overlap in what was drawn.
  const halves = nonces.flatMap((nonce) => [nonce.slice(0, 16), nonce.slice(16)])
  assert.equal(new Set(halves).size, halves.length)
})

import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { hmac } from './hmac.ts'

test('it is what OpenSSL makes of it', () => {
  fc.assert(
    fc.property(
      fc.constantFrom('sha1' as const, 'sha256' as const),
      fc.uint8Array({ maxLength: 64 }),
      fc.uint8Array({ maxLength: 300 }),
      (digest, key, message) => {
        const expected = createHmac(digest, key).update(message).digest()
        assert.deepEqual(hmac(digest, key, message), expected)
      },
    ),
  )
})

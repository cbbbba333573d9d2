import { hash } from 'node:crypto'

/** Of both SHA-1 and SHA-256, in octets. */
const BLOCK = 64
const INNER = 0x36
const OUTER = 0x5c

/**
 * HMAC (RFC 2104) by two calls that hash at once. For a short message the objects that hash bit by bit
 * cost more than the hashing, above all when the last login is a while ago. `key` has at most a block.
 */
export function hmac(digest: 'sha1' | 'sha256', key: Uint8Array, message: Uint8Array): Buffer {
  const inner = Buffer.allocUnsafe(BLOCK + message.length)
  pad(inner, INNER, key)
  inner.set(message, BLOCK)
  const first = hash(digest, inner, 'buffer')
  const outer = Buffer.allocUnsafe(BLOCK + first.length)
  pad(outer, OUTER, key)
  outer.set(first, BLOCK)
  return hash(digest, outer, 'buffer')
}

function pad(block: Buffer, octet: number, key: Uint8Array): void {
  block.fill(octet, 0, BLOCK)
  for (let i = 0; i < key.length; i++) block[i] = octet ^ (key[i] as number)
}

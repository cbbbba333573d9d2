import { randomFillSync } from 'node:crypto'

/** Octets of one; a multiple of three, so that its base64 has no `=`. */
const OCTETS = 24
/** Drawn at once: to ask for random octets costs more than to make them. */
const DRAWN = 128

const pool = Buffer.alloc(DRAWN * OCTETS)
let used = pool.length

/** Printable, without comma (RFC 5802 §5.1), and never the same again; 192 random bits. */
export function newNonce(): string {
  if (used === pool.length) {
    randomFillSync(pool)
    used = 0
  }
  const end = used + OCTETS
  const nonce = pool.toString('base64', used, end)
  pool.fill(0, used, end)
  used = end
  return nonce
}

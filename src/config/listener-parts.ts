import { isIP } from 'node:net'
import { z } from 'zod'
import { size } from '../core/config-types.ts'

/** What the settings of all kinds of listeners are made of. */

/** RFC 6120 §13.12: a server must not refuse smaller stanzas than this, in bytes. */
export const SMALLEST_STANZA_LIMIT = 10_000

export function listenAddress() {
  return z
    .string()
    .refine(isListenAddress, 'an IP address, a host name or "*"')
    .describe('IP address or host name to listen on; "*" is every address, of IPv4 and IPv6.')
}

export function isListenAddress(text: string): boolean {
  return text === '*' || isIP(text) !== 0 || /^(?!-)[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*$/.test(text)
}

const PORT = 'a port from 0 to 65535 (0 is any free one)'

export function listenPort() {
  return z.int(PORT).min(0, PORT).max(65535, PORT)
}

export const shaper = z
  .union(
    [
      z.literal('none'),
      size({ min: 1 }),
      z.strictObject({
        rate: size({ min: 1 }).describe('Bytes per second, in the long run.'),
        burst: size({ min: 1 })
          .optional()
          .describe('Bytes that may come at once after a silence. Default: those of a second.'),
      }),
    ],
    {
      error: '"none", bytes per second such as "64KiB", or { rate = "64KiB", burst = "256KiB" }',
    },
  )
  .transform((value) => {
    if (value === 'none') return value
    const { rate, burst = rate } = typeof value === 'number' ? { rate: value } : value
    return { rate, burst }
  })

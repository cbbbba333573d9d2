import { z } from 'zod'
import { addressScope, domain, duration, size } from '../core/config-types.ts'
import { listenAddress, listenPort, SMALLEST_STANZA_LIMIT, shaper } from './listener-parts.ts'

const secret = z.string().min(1, 'a secret that the component knows, too')

const WHO = '"all", "local", or an array of domains and JIDs'

/** `[[listen.component]]`. */
export const componentListener = z.strictObject({
  address: listenAddress().default('127.0.0.1'),
  port: listenPort().default(5347).describe('TCP port; 0 is any free one.'),
  tls: z
    .enum(['none', 'direct'])
    .default('none')
    .describe('"direct": TLS from the first byte; "none": no TLS, for networks that are trusted.'),
  secret: secret
    .optional()
    .describe('What every component without a secret of its own has to know. Else it is refused.'),
  secrets: z
    .record(domain(), secret)
    .default({})
    .describe(
      'Secrets of single components, by their domains, or by their names where they serve a ' +
        'subdomain of each domain (`is_subdomain`).',
    ),
  conflict_behaviour: z
    .enum(['disconnect', 'kick_old', 'share'])
    .default('disconnect')
    .describe(
      'When a component comes whose domain another connection has: "disconnect" refuses it; ' +
        '"kick_old" closes the other; "share" lets both have the stanzas of some senders each.',
    ),
  check_from: z
    .boolean()
    .default(true)
    .describe('Whether a component may speak for addresses of its own domain only.'),
  hidden: z
    .boolean()
    .default(false)
    .describe('Leaves its components out of what service discovery tells.'),
  access: z
    .union([z.enum(['all', 'local']), z.array(addressScope())], { error: WHO })
    .default('all')
    .describe('Who may send to its components: "all", "local" users, or those listed.'),
  max_stanza_size: size({ min: SMALLEST_STANZA_LIMIT, max: '64MiB' })
    .prefault('1MiB')
    .describe('A component that sends a larger stanza is disconnected.'),
  max_queue: size({ min: '64KiB' })
    .prefault('4MiB')
    .describe('What waits for a component that does not read. More is refused.'),
  blocked_timeout: duration({ min: '1s' })
    .prefault('1m')
    .describe('A component that reads nothing for so long is disconnected.'),
  shaper: shaper
    .prefault('none')
    .describe('How fast a component may send: bytes per second, or { rate, burst }.'),
  max_connections: z.int().min(1).default(1_000).describe('Connections at the same time.'),
  max_connections_per_address: z
    .int()
    .min(1)
    .default(1_000)
    .describe('Connections at the same time from one IP address.'),
  pre_auth_timeout: duration({ min: '1s', max: '1h' })
    .prefault('30s')
    .describe('Time from connecting to the handshake.'),
  backlog: z
    .int()
    .min(1)
    .max(65535)
    .default(128)
    .describe('Connections that may wait to be accepted.'),
})

import { isIP } from 'node:net'
import { z } from 'zod'
import { domain, domainPattern, duration, size } from '../core/config-types.ts'
import {
  isListenAddress,
  listenAddress,
  listenPort,
  SMALLEST_STANZA_LIMIT,
} from './listener-parts.ts'
import { path } from './paths.ts'

/** Keys of the configuration file that are about other servers. */

export const serverListener = z
  .strictObject({
    address: listenAddress().default('*'),
    port: listenPort()
      .optional()
      .describe('TCP port; 0 is any free one. Default: 5269, or 5270 where TLS is direct.'),
    tls: z
      .enum(['starttls', 'required', 'direct', 'none'])
      .default('required')
      .describe(
        '"required": STARTTLS before a server may prove its domain; "starttls": offered; "direct": ' +
          'TLS from the first byte (XEP-0368); "none": no TLS.',
      ),
    max_stanza_size: size({ min: SMALLEST_STANZA_LIMIT, max: '64MiB' })
      .prefault('512KiB')
      .describe('A server that sends a larger stanza is disconnected.'),
    max_connections: z.int().min(1).default(2_000).describe('Connections at the same time.'),
    max_connections_per_address: z
      .int()
      .min(1)
      .default(100)
      .describe('Connections at the same time from one IP address.'),
    pre_auth_timeout: duration({ min: '1s', max: '1h' })
      .prefault('60s')
      .describe('Time from connecting to having proved a domain, TLS included.'),
    pre_auth_bytes: size({ min: SMALLEST_STANZA_LIMIT, max: '1MiB' })
      .prefault('64KiB')
      .describe('What a server may send before it has proved a domain.'),
    backlog: z
      .int()
      .min(1)
      .max(65535)
      .default(512)
      .describe('Connections that may wait to be accepted.'),
  })
  .transform((listener) => ({
    ...listener,
    port: listener.port ?? (listener.tls === 'direct' ? 5270 : 5269),
  }))

const dnsServer = z
  .string()
  .refine(
    isDnsServer,
    'an IP address, with a port if it is not 53: "192.0.2.1", "[2001:db8::1]:5353"',
  )

function isDnsServer(text: string): boolean {
  if (isIP(text) !== 0) return true
  const [, host = '', port] = /^\[?([^\]]+?)\]?:(\d{1,5})$/.exec(text) ?? []
  return isIP(host) !== 0 && Number(port) > 0 && Number(port) <= 65535
}

const override = z.strictObject({
  host: z
    .string()
    .refine((text) => text !== '*' && isListenAddress(text), 'an IP address or a host name')
    .describe('IP address or host name of its server.'),
  port: listenPort().min(1, 'a port from 1 to 65535').default(5269).describe('TCP port.'),
  direct_tls: z.boolean().default(false).describe('Whether TLS starts with the first byte there.'),
})

export const federation = z
  .strictObject({
    enabled: z
      .boolean()
      .optional()
      .describe(
        'Whether this server speaks with others. Default: if there is a `[[listen.s2s]]`, or this ' +
          'section.',
      ),
    tls: z
      .enum(['required', 'optional'])
      .default('required')
      .describe('"optional" also goes without TLS, which needs `certificates = "optional"` too.'),
    certificates: z
      .enum(['required', 'optional'])
      .default('required')
      .describe(
        '"required": a server that we connect to has to show a certificate for its domain, also ' +
          'when it is asked about a key of dialback; "optional": who answers at its address in DNS is believed.',
      ),
    dialback: z
      .boolean()
      .default(true)
      .describe(
        'Lets a server that shows no certificate when it connects to us prove its domain by being ' +
          'called back (XEP-0220), and does so where our certificate is not asked for.',
      ),
    bidi: z
      .boolean()
      .default(true)
      .describe('One connection for both directions, with servers that know how (XEP-0288).'),
    secret: z
      .string()
      .min(16, 'a text of at least 16 characters')
      .optional()
      .describe('What keys of dialback are made from. Default: one that is made once and stored.'),
    ca: path
      .optional()
      .describe('PEM file: who vouches for servers, in place of the authorities Node.js knows.'),
    allow: z
      .array(domainPattern())
      .optional()
      .describe('The only domains to speak with; "*.example.org" is all below it. Default: all.'),
    deny: z
      .array(domainPattern())
      .default([])
      .describe('Domains not to speak with, allowed or not.'),
    route_subdomains: z
      .boolean()
      .default(false)
      .describe(
        'Whether domains below those of this server, which it does not serve itself, may be on other servers.',
      ),
    resolver: z
      .array(dnsServer)
      .min(1)
      .optional()
      .describe('DNS servers to ask. Default: those of the system.'),
    overrides: z
      .record(domain(), override)
      .default({})
      .describe('Where the servers of single domains are, whatever DNS says.'),
    queue_size: size({ min: '16KiB', max: '64MiB' })
      .prefault('1MiB')
      .describe('Stanzas that may wait for one domain; more are returned to their senders.'),
    queue_timeout: duration({ min: '1s', max: '10m' })
      .prefault('30s')
      .describe('How long a stanza may wait for a connection before it is returned to its sender.'),
    max_domains: z
      .int()
      .min(1)
      .default(10_000)
      .describe('Pairs of a domain of ours and another one that may be connected or waited for.'),
    max_connecting: z
      .int()
      .min(1)
      .default(100)
      .describe('Connections that may be on the way at the same time; the others wait.'),
    connect_timeout: duration({ min: '1s', max: '5m' })
      .prefault('20s')
      .describe('How long it may take until a server accepts us, at each of its addresses.'),
    retry_delay: duration({ min: '10ms', max: '1m' })
      .prefault('1s')
      .describe('How long to wait after a failed attempt; doubled with each.'),
    max_retry_delay: duration({ min: '10ms', max: '1h' })
      .prefault('60s')
      .describe('The longest such wait.'),
    idle_timeout: duration({ min: '1s', max: '1w' })
      .prefault('10m')
      .describe('A connection on which nothing was said for so long is closed.'),
    ack_timeout: duration({ min: '1s', max: '10m' })
      .prefault('30s')
      .describe('How long a server may take to acknowledge what it was sent (XEP-0198).'),
    resume_timeout: duration({ min: '1s', max: '10m' })
      .prefault('60s')
      .describe('How long what was not acknowledged waits for a lost connection to come back.'),
  })
  .prefault({})
  .describe('Federation: other servers, and how to reach them.')

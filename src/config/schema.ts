import { isIP } from 'node:net'
import { z } from 'zod'
import { domain, domainPattern, duration, size } from '../core/config-types.ts'
import { LOG_LEVELS } from '../core/log.ts'
import { MOST_ATTRIBUTES, MOST_DEPTH } from '../xmpp/xml-parser.ts'
import { componentListener } from './component-schema.ts'
import {
  isListenAddress,
  listenAddress,
  listenPort,
  SMALLEST_STANZA_LIMIT,
  shaper,
} from './listener-parts.ts'

/** Every key of the configuration file, but for the settings of modules, which they declare. */

export const ROUTING_MODULES = [
  'global',
  'external_local',
  'external',
  'localdomain',
  's2s',
] as const

const path = z.string().min(1, 'a path')

const certificate = {
  certificate: path
    .optional()
    .describe('PEM file with the certificate, followed by those that vouch for it.'),
  key: path.optional().describe('PEM file with its private key.'),
}

export const clientListener = z
  .strictObject({
    address: listenAddress().default('*'),
    port: listenPort()
      .optional()
      .describe('TCP port; 0 is any free one. Default: 5222, or 5223 where TLS is direct.'),
    tls: z
      .enum(['starttls', 'required', 'direct', 'none'])
      .default('required')
      .describe(
        '"required": STARTTLS before a client may log in; "starttls": offered; "direct": TLS from ' +
          'the first byte (XEP-0368); "none": no TLS.',
      ),
    allow_plain_without_tls: z
      .boolean()
      .default(false)
      .describe('Lets passwords cross the network unencrypted (SASL PLAIN without TLS).'),
    max_stanza_size: size({ min: SMALLEST_STANZA_LIMIT, max: '64MiB' })
      .prefault('256KiB')
      .describe('A client that sends a larger stanza is disconnected.'),
    shaper: shaper
      .prefault('none')
      .describe(
        'How fast a client may send: bytes per second, or { rate, burst }. Faster ones wait.',
      ),
    max_connections: z.int().min(1).default(50_000).describe('Connections at the same time.'),
    max_connections_per_address: z
      .int()
      .min(1)
      .default(1_000)
      .describe('Connections at the same time from one IP address.'),
    pre_auth_timeout: duration({ min: '1s', max: '1h' })
      .prefault('30s')
      .describe('Time from connecting to being logged in, TLS included.'),
    pre_auth_bytes: size({ min: SMALLEST_STANZA_LIMIT, max: '1MiB' })
      .prefault('64KiB')
      .describe('What a client may send before it is logged in.'),
    backlog: z
      .int()
      .min(1)
      .max(65535)
      .default(1_024)
      .describe('Connections that may wait to be accepted.'),
  })
  .transform((listener) => ({
    ...listener,
    port: listener.port ?? (listener.tls === 'direct' ? 5223 : 5222),
  }))

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

const listen = z
  .strictObject({
    c2s: z
      .array(clientListener)
      .prefault([{}])
      .describe('Where clients connect; a `[[listen.c2s]]` for each address and port.'),
    component: z
      .array(componentListener)
      .default([])
      .describe(
        'Where external components connect (XEP-0114); a `[[listen.component]]` for each address ' +
          'and port.',
      ),
    s2s: z
      .array(serverListener)
      .default([])
      .describe('Where other servers connect; a `[[listen.s2s]]` for each address and port.'),
  })
  .prefault({})
  .describe('Where the server listens.')

const tls = z
  .strictObject({
    ...certificate,
    domains: z
      .record(domain(), z.strictObject(certificate))
      .default({})
      .describe('Certificates of single domains: `[tls.domains."im.example.com"]`.'),
  })
  .prefault({})
  .describe(
    'Certificates. Only `localhost` goes without: it gets one signed by itself. After a renewal, ' +
      'send the server SIGHUP: new connections get what the files hold then.',
  )

const auth = z
  .strictObject({
    registration: z
      .boolean()
      .default(false)
      .describe('Lets anybody who can connect create an account (XEP-0077).'),
    mechanisms: z
      .array(z.enum(['SCRAM-SHA-256', 'SCRAM-SHA-1', 'PLAIN']))
      .min(1)
      .default(['SCRAM-SHA-256', 'SCRAM-SHA-1', 'PLAIN'])
      .describe(
        'SASL mechanisms offered. SCRAM comes with channel binding where the connection has it; ' +
          'PLAIN is offered under TLS only.',
      ),
    scram_iterations: z
      .int()
      .min(4_096)
      .max(1_000_000)
      .default(10_000)
      .describe('Cost of guessing a stolen password hash, and of each login. For new passwords.'),
    anonymous: z
      .boolean()
      .default(false)
      .describe('Lets anybody in under a random address that is gone afterwards (XEP-0175).'),
  })
  .prefault({})
  .describe('Accounts and how they log in.')

const storage = z
  .strictObject({
    url: z
      .string()
      .regex(/^sqlite:./, '"sqlite:" and a path, such as "sqlite:meerkat.db"')
      .default('sqlite:meerkat.db')
      .describe('Where everything is kept. A relative path is inside `data_dir`.'),
  })
  .prefault({})
  .describe('Where everything is kept.')

const limits = z
  .strictObject({
    max_sessions_per_user: z
      .int()
      .min(1)
      .max(10_000)
      .default(50)
      .describe('Resources one account may have connected at the same time.'),
    max_depth: z
      .int()
      .min(20)
      .max(MOST_DEPTH)
      .default(100)
      .describe('How deep elements may nest; whoever nests them deeper is disconnected.'),
    max_attributes: z
      .int()
      .min(20)
      .max(MOST_ATTRIBUTES)
      .default(100)
      .describe('How many attributes an element may have, declarations of namespaces included.'),
    unknown_recipients_per_minute: z
      .int()
      .min(0)
      .default(100)
      .describe(
        "How many of a sender's messages to accounts that do not exist are returned in a minute; " +
          'more are dropped without an answer, so that names cannot be tried out.',
      ),
  })
  .prefault({})
  .describe('Limits on what users may take up. Those on connections are at each listener.')

const delivery = z
  .strictObject({
    normal_to_gone_resource: z
      .enum(['bounce', 'as-bare'])
      .default('bounce')
      .describe(
        'A message of type "normal" to a resource that is not connected: "bounce" returns it to ' +
          'its sender; "as-bare" treats it as one to the account, as those of type "chat" are.',
      ),
  })
  .prefault({})
  .describe('What becomes of stanzas where RFC 6121 leaves a choice.')

const log = z
  .strictObject({
    level: z.enum(LOG_LEVELS).default('info').describe('The least important events to write.'),
    format: z
      .enum(['auto', 'pretty', 'json'])
      .default('auto')
      .describe('"auto" is "pretty" on a terminal and "json", an object per line, otherwise.'),
  })
  .prefault({})
  .describe('The log, written to standard error.')

const admin = z
  .strictObject({
    socket: path
      .optional()
      .describe(
        'Unix socket on which the server takes commands from this machine. Default: ' +
          '`meerkat.sock` in `data_dir`.',
      ),
  })
  .prefault({})
  .describe('Administration.')

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

const s2s = z
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
      .describe('What keys of dialback are made from. Default: another one at each start.'),
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

/** Keys that the table of any module may have besides the module's own settings. */
export const moduleSwitches = z.looseObject({
  enabled: z.boolean().default(true).describe('Whether the module is loaded.'),
  from: path
    .optional()
    .describe('Of a module of your own: its npm package, or its file ("./my-module.ts").'),
})

export const fileSchema = z.strictObject({
  domains: z.array(domain()).min(1).describe('The domains whose users live here.'),
  data_dir: path
    .default('data')
    .describe('Directory for everything the server keeps. Made if it is not there.'),
  routing_modules: z
    .array(z.string().min(1))
    .min(1)
    .default([...ROUTING_MODULES])
    .describe(
      'Who is offered each stanza, in this order, until one takes it. Besides these: npm packages ' +
        'and files ("./my-router.ts") of your own.',
    ),
  listen,
  tls,
  s2s,
  auth,
  storage,
  limits,
  delivery,
  log,
  modules: z
    .record(z.string(), moduleSwitches)
    .default({})
    .describe('Settings of modules, a `[modules.NAME]` for each.'),
  admin,
})

export type FileSettings = z.output<typeof fileSchema>
export type ClientListener = FileSettings['listen']['c2s'][number]
export type ComponentListener = FileSettings['listen']['component'][number]
export type ServerListener = FileSettings['listen']['s2s'][number]
export type CertificateFiles = { readonly certificate: string; readonly key: string }

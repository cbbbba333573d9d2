import { isIP } from 'node:net'
import { z } from 'zod'
import { domain, duration, size } from '../core/config-types.ts'
import { LOG_LEVELS } from '../core/log.ts'

/** Every key of the configuration file, but for the settings of modules, which they declare. */

export const ROUTING_MODULES = [
  'global',
  'external_local',
  'external',
  'localdomain',
  's2s',
] as const

/** RFC 6120 §13.12: a server must not refuse smaller stanzas than this, in bytes. */
const SMALLEST_STANZA_LIMIT = 10_000

const path = z.string().min(1, 'a path')

const certificate = {
  certificate: path
    .optional()
    .describe('PEM file with the certificate, followed by those that vouch for it.'),
  key: path.optional().describe('PEM file with its private key.'),
}

const shaper = z
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

const address = z
  .string()
  .refine(isListenAddress, 'an IP address, a host name or "*"')
  .default('*')
  .describe('IP address or host name to listen on; "*" is every address, of IPv4 and IPv6.')

function isListenAddress(text: string): boolean {
  return text === '*' || isIP(text) !== 0 || /^(?!-)[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*$/.test(text)
}

const PORT = 'a port from 0 to 65535 (0 is any free one)'

export const clientListener = z
  .strictObject({
    address,
    port: z
      .int(PORT)
      .min(0, PORT)
      .max(65535, PORT)
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

const listen = z
  .strictObject({
    c2s: z
      .array(clientListener)
      .prefault([{}])
      .describe('Where clients connect; a `[[listen.c2s]]` for each address and port.'),
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
  .describe('Certificates. Only `localhost` goes without: it gets one signed by itself.')

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
  })
  .prefault({})
  .describe('Limits on what users may take up. Those on connections are at each listener.')

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
  auth,
  storage,
  limits,
  log,
  modules: z
    .record(z.string(), moduleSwitches)
    .default({})
    .describe('Settings of modules, a `[modules.NAME]` for each.'),
  admin,
})

export type FileSettings = z.output<typeof fileSchema>
export type ClientListener = FileSettings['listen']['c2s'][number]
export type CertificateFiles = { readonly certificate: string; readonly key: string }

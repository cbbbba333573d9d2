import { availableParallelism } from 'node:os'
import { z } from 'zod'
import { accountJid, domain, duration, size } from '../core/config-types.ts'
import { LOG_LEVELS } from '../core/log.ts'
import { MOST_ATTRIBUTES, MOST_DEPTH } from '../xmpp/xml-parser.ts'
import { cluster } from './cluster-schema.ts'
import { componentListener } from './component-schema.ts'
import { federation, serverListener } from './federation-schema.ts'
import { httpListener } from './http-schema.ts'
import { listenAddress, listenPort, SMALLEST_STANZA_LIMIT, shaper } from './listener-parts.ts'
import { path } from './paths.ts'
import { tracing } from './tracing-schema.ts'

/** Every key of the configuration file, but for the settings of modules, which they declare. */

export const ROUTING_MODULES = [
  'global',
  'external_local',
  'external',
  'localdomain',
  's2s',
] as const

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
    http: z
      .array(httpListener)
      .default([])
      .describe(
        'Where HTTP is spoken: administration, metrics, health. Nowhere unless there is a ' +
          '`[[listen.http]]`.',
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
    directory: path
      .optional()
      .describe(
        'Directory with a file `DOMAIN.pem`, certificate and key, for each domain that has no other; also ' +
          'for domains that are added while the server runs.',
      ),
    domains: z
      .record(domain(), z.strictObject(certificate))
      .default({})
      .describe('Certificates of single domains: `[tls.domains."im.example.com"]`.'),
  })
  .prefault({})
  .describe(
    'Certificates. Only `localhost` goes without: it gets one signed by itself. After a renewal, ' +
      'run `meerkat reload` or send the server SIGHUP: new connections get what the files hold then.',
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
    wrong_passwords_per_account: z
      .int()
      .min(1)
      .default(20)
      .describe(
        'Wrong passwords of one account in `wrong_passwords_window`, over all connections; then more are ' +
          'answered `temporary-auth-failure` without being looked at. From each network where the account has ' +
          'logged in it has as many of its own, so that nobody locks others out.',
      ),
    wrong_passwords_per_address: z
      .int()
      .min(1)
      .default(100)
      .describe(
        'The same from one address (IPv4, or IPv6 network), for whatever accounts. Accounts that have logged ' +
          'in from there still may.',
      ),
    wrong_passwords_window: duration({ min: '1s', max: '1d' })
      .prefault('10m')
      .describe('See `wrong_passwords_per_account`. It begins with the first wrong password.'),
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
      .regex(
        /^(sqlite:.|postgres(ql)?:\/\/)/,
        '"sqlite:" and a path, such as "sqlite:meerkat.db", or "postgres://user@host/database"',
      )
      .default('sqlite:meerkat.db')
      .describe(
        '`sqlite:` and a path, relative to `data_dir`; or `postgres://user:password@host:5432/database`, several hosts separated by commas. A password is better in the environment (`PGPASSWORD`) or in the password file (`PGPASSFILE`).',
      ),
    connections: z
      .int()
      .min(1)
      .max(100)
      .default(5)
      .describe('PostgreSQL: connections at most. One of them writes, the others read.'),
    patience: duration({ min: '1s', max: '10m' })
      .prefault('10s')
      .describe(
        'PostgreSQL: how long what is asked waits for a server that is away, before it fails.',
      ),
  })
  .prefault({})
  .describe('Where everything is kept: in a file, or in a database of PostgreSQL.')

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
    jids: z
      .array(accountJid())
      .default([])
      .describe('Accounts whose clients may give every command (XEP-0050, XEP-0133).'),
    requests_per_minute: z
      .int()
      .min(1)
      .default(600)
      .describe('Requests that the HTTP API takes with one token.'),
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

/** The table of a module in the settings of one domain. */
export const hostModule = z.looseObject({
  enabled: z.boolean().optional().describe('Whether the domain has the module.'),
})

const host = z
  .record(
    domain(),
    z.strictObject({
      modules: z
        .record(z.string(), hostModule)
        .default({})
        .describe(
          'Settings of modules where they differ for the domain, a `[host."DOMAIN".modules.NAME]` for ' +
            'each, with the keys of `[modules.NAME]` but `from`; what is left out is as there. ' +
            '`enabled` switches a module off for the domain, or on.',
        ),
    }),
  )
  .default({})
  .describe('What is different for single domains.')

const workers = z
  .union([z.literal('auto'), z.int().min(1).max(64)], 'a number from 1 to 64, or "auto"')
  .transform((count) => (count === 'auto' ? availableParallelism() : count))

export const fileSchema = z.strictObject({
  domains: z.array(domain()).min(1).describe('The domains whose users live here.'),
  data_dir: path
    .default('data')
    .describe('Directory for everything the server keeps. Made if it is not there.'),
  workers: workers
    .prefault(1)
    .describe(
      'Processes that share the work, and the ports; "auto": one for each core. For the whole server ' +
        'they are one: what any of them knows, all know.',
    ),
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
  s2s: federation,
  auth,
  storage,
  cluster,
  limits,
  delivery,
  log,
  tracing,
  modules: z
    .record(z.string(), moduleSwitches)
    .default({})
    .describe('Settings of modules, a `[modules.NAME]` for each.'),
  host,
  admin,
})

export type FileSettings = z.output<typeof fileSchema>
export type ClientListener = FileSettings['listen']['c2s'][number]
export type ComponentListener = FileSettings['listen']['component'][number]
export type ServerListener = FileSettings['listen']['s2s'][number]
export type CertificateFiles = { readonly certificate: string; readonly key: string }

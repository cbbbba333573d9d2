/** The ways to other servers, and listeners for them, made from their settings. */
import { randomBytes } from 'node:crypto'
import type {
  Config,
  ServerListener as ListenerSettings,
  Federation as Settings,
} from './config.ts'
import { PeerTls } from './connection/peer-tls.ts'
import type { Authorities, TlsCertificates } from './connection/tls.ts'
import type { WriteTurn } from './connection/write-turn.ts'
import { Federation } from './s2s/federation.ts'
import type { IncomingPolicy } from './s2s/incoming-stream.ts'
import { ServerListener } from './s2s/listener.ts'
import type { Target } from './s2s/targets.ts'
import type { Server } from './server.ts'

/** How long a server may leave output unread, milliseconds. */
const BLOCKED_TIMEOUT = 60_000
/** Of stanzas on connections of ours where no listener says how large they may be. */
const MAX_STANZA_SIZE = 512 * 1024

type Certificates = Authorities & { readonly certificates: TlsCertificates | undefined }

export function federation(
  settings: Settings,
  server: Pick<Server, 'config' | 'router' | 'components' | 'routes' | 'hooks' | 'log' | 'parsing'>,
  turn: WriteTurn,
  { certificates, ca }: Certificates,
): Federation {
  const { config, router, components, routes, hooks, log, parsing } = server
  const { allow, deny, resolver, tls, dialback, bidi } = settings
  const sizes = config.listen.s2s.map(({ max_stanza_size }) => max_stanza_size)
  const options = {
    tls,
    certificates: settings.certificates,
    dialback,
    bidi,
    allow,
    deny,
    resolver,
    overrides: overridesOf(settings),
    secret: settings.secret ?? randomBytes(32).toString('hex'),
    ackTimeout: settings.ack_timeout,
    maxDomains: settings.max_domains,
    maxConnecting: settings.max_connecting,
    parsing: { ...parsing, maxStanzaSize: sizes.length > 0 ? Math.max(...sizes) : MAX_STANZA_SIZE },
    limits: {
      queueSize: settings.queue_size,
      queueTimeout: settings.queue_timeout,
      connectTimeout: settings.connect_timeout,
      retryDelay: settings.retry_delay,
      maxRetryDelay: settings.max_retry_delay,
      idleTimeout: settings.idle_timeout,
      resumeTimeout: settings.resume_timeout,
    },
  }
  return new Federation(options, {
    router,
    hooks,
    tls: new PeerTls(certificates, { ca }),
    turn,
    log,
    defaultDomain: config.domains[0] as string,
    serves: (domain) => routes.find(domain) !== undefined || components.has(domain),
  })
}

function overridesOf({ overrides }: Settings): Readonly<Record<string, Target>> {
  const entries = Object.entries(overrides).map(([domain, { host, port, direct_tls }]) => {
    const target: Target = { host, port, isDirect: direct_tls }
    return [domain, target] as const
  })
  return Object.fromEntries(entries)
}

export function serverListeners(
  { listen, s2s }: Config,
  federation: Federation | undefined,
  { log, parsing }: Pick<Server, 'log' | 'parsing'>,
  turn: WriteTurn,
): ServerListener[] {
  if (s2s === undefined || federation === undefined) return []
  return listen.s2s.map((settings) => {
    const options = {
      host: settings.address === '*' ? undefined : settings.address,
      port: settings.port,
      backlog: settings.backlog,
      tls: settings.tls,
      shaper: undefined,
      maxConnections: settings.max_connections,
      maxConnectionsPerAddress: settings.max_connections_per_address,
      preAuthTimeout: settings.pre_auth_timeout,
      blockedTimeout: BLOCKED_TIMEOUT,
    }
    return new ServerListener(options, policyOf(settings, s2s, parsing), federation, turn, log)
  })
}

const START_TLS = {
  required: 'required',
  starttls: 'offered',
  direct: 'none',
  none: 'none',
} as const satisfies Record<ListenerSettings['tls'], IncomingPolicy['startTls']>

function policyOf(
  settings: ListenerSettings,
  { dialback, bidi }: Settings,
  parsing: Server['parsing'],
): IncomingPolicy {
  const { pre_auth_bytes, max_stanza_size } = settings
  return {
    startTls: START_TLS[settings.tls],
    dialback,
    bidi,
    preAuthBytes: pre_auth_bytes,
    preAuthLimits: { ...parsing, maxStanzaSize: Math.min(pre_auth_bytes, max_stanza_size) },
    limits: { ...parsing, maxStanzaSize: max_stanza_size },
  }
}

/** Listeners for external components, made from their settings. */
import { accessRule } from './component/access.ts'
import { ComponentListener } from './component/listener.ts'
import type { ComponentListener as Settings } from './config.ts'
import type { TlsCertificates } from './connection/tls.ts'
import type { WriteTurn } from './connection/write-turn.ts'
import type { Server } from './server.ts'

/** A stream header, or a handshake, in octets. */
const PRE_AUTH_SIZE = 10_000

export function componentListener(
  settings: Settings,
  server: Pick<Server, 'router' | 'components' | 'routes' | 'hooks' | 'log' | 'parsing'>,
  certificates: TlsCertificates | undefined,
  turn: WriteTurn,
): ComponentListener {
  const { router, components: registry, routes, hooks, log, parsing } = server
  const isOurs = (domain: string) => routes.find(domain) !== undefined || registry.has(domain)
  const secrets = new Map(Object.entries(settings.secrets))
  for (const name of secrets.keys()) registry.expect(name)
  const options = {
    host: settings.address === '*' ? undefined : settings.address,
    port: settings.port,
    backlog: settings.backlog,
    tls: settings.tls,
    shaper: settings.shaper === 'none' ? undefined : settings.shaper,
    maxConnections: settings.max_connections,
    maxConnectionsPerAddress: settings.max_connections_per_address,
    preAuthTimeout: settings.pre_auth_timeout,
    blockedTimeout: settings.blocked_timeout,
  }
  const session = {
    router,
    registry,
    packets: hooks.at('packet_to_component'),
    log,
    policy: {
      isHidden: settings.hidden,
      isTrusted: !settings.check_from,
      isShared: settings.conflict_behaviour === 'share',
      mayReach: accessRule(settings.access, isOurs),
      maxQueued: settings.max_queue,
    },
  }
  const policy = {
    onConflict: settings.conflict_behaviour,
    preAuthLimits: { ...parsing, maxStanzaSize: PRE_AUTH_SIZE },
    limits: { ...parsing, maxStanzaSize: settings.max_stanza_size },
    secretOf: (name: string) => secrets.get(name) ?? settings.secret,
    subdomainsOf: (name: string) => routes.hosted.map((domain) => `${name}.${domain}`),
  }
  return new ComponentListener(options, { session, policy, certificates }, turn)
}

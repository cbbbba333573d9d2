/** Listeners for external components, made from their settings. */
import { accessRule } from '../component/access.ts'
import { ComponentListener } from '../component/listener.ts'
import type { Config, ComponentListener as Settings } from '../config.ts'
import type { TlsCertificates } from '../connection/tls.ts'
import type { Turn } from '../connection/turn.ts'
import type { Server } from '../server.ts'
import { listenerOptions, type WantedListener } from './listeners.ts'
import { parsingOf } from './parsing.ts'
import type { Plan } from './plan.ts'
import type { Step } from './step.ts'

/** A stream header, or a handshake, in octets. */
const PRE_AUTH_SIZE = 10_000

type Parts = Pick<Server, 'router' | 'components' | 'routes' | 'hooks' | 'log'>

export function componentListeners(
  { config }: Plan,
  server: Parts,
  certificates: TlsCertificates,
  turn: Turn,
): WantedListener<'component'>[] {
  return config.listen.component.map((settings) => {
    const { options, environment } = settingsOf(settings, server, certificates, config)
    return {
      kind: 'component',
      endpoint: settings,
      make: () => new ComponentListener(options, environment, turn),
      configure: (listener) => listener.configure(options, environment),
    }
  })
}

/** Domains are kept for the components that have a secret. */
export function expectedComponents(
  before: Config | undefined,
  { config }: Plan,
  { components }: Parts,
): Step {
  const namesOf = ({ listen }: Config) =>
    listen.component.flatMap(({ secrets }) => Object.keys(secrets))
  return {
    commit: () => components.expectOnly(namesOf(config)),
    revert: () => components.expectOnly(before === undefined ? [] : namesOf(before)),
  }
}

function settingsOf(
  settings: Settings,
  { router, components: registry, routes, hooks, log }: Parts,
  certificates: TlsCertificates,
  config: Config,
) {
  const parsing = parsingOf(config)
  const isOurs = (domain: string) => routes.serves(domain) || registry.has(domain)
  const secrets = new Map(Object.entries(settings.secrets))
  const options = { ...listenerOptions(settings, config), tls: settings.tls }
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
  const tls = settings.tls === 'none' ? undefined : certificates
  return { options, environment: { session, policy, certificates: tls } }
}

/** The ways to other servers, and listeners for them, made from their settings. */
import type {
  Config,
  ServerListener as ListenerSettings,
  Federation as Settings,
} from '../config.ts'
import { PeerTls } from '../connection/peer-tls.ts'
import type { Turn } from '../connection/turn.ts'
import { Federation, type FederationOptions } from '../s2s/federation.ts'
import type { IncomingPolicy } from '../s2s/incoming-stream.ts'
import { ServerListener } from '../s2s/listener.ts'
import type { Target } from '../s2s/targets.ts'
import type { Server } from '../server.ts'
import { storedSecret } from '../storage/secrets.ts'
import { authoritiesOf } from './certificates.ts'
import { listenerOptions, START_TLS, type WantedListener } from './listeners.ts'
import { type Parsing, parsingOf } from './parsing.ts'
import type { Plan } from './plan.ts'
import type { Step } from './step.ts'

/** The name under which what keys of dialback are made from is stored. */
const SECRET = 'dialback'
/** How long what is on its way may take when federation is switched off, milliseconds. */
const CLOSE_TIMEOUT = 10_000
/** Of stanzas on connections of ours where no listener says how large they may be. */
const MAX_STANZA_SIZE = 512 * 1024

type Parts = Pick<
  Server,
  | 'router'
  | 'components'
  | 'routes'
  | 'hooks'
  | 'iq'
  | 'log'
  | 'domains'
  | 'certificates'
  | 'storage'
>

/** Speaks with other servers, while that is configured. */
export class FederationPart {
  readonly #parts: Parts
  readonly #turn: Turn
  /** Where none is configured. */
  #secret: string | undefined
  /** In force, and what it goes by. */
  #now: { readonly federation: Federation; readonly apply: () => void } | undefined

  constructor(parts: Parts, turn: Turn) {
    this.#parts = parts
    this.#turn = turn
  }

  /** `undefined` when this server speaks with no other. */
  get current(): Federation | undefined {
    return this.#now?.federation
  }

  async prepare(plan: Plan): Promise<Step> {
    const before = this.#now
    const { s2s } = plan.config
    if (s2s === undefined) {
      return {
        commit: () => {
          this.#now = undefined
        },
        revert: () => {
          this.#now = before
        },
        finish: async () => {
          await before?.federation.drain()
          await before?.federation.close(CLOSE_TIMEOUT)
        },
      }
    }
    const ca = await authoritiesOf(plan.config)
    const options = this.#optionsOf(s2s, plan.config, s2s.secret ?? (await this.#storedSecret()))
    const federation = before?.federation ?? this.#make(options, ca)
    plan.federation = federation
    const apply = () => {
      federation.configure(options)
      federation.tls.trust({ ca })
    }
    return {
      commit: () => {
        apply()
        this.#now = { federation, apply }
      },
      revert: () => {
        before?.apply()
        this.#now = before
      },
      abandon: async () => {
        if (before === undefined) await federation.close(0)
      },
    }
  }

  #make(options: FederationOptions, ca: Buffer | undefined): Federation {
    const { router, hooks, iq, log, routes, components, domains, certificates } = this.#parts
    return new Federation(options, {
      router,
      hooks,
      iq,
      tls: new PeerTls(certificates, { ca }),
      turn: this.#turn,
      log,
      defaultDomain: () => domains.first.domain,
      serves: (domain) => routes.serves(domain) || components.has(domain),
      isHosted: (domain) => routes.isHosted(domain),
    })
  }

  /** Others may ask about a key at any node. */
  async #storedSecret(): Promise<string> {
    this.#secret ??= Buffer.from(await storedSecret(this.#parts.storage, SECRET)).toString('hex')
    return this.#secret
  }

  #optionsOf(settings: Settings, config: Config, secret: string): FederationOptions {
    const { allow, deny, resolver, tls, dialback, bidi } = settings
    const sizes = config.listen.s2s.map(({ max_stanza_size }) => max_stanza_size)
    const maxStanzaSize = sizes.length > 0 ? Math.max(...sizes) : MAX_STANZA_SIZE
    return {
      tls,
      certificates: settings.certificates,
      dialback,
      bidi,
      allow,
      deny,
      routeSubdomains: settings.route_subdomains,
      resolver,
      overrides: overridesOf(settings),
      secret,
      ackTimeout: settings.ack_timeout,
      maxDomains: settings.max_domains,
      maxConnecting: settings.max_connecting,
      parsing: { ...parsingOf(config), maxStanzaSize },
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
  }
}

function overridesOf({ overrides }: Settings): Readonly<Record<string, Target>> {
  const entries = Object.entries(overrides).map(([domain, { host, port, direct_tls }]) => {
    const target: Target = { host, port, isDirect: direct_tls }
    return [domain, target] as const
  })
  return Object.fromEntries(entries)
}

export function serverListeners(
  { config, federation }: Plan,
  { log }: Pick<Server, 'log'>,
  turn: Turn,
): WantedListener<'s2s'>[] {
  const { listen, s2s } = config
  if (s2s === undefined || federation === undefined) return []
  return listen.s2s.map((settings) => {
    const options = { ...listenerOptions(settings, config), tls: settings.tls }
    const policy = policyOf(settings, s2s, parsingOf(config))
    return {
      kind: 's2s',
      endpoint: settings,
      make: () => new ServerListener(options, policy, federation, turn, log),
      configure: (listener) => listener.configure(options, policy, federation),
    }
  })
}

function policyOf(
  settings: ListenerSettings,
  { dialback, bidi }: Settings,
  parsing: Parsing,
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

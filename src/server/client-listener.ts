/** Listeners for clients, made from their settings. */
import type { StreamEnvironment, StreamPolicy } from '../c2s/environment.ts'
import { ClientListener } from '../c2s/listener.ts'
import type { Config, ClientListener as Settings } from '../config.ts'
import type { TlsCertificates } from '../connection/tls.ts'
import type { Turn } from '../connection/turn.ts'
import type { Server } from '../server.ts'
import { listenerOptions, START_TLS, type WantedListener } from './listeners.ts'
import { type Parsing, parsingOf } from './parsing.ts'
import type { Plan } from './plan.ts'

export function clientListeners(
  { config }: Plan,
  server: Pick<Server, 'domains' | 'guesses' | 'hooks' | 'log'>,
  certificates: TlsCertificates,
  turn: Turn,
): WantedListener<'c2s'>[] {
  return config.listen.c2s.map((settings) => {
    const options = { ...listenerOptions(settings, config), tls: settings.tls }
    const environment = (): Omit<StreamEnvironment, 'onGranted' | 'onEnd'> => {
      return {
        hosts: server.domains.hosts,
        defaultHost: () => server.domains.first,
        policy: policyOf(settings, config, parsingOf(config)),
        certificates: settings.tls === 'none' ? undefined : certificates,
        guesses: server.guesses,
        hooks: server.hooks,
        log: server.log,
      }
    }
    return {
      kind: 'c2s',
      endpoint: settings,
      make: () => new ClientListener(options, environment(), turn),
      configure: (listener) => listener.configure(options, environment()),
    }
  })
}

function policyOf(settings: Settings, { auth }: Config, parsing: Parsing): StreamPolicy {
  return {
    startTls: START_TLS[settings.tls],
    sasl: {
      mechanisms: auth.anonymous ? [...auth.mechanisms, 'ANONYMOUS'] : auth.mechanisms,
      allowPlainWithoutTls: settings.allow_plain_without_tls,
      downgradeProtection: true,
    },
    preAuthBytes: settings.pre_auth_bytes,
    preAuthLimits: {
      ...parsing,
      maxStanzaSize: Math.min(settings.pre_auth_bytes, settings.max_stanza_size),
    },
    limits: { ...parsing, maxStanzaSize: settings.max_stanza_size },
  }
}

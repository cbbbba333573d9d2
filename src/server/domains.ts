import type { SessionEnvironment } from '../c2s/client-session.ts'
import type { Host } from '../c2s/environment.ts'
import { outboundStages } from '../c2s/outbound.ts'
import { SessionPoints } from '../c2s/session-points.ts'
import type { Accounts } from '../core/accounts.ts'
import type { Hooks } from '../core/hooks.ts'
import type { IqDispatcher } from '../core/iq.ts'
import { Local } from '../core/local.ts'
import type { LocalRoute, LocalRoutes } from '../core/local-routes.ts'
import type { Logger } from '../core/log.ts'
import type { Router } from '../core/router.ts'
import type { SessionManager } from '../core/session-manager.ts'
import { StanzaError } from '../xmpp/stanza-error.ts'
import { StreamError } from '../xmpp/stream-error.ts'
import type { Plan } from './plan.ts'
import type { Step } from './step.ts'

type Parts = {
  readonly hooks: Hooks
  readonly router: Router
  readonly iq: IqDispatcher
  readonly routes: LocalRoutes
  readonly accounts: Accounts
  readonly sessionManager: SessionManager
  readonly log: Logger
}

type Hosted = {
  readonly local: Local
  readonly host: { -readonly [Key in keyof Host]: Host[Key] }
  /** Of all its sessions: they follow when its type changes. */
  readonly session: { -readonly [Key in keyof SessionEnvironment]: SessionEnvironment[Key] }
  readonly undo: () => void
}

/** The hosted domains as clients and stanzas find them. */
export class Domains {
  readonly #parts: Parts
  readonly #hosted = new Map<string, Hosted>()
  readonly #hosts = new Map<string, Host>()
  readonly #closed = new Map<string, () => void>()
  /** Of the file's domains the first. */
  #first: Host | undefined
  readonly #points = new Map<string, Pick<SessionEnvironment, 'points' | 'stages'>>()

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /** Where clients may log in; changes as domains come and go. */
  get hosts(): ReadonlyMap<string, Host> {
    return this.#hosts
  }

  /** Those that are hosted, the first of the file first. */
  get names(): readonly string[] {
    const first = this.#first?.domain
    return [...this.#hosts.keys()].sort((a, b) => Number(b === first) - Number(a === first))
  }

  /** For clients that name no domain. */
  get first(): Host {
    if (this.#first === undefined) throw new Error('no domain is hosted')
    return this.#first
  }

  /** For sessions of a hosted domain. */
  environmentOf(domain: string): SessionEnvironment {
    const hosted = this.#hosted.get(domain)
    if (hosted === undefined) throw new Error(`${domain} is not hosted`)
    return hosted.session
  }

  prepare({ domains, closed, types }: Plan): Step {
    const undo: (() => void)[] = []
    const leaving = [...this.#hosted.keys()].filter((domain) => !domains.includes(domain))
    return {
      commit: () => {
        for (const domain of this.#closed.keys()) {
          if (!closed.includes(domain)) undo.push(this.#reopen(domain))
        }
        for (const [domain, type] of types) {
          if (domains.includes(domain) || leaving.includes(domain))
            undo.push(this.#host(domain, type))
        }
        for (const domain of leaving) undo.push(this.#refuse(domain))
        const first = this.#first
        this.#first = this.#hosts.get(domains[0] as string)
        undo.push(() => {
          this.#first = first
        })
        for (const domain of closed) {
          if (!leaving.includes(domain)) undo.push(this.#close(domain))
        }
      },
      revert: () => {
        for (const one of undo.reverse()) one()
      },
      finish: async () => {
        for (const domain of leaving) {
          await this.#empty(domain)
          if (closed.includes(domain)) this.#close(domain)
        }
      },
    }
  }

  #host(domain: string, domainType: string): () => void {
    const known = this.#hosted.get(domain)
    if (known !== undefined) {
      const before = known.local.domainType
      this.#retype(known, domainType)
      return () => this.#retype(known, before)
    }
    const { hooks, router, iq, routes, accounts, sessionManager, log } = this.#parts
    const local = new Local(domain, domainType, { hooks, router, iq, sessionManager })
    const session = { router, sessionManager, log, ...this.#pointsOf(domainType) }
    const host = { domain, accounts, session, isServed: true }
    const hosted = { local, host, session, undo: routes.add(local) }
    this.#hosted.set(domain, hosted)
    this.#hosts.set(domain, host)
    return () => this.#forget(domain)
  }

  #retype({ local, session }: Hosted, domainType: string): void {
    if (local.domainType === domainType) return
    local.domainType = domainType
    Object.assign(session, this.#pointsOf(domainType))
  }

  #pointsOf(domainType: string): Pick<SessionEnvironment, 'points' | 'stages'> {
    let made = this.#points.get(domainType)
    if (made === undefined) {
      const points = new SessionPoints(this.#parts.hooks, domainType)
      made = { points, stages: outboundStages(points) }
      this.#points.set(domainType, made)
    }
    return made
  }

  /** Nobody logs in any more. */
  #refuse(domain: string): () => void {
    const { host } = this.#hosted.get(domain) as Hosted
    host.isServed = false
    this.#hosts.delete(domain)
    return () => {
      host.isServed = true
      this.#hosts.set(domain, host)
    }
  }

  /** Ends its sessions while stanzas still find it: what they had not got is kept for later. */
  async #empty(domain: string): Promise<void> {
    const gone = new StreamError('host-gone')
    const sessions = [...this.#parts.sessionManager.sessions.values()]
    const own = sessions.filter(({ jid }) => jid.domain === domain)
    await Promise.all(own.map((session) => session.close(gone)))
    this.#forget(domain)
  }

  #forget(domain: string): void {
    this.#hosted.get(domain)?.undo()
    this.#hosted.delete(domain)
    this.#hosts.delete(domain)
  }

  #close(domain: string): () => void {
    if (this.#closed.has(domain)) return () => {}
    this.#closed.set(domain, this.#parts.routes.add(closedRoute(domain, this.#parts.router)))
    return () => this.#reopen(domain)
  }

  #reopen(domain: string): () => void {
    this.#closed.get(domain)?.()
    this.#closed.delete(domain)
    return () => this.#close(domain)
  }
}

/** Else they would leave for other servers, which would send them back. */
function closedRoute(domain: string, router: Router): LocalRoute {
  const text = 'this domain is not served at the moment'
  return {
    domain,
    domainType: undefined,
    isHosted: false,
    isClosed: true,
    handle: (envelope) =>
      router.bounce(envelope, new StanzaError('service-unavailable', { text }), 'closed_domain'),
  }
}

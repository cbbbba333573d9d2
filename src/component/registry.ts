import type { Cluster } from '../core/cluster.ts'
import type { Component, Components } from '../core/components.ts'
import type { Envelope } from '../core/envelope.ts'
import type { DomainScope, Hooks } from '../core/hooks.ts'
import type { LocalRoutes } from '../core/local-routes.ts'
import type { Logger } from '../core/log.ts'
import type { Maybe } from '../core/maybe.ts'
import { after } from '../core/maybe.ts'
import { rendezvous } from '../core/rendezvous.ts'
import { within } from '../core/within.ts'
import { StreamError } from '../xmpp/stream-error.ts'

/**
 * What happens when a component comes whose domain is taken by another connection: it is refused,
 * it replaces that one wherever in the cluster it is, or both share the work. Connections of other
 * nodes never keep one away.
 */
export type ConflictBehaviour = 'disconnect' | 'kick_old' | 'share'

export type Admission = {
  readonly onConflict: ConflictBehaviour
  /** Called when it is registered, before anybody is told. False: it does not want to be any more. */
  readonly admit: () => boolean
}

type Parts = {
  readonly routes: LocalRoutes
  readonly hooks: Hooks
  readonly log: Logger
  /** Made later. */
  readonly cluster: () => Pick<Cluster, 'componentConnected' | 'componentChanged' | 'componentGone'>
}

type Entry = {
  connections: readonly Component[]
  /** Of subdomains, which local delivery hands out. */
  readonly release: (() => void) | undefined
}

/** How long those who are replaced may take to go, milliseconds, and how often they are told to. */
const KICK_TIMEOUT = 5_000
const KICKS = 3

/** Which component serves which domain. Never more than one kind of service has a domain. */
export class ComponentRegistry implements Components {
  readonly #parts: Parts
  readonly #entries = new Map<string, Entry>()
  readonly #expected = new Set<string>()

  constructor(parts: Parts) {
    this.#parts = parts
  }

  onThisNode(envelope: Envelope): Component | undefined {
    const entry = this.#entries.get(envelope.to.domain)
    if (entry === undefined || entry.release !== undefined) return undefined
    return choose(entry, envelope, false)
  }

  onAnyNode(envelope: Envelope): Component | undefined {
    const entry = this.#entries.get(envelope.to.domain)
    if (entry === undefined || entry.release !== undefined) return undefined
    return choose(entry, envelope, true)
  }

  domains(): readonly string[] {
    return [...this.#entries.keys()]
  }

  /** Keeps a domain for a component, whether it is connected or not. */
  expect(domain: string): void {
    this.#expected.add(domain)
  }

  /** Keeps these domains and no others. */
  expectOnly(domains: Iterable<string>): void {
    this.#expected.clear()
    for (const domain of domains) this.#expected.add(domain)
  }

  /** Whether a domain is a component's. */
  has(domain: string): boolean {
    return this.#entries.has(domain) || this.#expected.has(domain)
  }

  isAway(domain: string): boolean {
    if (!this.#expected.has(domain) || this.#entries.has(domain)) return false
    return this.#parts.routes.find(domain) === undefined
  }

  /** Every connection, for administration and for the end of the server. */
  get connections(): ReadonlySet<Component> {
    return new Set([...this.#entries.values()].flatMap(({ connections }) => connections))
  }

  /** Tells handlers that came later who is connected. */
  introduce(to: DomainScope): void {
    const { hooks } = this.#parts
    for (const [domain, { connections }] of this.#entries) {
      const isHidden = connections.every((component) => component.isHidden)
      hooks.of('register_subhost', to).tell(domain, { isHidden })
    }
    const connected = hooks.of('component_connected', to)
    for (const component of this.connections) connected.tell(component, {})
  }

  /** False: one of its domains is served by others, or it was not admitted. */
  register(component: Component, admission: Admission): Maybe<boolean> {
    return this.#register(component, admission, KICKS)
  }

  #register(component: Component, admission: Admission, kicks: number): Maybe<boolean> {
    if (component.domains.some((domain) => this.#isOthers(domain, component))) return false
    const { onConflict } = admission
    const rivals = onConflict === 'share' ? [] : this.#rivals(component, onConflict)
    if (rivals.length === 0) return this.#admit(component, admission)
    if (onConflict !== 'kick_old' || kicks === 0) return false
    const conflict = new StreamError('conflict', 'replaced by a new connection')
    const gone = Promise.all(rivals.map((rival) => rival.close(conflict)))
    return after(within(KICK_TIMEOUT, gone), () => this.#register(component, admission, kicks - 1))
  }

  unregister(component: Component): void {
    if (component.isLocal) this.#parts.cluster().componentGone(component)
    this.#release(component, component.domains)
  }

  /** Domains have come or gone, and with them those that are served under each. */
  follow(): void {
    for (const component of this.connections) {
      const { domains, wanted } = component
      if (wanted === undefined) continue
      const now = wanted.filter((domain) => !this.#isOthers(domain, component))
      const gone = domains.filter((domain) => !now.includes(domain))
      const come = now.filter((domain) => !domains.includes(domain))
      // It has to be called something.
      if (now.length === 0 || gone.length + come.length === 0) continue
      this.#release(component, gone)
      component.use?.(now)
      this.#take(component, come)
      this.#parts.cluster().componentChanged(component)
    }
  }

  #release(component: Component, domains: readonly string[]): void {
    for (const domain of domains) {
      const entry = this.#entries.get(domain)
      if (entry === undefined || !entry.connections.includes(component)) continue
      const others = entry.connections.filter((other) => other !== component)
      if (others.length === 0) {
        this.#parts.hooks.at('unregister_subhost').tell(domain, {})
        entry.release?.()
        this.#entries.delete(domain)
      } else entry.connections = others
    }
  }

  /** Served by the server itself, or by a component of the other kind. */
  #isOthers(domain: string, component: Component): boolean {
    const entry = this.#entries.get(domain)
    if (entry === undefined) return this.#parts.routes.find(domain) !== undefined
    return (entry.release !== undefined) !== component.isSubdomain
  }

  #rivals({ domains, isLocal }: Component, onConflict: ConflictBehaviour): Component[] {
    if (!isLocal) return []
    const all = domains.flatMap((domain) => this.#entries.get(domain)?.connections ?? [])
    return onConflict === 'kick_old' ? all : all.filter((rival) => rival.isLocal)
  }

  #admit(component: Component, { admit }: Admission): boolean {
    if (!admit()) return false
    if (component.isLocal) this.#parts.cluster().componentConnected(component)
    this.#take(component, component.domains)
    this.#parts.hooks.at('component_connected').tell(component, {})
    return true
  }

  #take(component: Component, domains: readonly string[]): void {
    const appeared = domains.filter((domain) => !this.#entries.has(domain))
    for (const domain of domains) {
      const connections = [...(this.#entries.get(domain)?.connections ?? []), component]
      const entry = this.#entries.get(domain)
      if (entry !== undefined) entry.connections = connections
      else {
        const release = component.isSubdomain ? this.#serve(domain) : undefined
        this.#entries.set(domain, { connections, release })
      }
    }
    const { isHidden } = component
    const { hooks } = this.#parts
    for (const domain of appeared) hooks.at('register_subhost').tell(domain, { isHidden })
  }

  /** A domain under a hosted one is served as the services of that one are. */
  #serve(domain: string): () => void {
    const { routes } = this.#parts
    const parent = domain.slice(domain.indexOf('.') + 1)
    return routes.add({
      domain,
      get domainType() {
        return routes.find(parent)?.domainType
      },
      isHosted: false,
      handle: (envelope) => {
        const entry = this.#entries.get(domain)
        const component = entry && choose(entry, envelope, true)
        if (component === undefined) throw new Error(`nobody serves ${domain}`)
        return component.handle(envelope)
      },
    })
  }
}

/** Of its connections one on this node, else (where wanted) one elsewhere. */
function choose(
  { connections }: Entry,
  envelope: Envelope,
  mayBeElsewhere: boolean,
): Component | undefined {
  const [only] = connections
  if (connections.length === 1) return only?.isLocal || mayBeElsewhere ? only : undefined
  const here = connections.filter(({ isLocal }) => isLocal)
  const candidates = here.length === 0 && mayBeElsewhere ? connections : here
  const { stanza, from } = envelope
  const asking =
    stanza.kind === 'iq' && !stanza.isRequest
      ? candidates.find((candidate) => candidate.awaits(envelope))
      : undefined
  return asking ?? rendezvous(from.bare, candidates, ({ id }) => id)
}

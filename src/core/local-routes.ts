import type { Envelope } from './envelope.ts'
import type { Outcome } from './outcome.ts'

/** Something on this node that takes the stanzas of one domain: the domain itself, or a service. */
export interface LocalRoute {
  readonly domain: string
  /** Whose hooks apply; `undefined` for a component outside of the hosted domains. */
  readonly domainType: string | undefined
  /** Hosted domains have accounts; services do not. */
  readonly isHosted: boolean
  /** It is there for nobody: stanzas for it go back to their senders. */
  readonly isClosed?: boolean
  handle(envelope: Envelope): Outcome | Promise<Outcome>
}

/** Which domains are ours: the table that the routing module `localdomain` reads. */
export class LocalRoutes {
  readonly #routes = new Map<string, LocalRoute>()

  /** Throws if the domain is taken. Returns the undo. */
  add(route: LocalRoute): () => void {
    if (this.#routes.has(route.domain)) throw new Error(`${route.domain} is routed already`)
    this.#routes.set(route.domain, route)
    return () => {
      if (this.#routes.get(route.domain) === route) this.#routes.delete(route.domain)
    }
  }

  find(domain: string): LocalRoute | undefined {
    return this.#routes.get(domain)
  }

  /** Whether somebody takes stanzas for it. */
  serves(domain: string): boolean {
    const route = this.#routes.get(domain)
    return route !== undefined && !route.isClosed
  }

  isHosted(domain: string): boolean {
    return this.#routes.get(domain)?.isHosted ?? false
  }

  /** The domains that have none. */
  get services(): string[] {
    return [...this.#routes.values()]
      .filter((route) => !route.isHosted && !route.isClosed)
      .map(({ domain }) => domain)
  }

  /** The domains that have accounts. */
  get hosted(): string[] {
    return [...this.#routes.values()].filter((route) => route.isHosted).map(({ domain }) => domain)
  }
}

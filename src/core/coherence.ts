import type { Cluster, TopicHandler } from './cluster.ts'
import type { Maybe } from './maybe.ts'

declare module './cluster.ts' {
  interface Topics {
    /** What is stored of an account, its bare JID, was changed; `cache …` names by whom. */
    [cache: `cache ${string}`]: { readonly question: string; readonly answer: null }
  }
}

type Nodes = Pick<Cluster, 'isShared' | 'tell' | 'exclusively'> & {
  on(topic: `cache ${string}`, handler: TopicHandler<`cache ${string}`>): void
}

/** Somewhere something of an account is at hand that is stored elsewhere. */
interface Cache {
  /** What is at hand of it may be old. */
  forget(account: string): void
}

/**
 * Keeps what several nodes have at hand of the same account alike: one node at a time changes it, from
 * what is stored, and nobody hears that it is changed before no node has the old any more. A server alone
 * pays nothing for it.
 */
export class Coherence {
  readonly #nodes: Nodes
  readonly #topic: `cache ${string}`
  #cache: Cache | undefined

  constructor(nodes: Nodes, name: string) {
    this.#nodes = nodes
    this.#topic = `cache ${name}`
  }

  /** To be called by each instance of a module that shares the cache. */
  keep(cache: Cache): void {
    this.#cache = cache
    this.#nodes.on(this.#topic, (account) => {
      cache.forget(account)
      return null
    })
  }

  /** Does `work`, which changes what is stored of an account, while no other node does. */
  change<R>(account: string, work: () => Promise<R>): Promise<R> {
    if (!this.#nodes.isShared) return work()
    return this.#nodes.exclusively(`${this.#topic} ${account}`, () => {
      this.#cache?.forget(account)
      return work()
    })
  }

  /** It is stored. Resolves when no other node has what it was before. */
  changed(account: string): Maybe<unknown> {
    return this.#nodes.tell(this.#topic, account)
  }
}

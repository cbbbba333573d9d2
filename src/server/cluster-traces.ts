/** What is followed on the route of stanzas, on all nodes. */
import { randomUUID } from 'node:crypto'
import type { Cluster } from '../core/cluster.ts'
import type { TraceFilter, TraceItem, TraceSource } from '../core/trace-item.ts'

declare module '../core/cluster.ts' {
  interface Topics {
    /** Stanzas are followed for the node that asks, until it says otherwise or nothing for a while. */
    trace_follow: {
      readonly question: { readonly id: string; readonly filter: TraceFilter }
      readonly answer: null
    }
    trace_unfollow: { readonly question: string; readonly answer: null }
    /** What was seen; false: nobody wants it any more. */
    trace_items: {
      readonly question: { readonly id: string; readonly items: readonly TraceItem[] }
      readonly answer: boolean
    }
  }
}

/** How often who follows says so again, and after what time without it is not followed, milliseconds. */
const RENEW = 5_000
const LEASE = 16_000
/** How long items gather before they are sent, milliseconds. */
const GATHER = 50
/** Items that wait to be sent; what comes beyond is left out. */
const MAX_WAITING = 1_000

/** Followed here for another node. */
type Followed = { readonly unfollow: () => void; lease: NodeJS.Timeout }

/** Follows on this node and on all others. */
export class ClusterTraces implements TraceSource {
  readonly #own: TraceSource
  readonly #cluster: Cluster
  /** Who follows here, by the id that other nodes know. */
  readonly #takers = new Map<string, (item: TraceItem) => void>()
  readonly #forOthers = new Map<string, Followed>()

  constructor(own: TraceSource, cluster: Cluster) {
    this.#own = own
    this.#cluster = cluster
    if (!cluster.isShared) return
    cluster.on('trace_follow', ({ id, filter }, from) => {
      this.#followFor(from, id, filter)
      return null
    })
    cluster.on('trace_unfollow', (id) => {
      this.#unfollowFor(id)
      return null
    })
    cluster.on('trace_items', ({ id, items }) => {
      const take = this.#takers.get(id)
      for (const item of items) take?.(item)
      return take !== undefined
    })
  }

  follow(filter: TraceFilter, take: (item: TraceItem) => void): () => void {
    const unfollow = this.#own.follow(filter, take)
    if (!this.#cluster.isShared) return unfollow
    const id = randomUUID()
    this.#takers.set(id, take)
    // Nodes that have come meanwhile hear of it, too.
    const say = () => void this.#cluster.tell('trace_follow', { id, filter })
    say()
    const renewal = setInterval(say, RENEW).unref()
    return () => {
      unfollow()
      clearInterval(renewal)
      this.#takers.delete(id)
      void this.#cluster.tell('trace_unfollow', id)
    }
  }

  #followFor(node: string, id: string, filter: TraceFilter): void {
    const known = this.#forOthers.get(id)
    if (known !== undefined) {
      known.lease.refresh()
      return
    }
    let items: TraceItem[] = []
    let isSending = false
    const send = async () => {
      isSending = true
      await new Promise((resolve) => setTimeout(resolve, GATHER))
      const some = items
      items = []
      const isWanted = await this.#cluster
        .ask(node, 'trace_items', { id, items: some })
        .catch(() => false)
      isSending = false
      if (!isWanted) this.#unfollowFor(id)
      else if (items.length > 0) void send()
    }
    const unfollow = this.#own.follow(filter, (item) => {
      if (items.length >= MAX_WAITING) return
      items.push(item)
      if (!isSending) void send()
    })
    const lease = setTimeout(() => this.#unfollowFor(id), LEASE).unref()
    this.#forOthers.set(id, { unfollow, lease })
  }

  #unfollowFor(id: string): void {
    const followed = this.#forOthers.get(id)
    if (followed === undefined) return
    this.#forOthers.delete(id)
    clearTimeout(followed.lease)
    followed.unfollow()
  }
}

import { createHash } from 'node:crypto'
import { ClusterError, type NodeRun } from '../core/cluster.ts'
import { Lanes } from '../core/lanes.ts'
import type { Logger } from '../core/log.ts'
import { type Change, type Clock, type Registry, RegistryConflict } from './transport.ts'

export const LOCK_PREFIX = 'lock.'

type Parts = {
  readonly self: () => NodeRun
  readonly registry: Registry
  readonly clock: Clock
  readonly log: Logger
  readonly isOver: (run: NodeRun) => boolean
}

/** A lock that this node has, or waits for; `revision` is its key's, 0 until it has it. */
type Own = { revision: number }

type Held = { readonly owner: NodeRun; readonly revision: number }

/** How long somebody waits for a lock that another node has, milliseconds. */
const PATIENCE = 10_000
/** How long to wait before a write is tried again, milliseconds. */
const RETRY = 500
const RELEASE_RETRY = 1_000

/**
 * What only one node may do at a time: whoever does it has a key of the registry. That of a node that
 * is lost counts for nothing.
 */
export class Locks {
  readonly #parts: Parts
  readonly #lanes = new Lanes()
  readonly #held = new Map<string, Held>()
  readonly #own = new Map<string, Own>()
  readonly #waiting = new Map<string, (() => void)[]>()

  constructor(parts: Parts) {
    this.#parts = parts
  }

  async exclusively<R>(name: string, work: () => Promise<R>): Promise<R> {
    return this.#lanes.run(name, () => this.#do(name, work))
  }

  onChange({ key, value, revision }: Change): void {
    const own = this.#own.get(key)
    if (value !== undefined) {
      const owner = JSON.parse(value) as NodeRun
      this.#held.set(key, { owner, revision })
      // It was taken without hearing so, and whoever wanted it has given up.
      if (own === undefined && this.#isSelf(owner)) void this.#release(key, revision)
      return
    }
    this.#held.delete(key)
    const { revision: taken = 0 } = own ?? {}
    if (own === undefined || taken === 0 || revision <= taken) return this.#wake(key)
    // The registry has lost it, and the work goes on.
    void this.#takeAgain(key, own)
  }

  #isSelf({ node, epoch }: NodeRun): boolean {
    const self = this.#parts.self()
    return node === self.node && epoch === self.epoch
  }

  /** A node is lost: so are its locks. */
  onLost(): void {
    for (const key of [...this.#waiting.keys()]) this.#wake(key)
  }

  async #do<R>(name: string, work: () => Promise<R>): Promise<R> {
    const key = LOCK_PREFIX + createHash('sha256').update(name).digest('base64url').slice(0, 27)
    const own: Own = { revision: 0 }
    this.#own.set(key, own)
    try {
      own.revision = await this.#take(key)
      return await work()
    } finally {
      this.#own.delete(key)
      const held = this.#held.get(key)
      // What was seen may be newer than what was heard.
      const seen = held !== undefined && this.#isSelf(held.owner) ? held.revision : 0
      const revision = Math.max(own.revision, seen)
      if (revision > 0) void this.#release(key, revision)
    }
  }

  async #takeAgain(key: string, own: Own): Promise<void> {
    const { registry, self, clock, log } = this.#parts
    try {
      const revision = await registry.put(key, JSON.stringify(self()), 0)
      own.revision = revision
      if (this.#own.get(key) !== own) await this.#release(key, revision)
    } catch (error) {
      if (error instanceof RegistryConflict) return log.warn('cluster_lock_lost', { error })
      clock.after(RETRY, () => {
        if (this.#own.get(key) === own) void this.#takeAgain(key, own)
      })
    }
  }

  async #release(key: string, revision: number): Promise<void> {
    try {
      await this.#parts.registry.remove(key, revision)
    } catch (error) {
      if (error instanceof RegistryConflict) return
      this.#parts.log.warn('cluster_lock_not_released', { error })
      this.#parts.clock.after(RELEASE_RETRY, () => void this.#release(key, revision))
    }
  }

  async #take(key: string): Promise<number> {
    const { registry, self, clock, isOver } = this.#parts
    const until = clock.now() + PATIENCE
    while (true) {
      const held = this.#held.get(key)
      // Whoever has the lane has none of the locks that this run took: it did not hear that it did.
      if (held === undefined || this.#isSelf(held.owner) || isOver(held.owner)) {
        try {
          return await registry.put(key, JSON.stringify(self()), held?.revision ?? 0)
        } catch (error) {
          if (!(error instanceof RegistryConflict)) throw error
        }
      }
      const left = until - clock.now()
      if (left <= 0) throw new ClusterError('failed', 'another node is at it for too long')
      await this.#changed(key, Math.min(left, 200))
    }
  }

  #changed(key: string, ms: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#parts.clock.after(ms, () => resolve())
      const waiting = this.#waiting.get(key) ?? []
      waiting.push(() => {
        cancel()
        resolve()
      })
      this.#waiting.set(key, waiting)
    })
  }

  #wake(key: string): void {
    const waiting = this.#waiting.get(key)
    this.#waiting.delete(key)
    for (const wake of waiting ?? []) wake()
  }
}

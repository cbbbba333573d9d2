/** Time as all nodes of a cluster have it. */
import type { Logger } from '../core/log.ts'
import type { Storage } from '../core/storage.ts'

/** Milliseconds since the epoch, of PostgreSQL; the only store that nodes share. */
const NOW = 'select cast(extract(epoch from clock_timestamp()) * 1000 as bigint) as now'
/** How often the clocks are compared, milliseconds. */
const COMPARE = 30_000
/** Clocks that differ by more are worth a word, milliseconds. */
const NOTABLE = 1_000

/**
 * The clock of the database that all nodes share: ids of the archive and places in queues are made of
 * time, and have to ascend whichever node makes them, whatever the nodes' own clocks say. A server alone
 * goes by its own.
 */
export class SharedClock {
  readonly #storage: Storage
  readonly #log: Logger
  /** What is added to this machine's time. */
  #offset = 0
  #timer: NodeJS.Timeout | undefined

  constructor(storage: Storage, log: Logger) {
    this.#storage = storage
    this.#log = log
  }

  /** Milliseconds since the epoch. */
  readonly now = (): number => Date.now() + this.#offset

  /** Resolves when it agrees with the others'. */
  async start(): Promise<void> {
    if (!this.#storage.isShared) return
    await this.#compare()
    this.#timer = setInterval(() => {
      this.#compare().catch((error) => this.#log.warn('clock_not_compared', { error }))
    }, COMPARE).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  async #compare(): Promise<void> {
    const before = Date.now()
    const [row] = await this.#storage.read<{ now: number }>(NOW, [])
    if (row === undefined) return
    const halfway = (before + Date.now()) / 2
    const offset = Math.round(row.now - halfway)
    if (Math.abs(offset - this.#offset) > NOTABLE) {
      this.#log.warn('clock_differs', { by_ms: offset, from: 'database' })
    }
    this.#offset = offset
  }
}

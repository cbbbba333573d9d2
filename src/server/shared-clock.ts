/** Time as all nodes of a cluster have it. */
import type { Logger } from '../core/log.ts'
import type { Storage } from '../core/storage.ts'

/** Milliseconds since the epoch, of PostgreSQL; the only store that nodes share. */
const NOW = 'select cast(extract(epoch from clock_timestamp()) * 1000 as bigint) as now'
/** How often the clocks are compared, milliseconds. */
const COMPARE = 30_000
/** How often it is asked each time: the quickest answer tells best. */
const SAMPLES = 5
/** Clocks that differ by more are worth a word, milliseconds. */
const NOTABLE = 1_000

/**
 * The clock of the database that all nodes share: ids of the archive and places in queues are made of
 * time, and have to ascend whichever node makes them, whatever the nodes' own clocks say, or are set to
 * meanwhile. A server alone goes by its own.
 */
export class SharedClock {
  readonly #storage: Pick<Storage, 'isShared' | 'read'>
  readonly #log: Logger
  /** Milliseconds, never going back. */
  readonly #ticks: () => number
  /** What is added to them; `undefined` as long as this machine's time counts. */
  #base: number | undefined
  /** By how much this machine's time differs. */
  #offset = 0
  #timer: NodeJS.Timeout | undefined

  constructor(
    storage: Pick<Storage, 'isShared' | 'read'>,
    log: Logger,
    ticks: () => number = () => performance.now(),
  ) {
    this.#storage = storage
    this.#log = log
    this.#ticks = ticks
  }

  /** Milliseconds since the epoch, a whole number. */
  readonly now = (): number =>
    this.#base === undefined ? Date.now() : Math.floor(this.#ticks() + this.#base)

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

  /** The answer was given somewhere between question and arrival (Cristian's algorithm). */
  async #compare(): Promise<void> {
    let quickest = Number.POSITIVE_INFINITY
    let base = this.#base
    for (let sample = 0; sample < SAMPLES; sample++) {
      const before = this.#ticks()
      const [row] = await this.#storage.read<{ now: number }>(NOW, [])
      const took = this.#ticks() - before
      if (row === undefined || took >= quickest) continue
      quickest = took
      base = row.now - (before + took / 2)
    }
    this.#base = base
    const offset = Math.round(this.now() - Date.now())
    if (Math.abs(offset - this.#offset) > NOTABLE) {
      this.#log.warn('clock_differs', { by_ms: offset, from: 'database' })
    }
    this.#offset = offset
  }
}

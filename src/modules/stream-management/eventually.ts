import type { Logger } from '../../core/log.ts'

/**
 * Deletions that have to happen once the disk works again: what they leave would come back after a
 * restart. There are never more of them than rows to delete.
 */
export class Eventually {
  readonly #log: Logger
  #undone: (() => Promise<unknown>)[] = []
  readonly #running = new Set<Promise<void>>()

  constructor(log: Logger) {
    this.#log = log
  }

  do(work: () => Promise<unknown>): void {
    const run = work().then(
      () => {},
      (error) => {
        if (this.#undone.length === 0) this.#log.error('deletion_failed', { error })
        this.#undone.push(work)
      },
    )
    this.#running.add(run)
    void run.then(() => this.#running.delete(run))
  }

  /** Tries again what has failed. */
  retry(): void {
    const all = this.#undone
    this.#undone = []
    for (const work of all) this.do(work)
  }

  /** A last try; waits for all that is under way. */
  async stop(): Promise<void> {
    await Promise.all(this.#running)
    this.retry()
    await Promise.all(this.#running)
  }
}

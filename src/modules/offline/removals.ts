import type { Logger } from '../../core/log.ts'
import type { OfflineStore } from './store.ts'
import type { UsageCache } from './usage.ts'

type Parts = {
  readonly store: Pick<OfflineStore, 'remove'>
  readonly usage: Pick<UsageCache, 'forget'>
  readonly log: Logger
}

/**
 * Messages that clients have acknowledged, until the store has forgotten them, too: a disk that takes
 * nothing is asked again. There are never more of them than rows to delete.
 */
export class Removals {
  readonly #parts: Parts
  /** With their accounts. */
  readonly #pending = new Map<number, string>()
  #failed: number[] = []
  readonly #running = new Set<Promise<void>>()

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /** Whether a message may be in the store still, and is nobody's any more. */
  has(seq: number): boolean {
    return this.#pending.has(seq)
  }

  remove(account: string, seq: number): void {
    this.#pending.set(seq, account)
    const run = this.#parts.store.remove(seq).then(
      () => void this.#pending.delete(seq),
      (error) => this.#postpone(account, seq, error),
    )
    this.#running.add(run)
    void run.then(() => this.#running.delete(run))
  }

  /** Tries again what has failed. */
  retry(): void {
    const all = this.#failed
    this.#failed = []
    for (const seq of all) {
      const account = this.#pending.get(seq)
      if (account !== undefined) this.remove(account, seq)
    }
  }

  /** A last try; waits for all that is under way. */
  async stop(): Promise<void> {
    await Promise.all(this.#running)
    this.retry()
    await Promise.all(this.#running)
  }

  #postpone(account: string, seq: number, error: unknown): void {
    const { usage, log } = this.#parts
    // The table still counts it.
    usage.forget(account)
    if (this.#failed.length === 0) log.error('offline_message_not_removed', { account, error })
    this.#failed.push(seq)
  }
}

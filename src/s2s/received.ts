import { Settlement, type SettlementListener } from '../core/settlement.ts'
import { WRAP } from './sent.ts'

type Listener = {
  /** `h` has grown after it had to wait. */
  onAdvance(): void
  /** A stanza is not safe: the peer has to come back with it, and with all after it. */
  onFailure(error: unknown): void
}

const SETTLED = new Settlement()

/**
 * Counts the stanzas of another server that this one has taken responsibility for (XEP-0198 §4):
 * those up to the first whose fate is not settled yet.
 */
export class Received implements SettlementListener {
  /** Whoever speaks on the connection of the moment. */
  listener: Listener
  /** Does not wrap. */
  #settled = 0
  /** Taken and not counted, oldest first. */
  #pending: Settlement[] = []
  #idle: PromiseWithResolvers<void> | undefined

  constructor(listener: Listener) {
    this.listener = listener
  }

  get h(): number {
    return this.#settled % WRAP
  }

  get pending(): number {
    return this.#pending.length
  }

  /**
   * Resolves when nothing is waited for; after `patience` milliseconds what still is, is forgotten: it
   * will not be counted.
   */
  async settle(patience: number): Promise<void> {
    if (this.#pending.length === 0) return
    this.#idle ??= Promise.withResolvers()
    const timer = setTimeout(() => this.#forget(), patience).unref()
    await this.#idle.promise
    clearTimeout(timer)
  }

  /** The next stanza, in the order in which they came. */
  take(settlement: Settlement = SETTLED): void {
    if (settlement.isSettled && this.#pending.length === 0) {
      this.#settled++
      return
    }
    this.#pending.push(settlement)
    if (!settlement.isSettled) settlement.tell(this)
  }

  onSettled(settlement: Settlement): void {
    if (this.#pending[0] !== settlement) return
    let count = 0
    while (this.#pending[count]?.isSettled === true) count++
    this.#pending.splice(0, count)
    this.#settled += count
    this.#checkIdle()
    this.listener.onAdvance()
  }

  onUnsettled(settlement: Settlement, error: unknown): void {
    // It is forgotten if it failed with an earlier one.
    if (!this.#pending.includes(settlement)) return
    this.#forget()
    this.listener.onFailure(error)
  }

  #forget(): void {
    this.#pending = []
    this.#checkIdle()
  }

  #checkIdle(): void {
    if (this.#pending.length > 0) return
    this.#idle?.resolve()
    this.#idle = undefined
  }
}

import { Settlement, type SettlementListener } from '../../core/settlement.ts'
import { WRAP } from './protocol.ts'

type Listener = {
  /** `h` has grown after it had to wait. */
  onAdvance(): void
  /** A write failed: the client has to send that stanza, and all after it, again. */
  onFailure(error: unknown): void
}

const SETTLED = new Settlement()

/**
 * Counts the stanzas of a client that the server has taken responsibility for (XEP-0198 §4): those
 * up to the first whose fate is not settled yet.
 */
export class Handled implements SettlementListener {
  readonly #listener: Listener
  /** Neither wraps; only `h` does. */
  #settled: number
  #taken: number
  /** Decided and not counted, oldest first. */
  #pending: Settlement[] = []
  #hasFailed = false
  #onIdle: PromiseWithResolvers<void> | undefined

  constructor(listener: Listener, settled = 0) {
    this.#listener = listener
    this.#settled = settled
    this.#taken = settled
  }

  get h(): number {
    return this.#settled % WRAP
  }

  /** How many are settled; does not wrap. */
  get settled(): number {
    return this.#settled
  }

  /** How many are decided; does not wrap. */
  get taken(): number {
    return this.#taken
  }

  /** Resolves when nothing is waited for; `undefined` if nothing is. */
  get idle(): Promise<void> | undefined {
    if (this.#pending.length === 0) return undefined
    this.#onIdle ??= Promise.withResolvers()
    return this.#onIdle.promise
  }

  /** The fate of the next stanza is decided. */
  take(settlement: Settlement = SETTLED): void {
    if (this.#hasFailed) return
    this.#taken++
    if (settlement.isSettled && this.#pending.length === 0) {
      this.#settled++
      return
    }
    this.#pending.push(settlement)
    // One that is settled may be begun again while it waits here for those before it.
    if (settlement !== SETTLED) settlement.tell(this)
  }

  /** The client begins anew after what was settled. */
  restart(): void {
    this.#hasFailed = false
  }

  onSettled(settlement: Settlement): void {
    if (this.#pending[0] !== settlement) return
    let count = 0
    while (this.#pending[count]?.isSettled === true) count++
    this.#pending.splice(0, count)
    this.#settled += count
    this.#listener.onAdvance()
    this.#checkIdle()
  }

  onUnsettled(settlement: Settlement, error: unknown): void {
    // It is forgotten if it failed with an earlier one.
    if (!this.#pending.includes(settlement)) return
    this.#hasFailed = true
    this.#pending = []
    this.#taken = this.#settled
    this.#checkIdle()
    this.#listener.onFailure(error)
  }

  #checkIdle(): void {
    if (this.#pending.length > 0) return
    this.#onIdle?.resolve()
    this.#onIdle = undefined
  }
}

import { countAfter } from '../xmpp/stream-management.ts'
import { Settlement, type SettlementListener } from './settlement.ts'

/** Stanzas, and octets, of one stream whose fate may be open; with more, nothing is read from it. */
export const MAX_OPEN = { stanzas: 1_000, octets: 1024 * 1024 }
/** As many more may have to wait behind those, for the sake of the order. */
const MAX_BEHIND = 10_000

export interface HandledListener {
  /** `h` has grown after it had to wait. */
  onAdvance(): void
  /** A write failed: the peer has to send that stanza, and all after it, again. */
  onFailure(error: unknown): void
}

const SETTLED = new Settlement()

/**
 * Counts the stanzas of a peer, a client or another server, that this server has taken
 * responsibility for (XEP-0198 §4): those up to the first whose fate is not settled yet.
 */
export class Handled implements SettlementListener {
  /** Whoever speaks on the connection of the moment. */
  listener: HandledListener
  /** Neither wraps; only `h` does. */
  #settled: number
  #taken: number
  /** Decided and not counted, oldest first. */
  #pending: Settlement[] = []
  /** Those of them that are not settled, and what they weigh. */
  #open = 0
  #octets = 0
  #hasFailed = false
  #onIdle: PromiseWithResolvers<void> | undefined
  #onRoom: PromiseWithResolvers<void> | undefined

  constructor(listener: HandledListener, settled = 0) {
    this.listener = listener
    this.#settled = settled
    this.#taken = settled
  }

  get h(): number {
    return countAfter(0, this.#settled)
  }

  /** How many are settled; does not wrap. */
  get settled(): number {
    return this.#settled
  }

  /** How many are decided; does not wrap. */
  get taken(): number {
    return this.#taken
  }

  /** How many are decided and not settled. */
  get pending(): number {
    return this.#pending.length
  }

  /** Resolves when nothing is waited for; `undefined` if nothing is. */
  get idle(): Promise<void> | undefined {
    if (this.#pending.length === 0) return undefined
    this.#onIdle ??= Promise.withResolvers()
    return this.#onIdle.promise
  }

  /**
   * Resolves when more may be read; `undefined` if it may. So a peer that sends faster than the disk
   * writes is slowed down, and does not fill the memory.
   */
  get room(): Promise<void> | undefined {
    return this.#onRoom?.promise
  }

  /**
   * Resolves when nothing is waited for; after `patience` milliseconds what still is, is forgotten: it
   * will not be counted, and the peer sends it again.
   */
  async settle(patience: number): Promise<void> {
    if (this.idle === undefined) return
    const timer = setTimeout(() => this.#forget(0), patience).unref()
    // Before this goes on more may have come.
    while (this.idle !== undefined) await this.idle
    clearTimeout(timer)
  }

  /** The fate of the next stanza, in the order in which they came, of `size` octets, is decided. */
  take(settlement: Settlement = SETTLED, size = 0): void {
    if (this.#hasFailed) return
    this.#taken++
    if (settlement.isSettled && this.#pending.length === 0) {
      this.#settled++
      return
    }
    this.#pending.push(settlement)
    if (!settlement.isSettled) {
      settlement.weight = size
      this.#open++
      this.#octets += size
    }
    if (this.#isOver(1)) this.#onRoom ??= Promise.withResolvers()
    // One that is settled may be begun again while it waits here for those before it.
    if (settlement !== SETTLED) settlement.tell(this)
  }

  /** The peer begins anew after what was settled. */
  restart(): void {
    this.#hasFailed = false
  }

  onSettled(settlement: Settlement): void {
    this.#close(settlement)
    if (this.#pending[0] !== settlement) return this.#looked()
    // Mostly one: that is cheaper than to splice them.
    while (this.#pending[0]?.isSettled === true) {
      this.#pending.shift()
      this.#settled++
    }
    this.listener.onAdvance()
    this.#looked()
  }

  /** Once: a settlement may be begun again. */
  #close(settlement: Settlement): void {
    if (settlement.weight === undefined) return
    this.#open--
    this.#octets -= settlement.weight
    settlement.weight = undefined
  }

  onUnsettled(settlement: Settlement, error: unknown): void {
    // It is forgotten if it failed with an earlier one.
    const first = this.#pending.indexOf(settlement)
    if (first < 0) return
    this.#hasFailed = true
    this.#forget(first)
    this.listener.onFailure(error)
  }

  /** It, and what came after it: what came before may be safe yet, and is not to be sent again then. */
  #forget(first: number): void {
    const forgotten = this.#pending.splice(first)
    for (const settlement of forgotten) this.#close(settlement)
    this.#taken = this.#settled + first
    this.#looked()
  }

  #looked(): void {
    if (this.#onRoom !== undefined && !this.#isOver(0.5)) {
      this.#onRoom.resolve()
      this.#onRoom = undefined
    }
    if (this.#onIdle !== undefined && this.#pending.length === 0) {
      this.#onIdle.resolve()
      this.#onIdle = undefined
    }
  }

  #isOver(share: number): boolean {
    const { stanzas, octets } = MAX_OPEN
    return (
      this.#open >= stanzas * share ||
      this.#octets >= octets * share ||
      this.#pending.length >= MAX_BEHIND * share
    )
  }
}

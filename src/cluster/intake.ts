import type { Envelope } from '../core/envelope.ts'
import { Lanes } from '../core/lanes.ts'
import { after, type Maybe } from '../core/maybe.ts'
import { Settlement } from '../core/settlement.ts'
import type { DeliveryShare } from '../core/shared-delivery.ts'
import {
  ARRIVED,
  COMPONENT,
  FAILED,
  SESSION,
  SETTLED,
  writeHanded,
  writeNumbers,
} from './hand-off-entries.ts'
import { EnvelopeReader } from './handed-envelope.ts'
import type { Link } from './link.ts'
import { keyOf } from './transport.ts'

/** What a node does with stanzas that others hand to it. */
export interface Taker {
  /**
   * For a session of this node; if it is not here, it is decided about anew. Resolves, when it is decided
   * about, to whether another node may have it now.
   */
  toSession(target: string, envelope: Envelope): Maybe<boolean>
  /** Resolves when the other node has dealt with it, or can read it; `undefined` if it has, or can. */
  passedOn(envelope: Envelope): Promise<unknown> | undefined
  toComponent(target: string, envelope: Envelope): Maybe<unknown>
  /** The answer to a request of this node's own. */
  toNode(envelope: Envelope): void
  /** To be decided about anew: its node is lost, or no resource has got it. */
  again(envelope: Envelope): Maybe<unknown>
  /** Another node answers for it, of which there is a durable copy here. */
  keptElsewhere(envelope: Envelope): void
  /** Waited too long for a node that is out of reach. */
  unreachable(envelope: Envelope): Maybe<unknown>
}

type Parts = {
  readonly link: Link
  readonly taker: Taker
  /** Whether this node takes nothing more: what comes stays with the other one. */
  readonly isClosing: () => boolean
  /** What came as `number`, and others have as well, will not arrive here. */
  readonly giveBack: (number: number, held: Envelope) => void
}

/**
 * Stanzas that one run of another node hands to this one. They are decided about in order for each account, and
 * the other node is told what became of those whose fate it waits for.
 */
export class Intake {
  readonly #parts: Parts
  readonly #reader = new EnvelopeReader()
  #settled: number[] = []
  #isReportDue = false

  /** What was taken is decided about in the order in which it came, for each account. */
  readonly #lanes = new Lanes()
  /** How many stanzas are being decided about. */
  #deciding = 0
  #onDecided: PromiseWithResolvers<void> | undefined
  /** Set when the other node's run is over. */
  #isLost = false

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /** An entry of a kind that has a stanza, with its number. Resolves when it is decided about. */
  take(type: string, entry: string, number: number): Maybe<unknown> {
    // It is never acknowledged: the other node decides about it when this run is over.
    if (this.#parts.isClosing()) return new Promise(() => {})
    const read = this.#reader.read(entry)
    const { target, wantsSettlement, isShared } = read.handed
    const settlement = wantsSettlement ? new Settlement() : undefined
    const as = wantsSettlement ? this.#nameOf(number, isShared) : undefined
    const envelope = read.envelope(as, settlement, isShared ? this.#share(number) : undefined)
    const taken = this.#give(type, target, envelope)
    if (settlement === undefined) return taken
    if (!(taken instanceof Promise)) {
      this.#report(number, settlement)
      return undefined
    }
    return taken.finally(() => this.#report(number, settlement))
  }

  /** Resolves when what was taken is decided about; `undefined` if it is. */
  get decidedAll(): Promise<void> | undefined {
    if (this.#deciding === 0) return undefined
    this.#onDecided ??= Promise.withResolvers()
    return this.#onDecided.promise
  }

  /** The other node is lost. */
  lose(): void {
    this.#isLost = true
  }

  #nameOf(number: number, isShared: boolean): string {
    const { self, peer } = this.#parts.link
    return writeHanded({ from: keyOf(peer), to: keyOf(self), number, isShared })
  }

  #give(type: string, target: string, envelope: Envelope): Maybe<unknown> {
    const { taker } = this.#parts
    switch (type) {
      case SESSION:
        return this.#toSession(target, envelope)
      case COMPONENT:
        return taker.toComponent(target, envelope)
      default:
        return taker.toNode(envelope)
    }
  }

  #toSession(target: string, envelope: Envelope): Maybe<unknown> {
    const decided = this.#inOrder(target, envelope)
    // Nearly always: without a closure.
    if (decided === false) return undefined
    const { taker } = this.#parts
    return after(decided, (isPassedOn) => (isPassedOn ? taker.passedOn(envelope) : undefined))
  }

  /** What has been given back does not wait: others wait for it. */
  #inOrder(target: string, envelope: Envelope): Maybe<boolean> {
    const { taker } = this.#parts
    const decide = () => taker.toSession(target, envelope)
    const isRetry = envelope.notes.isRetry === true
    const decided = isRetry ? decide() : this.#lanes.run(envelope.to.bare, decide)
    if (!(decided instanceof Promise)) return decided
    this.#deciding++
    return decided.finally(() => {
      if (--this.#deciding > 0) return
      this.#onDecided?.resolve()
      this.#onDecided = undefined
    })
  }

  #share(number: number): DeliveryShare {
    const { link, giveBack } = this.#parts
    return {
      acknowledge: () => void link.send(ARRIVED + number),
      giveBack: (held) => {
        if (this.#isLost) return true
        giveBack(number, held)
        return false
      },
    }
  }

  #report(number: number, settlement: Settlement): void {
    if (settlement.isSettled) return this.#isNowSettled(number)
    settlement.tell({
      onSettled: () => this.#isNowSettled(number),
      onUnsettled: () => this.#isNotSettled(number),
    })
  }

  /** Likewise of what the other node has given back as `number`, once that is `safe`. */
  reportReturned(number: number, safe: Promise<void>): void {
    safe.then(
      () => this.#isNowSettled(number),
      () => this.#isNotSettled(number),
    )
  }

  #isNotSettled(number: number): void {
    this.#parts.link.send(FAILED + number)
  }

  #isNowSettled(number: number): void {
    this.#settled.push(number)
    if (this.#isReportDue) return
    this.#isReportDue = true
    queueMicrotask(() => {
      this.#isReportDue = false
      this.#parts.link.send(SETTLED + writeNumbers(this.#settled))
      this.#settled = []
    })
  }
}

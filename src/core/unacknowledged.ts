import { countAfter, countBetween } from '../xmpp/stream-management.ts'
import type { Envelope } from './envelope.ts'
import { weigh } from './portions.ts'

type Entry = { readonly envelope: Envelope; readonly at: number }

/** Acknowledged places at the front that are worth moving the rest for. */
const COMPACT_AT = 64

/**
 * What a peer, a client or another server, was sent and has not acknowledged (XEP-0198), oldest first,
 * each with a time (milliseconds since the epoch).
 */
export class Unacknowledged {
  /** Those before `#head` are let go of: what outlives a collection costs a copy. */
  #envelopes: (Envelope | undefined)[] = []
  #times: number[] = []
  /** Where the oldest is. */
  #head = 0
  #bytes = 0
  /** As the peer counts. */
  #acknowledged: number

  constructor(acknowledged = 0) {
    this.#acknowledged = acknowledged
  }

  get size(): number {
    return this.#envelopes.length - this.#head
  }

  /** In octets. */
  get bytes(): number {
    return this.#bytes
  }

  /** The count of the last acknowledgement. */
  get acknowledged(): number {
    return this.#acknowledged
  }

  /** The count that would acknowledge all. */
  get sent(): number {
    return countAfter(this.#acknowledged, this.size)
  }

  push(envelope: Envelope, at: number): void {
    this.#envelopes.push(envelope)
    this.#times.push(at)
    this.#bytes += weigh(envelope)
  }

  /** Whether as many were sent as a peer says it has got. */
  covers(h: number): boolean {
    return this.#countTo(h) <= this.size
  }

  /** Takes out what the peer has got: `h` counts from the start. It must have been sent. */
  acknowledge(h: number, each: (envelope: Envelope, at: number) => void): void {
    const end = this.#head + this.#countTo(h)
    while (this.#head < end) {
      const at = this.#times[this.#head] as number
      const envelope = this.#envelopes[this.#head] as Envelope
      this.#envelopes[this.#head++] = undefined
      this.#acknowledged = countAfter(this.#acknowledged, 1)
      this.#bytes -= weigh(envelope)
      each(envelope, at)
    }
    this.#compact()
  }

  /** Takes out all of them. */
  takeAll(): Entry[] {
    const all = Array.from(this, ([envelope, at]) => ({ envelope, at }))
    this.acknowledge(this.sent, () => {})
    return all
  }

  *[Symbol.iterator](): Generator<readonly [envelope: Envelope, at: number]> {
    for (let i = this.#head; i < this.#envelopes.length; i++) {
      yield [this.#envelopes[i] as Envelope, this.#times[i] as number]
    }
  }

  #countTo(h: number): number {
    return countBetween(this.#acknowledged, h)
  }

  #compact(): void {
    if (this.#head === this.#envelopes.length) {
      this.#envelopes.length = 0
      this.#times.length = 0
    } else if (this.#head < COMPACT_AT || this.#head * 2 < this.#envelopes.length) return
    else {
      this.#envelopes.splice(0, this.#head)
      this.#times.splice(0, this.#head)
    }
    this.#head = 0
  }
}

import type { Envelope } from '../../core/envelope.ts'
import { weigh } from '../../core/portions.ts'
import { countAfter, countBetween } from '../../xmpp/stream-management.ts'

/** Acknowledged places at the front that are worth moving the rest for. */
const COMPACT_AT = 64

/**
 * What a client was sent and has not acknowledged, oldest first, with when it was sent
 * (milliseconds since the epoch).
 */
export class Unacknowledged {
  #envelopes: Envelope[] = []
  #times: number[] = []
  /** Where the oldest is. */
  #head = 0
  #bytes = 0
  /** As the client counts. */
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

  /** Whether as many were sent as a client says it has got. */
  covers(h: number): boolean {
    return this.#countTo(h) <= this.size
  }

  /** Takes out what the client has got. It must have been sent. */
  acknowledge(h: number, each: (envelope: Envelope) => void): void {
    const end = this.#head + this.#countTo(h)
    while (this.#head < end) {
      const envelope = this.#envelopes[this.#head++] as Envelope
      this.#acknowledged = countAfter(this.#acknowledged, 1)
      this.#bytes -= weigh(envelope)
      each(envelope)
    }
    this.#compact()
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

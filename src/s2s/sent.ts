import type { Envelope } from '../core/envelope.ts'
import { weigh } from '../core/portions.ts'
import { countAfter, countBetween } from '../xmpp/stream-management.ts'

/** Places at the front that are worth moving the rest for. */
const COMPACT_AT = 256

/** What was written to another server and may not have arrived, oldest first. */
export class Sent {
  #envelopes: Envelope[] = []
  #head = 0
  #bytes = 0
  /** As the peer counts. */
  #acknowledged = 0

  get size(): number {
    return this.#envelopes.length - this.#head
  }

  /** In octets, roughly. */
  get bytes(): number {
    return this.#bytes
  }

  /** The count that would acknowledge all. */
  get count(): number {
    return countAfter(this.#acknowledged, this.size)
  }

  push(envelope: Envelope): void {
    this.#envelopes.push(envelope)
    this.#bytes += weigh(envelope)
  }

  /** Whether as many were sent as a peer says it has got. */
  covers(h: number): boolean {
    return this.#countTo(h) <= this.size
  }

  /** Takes out what the peer has got: `h` counts from the start. It must have been sent. */
  acknowledge(h: number): Envelope[] {
    return this.take(this.#countTo(h))
  }

  /** Takes out the oldest ones. */
  take(count: number): Envelope[] {
    const taken = this.#envelopes.slice(this.#head, this.#head + count)
    for (const envelope of taken) this.#bytes -= weigh(envelope)
    this.#head += taken.length
    this.#acknowledged = countAfter(this.#acknowledged, taken.length)
    if (this.#head === this.#envelopes.length || this.#head >= COMPACT_AT) {
      this.#envelopes.splice(0, this.#head)
      this.#head = 0
    }
    return taken
  }

  /** All of them, which stay. */
  all(): readonly Envelope[] {
    return this.#envelopes.slice(this.#head)
  }

  #countTo(h: number): number {
    return countBetween(this.#acknowledged, h)
  }
}

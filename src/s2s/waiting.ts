import type { Envelope } from '../core/envelope.ts'
import { weigh } from '../core/portions.ts'

/** `at`: since when, milliseconds since the epoch. */
type Entry = { readonly envelope: Envelope; readonly at: number }

/** Stanzas that wait until they can be sent, oldest first. */
export class Waiting {
  #entries: Entry[] = []
  #bytes = 0

  get isEmpty(): boolean {
    return this.#entries.length === 0
  }

  get size(): number {
    return this.#entries.length
  }

  /** In octets, roughly. */
  get bytes(): number {
    return this.#bytes
  }

  push(envelope: Envelope): void {
    this.#entries.push({ envelope, at: Date.now() })
    this.#bytes += weigh(envelope)
  }

  /** Those that were sent already, before all others. */
  putBack(entries: readonly Entry[]): void {
    this.#entries.unshift(...entries)
    for (const { envelope } of entries) this.#bytes += weigh(envelope)
  }

  /** Hands them on, oldest first, as long as they are wanted. */
  handOn(isWanted: () => boolean, send: (envelope: Envelope, at: number) => void): void {
    let count = 0
    while (count < this.#entries.length && isWanted()) {
      const { envelope, at } = this.#entries[count++] as Entry
      this.#bytes -= weigh(envelope)
      send(envelope, at)
    }
    this.#entries.splice(0, count)
  }

  /** Takes out those that have come before then. */
  take(before = Number.POSITIVE_INFINITY): Envelope[] {
    const found = this.#entries.findIndex(({ at }) => at >= before)
    const count = found === -1 ? this.#entries.length : found
    if (count === 0) return []
    const taken = this.#entries.splice(0, count).map(({ envelope }) => envelope)
    for (const envelope of taken) this.#bytes -= weigh(envelope)
    return taken
  }
}

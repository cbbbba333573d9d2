import { randomUUID } from 'node:crypto'
import type { Ledger } from './ledger.ts'
import type { Pair } from './proofs.ts'
import type { Traffic } from './traffic.ts'

type Entry = {
  readonly pair: Pair
  readonly traffic: Traffic
  /** Milliseconds since the epoch; absent while the stream has its connection. */
  expiresAt?: number
}

/** Streams without a connection that are remembered; older ones are forgotten. */
const MAX_LOST = 1_000

/** What is known of the streams that others have opened, so that they may come back (XEP-0198 §5). */
export class Resumptions {
  readonly #patience: () => number
  readonly #entries = new Map<string, Entry>()

  constructor(patience: () => number) {
    this.#patience = patience
  }

  /** How long a stream without a connection is remembered, milliseconds. */
  get patience(): number {
    return this.#patience()
  }

  newId(): string {
    return randomUUID()
  }

  put(pair: Pair, traffic: Traffic): void {
    const { id } = traffic.ledger
    if (id !== undefined) this.#entries.set(id, { pair, traffic })
  }

  /** The stream of that id, whose connection, if there still is one, ends. */
  take({ local, remote }: Pair, id: string): Ledger | undefined {
    const entry = this.#entries.get(id)
    if (entry?.pair.local !== local || entry.pair.remote !== remote) return undefined
    this.#entries.delete(id)
    const { traffic } = entry
    traffic.connection.destroy()
    traffic.over('lost')
    return traffic.ledger
  }

  /** Called every second or so. */
  look(now: number): void {
    let lost = 0
    for (const [id, entry] of this.#entries) {
      const { isOver, ending } = entry.traffic
      if (!isOver) continue
      entry.expiresAt ??= now + this.patience
      lost++
      const isForgotten = ending !== 'lost' || now >= entry.expiresAt
      if (isForgotten) this.#entries.delete(id)
    }
    for (const [id, entry] of this.#entries) {
      if (lost <= MAX_LOST) break
      if (entry.expiresAt === undefined) continue
      this.#entries.delete(id)
      lost--
    }
  }
}

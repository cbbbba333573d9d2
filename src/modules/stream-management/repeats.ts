import type { Envelope } from '../../core/envelope.ts'

/** So many ids at least are remembered of what a client has acknowledged last, */
const REMEMBERED = 500
/** and so many go with a session that is taken up elsewhere. */
const TAKEN_ALONG = 200

const NONE: readonly Envelope[] = []

/**
 * What one client is sent again though it has it: nodes that are lost, or cut off, leave messages behind of
 * which nobody knows whether they have arrived (`Notes.id`). The client sees each only once.
 *
 * A repeat of what the client has not acknowledged yet is not forgotten: it may have a durable copy of its
 * own, which goes when the first is acknowledged, and it goes back to the route with that.
 */
export class Repeats {
  /** By the id of what the client has not acknowledged: what came again meanwhile. */
  readonly #inHands = new Map<string, readonly Envelope[]>()
  /** Acknowledged, the newer half and the older one. */
  #recent: Set<string>
  #older: ReadonlySet<string> = new Set()

  constructor(acknowledged: readonly string[] = []) {
    this.#recent = new Set(acknowledged)
  }

  /** `had`: the client has acknowledged it; `kept`: it is dealt with as the first. */
  take(envelope: Envelope): 'new' | 'had' | 'kept' {
    const { id } = envelope.notes
    if (id === undefined) return 'new'
    if (this.#recent.has(id) || this.#older.has(id)) return 'had'
    const before = this.#inHands.get(id)
    this.#inHands.set(id, before === undefined ? NONE : [...before, envelope])
    return before === undefined ? 'new' : 'kept'
  }

  /** The client has it. What else it has by that. */
  acknowledged({ notes: { id } }: Envelope): readonly Envelope[] {
    if (id === undefined) return NONE
    const repeats = this.#inHands.get(id) ?? NONE
    this.#inHands.delete(id)
    this.#recent.add(id)
    if (this.#recent.size >= REMEMBERED) {
      this.#older = this.#recent
      this.#recent = new Set()
    }
    return repeats
  }

  /** What came again of one that the client has not acknowledged. */
  of({ notes: { id } }: Envelope): readonly Envelope[] {
    return (id === undefined ? undefined : this.#inHands.get(id)) ?? NONE
  }

  /** All of that. */
  get waiting(): readonly Envelope[] {
    return [...this.#inHands.values()].flat()
  }

  /** What the client has acknowledged last. */
  get last(): readonly string[] {
    return [...this.#older, ...this.#recent].slice(-TAKEN_ALONG)
  }
}

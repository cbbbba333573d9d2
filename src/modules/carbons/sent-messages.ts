import type { Envelope } from '../../core/envelope.ts'
import type { Session } from '../../core/session.ts'
import type { Jid } from '../../xmpp/jid.ts'
import type { Stanza } from '../../xmpp/stanza.ts'

/** Messages of one session that are remembered. */
const REMEMBERED = 50
/** Characters of an id that count: clients choose it, and time is ours. */
const SIGNIFICANT = 100

export const COPIED = Symbol('copied')

/** Of one session: the oldest gives way to the next. */
type Ring = {
  /** To whom and with which id. Nothing of the text is kept, and so nothing of what it was cut from. */
  readonly keys: Int32Array
  /** The message, until its sender's other devices have copies; then only that they have. */
  readonly values: (Envelope | typeof COPIED | undefined)[]
  next: number
}

/** What each session has sent last, to know which message an error is about. */
export class SentMessages {
  readonly #rings = new WeakMap<Session, Ring>()

  add(session: Session, { to, stanza }: Envelope, value: Envelope | typeof COPIED): void {
    const ring = this.#rings.get(session) ?? this.#begin(session)
    ring.keys[ring.next] = keyOf(to, stanza)
    ring.values[ring.next] = value
    ring.next = (ring.next + 1) % REMEMBERED
  }

  /** The message with this very stanza, if it was not copied. From now on it counts as copied. */
  take(session: Session, stanza: Stanza): Envelope | undefined {
    const ring = this.#rings.get(session)
    if (ring === undefined) return undefined
    const { values } = ring
    // The latest first: mostly it is that.
    for (let age = 1; age <= REMEMBERED; age++) {
      const index = (ring.next - age + REMEMBERED) % REMEMBERED
      const value = values[index]
      if (value === undefined) return undefined
      if (value === COPIED || value.stanza !== stanza) continue
      values[index] = COPIED
      return value
    }
    return undefined
  }

  /** The message that a stanza from `peer` answers. From now on it counts as copied. */
  answered(session: Session, peer: Jid, answer: Stanza): Envelope | typeof COPIED | undefined {
    const ring = this.#rings.get(session)
    if (ring === undefined) return undefined
    const key = keyOf(peer, answer)
    for (let age = 1; age <= REMEMBERED; age++) {
      const index = (ring.next - age + REMEMBERED) % REMEMBERED
      const value = ring.values[index]
      if (value === undefined) return undefined
      if (ring.keys[index] !== key) continue
      ring.values[index] = COPIED
      return value
    }
    return undefined
  }

  #begin(session: Session): Ring {
    const values = Array.from({ length: REMEMBERED }, () => undefined)
    const ring: Ring = { keys: new Int32Array(REMEMBERED), values, next: 0 }
    this.#rings.set(session, ring)
    return ring
  }
}

/**
 * Of the peer's bare JID and the id. Two that share it by chance: then an error is shown to a device
 * that does not know what it is about, as happens to a device that has just connected.
 */
function keyOf({ bare }: Jid, { id = '' }: Stanza): number {
  return mixed(mixed(FNV_OFFSET, bare), id)
}

const FNV_OFFSET = 0x811c9dc5
const FNV_PRIME = 0x01000193

/** FNV-1a, of the last characters. */
function mixed(start: number, text: string): number {
  let hash = start
  for (let i = Math.max(0, text.length - SIGNIFICANT); i < text.length; i++) {
    hash = Math.imul(hash ^ text.charCodeAt(i), FNV_PRIME)
  }
  return Math.imul(hash ^ text.length, FNV_PRIME)
}

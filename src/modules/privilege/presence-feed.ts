import type { Jid } from '../../xmpp/jid.ts'
import { Stanza } from '../../xmpp/stanza.ts'

/** Of how many resources the last presence is remembered. */
const MAX_REMEMBERED = 50_000
/** Of a longer presence only that it is one is remembered, in octets. */
const MAX_SIZE = 4 * 1024

const AVAILABLE = Stanza.build('presence')

type Known = { readonly from: Jid; readonly stanza: Stanza }

/**
 * Who is available as one component knows it: each presence is told once (XEP-0356 §8), and all of
 * them to a component that has come anew.
 */
export class PresenceFeed {
  readonly #send: (from: Jid, presence: Stanza) => void
  /** By full JID. */
  readonly #known = new Map<string, Known>()

  constructor(send: (from: Jid, presence: Stanza) => void) {
    this.#send = send
  }

  /** A resource is available, or what it says of itself has changed. */
  available(from: Jid, presence: Stanza): void {
    const stanza = presence.with({ id: undefined })
    const isTooLong = stanza.payload.length > MAX_SIZE
    const before = this.#known.get(from.full)?.stanza
    if (!isTooLong && before?.payload === stanza.payload) return
    this.#known.delete(from.full)
    this.#known.set(from.full, { from, stanza: isTooLong ? AVAILABLE : stanza })
    this.#forgetOldest()
    this.#send(from, stanza)
  }

  /** A resource is available, which was not told when it became so. */
  remember(from: Jid, presence: Stanza): void {
    if (this.#known.has(from.full)) return
    const stanza = presence.payload.length > MAX_SIZE ? AVAILABLE : presence.with({ id: undefined })
    this.#known.set(from.full, { from, stanza })
    this.#forgetOldest()
  }

  unavailable(from: Jid, presence: Stanza): void {
    const wasKnown = this.#known.delete(from.full)
    // Of some it may have been forgotten that they are there.
    if (wasKnown || this.#known.size >= MAX_REMEMBERED) {
      this.#send(from, presence.with({ id: undefined }))
    }
  }

  /** Tells all that is known. */
  repeat(): void {
    for (const { from, stanza } of this.#known.values()) this.#send(from, stanza)
  }

  #forgetOldest(): void {
    if (this.#known.size <= MAX_REMEMBERED) return
    for (const oldest of this.#known.keys()) {
      this.#known.delete(oldest)
      break
    }
  }
}

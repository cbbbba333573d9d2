import type { Session } from '../../core/session.ts'
import type { Jid } from '../../xmpp/jid.ts'
import { StanzaError } from '../../xmpp/stanza-error.ts'

/** Whom a session has to tell when it is no longer available, besides the account's subscribers. */
type Duty = {
  /** Who got directed presence (RFC 6121 §4.6), by address. */
  readonly directed: Map<string, Jid>
  /** Contacts believe it available on account of a session that it has replaced. */
  isInherited: boolean
}

const NO_ONE: readonly Jid[] = []

export class Duties {
  readonly #duties = new WeakMap<Session, Duty>()
  readonly #maxDirectedFor: (domain: string) => number

  /** How many addresses a session of a domain may send directed presence to. */
  constructor(maxDirectedFor: (domain: string) => number) {
    this.#maxDirectedFor = maxDirectedFor
  }

  /** Notes that `to` gets directed presence. Throws `not-acceptable` when there are too many. */
  remember(session: Session, to: Jid): void {
    const { directed } = this.#of(session)
    const most = this.#maxDirectedFor(session.jid.domain)
    if (directed.size >= most && !directed.has(to.full)) {
      const text = `directed presence goes to up to ${most} addresses`
      throw new StanzaError('not-acceptable', { text })
    }
    directed.set(to.full, to)
  }

  /** It was told that the session is unavailable, or is gone itself. */
  forget(session: Session, to: Jid): void {
    this.#duties.get(session)?.directed.delete(to.full)
  }

  directed(session: Session): Iterable<Jid> {
    return this.#duties.get(session)?.directed.values() ?? NO_ONE
  }

  /** Whether the session has sent directed presence to this address, or its account. */
  hasDirected(session: Session, to: Jid): boolean {
    const directed = this.#duties.get(session)?.directed
    return directed !== undefined && (directed.has(to.full) || directed.has(to.bare))
  }

  /** Whether anybody may believe the session available. */
  isBelievedAvailable(session: Session): boolean {
    return session.priority !== undefined || this.#duties.get(session)?.isInherited === true
  }

  hasAny(session: Session): boolean {
    const duty = this.#duties.get(session)
    return this.isBelievedAvailable(session) || (duty !== undefined && duty.directed.size > 0)
  }

  /** The session speaks for itself from now on. */
  settleInherited(session: Session): void {
    const duty = this.#duties.get(session)
    if (duty !== undefined) duty.isInherited = false
  }

  clear(session: Session): void {
    this.#duties.delete(session)
  }

  /** `heir` takes the place of `session`, and nobody notices. */
  inherit(session: Session, heir: Session): void {
    const duty = this.#of(heir)
    if (this.isBelievedAvailable(session)) duty.isInherited = true
    for (const to of this.directed(session)) duty.directed.set(to.full, to)
    this.clear(session)
  }

  #of(session: Session): Duty {
    let duty = this.#duties.get(session)
    if (duty === undefined) {
      duty = { directed: new Map(), isInherited: false }
      this.#duties.set(session, duty)
    }
    return duty
  }
}

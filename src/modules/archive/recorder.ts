import { Envelope } from '../../core/envelope.ts'
import type { Logger } from '../../core/log.ts'
import type { Maybe } from '../../core/maybe.ts'
import type { Outcome } from '../../core/outcome.ts'
import type { Resource } from '../../core/session.ts'
import type { Settlement } from '../../core/settlement.ts'
import type { Jid } from '../../xmpp/jid.ts'
import { decode } from '../../xmpp/octets.ts'
import type { Stanza } from '../../xmpp/stanza.ts'
import { type Eligibility, isArchivable } from './eligibility.ts'
import type { ArchiveIds } from './ids.ts'
import type { PreferenceStore } from './preference-store.ts'
import { type DefaultMode, wishFor } from './preferences.ts'
import { withIdBy } from './stanza-ids.ts'
import type { ArchivedMessage } from './store.ts'

type Parts = {
  readonly ids: ArchiveIds
  readonly preferences: PreferenceStore
  /** Whether `peer` is in the roster of `owner`. */
  readonly isContact: (owner: Jid, peer: Jid) => boolean | Promise<boolean>
  /** The settlement waits until the message is safe. */
  readonly write: (
    message: ArchivedMessage,
    stanza: Stanza,
    settlement: Settlement | undefined,
  ) => void
  /** Resolves when more can be written; `undefined` if it can. */
  readonly room: () => Promise<void> | undefined
  /** Takes out a message that was written. */
  readonly discard: (owner: string, id: string) => void
  /** What the archives of a domain take. */
  readonly eligibleFor: (domain: string) => Eligibility
  readonly log: Logger
}

/** What was archived last: between local users, the same message is about to be archived again. */
type Latest = {
  readonly stanza: Stanza
  readonly from: Jid
  readonly to: Jid
  readonly id: string
  readonly xml: string
  /** In the archive of its sender, too. */
  isSent: boolean
}

/**
 * Decides which messages go into whose archive, and under which id.
 *
 * A message gets its id when it is archived, not when it is sent: so ids ascend in the order in which
 * messages come into an archive, and who pages through it misses none that came meanwhile. The two
 * archives of one message have it under the same id, unless something else was archived in between.
 */
export class Recorder {
  readonly #parts: Parts
  #latest: Latest | undefined
  /** The ids of messages that found nobody: whether somebody keeps them is not decided yet. */
  readonly #uncertain = new WeakMap<Stanza, string>()
  /** The ids that messages sent get, if their senders want them archived: that is being looked up. */
  readonly #undecided = new WeakMap<Stanza, Promise<string | undefined>>()

  /** Messages whose senders' wishes are being looked up. */
  readonly #pending = new Set<Promise<unknown>>()

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /**
   * A message is about to be delivered, or kept for later. It comes back with its id for the recipient
   * (XEP-0313 §3.3) when it is archived; the write is on its way then.
   */
  received(envelope: Envelope, targets: readonly Resource[]): Envelope | Promise<Envelope> {
    const { to, from } = envelope
    if (!this.#mayReceive(envelope, targets)) return envelope
    const room = this.#parts.room()
    if (room !== undefined) return room.then(() => this.received(envelope, targets))
    const isCertain = targets.length > 0
    const isWanted = this.#isWanted(to, from)
    if (isWanted === true) return this.#keep(envelope, isCertain)
    if (isWanted === false) return envelope
    return isWanted.then(
      (wanted) => (wanted ? this.#keep(envelope, isCertain) : envelope),
      (error) => {
        this.#failed(envelope, error)
        return envelope
      },
    )
  }

  #mayReceive({ stanza, to, notes }: Envelope, targets: readonly Resource[]): boolean {
    // Decided once more, if the resource that was to get it is gone.
    if (notes.archived !== undefined) return false
    if (!isArchivable(stanza, this.#parts.eligibleFor(to.domain))) return false
    return targets[0]?.info.isAnonymous !== true
  }

  /** Whether `received` would archive it. */
  wouldReceive(envelope: Envelope, targets: readonly Resource[]): Maybe<boolean> {
    return this.#mayReceive(envelope, targets) && this.#isWanted(envelope.to, envelope.from)
  }

  /** Whether `settled` would archive it for its sender. */
  wouldSend(envelope: Envelope, { fate }: Outcome): Maybe<boolean> {
    const { stanza, from, to, origin, notes } = envelope
    if (stanza.kind !== 'message' || fate === 'dropped' || notes.isRetry === true) return false
    if (origin.kind !== 'c2s' || origin.session.info.isAnonymous) return false
    if (from.bare === to.bare) return false
    return isArchivable(stanza, this.#parts.eligibleFor(from.domain)) && this.#isWanted(from, to)
  }

  /** A message has come to its end. */
  settled(envelope: Envelope, { fate }: Outcome): void {
    const { stanza, to, origin, notes } = envelope
    if (stanza.kind !== 'message') return
    if (fate === 'bounced') {
      // It was refused in the end, and is not in the archive of who refused it (XEP-0313 §6.1).
      const id = this.#uncertain.get(stanza)
      if (id !== undefined) this.#parts.discard(to.bare, id)
      return
    }
    if (fate === 'dropped' || notes.isRetry === true) return
    if (origin.kind === 'c2s' && !origin.session.info.isAnonymous) this.#sent(envelope)
  }

  /** What was sent last, with its id for its sender; other messages as they are. */
  asSent(envelope: Envelope): Maybe<Envelope> {
    const { stanza, from, to } = envelope
    const marked = (id: string | undefined) =>
      id === undefined ? envelope : envelope.with({ stanza: withIdBy(stanza, from.toBare(), id) })
    const undecided = this.#undecided.get(stanza)
    if (undecided !== undefined) return undecided.then(marked)
    const latest = this.#latest
    if (latest?.isSent !== true || latest.stanza !== stanza || latest.to !== to) return envelope
    return marked(latest.id)
  }

  /** Resolves when what was decided upon so far is on its way to the store, or there. */
  async done(): Promise<void> {
    await Promise.allSettled(this.#pending)
  }

  #waitFor(isWanted: Promise<boolean>): void {
    this.#pending.add(isWanted)
    isWanted
      .catch((error) => this.#parts.log.error('message_not_archived', { error }))
      .finally(() => this.#pending.delete(isWanted))
  }

  /** By one of our users. */
  #sent(envelope: Envelope): void {
    const { stanza, from, to, settlement } = envelope
    // To oneself: archived as received.
    if (from.bare === to.bare) return
    if (!isArchivable(stanza, this.#parts.eligibleFor(from.domain))) return
    const isWanted = this.#isWanted(from, to)
    if (isWanted === false) return
    if (isWanted !== true) {
      const id = isWanted.then((wanted) =>
        wanted ? this.#write(envelope, from, to).id : undefined,
      )
      id.catch(() => {})
      this.#undecided.set(stanza, id)
      settlement?.waitFor(id)
      this.#waitFor(isWanted)
      return
    }
    this.#write(envelope, from, to).isSent = true
  }

  #keep(envelope: Envelope, isCertain: boolean): Envelope {
    const { from, to, stanza, origin, notes, settlement, delivery } = envelope
    const { id } = this.#write(envelope, to, from)
    if (!isCertain) this.#uncertain.set(stanza, id)
    const marked = withIdBy(stanza, to.toBare(), id)
    return new Envelope(from, to, marked, origin, { ...notes, archived: id }, settlement, delivery)
  }

  #write({ from, to, stanza, settlement }: Envelope, owner: Jid, peer: Jid): Latest {
    let latest = this.#latest
    if (latest?.stanza !== stanza || latest.from !== from || latest.to !== to) {
      const id = this.#parts.ids.next()
      latest = { stanza, from, to, id, xml: decode(stanza.toWrapped(from, to)), isSent: false }
      this.#latest = latest
    }
    const { id, xml } = latest
    const isGroupchat = stanza.type === 'groupchat'
    this.#parts.write({ owner: owner.bare, id, peer, isGroupchat, xml }, stanza, settlement)
    return latest
  }

  /** It is delivered all the same, but its sender is not told that it is safe. */
  #failed({ settlement }: Envelope, error: unknown): void {
    settlement?.waitFor(Promise.reject(error))
    this.#parts.log.error('message_not_archived', { error })
  }

  #isWanted(owner: Jid, peer: Jid): boolean | Promise<boolean> {
    const set = this.#parts.preferences.get(owner.bare)
    if (!(set instanceof Promise)) return this.#decide(wishFor(set, peer), owner, peer)
    return set.then((loaded) => this.#decide(wishFor(loaded, peer), owner, peer))
  }

  #decide(wish: DefaultMode, owner: Jid, peer: Jid): boolean | Promise<boolean> {
    if (wish !== 'roster') return wish === 'always'
    return owner.bare === peer.bare || this.#parts.isContact(owner, peer)
  }
}

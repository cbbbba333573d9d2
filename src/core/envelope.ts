import type { Jid } from '../xmpp/jid.ts'
import type { Octets } from '../xmpp/octets.ts'
import type { Stanza } from '../xmpp/stanza.ts'
import type { Session } from './session.ts'
import type { Settlement } from './settlement.ts'
import type { DeliveryShare } from './shared-delivery.ts'

/** Where a stanza entered this server. */
export type Origin =
  | { readonly kind: 'c2s'; readonly session: Session }
  | { readonly kind: 's2s' | 'component'; readonly domain: string }
  | { readonly kind: 'server' | 'admin' }

export const SERVER: Origin = { kind: 'server' }

/**
 * What handlers leave for later ones, on this node or another: kept when the stanza is stored,
 * queued or handed to another node, so every value is serialisable. Modules add their own by
 * declaration merging.
 */
export interface Notes {
  /** Key of the offline entry that this delivery empties when it is acknowledged. */
  readonly offline?: number
  /** Delivered before, perhaps: a resource that acknowledged it is skipped. */
  readonly isRetry?: boolean
  /** How many nodes of the cluster have handed it on because what it was for was not there. */
  readonly hops?: number
  /** Which node handed it to which, as what number, and whether others got it as well. */
  readonly handed?: string
  /** The id under which the recipient's archive has the message. */
  readonly archived?: string
  /**
   * Key of the durable copy of a message that nothing else keeps until it is acknowledged. It says
   * something to the run of the node that has that copy alone.
   */
  readonly kept?: number
  /**
   * What a message is known by, however often it comes: on the nodes of a cluster given where it came first;
   * else what it was known by (`idOf`) as long as there was such a copy.
   */
  readonly id?: string
  /** Where it belongs among what waits for its recipient (`Places`). */
  readonly place?: number
  /** Of a copy: the id (`idOf`) of the message, should that be delivered to the same client yet. */
  readonly copyOf?: string
  /** `traceparent` of the stanza, if somebody follows it. */
  readonly trace?: string
}

const NO_NOTES: Notes = {}

/** What a message is known by, however often it is delivered; undefined if nobody keeps it. */
export function idOf({ archived, id, kept, place }: Notes): string | undefined {
  // Nodes count alike, but not in the same microsecond.
  return archived ?? id ?? (kept === undefined ? undefined : `${kept} ${place}`)
}

/** Whether both came to this cluster at the same run of a node, and `one` first: so it stays between them. */
export function isKnownEarlier(one: Notes, other: Notes): boolean {
  if (one.id === undefined || other.id === undefined) return false
  const end = one.id.lastIndexOf(':')
  if (end === -1 || !other.id.startsWith(one.id.slice(0, end + 1))) return false
  return Number.parseInt(one.id.slice(end + 1), 36) < Number.parseInt(other.id.slice(end + 1), 36)
}

/**
 * A stanza on its way with its two addresses, where it came from, and what was noted about it.
 * Immutable: to change something, pass on a new one.
 */
export class Envelope {
  readonly from: Jid
  readonly to: Jid
  readonly stanza: Stanza
  readonly origin: Origin
  readonly notes: Notes
  /** Collects what the sender's acknowledgement waits for; `undefined` when none will be sent. */
  readonly settlement: Settlement | undefined
  /** Set when several resources of the account got it. */
  readonly delivery: DeliveryShare | undefined
  #octets: Octets | undefined

  constructor(
    from: Jid,
    to: Jid,
    stanza: Stanza,
    origin: Origin,
    notes: Notes = NO_NOTES,
    settlement?: Settlement,
    delivery?: DeliveryShare,
  ) {
    this.from = from
    this.to = to
    this.stanza = stanza
    this.origin = origin
    this.notes = notes
    this.settlement = settlement
    this.delivery = delivery
  }

  with(changes: { readonly from?: Jid; readonly to?: Jid; readonly stanza?: Stanza }): Envelope {
    const { from = this.from, to = this.to, stanza = this.stanza } = changes
    const { origin, notes, settlement, delivery } = this
    return new Envelope(from, to, stanza, origin, notes, settlement, delivery)
  }

  noted(notes: Notes): Envelope {
    const { from, to, stanza, origin, settlement, delivery } = this
    const all = this.hasNotes ? { ...this.notes, ...notes } : notes
    return new Envelope(from, to, stanza, origin, all, settlement, delivery)
  }

  /** Without what was noted under a name. */
  unnoted(name: keyof Notes): Envelope {
    if (this.notes[name] === undefined) return this
    const { from, to, stanza, origin, settlement, delivery } = this
    const { [name]: _, ...notes } = this.notes
    return new Envelope(from, to, stanza, origin, notes, settlement, delivery)
  }

  /** As a session that has had it gives it back to the route. */
  asRetry(): Envelope {
    return this.unnoted('hops').noted({ isRetry: true })
  }

  /** As it is handed to several resources; to one again with `undefined`. */
  shared(delivery: DeliveryShare | undefined): Envelope {
    const { from, to, stanza, origin, notes, settlement } = this
    return new Envelope(from, to, stanza, origin, notes, settlement, delivery)
  }

  /** As it goes out to a client. One text serves all sessions that get this envelope. */
  get octets(): Octets {
    const { delivery, stanza, from, to } = this
    // For one session, which needs it once: kept, it would wait with the envelope for an acknowledgement.
    if (delivery === undefined && stanza.kind === 'message') return stanza.toOctets(from, to)
    this.#octets ??= stanza.toOctets(from, to)
    return this.#octets
  }

  /** Whether anything was noted: the cheap question before looking. */
  get hasNotes(): boolean {
    return this.notes !== NO_NOTES
  }

  /** The session that sent this stanza, when it came from a client of this node. */
  get sender(): Session | undefined {
    return this.origin.kind === 'c2s' ? this.origin.session : undefined
  }
}

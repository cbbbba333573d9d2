import { Envelope, type Notes, type Origin } from '../core/envelope.ts'
import type { Settlement } from '../core/settlement.ts'
import type { DeliveryShare } from '../core/shared-delivery.ts'
import { type Jid, parseJid } from '../xmpp/jid.ts'
import { decode, encode, type Octets } from '../xmpp/octets.ts'
import { Stanza } from '../xmpp/stanza.ts'

/** What is said about an envelope besides what is in it. */
export type HandedOver = {
  /** A session's full JID, or the id of a component's connection. */
  readonly target: string
  /** The sender's acknowledgement waits for its fate. */
  readonly wantsSettlement: boolean
  /** Other resources have it, too. */
  readonly isShared: boolean
}

/** Sets fields apart; not in any of them, for XML does not have it. */
const SEPARATOR = '\x03'
/** In the place of a target that is what the stanza is addressed to. */
const ADDRESSEE = '\x04'
/** Between those fields, which are encoded as one, and the stanza. */
const STANZA = '\x05'
/** Before notes that are an id and a place, as nearly all are. Others are JSON. */
const KNOWN = '#'
/** The kind of an origin is the last of the flags. */
const ORIGINS = { c2s: 'u', s2s: 'u', component: 'c', server: 'o', admin: 'a' } as const

export function packEnvelope(envelope: Envelope, handed: HandedOver): string {
  const { from, to, stanza, origin, notes } = envelope
  const { target, wantsSettlement, isShared } = handed
  const settles = wantsSettlement ? 's' : ''
  const shares = isShared ? 'h' : ''
  const whom = target === to.full ? ADDRESSEE : target
  const domain = 'domain' in origin ? origin.domain : ''
  const noted = envelope.hasNotes ? packNotes(notes) : ''
  const head =
    `${settles}${shares}${ORIGINS[origin.kind]}${SEPARATOR}${whom}${SEPARATOR}${from.full}${SEPARATOR}` +
    `${to.full}${SEPARATOR}${domain}${SEPARATOR}${noted}${STANZA}`
  return encode(head) + stanza.toPacked()
}

function packNotes(notes: Notes): string {
  const { id, place } = notes
  let isKnown = id !== undefined && place !== undefined
  for (const name in notes) if (name !== 'id' && name !== 'place') isKnown = false
  if (isKnown) return `${KNOWN}${place} ${id}`
  // Where the durable copy is, is this node's own affair.
  const { kept: _, ...rest } = notes
  return JSON.stringify(rest)
}

function unpackNotes(noted: string): Notes | undefined {
  if (noted === '') return undefined
  if (noted[0] !== KNOWN) return JSON.parse(noted) as Notes
  const space = noted.indexOf(' ')
  return { id: noted.slice(space + 1), place: Number(noted.slice(1, space)) }
}

/** The envelope as the receiving node makes it, with what belongs to that node. */
export function unpackEnvelope(packed: string): {
  readonly handed: HandedOver
  /** `as`: what it is known by to whoever handed it over. */
  envelope(as: string | undefined, settlement?: Settlement, share?: DeliveryShare): Envelope
} {
  const endOfHead = packed.indexOf(STANZA)
  const head = decode(packed.slice(0, endOfHead) as Octets)
  const endOfFlags = head.indexOf(SEPARATOR)
  const endOfTarget = head.indexOf(SEPARATOR, endOfFlags + 1)
  const endOfFrom = head.indexOf(SEPARATOR, endOfTarget + 1)
  const endOfTo = head.indexOf(SEPARATOR, endOfFrom + 1)
  const endOfDomain = head.indexOf(SEPARATOR, endOfTo + 1)
  const flags = head.slice(0, endOfFlags)
  const target = head.slice(endOfFlags + 1, endOfTarget)
  const sender = parseJid(head.slice(endOfTarget + 1, endOfFrom))
  const receiver = parseJid(head.slice(endOfFrom + 1, endOfTo))
  const domain = head.slice(endOfTo + 1, endOfDomain)
  const notes = unpackNotes(head.slice(endOfDomain + 1))
  const stanza = Stanza.fromPacked(packed.slice(endOfHead + 1) as Octets)
  const notesWith = (as: string | undefined): Notes | undefined =>
    as === undefined ? notes : { ...notes, handed: as }
  return {
    handed: {
      target: target === ADDRESSEE ? receiver.full : target,
      wantsSettlement: flags.includes('s'),
      isShared: flags.includes('h'),
    },
    envelope: (as, settlement, share) =>
      new Envelope(
        sender,
        receiver,
        stanza,
        originOf(flags, sender, domain),
        notesWith(as),
        settlement,
        share,
      ),
  }
}

/** A client of another node is to this one like a client of another server: it has no session here. */
function originOf(flags: string, sender: Jid, domain: string): Origin {
  switch (flags.at(-1)) {
    case ORIGINS.server:
      return { kind: 'server' }
    case ORIGINS.admin:
      return { kind: 'admin' }
    case ORIGINS.component:
      return { kind: 'component', domain }
    default:
      return { kind: 's2s', domain: sender.domain }
  }
}

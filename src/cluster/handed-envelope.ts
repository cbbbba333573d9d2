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
const FIELDS = 6
/** The kind of an origin is the last of the flags. */
const ORIGINS = { c2s: 'u', s2s: 'u', component: 'c', server: 'o', admin: 'a' } as const

export function packEnvelope(envelope: Envelope, handed: HandedOver): string {
  const { from, to, stanza, origin } = envelope
  const { target, wantsSettlement, isShared } = handed
  const flags = `${wantsSettlement ? 's' : ''}${isShared ? 'h' : ''}${ORIGINS[origin.kind]}`
  const domain = 'domain' in origin ? origin.domain : ''
  const noted = envelope.hasNotes ? packNotes(envelope.notes) : ''
  return (
    flags +
    SEPARATOR +
    (target === to.full ? ADDRESSEE : encode(target)) +
    SEPARATOR +
    encode(from.full) +
    SEPARATOR +
    encode(to.full) +
    SEPARATOR +
    encode(domain) +
    SEPARATOR +
    noted +
    SEPARATOR +
    stanza.toPacked()
  )
}

/** Where the durable copy is, is this node's own affair. */
function packNotes({ kept: _, ...notes }: Notes): Octets {
  return encode(JSON.stringify(notes))
}

/** The envelope as the receiving node makes it, with what belongs to that node. */
export function unpackEnvelope(packed: string): {
  readonly handed: HandedOver
  /** `as`: what it is known by to whoever handed it over. */
  envelope(as: string | undefined, settlement?: Settlement, share?: DeliveryShare): Envelope
} {
  const fields: string[] = []
  let at = 0
  for (let i = 0; i < FIELDS; i++) {
    const end = packed.indexOf(SEPARATOR, at)
    fields.push(packed.slice(at, end))
    at = end + 1
  }
  const [flags, target, from, to, domain, noted] = fields as [
    string,
    Octets,
    Octets,
    Octets,
    Octets,
    Octets,
  ]
  const stanza = Stanza.fromPacked(packed.slice(at) as Octets)
  const sender = parseJid(decode(from))
  const receiver = parseJid(decode(to))
  const notes = noted === '' ? undefined : (JSON.parse(decode(noted)) as Notes)
  const notesWith = (as: string | undefined): Notes | undefined =>
    as === undefined ? notes : { ...notes, handed: as }
  const wantsSettlement = flags.includes('s')
  const isShared = flags.includes('h')
  return {
    handed: {
      target: target === ADDRESSEE ? receiver.full : decode(target),
      wantsSettlement,
      isShared,
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
function originOf(flags: string, sender: Jid, domain: Octets): Origin {
  switch (flags.at(-1)) {
    case ORIGINS.server:
      return { kind: 'server' }
    case ORIGINS.admin:
      return { kind: 'admin' }
    case ORIGINS.component:
      return { kind: 'component', domain: decode(domain) }
    default:
      return { kind: 's2s', domain: sender.domain }
  }
}

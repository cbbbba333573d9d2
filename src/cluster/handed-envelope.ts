import { Envelope, type Notes, type Origin } from '../core/envelope.ts'
import type { Settlement } from '../core/settlement.ts'
import type { DeliveryShare } from '../core/shared-delivery.ts'
import { type Jid, parseJid } from '../xmpp/jid.ts'
import { decode, encode, type Octets, owned } from '../xmpp/octets.ts'
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
/** Between the notes and the stanza. */
const STANZA = '\x05'
/** Before notes that are an id and a place, as nearly all are. Others are JSON. */
const KNOWN = '#'
/** The kind of an origin is the last of the flags. */
const ORIGINS = { c2s: 'u', s2s: 'u', component: 'c', server: 'o', admin: 'a' } as const
/** How many pairs of sender and target each side remembers. */
const SLOTS = 1_024

/** All but notes and stanza: the same for all that one says to another, and written and read once. */
type Written = HandedOver & {
  readonly from: Jid
  readonly to: Jid
  readonly kind: Origin['kind']
  readonly domain: string
  readonly text: Octets
}

type Read = {
  readonly text: string
  readonly handed: HandedOver
  readonly from: Jid
  readonly to: Jid
  readonly origin: Origin
}

/** Writes envelopes for another node, and remembers what it has written about who and whom. */
export class EnvelopeWriter {
  readonly #written: (Written | undefined)[] = []

  /** `slot`: any number that the next ones for the same target have as well. */
  write(envelope: Envelope, handed: HandedOver, slot = 0): string {
    const place = slot % SLOTS
    const known = this.#written[place]
    const written = known !== undefined && isFor(known, envelope, handed) ? known : undefined
    const { text } = written ?? this.#remember(place, envelope, handed)
    const noted = envelope.hasNotes ? packNotes(envelope.notes) : STANZA
    return text + noted + envelope.stanza.toPacked()
  }

  #remember(place: number, { from, to, origin }: Envelope, handed: HandedOver): Written {
    const { target, wantsSettlement, isShared } = handed
    const domain = 'domain' in origin ? origin.domain : ''
    const flags = `${wantsSettlement ? 's' : ''}${isShared ? 'h' : ''}${ORIGINS[origin.kind]}`
    const whom = target === to.full ? ADDRESSEE : target
    const fields = [flags, whom, from.full, to.full, domain].map((field) => encode(field))
    // The reader is told the place: it need not look for what it has read before.
    const text = `${place}${SEPARATOR}${fields.join(SEPARATOR)}${SEPARATOR}` as Octets
    const written = { ...handed, from, to, kind: origin.kind, domain, text }
    this.#written[place] = written
    return written
  }
}

function isFor(written: Written, { from, to, origin }: Envelope, handed: HandedOver): boolean {
  return (
    written.from === from &&
    written.to === to &&
    written.target === handed.target &&
    written.wantsSettlement === handed.wantsSettlement &&
    written.isShared === handed.isShared &&
    written.kind === origin.kind &&
    written.domain === ('domain' in origin ? origin.domain : '')
  )
}

/** With what ends them. */
function packNotes(notes: Notes): string {
  const { id, place } = notes
  let isKnown = id !== undefined && place !== undefined
  for (const name in notes) if (name !== 'id' && name !== 'place') isKnown = false
  if (isKnown) return `${KNOWN}${place} ${encode(id as string)}${STANZA}`
  // Where the durable copy is, is this node's own affair.
  const { kept: _, ...rest } = notes
  return encode(JSON.stringify(rest)) + STANZA
}

function unpackNotes(packed: Octets): Notes | undefined {
  if (packed === '') return undefined
  const noted = decode(packed)
  if (noted[0] !== KNOWN) return JSON.parse(noted) as Notes
  const space = noted.indexOf(' ')
  return { id: noted.slice(space + 1), place: Number(noted.slice(1, space)) }
}

/** Reads what an `EnvelopeWriter` wrote, and remembers as much. */
export class EnvelopeReader {
  readonly #read: (Read | undefined)[] = []

  read(packed: string): HandedEnvelope {
    const endOfPlace = packed.indexOf(SEPARATOR)
    const place = Number(packed.slice(0, endOfPlace))
    const known = this.#read[place]
    const isKnown = known !== undefined && packed.startsWith(known.text, endOfPlace + 1)
    const read = isKnown ? known : this.#remember(place, packed, endOfPlace + 1)
    const start = endOfPlace + 1 + read.text.length
    const endOfNotes = packed.indexOf(STANZA, start)
    const notes = unpackNotes(packed.slice(start, endOfNotes) as Octets)
    return new HandedEnvelope(
      read,
      notes,
      Stanza.fromPacked(packed.slice(endOfNotes + 1) as Octets),
    )
  }

  #remember(place: number, packed: string, start: number): Read {
    const fields: string[] = []
    let at = start
    for (let i = 0; i < 5; i++) {
      const end = packed.indexOf(SEPARATOR, at)
      fields.push(decode(packed.slice(at, end) as Octets))
      at = end + 1
    }
    const [flags = '', whom = '', sender = '', receiver = '', domain = ''] = fields
    const from = parseJid(sender)
    const to = parseJid(receiver)
    const handed = {
      target: whom === ADDRESSEE ? to.full : owned(whom),
      wantsSettlement: flags.includes('s'),
      isShared: flags.includes('h'),
    }
    const origin = originOf(flags, from, owned(domain))
    const read = { text: owned(packed.slice(start, at)), handed, from, to, origin }
    if (place < SLOTS) this.#read[place] = read
    return read
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

/** An envelope that another node handed over. */
export class HandedEnvelope {
  readonly #read: Read
  readonly #notes: Notes | undefined
  readonly #stanza: Stanza

  constructor(read: Read, notes: Notes | undefined, stanza: Stanza) {
    this.#read = read
    this.#notes = notes
    this.#stanza = stanza
  }

  get handed(): HandedOver {
    return this.#read.handed
  }

  /** As this node makes it, with what belongs to this node. `as`: what it is known by to the other one. */
  envelope(as: string | undefined, settlement?: Settlement, share?: DeliveryShare): Envelope {
    const { from, to, origin } = this.#read
    const notes = as === undefined ? this.#notes : { ...this.#notes, handed: as }
    return new Envelope(from, to, this.#stanza, origin, notes, settlement, share)
  }
}

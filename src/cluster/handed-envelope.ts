import { Envelope, type Notes, type Origin } from '../core/envelope.ts'
import type { Settlement } from '../core/settlement.ts'
import type { DeliveryShare } from '../core/shared-delivery.ts'
import { type Jid, parseJid } from '../xmpp/jid.ts'
import { decode, encode, type Octets, owned } from '../xmpp/octets.ts'
import { PACKED } from '../xmpp/packed-stanza.ts'
import { Stanza } from '../xmpp/stanza.ts'
import { wholeNumber } from './message.ts'

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
/** Before notes that are an id and a place, as nearly all are. Others are JSON. */
const KNOWN = '#'
/** The kind of an origin is the last of the flags. */
const ORIGINS = { c2s: 'u', s2s: 'u', component: 'c', server: 'o', admin: 'a' } as const
/** How many pairs of sender and target each side remembers. */
const SLOTS = 1_024

/** All but notes and stanza: the same for all that one says to another, and written and read once. */
type Written = HandedOver & {
  readonly type: string
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

  /** An entry of this type. `of`: a number that all entries for the same target have. */
  write(type: string, envelope: Envelope, handed: HandedOver, of = 0): string {
    const slot = of % SLOTS
    const known = this.#written[slot]
    const isKnown = known?.type === type && isFor(known, envelope, handed)
    const { text } = isKnown ? known : this.#remember(type, slot, envelope, handed)
    const notes = envelope.hasNotes ? packNotes(envelope.notes) : ''
    return text + notes + envelope.stanza.toPacked()
  }

  #remember(
    type: string,
    slot: number,
    { from, to, origin }: Envelope,
    handed: HandedOver,
  ): Written {
    const { target, wantsSettlement, isShared } = handed
    const domain = 'domain' in origin ? origin.domain : ''
    const flags = `${wantsSettlement ? 's' : ''}${isShared ? 'h' : ''}${ORIGINS[origin.kind]}`
    const whom = target === to.full ? ADDRESSEE : target
    const fields = [flags, whom, from.full, to.full, domain].map((field) => encode(field))
    // The reader is told the slot: it need not look for what it has read before.
    const text = [type + slot, ...fields, ''].join(SEPARATOR) as Octets
    const written = { ...handed, type, from, to, kind: origin.kind, domain, text }
    this.#written[slot] = written
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

function packNotes(notes: Notes): string {
  const { id, place } = notes
  let isKnown = id !== undefined && place !== undefined
  // Where the durable copy is (`kept`) is this node's own affair.
  for (const name in notes) {
    if (name !== 'id' && name !== 'place' && name !== 'kept') isKnown = false
  }
  // An id begins with the name of a node, which is ASCII, as all behind it.
  if (isKnown) return packPlace(place as number) + id
  const { kept: _, ...rest } = notes
  return encode(JSON.stringify(rest))
}

const ENDS = Array.from({ length: 1_000 }, (_, i) => `${String(i).padStart(3, '0')} `)
let lastThousands = -1
let beginning = ''

/** Of places, which are near to one another, only the end changes: large numbers take their time to be written. */
function packPlace(place: number): string {
  const thousands = Math.floor(place / 1_000)
  if (thousands !== lastThousands) {
    lastThousands = thousands
    beginning = KNOWN + thousands
  }
  return beginning + ENDS[place - thousands * 1_000]
}

function unpackNotes(packed: string, start: number, end: number): Notes | undefined {
  if (start === end) return undefined
  if (packed[start] !== KNOWN) return JSON.parse(decode(packed.slice(start, end) as Octets))
  const space = packed.indexOf(' ', start)
  return { id: packed.slice(space + 1, end), place: wholeNumber(packed, start + 1, space) }
}

/** Reads what an `EnvelopeWriter` wrote, and remembers as much. */
export class EnvelopeReader {
  readonly #read: (Read | undefined)[] = []

  /** What begins at `start`, behind the type. */
  read(packed: string, start = 1): HandedEnvelope {
    const endOfSlot = packed.indexOf(SEPARATOR, start)
    const slot = wholeNumber(packed, start, endOfSlot)
    const known = this.#read[slot]
    const isKnown = known !== undefined && isAt(packed, endOfSlot + 1, known.text)
    const read = isKnown ? known : this.#remember(slot, packed, endOfSlot + 1)
    const startOfNotes = endOfSlot + 1 + read.text.length
    const endOfNotes = packed.indexOf(PACKED, startOfNotes)
    const notes = unpackNotes(packed, startOfNotes, endOfNotes)
    return new HandedEnvelope(read, notes, Stanza.fromPacked(packed as Octets, endOfNotes))
  }

  #remember(slot: number, packed: string, start: number): Read {
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
    if (slot < SLOTS) this.#read[slot] = read
    return read
  }
}

/** Like `startsWith`, which compares character by character, in a tenth of its time. */
function isAt(packed: string, start: number, text: string): boolean {
  return packed.slice(start, start + text.length) === text
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

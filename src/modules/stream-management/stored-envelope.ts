import { Envelope, type Notes } from '../../core/envelope.ts'
import { Settlement } from '../../core/settlement.ts'
import { parseJid } from '../../xmpp/jid.ts'
import { decode, encode } from '../../xmpp/octets.ts'
import { CLIENT_NS, Stanza } from '../../xmpp/stanza.ts'
import { readElement } from '../../xmpp/xml-parser.ts'

/** An envelope in a table: the whole stanza with its addresses, and its notes as JSON, or ''. */
export type StoredEnvelope = { readonly stanza: string; readonly notes: string }

export function toStored(envelope: Envelope): StoredEnvelope {
  const notes = envelope.hasNotes ? JSON.stringify(envelope.notes) : ''
  return { stanza: decode(envelope.octets), notes }
}

/** Throws when the row is damaged. */
export function fromStored({ stanza, notes }: StoredEnvelope): Envelope {
  const element = readElement(encode(stanza), CLIENT_NS)
  const from = parseJid(element.attr('from') ?? '')
  const to = parseJid(element.attr('to') ?? '')
  const noted = notes === '' ? {} : (JSON.parse(notes) as Notes)
  // Who sent it is to hear of it still, should it not arrive.
  const origin = { kind: 's2s', domain: from.domain } as const
  return new Envelope(from, to, Stanza.fromElement(element), origin, noted, new Settlement())
}

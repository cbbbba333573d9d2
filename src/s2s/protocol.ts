import { encode, type Octets } from '../xmpp/octets.ts'
import { STREAMS_NS, StreamError } from '../xmpp/stream-error.ts'
import { type Element, el, escapeAttribute, serialise } from '../xmpp/xml.ts'
import type { Frame } from '../xmpp/xml-parser.ts'

/** The content namespace of streams between servers. */
export const SERVER_NS = 'jabber:server'
export const DIALBACK_NS = 'jabber:server:dialback'
export const TLS_NS = 'urn:ietf:params:xml:ns:xmpp-tls'
export const SASL_NS = 'urn:ietf:params:xml:ns:xmpp-sasl'
export const DIALBACK_FEATURE_NS = 'urn:xmpp:features:dialback'
export const BIDI_NS = 'urn:xmpp:bidi'
export const BIDI_FEATURE_NS = 'urn:xmpp:features:bidi'
export const LIMITS_NS = 'urn:xmpp:stream-limits:0'

export const CLOSING = '</stream:stream>' as Octets
export const STARTTLS = `<starttls xmlns='${TLS_NS}'/>` as Octets
export const PROCEED = `<proceed xmlns='${TLS_NS}'/>` as Octets
export const TLS_FAILURE = `<failure xmlns='${TLS_NS}'/>` as Octets
export const BIDI = `<bidi xmlns='${BIDI_NS}'/>` as Octets
export const SASL_SUCCESS = `<success xmlns='${SASL_NS}'/>` as Octets

type Header = {
  readonly from: string | undefined
  readonly to: string | undefined
  /** Of the side that was connected to only. */
  readonly id?: string
}

/**
 * A stream's start. The side that connects does not name a language: stanzas without one would take
 * it on (RFC 6120 §4.7.4), and it is not that of our users. The other side has to.
 */
export function streamHeader({ from, to, id }: Header): Octets {
  const answer = id === undefined ? '' : ` id='${escapeAttribute(id)}' xml:lang='en'`
  const sender = from === undefined ? '' : ` from='${escapeAttribute(from)}'`
  const receiver = to === undefined ? '' : ` to='${escapeAttribute(to)}'`
  return `<?xml version='1.0'?><stream:stream xmlns='${SERVER_NS}' xmlns:db='${DIALBACK_NS}' xmlns:stream='${STREAMS_NS}'${sender}${receiver}${answer} version='1.0'>` as Octets
}

/** RFC 6120 §4.7.5, §4.8. Throws `StreamError`. */
export function checkHeader(header: Frame): void {
  if (header.name !== 'stream' || header.ns !== STREAMS_NS) {
    throw new StreamError('invalid-namespace', `the stream belongs to ${STREAMS_NS}`)
  }
  if (header.defaultNs !== SERVER_NS) {
    throw new StreamError('invalid-namespace', `servers speak ${SERVER_NS}`)
  }
  if (!/^[1-9]\d*\.\d+$/.test(header.attribute('version') ?? '')) {
    throw new StreamError('unsupported-version', 'the version is 1.0')
  }
}

export function streamFeatures(features: readonly Element[]): Octets {
  const inner = features.map((feature) => serialise(feature, SERVER_NS)).join('')
  return `<stream:features>${inner}</stream:features>` as Octets
}

/** XEP-0478. */
export function limitsFeature(maxStanzaSize: number): Element {
  return el('limits', { xmlns: LIMITS_NS }, el('max-bytes', {}, String(maxStanzaSize)))
}

/** SASL EXTERNAL with the domain that is claimed (XEP-0178 §3). */
export function externalAuth(domain: string): Octets {
  const claimed = Buffer.from(encode(domain), 'latin1').toString('base64')
  return `<auth xmlns='${SASL_NS}' mechanism='EXTERNAL'>${claimed}</auth>` as Octets
}

export function saslFailure(condition: string): Octets {
  return serialise(el('failure', { xmlns: SASL_NS }, el(condition)))
}

import type { Stanza } from './stanza.ts'
import { StanzaError } from './stanza-error.ts'

const IQ_TYPES: ReadonlySet<string> = new Set(['get', 'set', 'result', 'error'])
const PRESENCE_TYPES: ReadonlySet<string> = new Set([
  'available',
  'error',
  'probe',
  'subscribe',
  'subscribed',
  'unavailable',
  'unsubscribe',
  'unsubscribed',
])

/**
 * What is wrong with a stanza whoever sent it: RFC 6120 §8.2.3 for iqs, RFC 6121 §4.7.1 for
 * presence. Unknown types of messages count as normal (RFC 6121 §5.2.2).
 */
export function faultOf(stanza: Stanza): StanzaError | undefined {
  const { kind, type } = stanza
  if (kind === 'presence') {
    if (type === undefined || PRESENCE_TYPES.has(type)) return undefined
    return new StanzaError('bad-request', { text: 'unknown type of presence' })
  }
  if (kind === 'message') return undefined
  if (stanza.id === undefined) return new StanzaError('bad-request', { text: 'iq without id' })
  if (type === undefined || !IQ_TYPES.has(type)) {
    return new StanzaError('bad-request', { text: 'unknown type of iq' })
  }
  if (stanza.isRequest && stanza.children.length !== 1) {
    return new StanzaError('bad-request', { text: 'an iq request has exactly one child' })
  }
  return undefined
}

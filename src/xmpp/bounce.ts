import type { Stanza } from './stanza.ts'
import type { StanzaError } from './stanza-error.ts'

/** Of a carbon copy or an archive result: their loss is not the business of whom they quote. */
const FORWARDING = new Set(['urn:xmpp:carbons:2', 'urn:xmpp:carbons:1', 'urn:xmpp:mam:2'])

/**
 * Whether an error may be sent in answer to `stanza` (RFC 6120 §8.3.1, RFC 6121 §8).
 *
 * Never to an error or an iq result, which would make two entities bounce for ever; never to a
 * presence, except that the sender of one with a type that does not exist is told; never to copies
 * made by a server.
 */
export function mayBounce(stanza: Stanza): boolean {
  switch (stanza.kind) {
    case 'iq':
      return stanza.isRequest
    case 'presence':
      return false
    case 'message':
      return stanza.type !== 'error' && !stanza.children.some((ref) => FORWARDING.has(ref.ns))
  }
}

/**
 * The error answering `stanza`: same kind and id, type `error`, what was sent, then the error
 * (RFC 6120 §8.3.1). The only maker of error stanzas. `undefined` when none may be sent.
 */
export function bounce(stanza: Stanza, error: StanzaError, by?: string): Stanza | undefined {
  if (!mayBounce(stanza)) return undefined
  return stanza.with({ type: 'error' }).append(error.toElement(by))
}

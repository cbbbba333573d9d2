import { isCopy } from './forward.ts'
import type { Stanza } from './stanza.ts'
import type { StanzaCondition, StanzaError } from './stanza-error.ts'

/** What the sender of a presence is told: it was wrong, or refused on the sender's own behalf. */
const OF_PRESENCE: ReadonlySet<StanzaCondition> = new Set([
  'bad-request',
  'jid-malformed',
  'not-acceptable',
])

/**
 * Whether this error may be sent in answer to `stanza` (RFC 6120 §8.3.1, RFC 6121 §8).
 *
 * Never to an error or an iq result, which would make two entities bounce for ever; never to a
 * presence, except that its sender is told what was wrong with it; never to copies made by a
 * server, whose loss is not the business of whom they quote.
 */
export function mayBounce(stanza: Stanza, condition: StanzaCondition): boolean {
  if (stanza.type === 'error') return false
  switch (stanza.kind) {
    case 'iq':
      return stanza.type !== 'result'
    case 'presence':
      return OF_PRESENCE.has(condition)
    case 'message':
      return !isCopy(stanza)
  }
}

/**
 * The error answering `stanza`: same kind and id, type `error`, what was sent, then the error
 * (RFC 6120 §8.3.1). The only maker of error stanzas. `undefined` when none may be sent.
 */
export function bounce(stanza: Stanza, error: StanzaError, by?: string): Stanza | undefined {
  if (!mayBounce(stanza, error.condition)) return undefined
  return stanza.with({ type: 'error' }).append(error.toElement(by))
}

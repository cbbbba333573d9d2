import type { Envelope } from '../../core/envelope.ts'
import { CARBONS_NS } from '../../xmpp/forward.ts'
import type { Stanza } from '../../xmpp/stanza.ts'

const HINTS_NS = 'urn:xmpp:hints'
const MUC_USER_NS = 'http://jabber.org/protocol/muc#user'

/** Payloads that make a message one of instant messaging, whatever its type (XEP-0280 §6.1). */
const INSTANT_MESSAGING: ReadonlySet<string> = new Set([
  'urn:xmpp:receipts',
  'http://jabber.org/protocol/chatstates',
  'urn:xmpp:chat-markers:0',
  // Direct invitations (XEP-0249).
  'jabber:x:conference',
])

/**
 * Whether other devices of its sender and its recipient get copies: the rules of XEP-0280 §6.1, but for
 * errors, which depend on what they answer. XEP-0334 §4.3 adds a wish not to be copied.
 */
export function isEligible(stanza: Stanza): boolean {
  const { type } = stanza
  if (type === 'groupchat' || type === 'error' || isKeptApart(stanza)) return false
  if (type === 'chat') return true
  if (type !== 'headline' && stanza.has('body')) return true
  return stanza.children.some(({ ns }) => INSTANT_MESSAGING.has(ns)) || isInvitation(stanza)
}

/** Its sender wants no copies, or it is one itself. */
export function isKeptApart(stanza: Stanza): boolean {
  return stanza.hasNamespace(CARBONS_NS) || stanza.has('no-copy', HINTS_NS)
}

/** An occupant's, which the room has given to each client that is in the room already. */
export function isFromOccupant({ from, stanza }: Envelope): boolean {
  return from.resource !== '' && stanza.has('x', MUC_USER_NS) && !isInvitation(stanza)
}

/** Through the room (XEP-0045 §7.8.2). */
function isInvitation(stanza: Stanza): boolean {
  return stanza.child('x', MUC_USER_NS)?.child('invite') !== undefined
}

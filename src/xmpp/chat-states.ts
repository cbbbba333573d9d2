import { CLIENT_NS, type Stanza } from './stanza.ts'

const CHAT_STATES_NS = 'http://jabber.org/protocol/chatstates'

/** Says nothing by itself: hints (XEP-0334), times (XEP-0203), ids (XEP-0359). */
const ACCOMPANYING: ReadonlySet<string> = new Set([
  CHAT_STATES_NS,
  'urn:xmpp:hints',
  'urn:xmpp:delay',
  'urn:xmpp:sid:0',
])

/** Whether a message says no more than what its sender is doing just now (XEP-0085 §5.5). */
export function isChatStateOnly(stanza: Stanza): boolean {
  if (stanza.kind !== 'message' || !stanza.hasNamespace(CHAT_STATES_NS)) return false
  return stanza.children.every(
    ({ name, ns }) => ACCOMPANYING.has(ns) || (ns === CLIENT_NS && name === 'thread'),
  )
}

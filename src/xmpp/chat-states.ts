import { CLIENT_NS, type Stanza } from './stanza.ts'

const CHAT_STATES_NS = 'http://jabber.org/protocol/chatstates'

/** Of what says nothing by itself: hints (XEP-0334), times (XEP-0203) and ids (XEP-0359) besides. */
const PASSING: ReadonlySet<string> = new Set([
  CHAT_STATES_NS,
  'urn:xmpp:hints',
  'urn:xmpp:delay',
  'urn:xmpp:sid:0',
])

/** Whether a message says no more than what its sender is doing just now (XEP-0085 §5.5). */
export function isChatStateOnly(stanza: Stanza): boolean {
  if (stanza.kind !== 'message' || !stanza.hasNamespace(CHAT_STATES_NS)) return false
  return stanza.children.every(isPassing)
}

/** Whether a child of a message is nothing that anybody would want to know afterwards. */
export function isPassing({ name, ns }: { readonly name: string; readonly ns: string }): boolean {
  return PASSING.has(ns) || (ns === CLIENT_NS && name === 'thread')
}

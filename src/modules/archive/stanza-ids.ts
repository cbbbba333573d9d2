import { type Jid, tryParseJid } from '../../xmpp/jid.ts'
import type { Stanza } from '../../xmpp/stanza.ts'
import { el } from '../../xmpp/xml.ts'

export const SID_NS = 'urn:xmpp:sid:0'

/** Without ids that `owner` is said to have given: only we speak for it (XEP-0359 §5). */
export function withoutIdsBy(stanza: Stanza, owner: Jid): Stanza {
  if (!stanza.hasNamespace(SID_NS)) return stanza
  return stanza.without((_, index) => isIdBy(stanza, index, owner))
}

export function withIdBy(stanza: Stanza, owner: string, id: string): Stanza {
  return stanza.append(el('stanza-id', { xmlns: SID_NS, by: owner, id }))
}

/** However its address is written. */
function isIdBy(stanza: Stanza, index: number, owner: Jid): boolean {
  const ref = stanza.children[index]
  if (ref?.name !== 'stanza-id' || ref.ns !== SID_NS) return false
  const by = stanza.childAt(index)?.attr('by')
  return by === owner.bare || tryParseJid(by)?.bareEquals(owner) === true
}

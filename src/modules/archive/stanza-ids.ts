import { type BareJid, type Jid, tryParseJid } from '../../xmpp/jid.ts'
import type { Octets } from '../../xmpp/octets.ts'
import type { Stanza } from '../../xmpp/stanza.ts'

export const SID_NS = 'urn:xmpp:sid:0'

/** Without ids that `owner` is said to have given: only we speak for it (XEP-0359 §5). */
export function withoutIdsBy(stanza: Stanza, owner: Jid): Stanza {
  if (!stanza.hasNamespace(SID_NS)) return stanza
  return stanza.without((_, index) => isIdBy(stanza, index, owner))
}

/** `id` is one that we have made. */
export function withIdBy(stanza: Stanza, owner: BareJid, id: string): Stanza {
  const octets = `<stanza-id xmlns='${SID_NS}' by='${owner.octets}' id='${id}'/>` as Octets
  return stanza.appendOctets({ name: 'stanza-id', ns: SID_NS, octets })
}

/** However its address is written. */
function isIdBy(stanza: Stanza, index: number, owner: Jid): boolean {
  const ref = stanza.children[index]
  if (ref?.name !== 'stanza-id' || ref.ns !== SID_NS) return false
  const by = stanza.childAt(index)?.attr('by')
  return by === owner.bare || tryParseJid(by)?.bareEquals(owner) === true
}

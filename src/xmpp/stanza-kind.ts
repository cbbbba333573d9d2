export type StanzaKind = 'message' | 'presence' | 'iq'

/** RFC 6120 §8.2: the local names of what is a stanza in a content namespace. */
export function isStanzaKind(name: string): name is StanzaKind {
  return name === 'message' || name === 'presence' || name === 'iq'
}

/** What there is one of for each kind. A look-up by a name that the code spells costs a fraction of one that varies. */
export function ofKind<E extends Record<StanzaKind, unknown>>(
  each: E,
  kind: StanzaKind,
): E[StanzaKind] {
  if (kind === 'message') return each.message
  return kind === 'presence' ? each.presence : each.iq
}

/** One more of that kind. */
export function countKind(each: Record<StanzaKind, number>, kind: StanzaKind): void {
  if (kind === 'message') each.message++
  else if (kind === 'presence') each.presence++
  else each.iq++
}

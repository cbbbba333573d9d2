export type StanzaKind = 'message' | 'presence' | 'iq'

/** RFC 6120 §8.2: the local names of what is a stanza in a content namespace. */
export function isStanzaKind(name: string): name is StanzaKind {
  return name === 'message' || name === 'presence' || name === 'iq'
}

import type { Octets } from './octets.ts'
import { CLIENT_NS, type Stanza } from './stanza.ts'
import { type Element, serialise } from './xml.ts'

export const FORWARD_NS = 'urn:xmpp:forward:0'
export const CARBONS_NS = 'urn:xmpp:carbons:2'

/** What stands around a copy that a server makes for its own users' clients: names by namespace. */
const COPIES: ReadonlyMap<string, readonly string[]> = new Map([
  [CARBONS_NS, ['sent', 'received']],
  ['urn:xmpp:carbons:1', ['sent', 'received']],
  ['urn:xmpp:mam:2', ['result']],
])

/**
 * Whether a message is no more than a copy of another one, for a single client: a carbon (XEP-0280)
 * or a result from an archive (XEP-0313). One that asks not to be copied is none.
 */
export function isCopy({ kind, children }: Stanza): boolean {
  return kind === 'message' && children.some(({ name, ns }) => COPIES.get(ns)?.includes(name))
}

/** The message in a carbon of one that another resource has sent, or received. */
export function carbonOf(carbon: Stanza, which: 'sent' | 'received'): Element | undefined {
  return carbon
    .child(which, CARBONS_NS)
    ?.child('forwarded', FORWARD_NS)
    ?.child('message', CLIENT_NS)
}

/**
 * `<forwarded/>` around a stanza (XEP-0297), which is octets with its namespace declared
 * (`Stanza.toWrapped`, or back from a store). `delay` says when it was first sent.
 */
export function forwarded(stanza: Octets, delay?: Element): Octets {
  const when = delay === undefined ? '' : serialise(delay, FORWARD_NS)
  return `<forwarded xmlns='${FORWARD_NS}'>${when}${stanza}</forwarded>` as Octets
}

import type { Octets } from './octets.ts'
import { type Element, serialise } from './xml.ts'

export const FORWARD_NS = 'urn:xmpp:forward:0'

/**
 * `<forwarded/>` around a stanza (XEP-0297), which is octets with its namespace declared
 * (`Stanza.toWrapped`, or back from a store). `delay` says when it was first sent.
 */
export function forwarded(stanza: Octets, delay?: Element): Octets {
  const when = delay === undefined ? '' : serialise(delay, FORWARD_NS)
  return `<forwarded xmlns='${FORWARD_NS}'>${when}${stanza}</forwarded>` as Octets
}

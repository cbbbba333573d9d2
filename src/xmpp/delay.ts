import { formatDateTime, parseDateTime } from './datetime.ts'
import { type Jid, tryParseJid } from './jid.ts'
import { type Element, el } from './xml.ts'

export const DELAY_NS = 'urn:xmpp:delay'

/** XEP-0203: when a stanza was sent that is delivered later. */
export type Delay = {
  /** Milliseconds since 1970. */
  readonly at: number
  /** Who sent the stanza, or held it back. */
  readonly from?: Jid | undefined
  /** Text for people. */
  readonly reason?: string | undefined
}

export function delay({ at, from, reason }: Delay): Element {
  return el('delay', { xmlns: DELAY_NS, from: from?.full, stamp: formatDateTime(at) }, reason)
}

/**
 * What a `<delay/>` says; undefined for other elements and where the time is missing or malformed.
 * Anybody on the way may have written it (XEP-0203 §5).
 */
export function readDelay(element: Element): Delay | undefined {
  if (element.name !== 'delay' || element.ns !== DELAY_NS) return undefined
  const at = parseDateTime(element.attr('stamp') ?? '')
  if (at === undefined) return undefined
  return {
    at,
    from: tryParseJid(element.attr('from')),
    reason: element.text.trim() || undefined,
  }
}

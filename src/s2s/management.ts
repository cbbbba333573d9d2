/** What stream management says on the wire (XEP-0198). */
import { WRAP } from '../core/handled.ts'
import type { Octets } from '../xmpp/octets.ts'
import { STANZA_ERROR_NS, type StanzaCondition } from '../xmpp/stanza-error.ts'
import { StreamError } from '../xmpp/stream-error.ts'
import { el, serialise } from '../xmpp/xml.ts'
import type { Frame } from '../xmpp/xml-parser.ts'
import { SM_NS } from './protocol.ts'

export const REQUEST = `<r xmlns='${SM_NS}'/>` as Octets
export const ENABLE = `<enable xmlns='${SM_NS}' resume='true'/>` as Octets

export function answer(h: number): Octets {
  return `<a xmlns='${SM_NS}' h='${h}'/>` as Octets
}

/** `id` undefined: it cannot be resumed. `max` in seconds. */
export function enabled(id: string | undefined, max: number): Octets {
  const resumption = id === undefined ? {} : { id, resume: true, max }
  return serialise(el('enabled', { xmlns: SM_NS, ...resumption }))
}

export function resume(previd: string, h: number): Octets {
  return serialise(el('resume', { xmlns: SM_NS, previd, h }))
}

export function resumed(previd: string, h: number): Octets {
  return serialise(el('resumed', { xmlns: SM_NS, previd, h }))
}

export function failed(condition: StanzaCondition): Octets {
  return serialise(el('failed', { xmlns: SM_NS }, el(condition, { xmlns: STANZA_ERROR_NS })))
}

export function handledCountTooHigh(h: number, sent: number): StreamError {
  const detail = el('handled-count-too-high', { xmlns: SM_NS, h, 'send-count': sent })
  const text = `You acknowledged ${h} stanzas, but I only sent you ${sent} so far.`
  return new StreamError('undefined-condition', text, { detail })
}

/** The value of `h`; undefined where there is none, or no unsigned integer of 32 bits. */
export function countOf(frame: Frame): number | undefined {
  const text = frame.attribute('h')
  if (text === undefined || !/^\s*\+?\d{1,20}\s*$/.test(text)) return undefined
  const count = Number(text)
  return count < WRAP ? count : undefined
}

/** Of `<enable/>` and `<enabled/>`. */
export function isResumable(frame: Frame): boolean {
  const text = frame.attribute('resume')?.trim()
  return text === 'true' || text === '1'
}

import { WRAP } from '../../core/handled.ts'
import type { Octets } from '../../xmpp/octets.ts'
import { STANZA_ERROR_NS, type StanzaCondition } from '../../xmpp/stanza-error.ts'
import { StreamError } from '../../xmpp/stream-error.ts'
import { type Element, el, serialise } from '../../xmpp/xml.ts'

export const SM_NS = 'urn:xmpp:sm:3'

export const REQUEST = `<r xmlns='${SM_NS}'/>` as Octets

export function answer(h: number): Octets {
  return `<a xmlns='${SM_NS}' h='${h}'/>` as Octets
}

type Enabled = {
  /** Undefined: the stream cannot be resumed. */
  readonly id: string | undefined
  /** Seconds. */
  readonly max: number
  readonly location: string | undefined
}

export function enabled({ id, max, location }: Enabled): Octets {
  const resumption = id === undefined ? {} : { id, resume: true, max, location }
  return serialise(el('enabled', { xmlns: SM_NS, ...resumption }))
}

export function resumed(previd: string, h: number): Octets {
  return serialise(el('resumed', { xmlns: SM_NS, previd, h }))
}

/** `h`: how many stanzas of the earlier stream were handled, as far as that is known. */
export function failed(condition: StanzaCondition, h?: number): Octets {
  return serialise(el('failed', { xmlns: SM_NS, h }, el(condition, { xmlns: STANZA_ERROR_NS })))
}

export function handledCountTooHigh(h: number, sent: number): StreamError {
  const detail = el('handled-count-too-high', { xmlns: SM_NS, h, 'send-count': sent })
  const text = `You acknowledged ${h} stanzas, but I only sent you ${sent} so far.`
  return new StreamError('undefined-condition', text, { detail })
}

/** The value of `h`; undefined where there is none, or no unsigned integer of 32 bits. */
export function readCount(element: Element): number | undefined {
  const text = element.attr('h')
  if (text === undefined || !/^\s*\+?\d{1,20}\s*$/.test(text)) return undefined
  const count = Number(text)
  return count < WRAP ? count : undefined
}

/** `resume` of `<enable/>`. */
export function wantsResumption(element: Element): boolean {
  const text = element.attr('resume')?.trim()
  return text === 'true' || text === '1'
}

/** `max` of `<enable/>`, in seconds; undefined where it is missing or malformed. */
export function wantedMaximum(element: Element): number | undefined {
  const text = element.attr('max')
  return text !== undefined && /^\s*\+?\d{1,10}\s*$/.test(text) ? Number(text) : undefined
}

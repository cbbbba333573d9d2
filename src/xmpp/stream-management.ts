/** XEP-0198: its elements, and how it counts stanzas. */
import type { Octets } from './octets.ts'
import { STANZA_ERROR_NS, type StanzaCondition } from './stanza-error.ts'
import { StreamError } from './stream-error.ts'
import { el, serialise } from './xml.ts'

export const SM_NS = 'urn:xmpp:sm:3'

export const REQUEST = `<r xmlns='${SM_NS}'/>` as Octets
/** Of who connects: a stream that can be resumed. */
export const ENABLE = `<enable xmlns='${SM_NS}' resume='true'/>` as Octets

// --- Counts: `h` is an unsigned integer of 32 bits (§4).

/** Counts begin anew here. */
export const WRAP = 2 ** 32

/** The count when `stanzas` more have come. */
export function countAfter(count: number, stanzas: number): number {
  return (count + stanzas) % WRAP
}

/** How many stanzas have come between two counts, the later of which may have begun anew. */
export function countBetween(earlier: number, later: number): number {
  return (later - earlier + WRAP) % WRAP
}

/** The value of an attribute `h`; undefined where there is none, or no unsigned integer of 32 bits. */
export function readCount(text: string | undefined): number | undefined {
  if (text === undefined || !/^\s*\+?\d{1,20}\s*$/.test(text)) return undefined
  const count = Number(text)
  return count < WRAP ? count : undefined
}

// --- Elements.

export function answer(h: number): Octets {
  return `<a xmlns='${SM_NS}' h='${h}'/>` as Octets
}

type Enabled = {
  /** Undefined: the stream cannot be resumed. */
  readonly id: string | undefined
  /** Seconds. */
  readonly max: number
  /** Where to reconnect. */
  readonly location?: string | undefined
}

export function enabled({ id, max, location }: Enabled): Octets {
  const resumption = id === undefined ? {} : { id, resume: true, max, location }
  return serialise(el('enabled', { xmlns: SM_NS, ...resumption }))
}

export function resume(previd: string, h: number): Octets {
  return serialise(el('resume', { xmlns: SM_NS, previd, h }))
}

export function resumed(previd: string, h: number): Octets {
  return serialise(el('resumed', { xmlns: SM_NS, previd, h }))
}

/** `h`: how many stanzas of the earlier stream were handled, as far as that is known. */
export function failed(condition: StanzaCondition, h?: number): Octets {
  return serialise(el('failed', { xmlns: SM_NS, h }, el(condition, { xmlns: STANZA_ERROR_NS })))
}

/** The peer has acknowledged more than it was sent (§4). */
export function handledCountTooHigh(h: number, sent: number): StreamError {
  const detail = el('handled-count-too-high', { xmlns: SM_NS, h, 'send-count': sent })
  const text = `You acknowledged ${h} stanzas, but I only sent you ${sent} so far.`
  return new StreamError('undefined-condition', text, { detail })
}

/** The value of `max` of `<enable/>`, in seconds; undefined where it is missing or malformed. */
export function readMaximum(text: string | undefined): number | undefined {
  return text !== undefined && /^\s*\+?\d{1,10}\s*$/.test(text) ? Number(text) : undefined
}

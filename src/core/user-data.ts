/**
 * What is kept of one account, in the terms of XEP-0227: how modules hand out their parts, and take
 * them in. A module knows its parts by name and namespace, in both directions.
 */
import { NO_OCTETS, type Octets } from '../xmpp/octets.ts'
import { type Element, serialise } from '../xmpp/xml.ts'

export const PIE_NS = 'urn:xmpp:pie:0'
/** XEP-0227 §4.10. */
export const PIE_ARCHIVE_NS = 'urn:xmpp:pie:0#mam'
/** What XEP-0227 has no words for. */
export const OWN_DATA_NS = 'urn:meerkat:data:0'

/** Elements for `<user/>`, in pieces of any size that nobody needs to hold at the same time. */
export type UserDataPart = AsyncIterable<Octets>

/** What is to be taken in at once. */
export type UserDataPortion = {
  /** A child of `<user/>`, the same object for all portions of one; of a long one the start tag only. */
  readonly part: Element
  /** Its child elements, or the next of a long one's. */
  readonly items: readonly Element[]
}

/** What became of a portion. */
export type Taken = {
  /** Somebody knows what such a part is. */
  readonly isKnown: boolean
  readonly added: number
  /** What the account had already stays as it is. */
  readonly there: number
  /** What could not be taken, and why. */
  readonly problems: readonly string[]
}

export const NOT_TAKEN: Taken = { isKnown: false, added: 0, there: 0, problems: [] }

export function taken(counts: Partial<Omit<Taken, 'isKnown'>>): Taken {
  return { ...NOT_TAKEN, isKnown: true, ...counts }
}

/** A part that is in memory anyway. */
export async function* partOf(...elements: readonly Element[]): UserDataPart {
  for (const element of elements) yield serialise(element, PIE_NS)
}

/** The elements that `load` finds. */
export async function* partFrom(load: () => Promise<readonly Element[]>): UserDataPart {
  yield* partOf(...(await load()))
}

/** A long part: what is in it, between its tags; nothing at all if nothing is in it. */
export async function* longPart(
  { start, end }: { readonly start: string; readonly end: string },
  content: AsyncIterable<Octets>,
): UserDataPart {
  let before = start as Octets
  for await (const piece of content) {
    if (before !== NO_OCTETS) yield before
    before = NO_OCTETS
    yield piece
  }
  if (before === NO_OCTETS) yield end as Octets
}

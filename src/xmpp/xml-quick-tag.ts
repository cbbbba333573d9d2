import * as names from './xml-names.ts'
import type { Outline } from './xml-outline.ts'

// See `xml-scanner.ts` on why these are constants of this module.
const { CLASS, INCOMPLETE, NAME, NAME_START, VALUE } = names

const BLANK = 0x20
const QUOTATION = 0x22
const APOSTROPHE = 0x27
const SLASH = 0x2f
const COLON = 0x3a
const EQUAL = 0x3d
const GT = 0x3e

/**
 * Reads the start tag whose name is at `from`, if all of it is there and nothing in it is unusual,
 * which is nearly always so. Gives the offset behind it; or INCOMPLETE, having done nothing: then
 * it is read state by state, by the same rules, which takes two or three times as long.
 */
export function quickTag(
  outline: Outline,
  data: Buffer,
  base: number,
  from: number,
  limit: number,
  depth: number,
): number {
  if (!is(data, from, NAME_START)) return INCOMPLETE
  const { tags } = outline
  let at = from + 1
  while (at < limit && is(data, at, NAME)) at++
  const nameEnd = at
  while (at + 1 < limit) {
    const byte = data[at] as number
    if (byte === GT || (byte === SLASH && data[at + 1] === GT)) {
      at += byte === GT ? 1 : 2
      outline.startElement(depth, from - base, nameEnd - base, -1)
      outline.startTag(data, base, at, depth)
      return at
    }
    if (byte !== BLANK || !is(data, at + 1, NAME_START)) break
    const start = at + 1
    at += 2
    while (at < limit && is(data, at, NAME)) at++
    let colon = -1
    if (at + 1 < limit && data[at] === COLON && is(data, at + 1, NAME_START)) {
      colon = at - base
      at += 2
      while (at < limit && is(data, at, NAME)) at++
    }
    const end = at
    if (at + 2 >= limit || data[at] !== EQUAL) break
    const quote = data[at + 1] as number
    if (quote !== APOSTROPHE && quote !== QUOTATION) break
    const valueStart = at + 2
    at = valueEnd(data, valueStart, limit)
    if (at === limit || data[at] !== quote) break
    tags.add(data, base, start - base, end - base, colon, valueStart - base, at - base, true)
    at++
  }
  tags.drop()
  return INCOMPLETE
}

function is(data: Buffer, at: number, bits: number): boolean {
  return ((CLASS[data[at] as number] as number) & bits) !== 0
}

/** A function of its own for the sake of its loop, which compiles better by itself. */
function valueEnd(data: Buffer, from: number, limit: number): number {
  let at = from
  while (at < limit && ((CLASS[data[at] as number] as number) & VALUE) !== 0) at++
  return at
}

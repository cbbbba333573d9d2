import { type Octets, octetsOf } from './octets.ts'

const SLOTS = 1024
const LONGEST = 64

// Names and namespaces seen lately, each at the place that its bytes choose.
const texts: string[] = new Array(SLOTS).fill('')
const lengths = new Uint8Array(SLOTS)
const bytes = new Uint8Array(SLOTS * LONGEST)

/**
 * The text of these bytes, valid UTF-8. For names and namespaces, of which few are in use and the
 * same come again with each stanza: what was seen lately costs a comparison, not a new string.
 */
export function intern(data: Buffer, start: number, end: number): string {
  const length = end - start
  if (length === 0) return ''
  if (length > LONGEST) return data.utf8Slice(start, end)
  const slot = slotOf(data, start, end)
  if (lengths[slot] === length && isAt(data, start, length, slot)) return texts[slot] as string
  const text = data.utf8Slice(start, end)
  remember(data, start, end, slot, text)
  return text
}

/** The same bytes as octets. */
export function internOctets(data: Buffer, start: number, end: number): Octets {
  const text = intern(data, start, end)
  // Equally long means that all of it is ASCII.
  return text.length === end - start ? (text as Octets) : octetsOf(data, start, end)
}

function slotOf(data: Buffer, start: number, end: number): number {
  const first = data[start] as number
  const middle = data[(start + end) >> 1] as number
  const last = data[end - 1] as number
  return (first + middle * 7 + last * 31 + (end - start) * 131) & (SLOTS - 1)
}

function isAt(data: Buffer, start: number, length: number, slot: number): boolean {
  const from = slot * LONGEST
  for (let k = 0; k < length; k++) if (data[start + k] !== bytes[from + k]) return false
  return true
}

function remember(data: Buffer, start: number, end: number, slot: number, text: string): void {
  texts[slot] = text
  lengths[slot] = end - start
  for (let k = start; k < end; k++) bytes[slot * LONGEST + k - start] = data[k] as number
}

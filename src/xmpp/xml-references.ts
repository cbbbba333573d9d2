import { StreamError } from './stream-error.ts'
import { CLASS, INCOMPLETE, isChar, NAME } from './xml-names.ts'
import { notWellFormed } from './xml-namespaces.ts'

/** More is only ever leading zeros, or the name of an entity that nobody declared. */
const LONGEST = 32
const NO_CHARACTER = -1

const HASH = 0x23
const SEMICOLON = 0x3b
const LOWER_X = 0x78

/** Offset behind the reference at `at` (XML 1.0 §4.1); INCOMPLETE if it goes on beyond `limit`. */
export function referenceEnd(data: Buffer, at: number, limit: number): number {
  let end = at + 1
  if (end < limit && data[end] === HASH) end++
  while (end < limit && ((CLASS[data[end] as number] as number) & NAME) !== 0) {
    end++
    if (end - at > LONGEST) throw new StreamError('restricted-xml', 'entity reference')
  }
  if (end === limit) return INCOMPLETE
  if (data[end] !== SEMICOLON) throw notWellFormed('& that starts no reference')
  return end + 1
}

/**
 * The character that the reference from `at` to `end` stands for. Entities that are not predefined
 * are refused, as nothing in a stream can declare them (RFC 6120 §11.1).
 */
export function referredCharacter(data: Buffer, at: number, end: number): number {
  const isNumeric = data[at + 1] === HASH
  const code = isNumeric ? numeric(data, at + 2, end - 1) : predefined(data, at + 1, end - 1)
  if (!isChar(code)) throw notWellFormed('a reference to no character')
  return code
}

function numeric(data: Buffer, start: number, end: number): number {
  const isHex = data[start] === LOWER_X
  const from = isHex ? start + 1 : start
  if (from === end) return NO_CHARACTER
  let code = 0
  for (let k = from; k < end; k++) {
    const digit = digitOf(data[k] as number)
    if (digit === NO_CHARACTER || (!isHex && digit > 9)) return NO_CHARACTER
    code = Math.min(code * (isHex ? 16 : 10) + digit, 0x110000)
  }
  return code
}

function digitOf(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30
  const lower = byte | 0x20
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : NO_CHARACTER
}

/** Up to four letters in one number. */
function packed(name: string): number {
  let code = 0
  for (let k = 0; k < name.length; k++) code = (code << 8) | name.charCodeAt(k)
  return code
}

const LT = packed('lt')
const GT = packed('gt')
const AMP = packed('amp')
const APOS = packed('apos')
const QUOT = packed('quot')

function predefined(data: Buffer, start: number, end: number): number {
  if (start === end) return NO_CHARACTER
  let name = 0
  for (let k = start; k < end && end - start <= 4; k++) name = (name << 8) | (data[k] as number)
  switch (name) {
    case LT:
      return 0x3c
    case GT:
      return 0x3e
    case AMP:
      return 0x26
    case APOS:
      return 0x27
    case QUOT:
      return 0x22
    default:
      throw new StreamError('restricted-xml', 'entity reference')
  }
}

import { StreamError } from './stream-error.ts'
import {
  CLASS,
  characterAt,
  continuesName,
  INCOMPLETE,
  INVALID,
  isChar,
  NAME,
  SPACE,
  sequenceLength,
  startsName,
} from './xml-names.ts'
import { notWellFormed } from './xml-namespaces.ts'

/** More is only ever leading zeros, or the name of an entity that nobody declared. */
const LONGEST = 32
const NO_CHARACTER = -1

const LT = 0x3c
const AMP = 0x26
const HASH = 0x23
const SEMICOLON = 0x3b
const LOWER_X = 0x78

/**
 * What may stand in an element beside plain runs of characters. Each function gives the offset
 * behind what is at `at`, or INCOMPLETE if that goes on beyond `limit` and is sound so far. All of
 * it is short, so starting over when more bytes are there costs little.
 */

const CDATA_OPEN = Buffer.from('<![CDATA[')

/** A reference (XML 1.0 §4.1). */
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

const NAMED_LT = packed('lt')
const NAMED_GT = packed('gt')
const NAMED_AMP = packed('amp')
const NAMED_APOS = packed('apos')
const NAMED_QUOT = packed('quot')

function predefined(data: Buffer, start: number, end: number): number {
  if (start === end) return NO_CHARACTER
  let name = 0
  for (let k = start; k < end && end - start <= 4; k++) name = (name << 8) | (data[k] as number)
  switch (name) {
    case NAMED_LT:
      return 0x3c
    case NAMED_GT:
      return 0x3e
    case NAMED_AMP:
      return 0x26
    case NAMED_APOS:
      return 0x27
    case NAMED_QUOT:
      return 0x22
    default:
      throw new StreamError('restricted-xml', 'entity reference')
  }
}

/** A character that is in no class. */
export function characterEnd(data: Buffer, at: number, limit: number): number {
  if ((data[at] as number) < 0x80) throw notWellFormed('a control character')
  const code = characterAt(data, at, limit)
  if (code === INCOMPLETE) return INCOMPLETE
  if (code === INVALID) throw notWellFormed('not UTF-8, or no character of XML')
  return at + sequenceLength(code)
}

/** What makes a value read otherwise than it stands. */
export function oddValueEnd(data: Buffer, at: number, limit: number): number {
  const byte = data[at] as number
  if (byte === LT) throw notWellFormed('< in an attribute value')
  if (((CLASS[byte] as number) & SPACE) !== 0) return at + 1
  if (byte !== AMP) return characterEnd(data, at, limit)
  const end = referenceEnd(data, at, limit)
  if (end !== INCOMPLETE) referredCharacter(data, at, end)
  return end
}

/** `<![CDATA[`. Everything else that starts with `<!` is refused. */
export function cdataStart(data: Buffer, at: number, limit: number): number {
  for (let k = 2; k < CDATA_OPEN.length; k++) {
    if (at + k === limit) return INCOMPLETE
    if (data[at + k] === CDATA_OPEN[k]) continue
    throw new StreamError('restricted-xml', 'comment or markup declaration')
  }
  return at + CDATA_OPEN.length
}

/** Whether not all of it is white space. */
export function hasText(data: Buffer, start: number, end: number): boolean {
  let at = start
  while (at < end && ((CLASS[data[at] as number] as number) & SPACE) !== 0) at++
  return at < end
}

/** A character of a name beyond ASCII; `isStart` if it is the first of it, or behind the colon. */
export function nameCharacterEnd(
  data: Buffer,
  at: number,
  limit: number,
  isStart: boolean,
): number {
  const code = characterAt(data, at, limit)
  if (code === INCOMPLETE) return INCOMPLETE
  if (code === INVALID || !(isStart ? startsName(code) : continuesName(code))) {
    throw notWellFormed('a character that names must not have')
  }
  return at + sequenceLength(code)
}

/** What a byte may be part of: bits of `CLASS`. Bytes of 0x80 and above are in no class. */
export const NAME_START = 1
export const NAME = 2
/** Character data that needs no second look. */
export const TEXT = 4
/** The inside of an attribute value that needs no second look and reads as it stands. */
export const VALUE = 8
export const SPACE = 16
/** The inside of a CDATA section that needs no second look. */
export const CDATA = 32

/** Classes of the 256 byte values. Colons are in none: what they mean depends on the place. */
export const CLASS: Uint8Array = classes()

function classes(): Uint8Array {
  const table = new Uint8Array(256)
  for (let byte = 0; byte < 0x80; byte++) {
    const char = String.fromCharCode(byte)
    let bits = 0
    if (/[A-Za-z_]/.test(char)) bits |= NAME_START
    if (/[\w.-]/.test(char)) bits |= NAME
    if (/[\t\n\r ]/.test(char)) bits |= SPACE | TEXT | CDATA
    if (byte >= 0x20) {
      if (!'<&>'.includes(char)) bits |= TEXT
      if (!'<&\'"'.includes(char)) bits |= VALUE
      if (char !== ']') bits |= CDATA
    }
    table[byte] = bits
  }
  return table
}

/** XML 1.0 5th edition, production 2. */
export function isChar(code: number): boolean {
  if (code < 0x20) return code === 0x9 || code === 0xa || code === 0xd
  return code <= 0xd7ff || (code >= 0xe000 && code <= 0xfffd) || isSupplementary(code)
}

/** XML 1.0 5th edition, production 4 without the colon, for characters beyond ASCII. */
export function startsName(code: number): boolean {
  if (code < 0x300) return code >= 0xc0 && code !== 0xd7 && code !== 0xf7
  if (code < 0x2000) return code >= 0x370 && code !== 0x37e
  if (code < 0x3001) {
    return (
      code === 0x200c ||
      code === 0x200d ||
      (code >= 0x2070 && code <= 0x218f) ||
      (code >= 0x2c00 && code <= 0x2fef)
    )
  }
  return (
    code <= 0xd7ff ||
    (code >= 0xf900 && code <= 0xfdcf) ||
    (code >= 0xfdf0 && code <= 0xfffd) ||
    (code >= 0x10000 && code <= 0xeffff)
  )
}

/** XML 1.0 5th edition, production 4a, for characters beyond ASCII. */
export function continuesName(code: number): boolean {
  return (
    startsName(code) ||
    code === 0xb7 ||
    (code >= 0x300 && code <= 0x36f) ||
    code === 0x203f ||
    code === 0x2040
  )
}

/** Bytes in the UTF-8 form of `code`, a character beyond ASCII. */
export function sequenceLength(code: number): number {
  if (code < 0x800) return 2
  return code < 0x10000 ? 3 : 4
}

/** The sequence may yet become a character: bytes are missing. */
export const INCOMPLETE = -1
export const INVALID = -2

/**
 * The character whose UTF-8 form starts at `at` with a byte of 0x80 or more; INCOMPLETE if it goes
 * on beyond `end` and is sound so far; INVALID if it is overlong, a surrogate, a noncharacter that
 * XML excludes, beyond U+10FFFF or no sequence at all (RFC 3629 §4, XML production 2).
 */
export function characterAt(data: Uint8Array, at: number, end: number): number {
  const lead = data[at] as number
  if (lead < 0xc2 || lead > 0xf4) return INVALID
  const length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4
  let code = lead & (0x7f >> length)
  for (let k = 1; k < length; k++) {
    if (at + k >= end) return INCOMPLETE
    const next = data[at + k] as number
    if ((next & 0xc0) !== 0x80) return INVALID
    code = (code << 6) | (next & 0x3f)
    if (k === 1 && excludes(lead, next)) return INVALID
  }
  return code === 0xfffe || code === 0xffff ? INVALID : code
}

/** Whether the second byte makes the sequence overlong, a surrogate or too large. */
function excludes(lead: number, next: number): boolean {
  return (
    (lead === 0xe0 && next < 0xa0) ||
    (lead === 0xed && next > 0x9f) ||
    (lead === 0xf0 && next < 0x90) ||
    (lead === 0xf4 && next > 0x8f)
  )
}

function isSupplementary(code: number): boolean {
  return code >= 0x10000 && code <= 0x10ffff
}

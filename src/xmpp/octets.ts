declare global {
  // Present in Node for as long as Buffer; missing from its types. Faster than `toString`, which
  // looks the encoding up by name each time.
  interface Buffer {
    latin1Slice(start?: number, end?: number): string
    utf8Slice(start?: number, end?: number): string
  }
}

declare const utf8: unique symbol

/**
 * UTF-8 bytes carried in a string, one byte per character (U+0000 to U+00FF).
 *
 * V8 keeps such strings at one byte per character, cuts slices without copying and joins without
 * copying; sockets write them untouched with the encoding `latin1`. So a payload travels from one
 * socket to another in this form, and only who wants to read it as text calls `decode`.
 * The brand keeps the compiler from mixing octets with text.
 */
export type Octets = string & { readonly [utf8]: true }

export const NO_OCTETS = '' as Octets

/** Native code costs as much for a short text as for a long one. */
const SHORT = 10

function isAscii(text: string): boolean {
  const { length } = text
  if (length > SHORT) return Buffer.byteLength(text, 'utf8') === length
  for (let i = 0; i < length; i++) if (text.charCodeAt(i) > 0x7f) return false
  return true
}

/** Text to octets. ASCII text is returned as it is. */
export function encode(text: string): Octets {
  if (isAscii(text)) return text as Octets
  return Buffer.from(text, 'utf8').latin1Slice() as Octets
}

/** Octets to text. The octets must be valid UTF-8; whatever the tokenizer let through is. */
export function decode(octets: Octets): string {
  if (isAscii(octets)) return octets
  return Buffer.from(octets, 'latin1').utf8Slice()
}

/** A copy of text that is kept: it may be a slice, which keeps all of what it was cut from alive. */
export function owned(text: string): string {
  return Buffer.from(text, 'utf8').utf8Slice()
}

/**
 * What is kept and often written, in one piece: `+` joins without copying, and when somebody looks
 * inside, it keeps both the pieces' joint and the copy.
 */
export function inOnePiece(...parts: readonly string[]): Octets {
  return parts.join('') as Octets
}

/** The bytes of `buffer` from `start` to `end` (exclusive), copied. */
export function octetsOf(buffer: Buffer, start = 0, end = buffer.length): Octets {
  return buffer.latin1Slice(start, end) as Octets
}

/** For stores and digests, which want bytes. */
export function bytesOf(octets: Octets): Buffer {
  return Buffer.from(octets, 'latin1')
}

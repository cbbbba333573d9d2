/**
 * As much of ASN.1's Distinguished Encoding Rules (X.690) as certificates need: short tags, definite
 * lengths. Node reads certificates but makes none, and before 24.9 hides their signature algorithm.
 */

export const tags = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  objectIdentifier: 0x06,
  utf8String: 0x0c,
  ia5String: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const

export interface DerValue {
  readonly tag: number
  /** The bytes after the length; shared with what was read. */
  readonly content: Buffer
}

/** The values that `bytes` is a row of. Throws `RangeError` where the bytes are no DER. */
export function readDer(bytes: Buffer): DerValue[] {
  const values: DerValue[] = []
  let at = 0
  while (at < bytes.length) {
    const tag = bytes.readUInt8(at)
    let length = bytes.readUInt8(at + 1)
    at += 2
    if (length === 0x80) throw new RangeError('DER value of indefinite length')
    if (length > 0x80) {
      const size = length - 0x80
      if (size > 4) throw new RangeError('DER length of more than four bytes')
      length = bytes.readUIntBE(at, size)
      at += size
    }
    const end = at + length
    if (end > bytes.length) throw new RangeError('DER value without its end')
    values.push({ tag, content: bytes.subarray(at, end) })
    at = end
  }
  return values
}

/** The dotted form of an object identifier's content. */
export function dotted(content: Buffer): string {
  const arcs: number[] = []
  let arc = 0
  for (const byte of content) {
    arc = arc * 128 + (byte & 0x7f)
    if (byte >= 0x80) continue
    if (arcs.length === 0) {
      const root = Math.min(Math.floor(arc / 40), 2)
      arcs.push(root)
      arc -= root * 40
    }
    arcs.push(arc)
    arc = 0
  }
  return arcs.join('.')
}

/** A value of any tag around what was encoded already. */
export function der(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(contents)
  const header =
    content.length < 0x80
      ? [tag, content.length]
      : content.length < 0x100
        ? [tag, 0x81, content.length]
        : [tag, 0x82, content.length >> 8, content.length & 0xff]
  if (content.length > 0xffff) throw new RangeError('DER value of more than 65535 bytes')
  return Buffer.concat([Uint8Array.from(header), content])
}

export function sequence(...items: readonly Uint8Array[]): Buffer {
  return der(tags.sequence, ...items)
}

/** `[number]` around `content`; constructed unless it holds the bytes of a primitive value. */
export function tagged(
  number: number,
  content: Uint8Array,
  form: 'constructed' | 'primitive' = 'constructed',
): Buffer {
  return der((form === 'constructed' ? 0xa0 : 0x80) | number, content)
}

export function objectIdentifier(id: string): Buffer {
  const [root = 0, second = 0, ...arcs] = id.split('.').map(Number)
  const bytes = [root * 40 + second, ...arcs].flatMap((arc) => {
    const groups = [arc & 0x7f]
    for (let rest = arc >>> 7; rest > 0; rest >>>= 7) groups.unshift(0x80 | (rest & 0x7f))
    return groups
  })
  return der(tags.objectIdentifier, Uint8Array.from(bytes))
}

/** A positive integer of any size, most significant byte first. */
export function positiveInteger(bytes: Uint8Array): Buffer {
  const start = bytes.findIndex((byte) => byte !== 0)
  const digits = start === -1 ? Uint8Array.of(0) : bytes.subarray(start)
  const isNegative = (digits[0] as number) >= 0x80
  return isNegative ? der(tags.integer, Uint8Array.of(0), digits) : der(tags.integer, digits)
}

/** `unused`: how many low bits of the last byte do not count. */
export function bitString(bytes: Uint8Array, unused = 0): Buffer {
  return der(tags.bitString, Uint8Array.of(unused), bytes)
}

export function utf8String(text: string): Buffer {
  return der(tags.utf8String, Buffer.from(text))
}

/** Seconds precision. UTCTime up to 2049, GeneralizedTime from then on (RFC 5280 §4.1.2.5). */
export function time(date: Date): Buffer {
  const digits = `${date.toISOString().replace(/[-:T]|\..*/g, '')}Z`
  return date.getUTCFullYear() < 2050
    ? der(tags.utcTime, Buffer.from(digits.slice(2)))
    : der(tags.generalizedTime, Buffer.from(digits))
}

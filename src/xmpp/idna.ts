import { isIPv6 } from 'node:net'
import { bidiRuleHolds, isBidi } from './bidi.ts'
import { CONTEXTUAL_POINTS, contextRulesHold } from './context-rules.ts'
import { mapWidth } from './precis.ts'
import { decodePunycode, encodePunycode } from './punycode.ts'

/** Neither a domain name nor an IP address. */
export class DomainError extends Error {
  override readonly name = 'DomainError'
}

/** RFC 1034 §3.1, less the root label. */
const MAX_NAME = 253
const MAX_LABEL = 63

const ASCII_NAME =
  /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*$/
const ASCII = /^[\x21-\x7E]+$/

/**
 * The domainpart in canonical form (RFC 7622 §3.2): a domain name of U-labels, an IPv4 address, or an
 * IPv6 address in brackets. A dot at the end is stripped.
 *
 * What RFC 5895 maps is mapped: fullwidth and halfwidth forms, upper case, ideographic full stops; then
 * NFC. A-labels are decoded and must encode to the same again. We also take underscores in ASCII
 * labels, though they are no host names: private networks have names like `chat_1`, and DNS carries them.
 */
export function prepareDomain(text: string): string {
  if (text.startsWith('[')) return prepareLiteral(text)
  const name = (text.endsWith('.') ? text.slice(0, -1) : text).toLowerCase()
  if (isPlain(name)) return name
  return prepareName(text)
}

/** An ASCII name without labels of the form `xx--…`, which is its own canonical form. */
function isPlain(name: string): boolean {
  return ASCII_NAME.test(name) && name.length <= MAX_NAME && !name.includes('--')
}

function prepareName(text: string): string {
  const mapped = mapName(text)
  const labels = (mapped.endsWith('.') ? mapped.slice(0, -1) : mapped).split('.').map(toUnicode)
  if (labels.some(isBidi) && !labels.every(bidiRuleHolds)) {
    throw new DomainError('left-to-right and right-to-left characters do not mix')
  }
  const inDns = labels.reduce((length, label) => length + toAscii(label).length + 1, -1)
  if (inDns > MAX_NAME) throw new DomainError('the name is too long')
  return labels.join('.')
}

/**
 * RFC 5895 §2. Lower case is taken code point by code point, as IDNA knows no final sigma in context,
 * and only of code points that IDNA does not admit as they are (Cherokee capitals are admitted).
 */
function mapName(text: string): string {
  return mapWidth(text)
    .replaceAll('\u3002', '.')
    .replace(/\p{Changes_When_NFKC_Casefolded}/gu, (char) => char.toLowerCase())
    .normalize('NFC')
}

/** A U-label, or a label of letters, digits and hyphens, from what DNS or a person may write. */
function toUnicode(label: string): string {
  // No more than a pair of surrogates per octet; Punycode takes quadratic time.
  if (label.length > 2 * MAX_LABEL) throw new DomainError('a label is too long')
  if (!label.startsWith('xn--')) {
    requireLabel(label)
    return label
  }
  const decoded = decodePunycode(label.slice(4))
  // Decoding to ASCII alone, or to what encodes otherwise, makes it no A-label (RFC 5890 §2.3.2.1).
  if (decoded === undefined || ASCII.test(decoded) || toAscii(decoded) !== label) {
    throw new DomainError('an A-label does not decode')
  }
  requireLabel(decoded)
  return decoded
}

function toAscii(label: string): string {
  return ASCII.test(label) ? label : `xn--${encodePunycode(label)}`
}

/** RFC 5891 §4.2 for U-labels, RFC 5890 §2.3.2.2 (NR-LDH) for others. */
function requireLabel(label: string): void {
  const isAscii = ASCII.test(label)
  if (label === '') throw new DomainError('a label is empty')
  if (toAscii(label).length > MAX_LABEL) throw new DomainError('a label is too long')
  if (label.startsWith('-') || label.endsWith('-') || label.startsWith('--', 2)) {
    throw new DomainError('a hyphen is misplaced')
  }
  if (isAscii ? !LDH.test(label) : !isUnicodeLabel(label)) {
    throw new DomainError('a character is not allowed')
  }
}

const LDH = /^[a-z0-9_-]*$/

function isUnicodeLabel(label: string): boolean {
  return (
    PROTOCOL_VALID.test(label) &&
    label.normalize('NFC') === label &&
    !/^\p{M}/u.test(label) &&
    contextRulesHold(label)
  )
}

/*
 * RFC 5892 §2 and §3 in one regular expression over the properties of the running Node. Unstable is
 * Changes_When_NFKC_Casefolded, but for the default ignorables, which are disallowed anyway.
 */

/** §2.6. */
const EXCEPTIONS_VALID = String.raw`\u00DF\u03C2\u06FD\u06FE\u0F0B\u3007`
const EXCEPTIONS_DISALLOWED = String.raw`\u0640\u07FA\u302E\u302F\u3031-\u3035\u303B`
/** §2.2, §2.3. */
const UNSTABLE = String.raw`\p{Changes_When_NFKC_Casefolded}`
const IGNORABLE_PROPERTIES = String.raw`\p{Default_Ignorable_Code_Point}\p{White_Space}\p{Noncharacter_Code_Point}`
/** §2.4: combining marks for symbols, musical symbols, ancient Greek musical notation. */
const IGNORABLE_BLOCKS = String.raw`\u20D0-\u20FF\u{1D100}-\u{1D24F}`
/** §2.9. */
const OLD_HANGUL_JAMO = String.raw`\u1100-\u11FF\uA960-\uA97F\uD7B0-\uD7FF`
/** §2.1. */
const LETTER_DIGITS = String.raw`[\p{Ll}\p{Lu}\p{Lo}\p{Nd}\p{Lm}\p{Mn}\p{Mc}]`

const PROTOCOL_VALID = new RegExp(
  `^[[${LETTER_DIGITS}--[${EXCEPTIONS_DISALLOWED}${UNSTABLE}${IGNORABLE_PROPERTIES}${IGNORABLE_BLOCKS}${OLD_HANGUL_JAMO}]]${EXCEPTIONS_VALID}${CONTEXTUAL_POINTS}\\-]*$`,
  'v',
)

const UNRESERVED = '[A-Za-z0-9._~-]'
const ZONED = new RegExp(`^([^%]+)(%25(?:${UNRESERVED}|%[0-9A-Fa-f]{2})+)?$`)
const FUTURE = new RegExp(`^[vV][0-9A-Fa-f]+\\.(?:${UNRESERVED}|[!$&'()*+,;=:])+$`)

/** `IP-literal` of RFC 3986 §3.2.2 and RFC 6874 §2. */
function prepareLiteral(text: string): string {
  const inner = text.endsWith(']') ? text.slice(1, -1) : ''
  const [, address = '', zone = ''] = ZONED.exec(inner) ?? []
  if (isIPv6(address)) return `[${address.toLowerCase()}${zone}]`
  if (FUTURE.test(inner)) return text.toLowerCase()
  throw new DomainError('the address in brackets is not an IPv6 address')
}

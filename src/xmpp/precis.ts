import { bidiRuleHolds, isBidi } from './bidi.ts'
import { CONTEXTUAL_POINTS, contextRulesHold } from './context-rules.ts'

/** Not a string of the profile that was asked for. */
export class PrecisError extends Error {
  override readonly name = 'PrecisError'
}

/*
 * RFC 8264 §8 and §9. Each class is one regular expression over the Unicode properties of the running
 * Node; code points that its Unicode does not assign are in none.
 */

/** §9.6 Exceptions that are PVALID, or have a contextual rule. */
const EXCEPTIONS_VALID = String.raw`\u00DF\u03C2\u06FD\u06FE\u0F0B\u3007${CONTEXTUAL_POINTS}`
/** §9.6 Exceptions that are DISALLOWED, §9.9 OldHangulJamo, §9.13 PrecisIgnorableProperties. */
const DISALLOWED = String.raw`[\u0640\u07FA\u302E\u302F\u3031-\u3035\u303B\u1100-\u11FF\uA960-\uA97C\uD7B0-\uD7C6\uD7CB-\uD7FB\p{Default_Ignorable_Code_Point}\p{Noncharacter_Code_Point}]`
/** §9.1 LetterDigits, §9.11 ASCII7. */
const IDENTIFIER = String.raw`[\x21-\x7E\p{Ll}\p{Lu}\p{Lo}\p{Nd}\p{Lm}\p{Mn}\p{Mc}]`
/** §9.14 to §9.18: Spaces, Symbols, Punctuation, OtherLetterDigits; HasCompat is settled apart. */
const FREEFORM = String.raw`[\x20-\x7E\p{L}\p{M}\p{N}\p{Zs}\p{S}\p{P}]`

const IDENTIFIER_CLASS = new RegExp(`^[[${IDENTIFIER}--${DISALLOWED}]${EXCEPTIONS_VALID}]*$`, 'v')
const FREEFORM_CLASS = new RegExp(`^[[${FREEFORM}--${DISALLOWED}]${EXCEPTIONS_VALID}]*$`, 'v')

/**
 * HasCompat (§9.17) code points are FREE_PVAL whatever their category. Those that the categories of
 * `FREEFORM` do not hold are all Default_Ignorable or Controls, which come first in §8.
 */
const hasCompat = (normalised: string) => normalised.normalize('NFKC') !== normalised

const NON_ASCII_SPACE = /[^\P{Zs} ]/gu
const WIDE_OR_NARROW = /[\u3000\uFF01-\uFFEE]/g

/** Text with fullwidth and halfwidth code points decomposed (RFC 8264 §5.2.1). */
export function mapWidth(text: string): string {
  return text.replace(WIDE_OR_NARROW, (char) => char.normalize('NFKC'))
}

const mapUsername = (text: string) => mapWidth(text).toLowerCase().normalize('NFC')
const mapOpaque = (text: string) => text.replace(NON_ASCII_SPACE, ' ').normalize('NFC')

/** RFC 8264 §7: mapped until nothing changes; three more rounds must suffice. */
function stable(map: (text: string) => string, text: string): string {
  let mapped = map(text)
  for (let round = 0; round < 3; round++) {
    const again = map(mapped)
    if (again === mapped) return mapped
    mapped = again
  }
  throw new PrecisError('the string has no stable form')
}

/**
 * The UsernameCaseMapped profile (RFC 8265 §3.3).
 *
 * The rules are applied in the order of RFC 8264 §7, so the class is checked on the mapped string.
 * RFC 8265 §3.3.2 checks before case mapping and normalization as well, which would refuse what has a
 * valid canonical form (a decomposed Hangul syllable, say); RFC 7622 §4 wants such strings mapped.
 */
export function prepareUsername(text: string): string {
  const mapped = stable(mapUsername, text)
  if (mapped === '') throw new PrecisError('the string is empty')
  if (!IDENTIFIER_CLASS.test(mapped) || hasCompat(mapped) || !contextRulesHold(mapped)) {
    throw new PrecisError('a character is not allowed')
  }
  if (isBidi(mapped) && !bidiRuleHolds(mapped)) {
    throw new PrecisError('left-to-right and right-to-left characters do not mix')
  }
  return mapped
}

const ASCII_OPAQUE = /^[\x20-\x7E]+$/

/** The OpaqueString profile (RFC 8265 §4.2); class checked on the mapped string, as for usernames. */
export function prepareOpaque(text: string): string {
  if (ASCII_OPAQUE.test(text)) return text
  const mapped = stable(mapOpaque, text)
  if (mapped === '') throw new PrecisError('the string is empty')
  if (!FREEFORM_CLASS.test(mapped) || !contextRulesHold(mapped)) {
    throw new PrecisError('a character is not allowed')
  }
  return mapped
}

/** A password as it is compared and hashed: the OpaqueString profile (RFC 8265 §4). */
export const preparePassword = prepareOpaque

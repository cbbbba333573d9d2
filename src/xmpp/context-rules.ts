/*
 * RFC 5892 appendix A: where CONTEXTJ and CONTEXTO code points may stand. Domain labels (IDNA2008)
 * and PRECIS strings share these rules.
 */

/** The code points with a rule, for the body of a character class. */
export const CONTEXTUAL_POINTS = String.raw`\u00B7\u0375\u05F3\u05F4\u0660-\u0669\u06F0-\u06F9\u200C\u200D\u30FB`

const CONTEXTUAL = new RegExp(`[${CONTEXTUAL_POINTS}]`, 'u')

/** Whether every such code point stands where it may. Takes linear time. */
export function contextRulesHold(text: string): boolean {
  if (!CONTEXTUAL.test(text)) return true
  const left = text.replace(IN_PLACE, (found: string, mark?: string) =>
    mark === undefined || isVirama(mark) ? '' : found,
  )
  return (
    !NEEDS_NEIGHBOURS.test(left) &&
    (!KATAKANA_MIDDLE_DOT.test(text) || JAPANESE.test(text)) &&
    !(ARABIC_INDIC.test(text) && EXTENDED_ARABIC_INDIC.test(text))
  )
}

/** Joiners, middle dot, keraia, geresh and gershayim: allowed next to certain characters. */
const NEEDS_NEIGHBOURS = /[\u200C-\u200D\u00B7\u0375\u05F3\u05F4]/
const KATAKANA_MIDDLE_DOT = /\u30FB/
const JAPANESE = /[\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Han}]/u
const ARABIC_INDIC = /[\u0660-\u0669]/
const EXTENDED_ARABIC_INDIC = /[\u06F0-\u06F9]/

/**
 * Canonical_Combining_Class 9. JavaScript does not show that property, but canonical ordering does:
 * a mark of class 9 moves behind one of class 8 (U+3099) and before one of class 10 (U+05B0).
 */
function isVirama(mark: string): boolean {
  if (mark === '\u3099' || mark === '\u05B0') return false
  return (
    `${mark}\u3099`.normalize('NFD') === `\u3099${mark}` &&
    `\u05B0${mark}`.normalize('NFD') === `${mark}\u05B0`
  )
}

/** From "622-625 627" to the body of a character class. */
function characterClass(ranges: string): string {
  return ranges
    .trim()
    .split(/\s+/)
    .map((range) => range.replaceAll(/[0-9a-f]+/g, String.raw`\u{$&}`))
    .join('')
}

// Joining_Type in Unicode 17, which JavaScript does not show: L or D, and R or D. Transparent (T) are,
// among the code points that labels admit, the nonspacing marks.
const JOINS_LEFT = characterClass(`
  620 626 628 62a-62e 633-63f 641-647 649-64a 66e-66f 678-687 69a-6bf 6c1-6c2 6cc 6ce 6d0-6d1
  6fa-6fc 6ff 712-714 71a-71d 71f-727 729 72b 72d-72e 74e-758 75c-76a 76d-770 772 775-777
  77a-77f 7ca-7ea 841-845 848 84a-853 855 860 862-865 868 886 889-88d 88f 8a0-8a9 8af-8b0
  8b3-8b8 8ba-8c8 1807 1820-1878 1887-18a8 18aa a840-a872 10ac0-10ac4 10acd 10ad3-10adc
  10ade-10ae0 10aeb-10aee 10b80 10b82 10b86-10b88 10b8a-10b8b 10b8d 10b90 10bad-10bae
  10d00-10d21 10d23 10ec3-10ec4 10ec6-10ec7 10f30-10f32 10f34-10f44 10f51-10f53 10f70-10f73
  10f76-10f81 10fb0 10fb2-10fb3 10fb8 10fbb-10fbc 10fbe-10fbf 10fc1 10fc4 10fca-10fcb
  1e900-1e943
`)

const JOINS_RIGHT = characterClass(`
  620 622-63f 641-64a 66e-66f 671-673 675-6d3 6d5 6ee-6ef 6fa-6fc 6ff 710 712-72f 74d-77f
  7ca-7ea 840-858 860 862-865 867-86a 870-882 886 889-88f 8a0-8ac 8ae-8c8 1807 1820-1878
  1887-18a8 18aa a840-a871 10ac0-10ac5 10ac7 10ac9-10aca 10ace-10ad6 10ad8-10ae1 10ae4
  10aeb-10aef 10b80-10b91 10ba9-10bae 10d01-10d23 10ec2-10ec4 10ec6-10ec7 10f30-10f44
  10f51-10f54 10f70-10f81 10fb0 10fb2-10fb6 10fb8-10fbf 10fc1-10fc4 10fc9-10fca 1e900-1e943
`)
/** Of `NEEDS_NEIGHBOURS`, those that have them; for joiners behind a mark, the mark is captured. */
const IN_PLACE = new RegExp(
  [
    `(?<=[${JOINS_LEFT}]\\p{Mn}*)\\u200C(?=\\p{Mn}*[${JOINS_RIGHT}])`,
    String.raw`(?<=(\p{M}))[\u200C\u200D]`,
    String.raw`(?<=l)\u00B7(?=l)`,
    String.raw`\u0375(?=\p{Script=Greek})`,
    String.raw`(?<=\p{Script=Hebrew})[\u05F3\u05F4]`,
  ].join('|'),
  'gu',
)

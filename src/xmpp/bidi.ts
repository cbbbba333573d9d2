/*
 * RFC 5893. JavaScript does not show Bidi_Class, so the classes are told apart by the blocks that
 * Unicode sets aside for right-to-left scripts. They are exact for the code points that IDNA and the
 * PRECIS IdentifierClass admit, and mean nothing for others.
 */

/** AN. */
const ARABIC_NUMBER = String.raw`\u0660-\u0669\u066B\u066C\u06DD\u{10D30}-\u{10D39}\u{10E60}-\u{10E7E}`
/** EN. */
const EUROPEAN_NUMBER = String.raw`0-9\u06F0-\u06F9`
/** R and AL, which every rule treats alike. */
const RIGHT_TO_LEFT = String.raw`[\u0590-\u08FF\uFB1D-\uFDFF\uFE70-\uFEFF\u{10800}-\u{10FFF}\u{1E800}-\u{1EFFF}]--[${ARABIC_NUMBER}${EUROPEAN_NUMBER}\p{M}]`
/** L: letters, spacing marks, a few others, and digits of the other scripts; less neutral letters. */
const LEFT_TO_RIGHT = String.raw`[\p{L}\p{Mc}\p{N}\u0CBF\u0CC6\u0F0B\u{11A07}\u{11A08}\u{11C3F}]--[[${RIGHT_TO_LEFT}]${ARABIC_NUMBER}${EUROPEAN_NUMBER}\u02B9\u02BA\u02C6-\u02CF\u02EC\u0374\u2E2F\uA67F\uA717-\uA71F\uA788]`

const HAS_RIGHT_TO_LEFT = new RegExp(`[[${RIGHT_TO_LEFT}]${ARABIC_NUMBER}]`, 'v')
const STARTS_RIGHT_TO_LEFT = new RegExp(`^[${RIGHT_TO_LEFT}]`, 'v')
const STARTS_LEFT_TO_RIGHT = new RegExp(`^[${LEFT_TO_RIGHT}]`, 'v')
const HAS_LEFT_TO_RIGHT = new RegExp(`[${LEFT_TO_RIGHT}]`, 'v')
const ENDS_RIGHT_TO_LEFT = new RegExp(
  String.raw`[[${RIGHT_TO_LEFT}]${EUROPEAN_NUMBER}${ARABIC_NUMBER}]\p{Mn}*$`,
  'v',
)
const ENDS_LEFT_TO_RIGHT = new RegExp(
  String.raw`[[${LEFT_TO_RIGHT}]${EUROPEAN_NUMBER}]\p{Mn}*$`,
  'v',
)
const HAS_ARABIC_NUMBER = new RegExp(`[${ARABIC_NUMBER}]`, 'v')
const HAS_EUROPEAN_NUMBER = new RegExp(`[${EUROPEAN_NUMBER}]`, 'v')

/** Whether `text` holds a code point of class R, AL or AN; only then there is a rule to obey. */
export function isBidi(text: string): boolean {
  return HAS_RIGHT_TO_LEFT.test(text)
}

/** The six conditions of RFC 5893 §2 on one label, or on a string that is used like one. */
export function bidiRuleHolds(label: string): boolean {
  if (STARTS_RIGHT_TO_LEFT.test(label)) {
    return (
      !HAS_LEFT_TO_RIGHT.test(label) &&
      ENDS_RIGHT_TO_LEFT.test(label) &&
      !(HAS_ARABIC_NUMBER.test(label) && HAS_EUROPEAN_NUMBER.test(label))
    )
  }
  return (
    STARTS_LEFT_TO_RIGHT.test(label) &&
    !HAS_RIGHT_TO_LEFT.test(label) &&
    ENDS_LEFT_TO_RIGHT.test(label)
  )
}

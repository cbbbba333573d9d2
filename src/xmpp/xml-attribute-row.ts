/**
 * What is known of one attribute while its element is scanned: so many ints. Offsets are relative to
 * the first byte of the first-level element.
 */
export const INTS = 7

export const START = 0
export const END = 1
/** -1: none. */
export const COLON = 2
export const VALUE_START = 3
export const VALUE_END = 4
/** Whether the value reads as it stands (1) or not (0). */
export const IS_PLAIN = 5
export const KIND = 6

// Kinds. Those from DEFAULT_NAMESPACE on are declarations.
export const UNPREFIXED = 0
/** `xml:lang` and the like, whose prefix needs no declaration. */
export const XML = 1
export const PREFIXED = 2
export const DEFAULT_NAMESPACE = 3
export const PREFIX_DECLARATION = 4

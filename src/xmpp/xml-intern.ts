const NAMES = 1024
const LONGEST_NAME = 64
const VALUES = 8192
const LONGEST_VALUE = 96

/** Texts, each at the place that its bytes choose; of those that share one the last is kept. */
class Kept {
  readonly #longest: number
  readonly #texts: string[]
  readonly #lengths: Uint8Array
  readonly #bytes: Uint8Array

  constructor(slots: number, longest: number) {
    this.#longest = longest
    this.#texts = new Array(slots).fill('')
    this.#lengths = new Uint8Array(slots)
    this.#bytes = new Uint8Array(slots * longest)
  }

  /** What is kept there, if it is of these bytes. */
  get(slot: number, data: Buffer, start: number, end: number): string | undefined {
    const length = end - start
    const isSame =
      this.#lengths[slot] === length && isAt(data, start, length, this.#bytes, slot * this.#longest)
    return isSame ? this.#texts[slot] : undefined
  }

  /** Keeps the text of these bytes. */
  put(slot: number, data: Buffer, start: number, end: number): string {
    const text = data.utf8Slice(start, end)
    this.#texts[slot] = text
    this.#lengths[slot] = end - start
    const bytes = this.#bytes
    for (let k = start, own = slot * this.#longest; k < end; k++, own++) {
      bytes[own] = data[k] as number
    }
    return text
  }
}

const names = new Kept(NAMES, LONGEST_NAME)
const values = new Kept(VALUES, LONGEST_VALUE)
/** Hashes of what came last and is not kept, by place. */
const candidates = new Int32Array(VALUES)

/**
 * The text of these bytes, valid UTF-8. For names and namespaces, of which few are in use and the
 * same come again with each stanza: what was seen lately costs a comparison, not a new string.
 */
export function intern(data: Buffer, start: number, end: number): string {
  if (end === start) return ''
  if (end - start > LONGEST_NAME) return data.utf8Slice(start, end)
  const slot = slotOfName(data, start, end)
  return names.get(slot, data, start, end) ?? names.put(slot, data, start, end)
}

/**
 * The same for values of which many are in use, such as addresses: only what comes twice before
 * something else does is kept. Undefined: this one is not, and a slice of the stanza costs less.
 *
 * What gains is less the reading than who looks them up in a map: with the very string of last time,
 * whose hash is known.
 */
export function internValue(data: Buffer, start: number, end: number): string | undefined {
  if (end - start > LONGEST_VALUE) return undefined
  const hash = hashOf(data, start, end)
  // The upper bits depend on all bytes, the lower ones mostly on the last.
  const slot = (hash ^ (hash >>> 15)) & (VALUES - 1)
  const kept = values.get(slot, data, start, end)
  if (kept !== undefined) return kept
  if (candidates[slot] === hash) return values.put(slot, data, start, end)
  candidates[slot] = hash
  return undefined
}

function slotOfName(data: Buffer, start: number, end: number): number {
  const first = data[start] as number
  const middle = data[(start + end) >> 1] as number
  const last = data[end - 1] as number
  return (first + middle * 7 + last * 31 + (end - start) * 131) & (NAMES - 1)
}

function hashOf(data: Buffer, start: number, end: number): number {
  let hash = end - start
  for (let k = start; k < end; k++) hash = (Math.imul(hash, 31) + (data[k] as number)) | 0
  return hash
}

function isAt(
  data: Buffer,
  start: number,
  length: number,
  bytes: Uint8Array,
  from: number,
): boolean {
  for (let k = 0; k < length; k++) if (data[start + k] !== bytes[from + k]) return false
  return true
}

/** Messages between nodes: a line of text, then entries, each behind its length. */

/** Version of what nodes say to one another. Nodes of adjacent versions understand each other. */
export const PROTOCOL = 1

export function isUnderstood(version: number): boolean {
  return Math.abs(version - PROTOCOL) <= 1
}

export type Header = {
  readonly from: string
  readonly fromEpoch: number
  readonly toEpoch: number
  /** Number of the first entry; 0 if there is none. */
  readonly first: number
  /** All entries of the receiver up to this number are dealt with. */
  readonly acknowledged: number
  /** The sender misses what comes behind them. */
  readonly isMissing: boolean
  /** The sender waits for acknowledgements. */
  readonly wantsAnswer: boolean
  /** Revision of the registry. */
  readonly written: number
}

export type Message = { readonly header: Header; readonly entries: readonly string[] }

export function writeHeader(header: Header): string {
  const { from, fromEpoch, toEpoch, first, acknowledged, isMissing, wantsAnswer, written } = header
  const flags = `${isMissing ? 'm' : ''}${wantsAnswer ? 'a' : ''}-`
  return `${PROTOCOL} ${from} ${fromEpoch} ${toEpoch} ${first} ${acknowledged} ${written} ${flags}\n`
}

/** `undefined` for what no node of ours would say. */
export function readMessage(message: string): Message | undefined {
  const end = message.indexOf('\n')
  if (end === -1) return undefined
  const [version, from, fromEpoch, toEpoch, first, acknowledged, written, flags] = message
    .slice(0, end)
    .split(' ')
  if (!isUnderstood(Number(version)) || from === undefined || flags === undefined) return undefined
  const entries = readEntries(message, end + 1)
  if (entries === undefined) return undefined
  const header = {
    from,
    fromEpoch: Number(fromEpoch),
    toEpoch: Number(toEpoch),
    first: Number(first),
    acknowledged: Number(acknowledged),
    isMissing: flags.includes('m'),
    wantsAnswer: flags.includes('a'),
    written: Number(written),
  }
  return { header, entries }
}

/** The entries from `start` on; `undefined` if there is anything else. */
export function readEntries(message: string, start = 0): string[] | undefined {
  const entries: string[] = []
  let at = start
  while (at < message.length) {
    const colon = message.indexOf(':', at)
    const end = colon + 1 + wholeNumber(message, at, colon)
    if (colon === -1 || Number.isNaN(end) || end > message.length) return undefined
    entries.push(message.slice(colon + 1, end))
    at = end
  }
  return entries
}

/** Digits of numbers that are small for V8. */
const SMALL = 9

/** The decimal digits from `start` to `end` (exclusive); NaN for anything else. Nothing is cut out for it. */
export function wholeNumber(text: string, start: number, end: number): number {
  if (start >= end) return Number.NaN
  // Small integers are quick to count with, others not.
  const middle = end - SMALL
  if (start < middle) return wholeNumber(text, start, middle) * 1e9 + wholeNumber(text, middle, end)
  let number = 0
  for (let at = start; at < end; at++) {
    const digit = text.charCodeAt(at) - 48
    if (digit < 0 || digit > 9) return Number.NaN
    number = number * 10 + digit
  }
  return number
}

import { NO_OCTETS, type Octets } from './octets.ts'
import * as row from './xml-attribute-row.ts'
import { internValue } from './xml-intern.ts'
import { readValue } from './xml-reader.ts'

// See `xml-scanner.ts` on why these are constants of this module.
const { DEFAULT_NAMESPACE, END, INTS, IS_PLAIN, KIND, START, VALUE_END, VALUE_START } = row

const FROM = Buffer.from('from')
const TO = Buffer.from('to')
const TYPE = Buffer.from('type')
const ID = Buffer.from('id')
const LANG = Buffer.from('xml:lang')

const BLANK = 0x20

/** The attributes that every stanza may have (RFC 6120 §8.1), of one start tag. */
export class CommonAttributes {
  from: string | undefined
  to: string | undefined
  type: string | undefined
  id: string | undefined
  /** Whether it has an `xml:lang`. */
  hasLang = false
  /**
   * All but `from`, `to` and declarations, for another start tag: ` id='1' type="chat"`, each behind
   * one blank and in the quotes that it came in.
   */
  others = NO_OCTETS
}

export const NO_COMMON: Readonly<CommonAttributes> = new CommonAttributes()

/** Of an element whose attributes are the first `count` of `rows`; `octets` are those from `base` on. */
export function commonAttributes(
  rows: Int32Array,
  count: number,
  data: Buffer,
  base: number,
  octets: Octets,
): Readonly<CommonAttributes> {
  if (count === 0) return NO_COMMON
  const common = new CommonAttributes()
  // Those next to each other go along as they are, in one piece.
  let runStart = 0
  let runEnd = 0
  const last = count * INTS
  for (let at = 0; at < last; at += INTS) {
    if ((rows[at + KIND] as number) >= DEFAULT_NAMESPACE) continue
    const start = rows[at + START] as number
    const length = (rows[at + END] as number) - start
    const valueStart = rows[at + VALUE_START] as number
    const valueEnd = rows[at + VALUE_END] as number
    const isPlain = rows[at + IS_PLAIN] === 1
    const name = base + start
    if (length === 2 && is(data, name, TO)) {
      common.to = textOf(data, base, valueStart, valueEnd, isPlain, octets)
      continue
    }
    if (length === 4) {
      if (is(data, name, FROM)) {
        common.from = textOf(data, base, valueStart, valueEnd, isPlain, octets)
        continue
      }
      if (is(data, name, TYPE)) {
        common.type = textOf(data, base, valueStart, valueEnd, isPlain, octets)
      }
    } else if (length === 2) {
      // Seldom the same twice.
      if (is(data, name, ID)) {
        const raw = octets.slice(valueStart, valueEnd) as Octets
        common.id = isPlain ? raw : readValue(raw)
      }
    } else if (length === 8 && is(data, name, LANG)) common.hasLang = true

    if (valueStart === start + length + 2 && data[name - 1] === BLANK) {
      if (start - 1 !== runEnd) {
        if (runEnd > 0) common.others = joined(common.others, octets, runStart, runEnd)
        runStart = start - 1
      }
      runEnd = valueEnd + 1
    } else {
      // White space of another kind, or round the equals sign.
      if (runEnd > 0) common.others = joined(common.others, octets, runStart, runEnd)
      runEnd = 0
      const qname = octets.slice(start, start + length)
      const value = octets.slice(valueStart - 1, valueEnd + 1)
      common.others = `${common.others} ${qname}=${value}` as Octets
    }
  }
  if (runEnd > 0) common.others = joined(common.others, octets, runStart, runEnd)
  return common
}

function joined(before: Octets, octets: Octets, start: number, end: number): Octets {
  const run = octets.slice(start, end) as Octets
  return before === '' ? run : ((before + run) as Octets)
}

function textOf(
  data: Buffer,
  base: number,
  start: number,
  end: number,
  isPlain: boolean,
  octets: Octets,
): string {
  const known = isPlain ? internValue(data, base + start, base + end) : undefined
  if (known !== undefined) return known
  const raw = octets.slice(start, end) as Octets
  return isPlain ? raw : readValue(raw)
}

function is(data: Buffer, at: number, name: Buffer): boolean {
  for (let k = 0; k < name.length; k++) if (data[at + k] !== name[k]) return false
  return true
}

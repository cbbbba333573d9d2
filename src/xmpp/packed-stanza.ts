import { decode, encode, type Octets } from './octets.ts'
import type { ChildRef } from './xml-parser.ts'

/**
 * A stanza with the index of its children, as it goes to another node of the same cluster, which then need not
 * parse it again. Its parts are set apart by characters that XML does not have (XML 1.0 §2.2).
 */
export type PackedStanza = {
  /** The first letter of message, presence or iq. */
  readonly kind: string
  readonly type: string | undefined
  /** Of the start tag: all but its name and the addresses. */
  readonly head: Octets
  /** For `readIndex`. */
  readonly index: Octets
  readonly payload: Octets
}

/** With which it begins. */
export const PACKED = '\x05'
const PART = '\x00'
const FIELD = '\x01'
/** Where there is no type: an empty one is another thing. */
const ABSENT = '\x02'
/** Before a type that means nothing. */
const OTHER = '?'
const CODE_OF: Readonly<Record<string, string>> = Object.assign(Object.create(null), {
  chat: 'c',
  groupchat: 'g',
  headline: 'h',
  normal: 'n',
  error: 'e',
  get: 'q',
  set: 's',
  result: 'r',
})
const TYPE_OF: Readonly<Record<string, string>> = Object.assign(
  Object.create(null),
  Object.fromEntries(Object.entries(CODE_OF).map(([type, code]) => [code, type])),
)

export function pack({ kind, type, head, index, payload }: PackedStanza): Octets {
  const code = type === undefined ? ABSENT : (CODE_OF[type] ?? `${OTHER}${encode(type)}${FIELD}`)
  return `${PACKED}${kind}${code}${head}${PART}${index}${PART}${payload}` as Octets
}

/** What begins at `start`. It is not checked. */
export function unpack(packed: Octets, start: number): PackedStanza {
  const code = packed[start + 2] as string
  let type = TYPE_OF[code]
  let endOfType = start + 3
  if (code === OTHER) {
    endOfType = packed.indexOf(FIELD, endOfType) + 1
    type = decode(packed.slice(start + 3, endOfType - 1) as Octets)
  }
  const endOfHead = packed.indexOf(PART, endOfType)
  const endOfIndex = packed.indexOf(PART, endOfHead + 1)
  return {
    kind: packed[start + 1] as string,
    type,
    head: packed.slice(endOfType, endOfHead) as Octets,
    index: packed.slice(endOfHead + 1, endOfIndex) as Octets,
    payload: packed.slice(endOfIndex + 1) as Octets,
  }
}

/**
 * `usual`: the namespace that need not be written. Nor need be where a child begins, if the one before ends there, and
 * where it ends, if the payload, so many octets long, does.
 */
export function writeIndex(children: readonly ChildRef[], usual: string, length: number): Octets {
  let index = ''
  let before = 0
  for (const { name, ns, start, end } of children) {
    const space = ns === usual ? '' : encode(ns)
    const from = start === before ? '' : start
    const to = end === length ? '' : end
    index += `${encode(name)}${FIELD}${space}${FIELD}${from}${FIELD}${to}${FIELD}`
    before = end
  }
  return index as Octets
}

/** What `writeIndex` wrote. */
export function readIndex(index: Octets, usual: string, length: number): ChildRef[] {
  const children: ChildRef[] = []
  let before = 0
  for (let at = 0; at < index.length; ) {
    const endOfName = index.indexOf(FIELD, at)
    const endOfNs = index.indexOf(FIELD, endOfName + 1)
    const endOfStart = index.indexOf(FIELD, endOfNs + 1)
    const endOfChild = index.indexOf(FIELD, endOfStart + 1)
    const ns = index.slice(endOfName + 1, endOfNs) as Octets
    const end = numberIn(index, endOfStart + 1, endOfChild, length)
    children.push({
      name: decode(index.slice(at, endOfName) as Octets),
      ns: ns === '' ? usual : decode(ns),
      start: numberIn(index, endOfNs + 1, endOfStart, before),
      end,
    })
    before = end
    at = endOfChild + 1
  }
  return children
}

function numberIn(index: string, start: number, end: number, otherwise: number): number {
  return start === end ? otherwise : Number(index.slice(start, end))
}

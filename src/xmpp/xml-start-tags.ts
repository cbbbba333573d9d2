import { type CommonAttributes, commonAttributes } from './common-attributes.ts'
import { NO_OCTETS, type Octets, octetsOf } from './octets.ts'
import { StreamError } from './stream-error.ts'
import { escapeAttribute } from './xml.ts'
import * as row from './xml-attribute-row.ts'
import { intern } from './xml-intern.ts'
import {
  type Binding,
  bind,
  checkDefault,
  lookup,
  mayBeReserved,
  notWellFormed,
  XML_NS,
} from './xml-namespaces.ts'
import { readValue, type Scope } from './xml-reader.ts'

// See `xml-scanner.ts` on why these are constants of this module.
const { COLON, END, INTS, IS_PLAIN, KIND, START, VALUE_END, VALUE_START } = row
const { DEFAULT_NAMESPACE, PREFIX_DECLARATION, PREFIXED, UNPREFIXED, XML } = row

const X = 0x78
const M = 0x6d
const L = 0x6c
const N = 0x6e
const S = 0x73

const NO_SCOPE: Scope = { defaultNs: '', bindings: undefined }

/**
 * Attributes and namespaces of the start tags of one element and of all inside it.
 *
 * The root's attributes are kept to the end; those of the others give way to the next ones.
 * Offsets are relative to the root's first byte, which is at `base` of the data.
 */
export class StartTags {
  /** The tag resolved last, if that was the root or a child of it. */
  name = ''
  prefix = ''
  ns = ''
  /** Namespaces in scope inside the root. */
  scope = NO_SCOPE

  #outside = NO_SCOPE
  #maxAttributes = 0
  #ints = new Int32Array(0)
  #rootCount = 0
  #count = 0
  #bindings: Binding | undefined
  /** Declarations outside of the payload that something in it, or on the root, uses. */
  #needed: Binding[] = []

  begin(outside: Scope, maxAttributes: number): void {
    this.#outside = outside
    this.#maxAttributes = maxAttributes
    const capacity = maxAttributes * 2 * INTS
    if (this.#ints.length < capacity) this.#ints = new Int32Array(capacity)
    this.#rootCount = 0
    this.#count = 0
    this.#bindings = outside.bindings
    if (this.#needed.length > 0) this.#needed = []
  }

  /** One more attribute of the tag at hand. */
  add(
    data: Buffer,
    base: number,
    start: number,
    end: number,
    colon: number,
    valueStart: number,
    valueEnd: number,
    isPlain: boolean,
  ): void {
    if (this.#count - this.#rootCount >= this.#maxAttributes) {
      throw new StreamError('policy-violation', 'too many attributes')
    }
    const ints = this.#ints
    const row = this.#count++ * INTS
    ints[row + START] = start
    ints[row + END] = end
    ints[row + COLON] = colon
    ints[row + VALUE_START] = valueStart
    ints[row + VALUE_END] = valueEnd
    ints[row + IS_PLAIN] = isPlain ? 1 : 0
    ints[row + KIND] = kindOf(data, base + start, (colon === -1 ? end : colon) - start, colon)
  }

  /** Forgets the attributes of the tag at hand. */
  drop(): void {
    this.#count = this.#rootCount
  }

  /**
   * All of the tag is there: resolves the namespaces of its attributes and, given its name, its
   * own. Only the names of the root and its children are put into `name`, `prefix` and `ns`.
   */
  resolve(
    data: Buffer,
    base: number,
    depth: number,
    start: number,
    end: number,
    colon: number,
  ): void {
    const isRoot = depth <= 1
    let defaultNs = isRoot ? this.#outside.defaultNs : this.scope.defaultNs
    if (this.#count > this.#rootCount) {
      const own = this.#resolveAttributes(data, base, depth)
      if (own !== undefined) defaultNs = own
    }
    if (depth <= 2) {
      this.ns = defaultNs
      this.prefix = ''
      this.name = intern(data, base + (colon === -1 ? start : colon + 1), base + end)
    }
    if (colon !== -1) {
      this.prefix = intern(data, base + start, base + colon)
      this.ns = this.#resolvePrefix(this.prefix, depth >= 2)
    }
    if (isRoot) {
      this.scope =
        defaultNs === this.#outside.defaultNs && this.#bindings === this.#outside.bindings
          ? this.#outside
          : scopeOf(defaultNs, this.#bindings)
      this.#rootCount = this.#count
    } else {
      this.#count = this.#rootCount
    }
  }

  /** The element at that depth has ended: so do its declarations. */
  end(depth: number): void {
    let bindings = this.#bindings
    while (bindings !== undefined && bindings.depth === depth) bindings = bindings.outer
    this.#bindings = bindings
  }

  /** Of the root, whose octets these are. */
  common(data: Buffer, base: number, octets: Octets): Readonly<CommonAttributes> {
    return commonAttributes(this.#ints, this.#rootCount, data, base, octets)
  }

  /** The declarations that must go along when payload and attributes of the root do. */
  declarations(): Octets {
    if (this.#needed.length === 0) return NO_OCTETS
    let out = ''
    for (const { prefix, uri } of this.#needed) {
      out += ` xmlns:${escapeAttribute(prefix)}='${escapeAttribute(uri)}'`
    }
    return out as Octets
  }

  /** The default namespace that the tag declares, if it does. */
  #resolveAttributes(data: Buffer, base: number, depth: number): string | undefined {
    const ints = this.#ints
    const first = this.#rootCount * INTS
    const last = this.#count * INTS
    let defaultNs: string | undefined
    let prefixed = 0
    let seen = 0
    for (let row = first; row < last; row += INTS) {
      const start = ints[row + START] as number
      const length = (ints[row + END] as number) - start
      // Names that differ in this bit differ.
      const bit = 1 << (length + (data[base + start + length - 1] as number))
      if ((seen & bit) !== 0) this.#checkDuplicates(data, base, row)
      seen |= bit
      const kind = ints[row + KIND] as number
      if (kind === PREFIXED) prefixed++
      else if (kind === DEFAULT_NAMESPACE) defaultNs = this.#defaultNs(data, base, depth, row)
      else if (kind === PREFIX_DECLARATION) this.#declare(data, base, depth, row)
    }
    if (prefixed > 0) this.#checkPrefixed(data, base, depth)
    return defaultNs
  }

  /** Deeper than the root's children nobody asks which it is, only whether it may be. */
  #defaultNs(data: Buffer, base: number, depth: number, row: number): string {
    const ints = this.#ints
    const length = (ints[row + VALUE_END] as number) - (ints[row + VALUE_START] as number)
    if (depth > 2 && ints[row + IS_PLAIN] === 1 && !mayBeReserved(length)) return ''
    const uri = this.#value(data, base, row)
    checkDefault(uri)
    return uri
  }

  #declare(data: Buffer, base: number, depth: number, row: number): void {
    const ints = this.#ints
    const start = base + (ints[row + COLON] as number) + 1
    const prefix = intern(data, start, base + (ints[row + END] as number))
    this.#bindings = bind(this.#bindings, prefix, this.#value(data, base, row), depth)
    if (this.#bindings !== undefined && this.#bindings.count > this.#maxAttributes) {
      throw new StreamError('policy-violation', 'too many namespace prefixes')
    }
  }

  /** The namespace of a prefix in use. `isForwarded`: what uses it stays when forwarding. */
  #resolvePrefix(prefix: string, isForwarded: boolean): string {
    if (prefix === 'xml') return XML_NS
    const binding = lookup(this.#bindings, prefix)
    // RFC 6120 §4.9.3.13: violations of Namespaces in XML are this condition, too;
    // `bad-namespace-prefix` (§4.9.3.2) is for prefixes that are declared and still wrong.
    if (binding === undefined) throw notWellFormed('an undeclared namespace prefix')
    if (isForwarded && binding.depth <= 1 && !this.#needed.includes(binding)) {
      this.#needed.push(binding)
    }
    return binding.uri
  }

  /** Whether an attribute before that at `row` has the same qualified name. */
  #checkDuplicates(data: Buffer, base: number, row: number): void {
    const ints = this.#ints
    const start = ints[row + START] as number
    const length = (ints[row + END] as number) - start
    for (let other = this.#rootCount * INTS; other < row; other += INTS) {
      const otherStart = ints[other + START] as number
      if ((ints[other + END] as number) - otherStart !== length) continue
      if (isSame(data, base + start, base + otherStart, length)) {
        throw notWellFormed('an attribute given twice')
      }
    }
  }

  /** That prefixes are declared, and that no two attributes have the same expanded name. */
  #checkPrefixed(data: Buffer, base: number, depth: number): void {
    const ints = this.#ints
    const seen = new Set<string>()
    for (let row = this.#rootCount * INTS; row < this.#count * INTS; row += INTS) {
      if (ints[row + KIND] !== PREFIXED) continue
      const colon = base + (ints[row + COLON] as number)
      const prefix = intern(data, base + (ints[row + START] as number), colon)
      const local = intern(data, colon + 1, base + (ints[row + END] as number))
      const expanded = `${local} ${this.#resolvePrefix(prefix, depth >= 1)}`
      if (seen.has(expanded)) throw notWellFormed('an attribute given twice')
      seen.add(expanded)
    }
  }

  #value(data: Buffer, base: number, row: number): string {
    const ints = this.#ints
    const start = base + (ints[row + VALUE_START] as number)
    const end = base + (ints[row + VALUE_END] as number)
    return ints[row + IS_PLAIN] === 1
      ? intern(data, start, end)
      : readValue(octetsOf(data, start, end))
  }
}

/** Most streams have the same, and keep it. */
let lastScope = NO_SCOPE

function scopeOf(defaultNs: string, bindings: Binding | undefined): Scope {
  if (lastScope.defaultNs !== defaultNs || !isSameBinding(lastScope.bindings, bindings)) {
    lastScope = { defaultNs, bindings }
  }
  return lastScope
}

function isSameBinding(one: Binding | undefined, other: Binding | undefined): boolean {
  if (one === undefined || other === undefined) return one === other
  const { prefix, uri, depth, outer } = one
  return (
    prefix === other.prefix && uri === other.uri && depth === other.depth && outer === other.outer
  )
}

/** By the prefix at `at`, or by the whole name where there is no colon. */
function kindOf(data: Buffer, at: number, length: number, colon: number): number {
  const isXml = data[at] === X && data[at + 1] === M && data[at + 2] === L
  if (isXml && length === 5 && data[at + 3] === N && data[at + 4] === S) {
    return colon === -1 ? DEFAULT_NAMESPACE : PREFIX_DECLARATION
  }
  if (colon === -1) return UNPREFIXED
  return isXml && length === 3 ? XML : PREFIXED
}

function isSame(data: Buffer, one: number, other: number, length: number): boolean {
  for (let k = 0; k < length; k++) if (data[one + k] !== data[other + k]) return false
  return true
}

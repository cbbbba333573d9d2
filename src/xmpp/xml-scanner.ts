import { NO_OCTETS, type Octets, octetsOf } from './octets.ts'
import { StreamError } from './stream-error.ts'
import { escapeAttribute } from './xml.ts'
import { type ChildRef, Frame } from './xml-frame.ts'
import { intern, internOctets } from './xml-intern.ts'
import {
  CDATA,
  CLASS,
  characterAt,
  continuesName,
  INCOMPLETE,
  INVALID,
  isChar,
  NAME,
  NAME_START,
  SPACE,
  sequenceLength,
  startsName,
  TEXT,
  VALUE,
} from './xml-names.ts'
import {
  type Binding,
  bind,
  checkDefault,
  lookup,
  notWellFormed,
  XML_NS,
} from './xml-namespaces.ts'
import { readValue, type Scope } from './xml-reader.ts'

/** Bounds on what one element may be made of. */
export interface ElementLimits {
  /** Levels of elements: the stream's is 0, a stanza is 1, its children are 2. */
  maxDepth: number
  /** Attributes of one element, declarations included; also prefix declarations in scope. */
  maxAttributes: number
}

// Where the scanner is. A state that waits for a run of characters goes on at any of them.
const CONTENT = 0
const MARKUP = 1
const ELEMENT_NAME = 2
const AFTER_NAME = 3
const IN_TAG = 4
const ATTRIBUTE_NAME = 5
const EQUALS = 6
const QUOTE = 7
const IN_VALUE = 8
const EMPTY_TAG = 9
const END_NAME = 10
const END_TAG = 11
const IN_CDATA = 12

const LT = 0x3c
const GT = 0x3e
const SLASH = 0x2f
const BANG = 0x21
const QUESTION = 0x3f
const AMP = 0x26
const EQUAL = 0x3d
const APOSTROPHE = 0x27
const QUOTATION = 0x22
const COLON = 0x3a
const BRACKET = 0x5d
const HASH = 0x23
const SEMICOLON = 0x3b
const LOWER_X = 0x78

const CDATA_OPEN = Buffer.from('<![CDATA[')
const XMLNS = Buffer.from('xmlns')
const XML = Buffer.from('xml')

/** More is only ever leading zeros, or the name of an entity that nobody declared. */
const LONGEST_REFERENCE = 32

// Ints per open element: start and end of its qualified name, its colon (-1: none).
const OPEN = 3
// Ints per attribute: start, end and colon of its name, start and end of its value, and whether
// the value reads as it stands.
const ATTRIBUTE = 6

const NO_CHILDREN: readonly ChildRef[] = []

class Child implements ChildRef {
  readonly name: string
  readonly ns: string
  readonly start: number
  end = 0

  constructor(name: string, ns: string, start: number) {
    this.name = name
    this.ns = ns
    this.start = start
  }
}

/**
 * Scans one element, or a stream's start tag, in one pass over its bytes, which may come in any
 * number of pieces: what was scanned is not looked at again, however small the pieces are.
 * All offsets that it keeps are relative to the element's first byte, so the bytes may move between
 * two calls.
 */
export class ElementScanner {
  #limits: ElementLimits = { maxDepth: 0, maxAttributes: 0 }
  #outside: Scope = { defaultNs: '', bindings: undefined }
  #isHeader = false

  #state = MARKUP
  /** Bytes scanned. */
  #at = 0
  /** Start of the name, value or section that is being scanned. */
  #mark = 0
  #colon = -1
  #quote = 0
  /** Whether the value scanned reads as it stands. */
  #plain = true
  #depth = 0
  #open = new Int32Array(0)
  #attributes = new Int32Array(0)
  /** Attributes of the root, kept until its end. */
  #rootAttributes = 0
  /** Those and the attributes of the start tag being scanned. */
  #attributeCount = 0

  #bindings: Binding | undefined
  /** Declarations outside of the payload that something inside uses. */
  #needed: Binding[] = []
  #name = ''
  #prefix = ''
  #ns = ''
  #scope: Scope = this.#outside
  #hasText = false
  #isEmpty = false
  #children: Child[] | undefined
  #child: Child | undefined
  #payloadStart = 0
  #payloadEnd = 0

  /** Prepares for an element whose '<' is next, in the scope of `outside`. */
  begin(limits: ElementLimits, outside: Scope, isHeader = false): void {
    this.#limits = limits
    this.#outside = outside
    this.#isHeader = isHeader
    if (this.#open.length < (limits.maxDepth + 2) * OPEN) {
      this.#open = new Int32Array((limits.maxDepth + 2) * OPEN)
    }
    if (this.#attributes.length < limits.maxAttributes * 2 * ATTRIBUTE) {
      this.#attributes = new Int32Array(limits.maxAttributes * 2 * ATTRIBUTE)
    }
    this.#state = MARKUP
    this.#at = 0
    this.#depth = isHeader ? -1 : 0
    this.#rootAttributes = 0
    this.#attributeCount = 0
    this.#bindings = outside.bindings
    if (this.#needed.length > 0) this.#needed = []
    this.#hasText = false
    this.#isEmpty = false
    this.#children = undefined
  }

  /** Size of the element, once it is complete. */
  get size(): number {
    return this.#at
  }

  /** Whether a start tag is all there is of the element: `<a/>`. */
  get isEmpty(): boolean {
    return this.#isEmpty
  }

  /**
   * Goes on scanning the element that starts at `base`; the bytes before `limit` are there.
   * True when the element is complete; false when there must be more of it.
   */
  scan(data: Buffer, base: number, limit: number): boolean {
    let at = base + this.#at
    let mark = base + this.#mark
    let state = this.#state

    scanning: for (;;) {
      switch (state) {
        case CONTENT: {
          if (this.#depth === 1 && !this.#hasText) {
            while (at < limit && is(data, at, SPACE)) at++
            if (at < limit && data[at] !== LT && data[at] !== AMP) this.#hasText = true
          }
          while (at < limit && is(data, at, TEXT)) at++
          if (at === limit) break scanning
          const byte = data[at] as number
          if (byte === LT) {
            state = MARKUP
          } else if (byte === AMP) {
            const end = referenceEnd(data, at, limit)
            if (end === INCOMPLETE) break scanning
            const code = referredCharacter(data, at, end)
            if (this.#depth === 1 && !isSpace(code)) this.#hasText = true
            at = end
          } else if (byte === GT) {
            if (data[at - 1] === BRACKET && data[at - 2] === BRACKET) {
              throw notWellFormed(']]> in character data')
            }
            at++
          } else {
            const end = character(data, at, limit)
            if (end === INCOMPLETE) break scanning
            at = end
          }
          break
        }

        case MARKUP: {
          if (at + 1 >= limit) break scanning
          const byte = data[at + 1] as number
          if (byte === SLASH) {
            if (this.#isOutside()) throw notWellFormed('an end tag without a start tag')
            this.#payloadEnd = at - base
            at += 2
            mark = at
            state = END_NAME
          } else if (byte === BANG) {
            const end = this.#cdataOpen(data, at, limit)
            if (end === INCOMPLETE) break scanning
            at = end
            mark = at
            state = IN_CDATA
          } else if (byte === QUESTION) {
            throw new StreamError('restricted-xml', 'processing instruction')
          } else {
            at++
            mark = at
            this.#colon = -1
            state = ELEMENT_NAME
          }
          break
        }

        case ELEMENT_NAME:
        case ATTRIBUTE_NAME: {
          while (at < limit && is(data, at, NAME)) at++
          if (at === limit) break scanning
          const byte = data[at] as number
          if (byte === COLON || byte >= 0x80) {
            const end = this.#oddName(data, base, mark, at, limit)
            if (end === INCOMPLETE) break scanning
            at = end
            break
          }
          this.#checkName(data, base, mark)
          if (state === ELEMENT_NAME) {
            this.#startElement(mark - base, at - base)
            state = AFTER_NAME
          } else {
            this.#startAttribute(mark - base, at - base)
            state = EQUALS
          }
          break
        }

        case AFTER_NAME: {
          if (at === limit) break scanning
          if (is(data, at, SPACE)) at++
          else if (data[at] !== GT && data[at] !== SLASH) {
            throw notWellFormed('no white space before an attribute')
          }
          state = IN_TAG
          break
        }

        case IN_TAG: {
          while (at < limit && is(data, at, SPACE)) at++
          if (at === limit) break scanning
          const byte = data[at] as number
          if (byte === GT) {
            at++
            this.#startTag(data, base, at)
            if (this.#isHeader) return this.#finish(at - base)
            state = CONTENT
          } else if (byte === SLASH) {
            at++
            state = EMPTY_TAG
          } else {
            mark = at
            this.#colon = -1
            state = ATTRIBUTE_NAME
          }
          break
        }

        case EQUALS: {
          while (at < limit && is(data, at, SPACE)) at++
          if (at === limit) break scanning
          if (data[at] !== EQUAL) throw notWellFormed('an attribute without a value')
          at++
          state = QUOTE
          break
        }

        case QUOTE: {
          while (at < limit && is(data, at, SPACE)) at++
          if (at === limit) break scanning
          const byte = data[at] as number
          if (byte !== APOSTROPHE && byte !== QUOTATION) {
            throw notWellFormed('an attribute value without quotes')
          }
          at++
          mark = at
          this.#quote = byte
          this.#plain = true
          state = IN_VALUE
          break
        }

        case IN_VALUE: {
          while (at < limit && is(data, at, VALUE)) at++
          if (at === limit) break scanning
          const byte = data[at] as number
          if (byte === this.#quote) {
            this.#endAttribute(mark - base, at - base)
            at++
            state = AFTER_NAME
          } else if (byte === APOSTROPHE || byte === QUOTATION) {
            at++
          } else {
            this.#plain = false
            let end = at + 1
            if (byte === AMP) end = referenceEnd(data, at, limit)
            else if (byte === LT) throw notWellFormed('< in an attribute value')
            else if (!is(data, at, SPACE)) end = character(data, at, limit)
            if (end === INCOMPLETE) break scanning
            if (byte === AMP) referredCharacter(data, at, end)
            at = end
          }
          break
        }

        case EMPTY_TAG: {
          if (at === limit) break scanning
          if (data[at] !== GT) throw notWellFormed('/ without > in a tag')
          at++
          this.#startTag(data, base, at)
          this.#payloadEnd = at - base
          if (this.#endElement(at - base)) {
            this.#isEmpty = true
            return this.#finish(at - base)
          }
          state = CONTENT
          break
        }

        case END_NAME: {
          const row = this.#depth * OPEN
          const length = this.#int(row + 1) - this.#int(row)
          let original = base + this.#int(row) + (at - mark)
          const end = mark + length
          while (at < limit && at < end && data[at] === data[original]) {
            at++
            original++
          }
          if (at === end) state = END_TAG
          else if (at === limit) break scanning
          else throw notWellFormed('an end tag that does not match')
          break
        }

        case END_TAG: {
          while (at < limit && is(data, at, SPACE)) at++
          if (at === limit) break scanning
          if (data[at] !== GT) throw notWellFormed('an end tag that does not match')
          at++
          if (this.#endElement(at - base)) return this.#finish(at - base)
          state = CONTENT
          break
        }

        default: {
          while (at < limit && is(data, at, CDATA)) at++
          if (at === limit) break scanning
          if (data[at] !== BRACKET) {
            const end = character(data, at, limit)
            if (end === INCOMPLETE) break scanning
            at = end
          } else if (at + 2 >= limit) {
            if (at + 1 === limit || data[at + 1] === BRACKET) break scanning
            at++
          } else if (data[at + 1] === BRACKET && data[at + 2] === GT) {
            if (this.#depth === 1) this.#noteText(data, mark, at)
            at += 3
            state = CONTENT
          } else {
            at++
          }
        }
      }
    }
    this.#at = at - base
    this.#mark = mark - base
    this.#state = state
    return false
  }

  /** What was scanned. The bytes are copied; the scanner may begin anew. */
  frame(data: Buffer, base: number): Frame {
    const octets = octetsOf(data, base, base + this.#at)
    const attributes: string[] = []
    for (let k = 0; k < this.#rootAttributes; k++) {
      const row = k * ATTRIBUTE
      if (this.#isDeclaration(data, base, row)) continue
      attributes.push(
        internOctets(data, base + this.#number(row), base + this.#number(row + 1)),
        octets.slice(this.#number(row + 3), this.#number(row + 4)),
      )
    }
    const isLeaf = this.#isHeader || this.#payloadEnd <= this.#payloadStart
    return new Frame({
      name: this.#name,
      prefix: this.#prefix,
      ns: this.#ns,
      attributes,
      payload: isLeaf ? NO_OCTETS : (octets.slice(this.#payloadStart, this.#payloadEnd) as Octets),
      children: this.#children ?? NO_CHILDREN,
      size: this.#at,
      hasText: this.#hasText,
      declarations: this.#declarations(),
      scope: this.#scope,
    })
  }

  #finish(size: number): true {
    this.#at = size
    return true
  }

  /** Whether no element is open: at the root's own '<'. */
  #isOutside(): boolean {
    return this.#depth === (this.#isHeader ? -1 : 0)
  }

  #int(index: number): number {
    return this.#open[index] as number
  }

  #number(index: number): number {
    return this.#attributes[index] as number
  }

  #startElement(start: number, end: number): void {
    const depth = ++this.#depth
    if (depth > this.#limits.maxDepth) {
      throw new StreamError('policy-violation', 'elements nested too deeply')
    }
    const row = depth * OPEN
    this.#open[row] = start
    this.#open[row + 1] = end
    this.#open[row + 2] = this.#colon
    this.#attributeCount = this.#rootAttributes
  }

  #startAttribute(start: number, end: number): void {
    if (this.#attributeCount - this.#rootAttributes >= this.#limits.maxAttributes) {
      throw new StreamError('policy-violation', 'too many attributes')
    }
    const row = this.#attributeCount * ATTRIBUTE
    this.#attributes[row] = start
    this.#attributes[row + 1] = end
    this.#attributes[row + 2] = this.#colon
  }

  #endAttribute(start: number, end: number): void {
    const row = this.#attributeCount++ * ATTRIBUTE
    this.#attributes[row + 3] = start
    this.#attributes[row + 4] = end
    this.#attributes[row + 5] = this.#plain ? 1 : 0
  }

  /** All of a start tag is there: resolves its namespaces. */
  #startTag(data: Buffer, base: number, at: number): void {
    const depth = this.#depth
    const row = depth * OPEN
    const colon = this.#int(row + 2)
    const first = this.#rootAttributes
    const last = this.#attributeCount
    let defaultNs = depth <= 1 ? this.#outside.defaultNs : this.#scope.defaultNs
    if (last > first) {
      this.#checkDuplicates(data, base, first, last)
      let prefixed = 0
      for (let k = first; k < last; k++) {
        const attribute = k * ATTRIBUTE
        if (!this.#isDeclaration(data, base, attribute)) {
          if (this.#number(attribute + 2) !== -1) prefixed++
        } else if (this.#number(attribute + 2) === -1) {
          defaultNs = this.#value(data, base, attribute)
          checkDefault(defaultNs)
        } else {
          this.#declare(data, base, attribute)
        }
      }
      if (prefixed > 0) this.#checkPrefixed(data, base, first, last)
    }
    if (depth > 2 && colon === -1) return

    const start = base + this.#int(row)
    const end = base + this.#int(row + 1)
    let prefix = ''
    let ns = defaultNs
    if (colon !== -1) {
      prefix = intern(data, start, base + colon)
      ns = this.#resolve(prefix, depth >= 2)
    }
    if (depth > 2) return
    const name = intern(data, colon === -1 ? start : base + colon + 1, end)
    if (depth === 2) {
      this.#child = new Child(name, ns, start - 1 - base - this.#payloadStart)
      if (this.#children === undefined) this.#children = [this.#child]
      else this.#children.push(this.#child)
      return
    }
    this.#name = name
    this.#prefix = prefix
    this.#ns = ns
    this.#scope = { defaultNs, bindings: this.#bindings }
    this.#rootAttributes = last
    this.#payloadStart = at - base
  }

  /** True when it was the root. */
  #endElement(at: number): boolean {
    const depth = this.#depth
    while (this.#bindings !== undefined && this.#bindings.depth === depth && depth > 0) {
      this.#bindings = this.#bindings.outer
    }
    if (depth === 2) (this.#child as Child).end = at - this.#payloadStart
    this.#depth = depth - 1
    return depth <= 1
  }

  #declare(data: Buffer, base: number, row: number): void {
    const prefix = intern(data, base + this.#number(row + 2) + 1, base + this.#number(row + 1))
    const uri = this.#value(data, base, row)
    this.#bindings = bind(this.#bindings, prefix, uri, this.#depth)
    if ((this.#bindings?.count ?? 0) > this.#limits.maxAttributes) {
      throw new StreamError('policy-violation', 'too many namespace prefixes')
    }
  }

  /** The namespace of a prefix in use. `isInside`: what uses it is written when forwarding. */
  #resolve(prefix: string, isInside: boolean): string {
    if (prefix === 'xml') return XML_NS
    const binding = lookup(this.#bindings, prefix)
    // RFC 6120 §4.9.3.13: violations of Namespaces in XML are this condition, too;
    // `bad-namespace-prefix` (§4.9.3.2) is for prefixes that are declared and still wrong.
    if (binding === undefined) throw notWellFormed('an undeclared namespace prefix')
    if (isInside && binding.depth <= 1 && !this.#needed.includes(binding)) {
      this.#needed.push(binding)
    }
    return binding.uri
  }

  #declarations(): Octets {
    if (this.#needed.length === 0) return NO_OCTETS
    let out = ''
    for (const { prefix, uri } of this.#needed) {
      out += ` xmlns:${escapeAttribute(prefix)}='${escapeAttribute(uri)}'`
    }
    return out as Octets
  }

  #checkDuplicates(data: Buffer, base: number, first: number, last: number): void {
    for (let k = first + 1; k < last; k++) {
      const start = this.#number(k * ATTRIBUTE)
      const length = this.#number(k * ATTRIBUTE + 1) - start
      for (let j = first; j < k; j++) {
        const other = this.#number(j * ATTRIBUTE)
        if (this.#number(j * ATTRIBUTE + 1) - other !== length) continue
        if (isSame(data, base + start, base + other, length)) {
          throw notWellFormed('an attribute given twice')
        }
      }
    }
  }

  /** That prefixes are declared, and that no two attributes have the same expanded name. */
  #checkPrefixed(data: Buffer, base: number, first: number, last: number): void {
    const seen = new Set<string>()
    for (let k = first; k < last; k++) {
      const row = k * ATTRIBUTE
      const colon = this.#number(row + 2)
      if (colon === -1 || this.#isDeclaration(data, base, row)) continue
      const start = base + this.#number(row)
      if (colon - this.#number(row) === XML.length && isSame3(data, start)) continue
      const ns = this.#resolve(intern(data, start, base + colon), this.#depth >= 1)
      const local = intern(data, base + colon + 1, base + this.#number(row + 1))
      const expanded = `${local} ${ns}`
      if (seen.has(expanded)) throw notWellFormed('an attribute given twice')
      seen.add(expanded)
    }
  }

  /** Whether the attribute is `xmlns` or `xmlns:…`. */
  #isDeclaration(data: Buffer, base: number, row: number): boolean {
    const start = this.#number(row)
    const colon = this.#number(row + 2)
    const length = (colon === -1 ? this.#number(row + 1) : colon) - start
    if (length !== XMLNS.length) return false
    for (let k = 0; k < XMLNS.length; k++) if (data[base + start + k] !== XMLNS[k]) return false
    return true
  }

  #value(data: Buffer, base: number, row: number): string {
    const start = base + this.#number(row + 3)
    const end = base + this.#number(row + 4)
    if (this.#number(row + 5) === 1) return intern(data, start, end)
    return readValue(octetsOf(data, start, end))
  }

  /** A colon, or a character beyond ASCII, in the name that starts at `mark`. Returns its end. */
  #oddName(data: Buffer, base: number, mark: number, at: number, limit: number): number {
    if (data[at] === COLON) {
      if (this.#colon !== -1) throw notWellFormed('a name with two colons')
      this.#colon = at - base
      return at + 1
    }
    const code = characterAt(data, at, limit)
    if (code === INCOMPLETE) return INCOMPLETE
    const isStart = at === mark || at - base === this.#colon + 1
    if (code === INVALID || !(isStart ? startsName(code) : continuesName(code))) {
      throw notWellFormed('a character that names must not have')
    }
    return at + sequenceLength(code)
  }

  /** That name and local name are not empty and start as they must. */
  #checkName(data: Buffer, base: number, mark: number): void {
    const first = data[mark] as number
    if (!is(data, mark, NAME_START) && first < 0x80) throw notWellFormed('not a name')
    if (this.#colon === -1) return
    const local = base + this.#colon + 1
    if (!is(data, local, NAME_START) && (data[local] as number) < 0x80) {
      throw notWellFormed('not a name behind a colon')
    }
  }

  /** Offset behind `<![CDATA[`. Everything else that starts with `<!` is refused. */
  #cdataOpen(data: Buffer, at: number, limit: number): number {
    for (let k = 2; k < CDATA_OPEN.length; k++) {
      if (at + k === limit) return INCOMPLETE
      if (data[at + k] === CDATA_OPEN[k]) continue
      throw new StreamError('restricted-xml', 'comment or markup declaration')
    }
    if (this.#isOutside()) throw new StreamError('bad-format', 'character data between stanzas')
    return at + CDATA_OPEN.length
  }

  #noteText(data: Buffer, start: number, end: number): void {
    for (let k = start; k < end && !this.#hasText; k++) this.#hasText = !is(data, k, SPACE)
  }
}

function is(data: Buffer, at: number, bits: number): boolean {
  return ((CLASS[data[at] as number] as number) & bits) !== 0
}

function isSame(data: Buffer, one: number, other: number, length: number): boolean {
  for (let k = 0; k < length; k++) if (data[one + k] !== data[other + k]) return false
  return true
}

function isSame3(data: Buffer, at: number): boolean {
  return data[at] === XML[0] && data[at + 1] === XML[1] && data[at + 2] === XML[2]
}

/** Offset behind the character at `at`, one that is in no class. */
function character(data: Buffer, at: number, limit: number): number {
  if ((data[at] as number) < 0x80) throw notWellFormed('a control character')
  const code = characterAt(data, at, limit)
  if (code === INCOMPLETE) return INCOMPLETE
  if (code === INVALID) throw notWellFormed('not UTF-8, or no character of XML')
  return at + sequenceLength(code)
}

/** Offset behind the reference at `at` (XML 1.0 §4.1). */
function referenceEnd(data: Buffer, at: number, limit: number): number {
  let end = at + 1
  if (end < limit && data[end] === HASH) end++
  while (end < limit && is(data, end, NAME)) {
    end++
    if (end - at > LONGEST_REFERENCE) throw new StreamError('restricted-xml', 'entity reference')
  }
  if (end === limit) return INCOMPLETE
  if (data[end] !== SEMICOLON) throw notWellFormed('& that starts no reference')
  return end + 1
}

/** The character that the reference from `at` to `end` stands for. */
function referredCharacter(data: Buffer, at: number, end: number): number {
  const isNumeric = data[at + 1] === HASH
  const code = isNumeric ? numeric(data, at + 2, end - 1) : predefined(data, at + 1, end - 1)
  if (!isChar(code)) throw notWellFormed('a reference to no character')
  return code
}

function isSpace(code: number): boolean {
  return code <= 0x20
}

function numeric(data: Buffer, start: number, end: number): number {
  const isHex = data[start] === LOWER_X
  const from = isHex ? start + 1 : start
  if (from === end) return INVALID
  let code = 0
  for (let k = from; k < end; k++) {
    const digit = digitOf(data[k] as number)
    if (digit === INVALID || (!isHex && digit > 9)) return INVALID
    code = Math.min(code * (isHex ? 16 : 10) + digit, 0x110000)
  }
  return code
}

function digitOf(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30
  const lower = byte | 0x20
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : INVALID
}

function predefined(data: Buffer, start: number, end: number): number {
  switch (data.latin1Slice(start, end)) {
    case 'lt':
      return LT
    case 'gt':
      return GT
    case 'amp':
      return AMP
    case 'apos':
      return APOSTROPHE
    case 'quot':
      return QUOTATION
    case '':
      return INVALID
    default:
      throw new StreamError('restricted-xml', 'entity reference')
  }
}

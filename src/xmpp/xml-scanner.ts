import { NO_OCTETS, type Octets, octetsOf } from './octets.ts'
import { StreamError } from './stream-error.ts'
import { type ChildRef, Frame } from './xml-frame.ts'
import * as names from './xml-names.ts'
import { characterAt, INCOMPLETE, INVALID, sequenceLength } from './xml-names.ts'
import { notWellFormed } from './xml-namespaces.ts'
import type { Scope } from './xml-reader.ts'
import { referenceEnd, referredCharacter } from './xml-references.ts'
import { StartTags } from './xml-start-tags.ts'

/** Bounds on what one element may be made of. */
export interface ElementLimits {
  /** Levels of elements: the stream's is 0, a stanza is 1, its children are 2. */
  maxDepth: number
  /** Attributes of one element, declarations included; also prefix declarations in scope. */
  maxAttributes: number
}

// Constants of this module are constants to the compiler; those of another module are looked up
// each time, which halves the speed.
const { CDATA, CLASS, NAME, NAME_START, SPACE, TEXT, VALUE } = names

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
const BLANK = 0x20

const CDATA_OPEN = Buffer.from('<![CDATA[')

// Ints for each open element: start, end and colon (-1: none) of its qualified name.
const OPEN = 3

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
  #maxDepth = 0
  #isHeader = false
  readonly #tags = new StartTags()
  #open = new Int32Array(0)

  #state = MARKUP
  /** Bytes scanned. */
  #at = 0
  /** Start of the name, value or section that is being scanned. */
  #mark = 0
  #colon = -1
  #nameStart = 0
  #nameEnd = 0
  #quote = 0
  /** Whether the value scanned reads as it stands. */
  #isPlain = true
  #depth = 0

  #name = ''
  #prefix = ''
  #ns = ''
  #hasText = false
  #isEmpty = false
  #children: Child[] | undefined
  #child: Child | undefined
  #payloadStart = 0
  #payloadEnd = 0

  /** Prepares for an element whose '<' is next, in the scope of `outside`. */
  begin(limits: ElementLimits, outside: Scope, isHeader = false): void {
    this.#maxDepth = limits.maxDepth
    this.#isHeader = isHeader
    const capacity = (limits.maxDepth + 2) * OPEN
    if (this.#open.length < capacity) this.#open = new Int32Array(capacity)
    this.#tags.begin(outside, limits.maxAttributes)
    this.#state = MARKUP
    this.#at = 0
    this.#depth = isHeader ? -1 : 0
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
    const open = this.#open
    let state = this.#state
    let at = base + this.#at
    let mark = base + this.#mark
    let depth = this.#depth
    let quote = this.#quote

    scanning: for (;;) {
      switch (state) {
        case CONTENT: {
          if (depth === 1 && !this.#hasText) {
            while (at < limit && is(data, at, SPACE)) at++
            if (at < limit && data[at] !== LT && data[at] !== AMP) this.#hasText = true
          }
          while (at < limit && is(data, at, TEXT)) at++
          if (at === limit) break scanning
          const byte = data[at] as number
          if (byte === LT) {
            state = MARKUP
          } else if (byte === GT) {
            if (data[at - 1] === BRACKET && data[at - 2] === BRACKET) {
              throw notWellFormed(']]> in character data')
            }
            at++
          } else if (byte === AMP) {
            const end = referenceEnd(data, at, limit)
            if (end === INCOMPLETE) break scanning
            const code = referredCharacter(data, at, end)
            if (depth === 1 && code > BLANK) this.#hasText = true
            at = end
          } else {
            const end = characterEnd(data, at, limit)
            if (end === INCOMPLETE) break scanning
            at = end
          }
          break
        }

        case MARKUP: {
          if (at + 1 >= limit) break scanning
          const byte = data[at + 1] as number
          if (byte === SLASH) {
            if (this.#isOutside(depth)) throw notWellFormed('an end tag without a start tag')
            this.#payloadEnd = at - base
            at += 2
            mark = at
            state = END_NAME
          } else if (byte === BANG) {
            const end = cdataStart(data, at, limit)
            if (end === INCOMPLETE) break scanning
            if (this.#isOutside(depth)) {
              throw new StreamError('bad-format', 'character data between stanzas')
            }
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
          } else {
            this.#checkName(data, base, mark)
            if (state === ELEMENT_NAME) {
              depth++
              if (depth > this.#maxDepth) {
                throw new StreamError('policy-violation', 'elements nested too deeply')
              }
              const row = depth * OPEN
              open[row] = mark - base
              open[row + 1] = at - base
              open[row + 2] = this.#colon
              state = AFTER_NAME
            } else {
              this.#nameStart = mark - base
              this.#nameEnd = at - base
              state = EQUALS
            }
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
            this.#startTag(data, base, at, depth)
            if (this.#isHeader) return this.#complete(at - base)
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
          quote = data[at] as number
          if (quote !== APOSTROPHE && quote !== QUOTATION) {
            throw notWellFormed('an attribute value without quotes')
          }
          at++
          mark = at
          this.#isPlain = true
          state = IN_VALUE
          break
        }

        case IN_VALUE: {
          while (at < limit && is(data, at, VALUE)) at++
          if (at === limit) break scanning
          const byte = data[at] as number
          if (byte === quote) {
            this.#endAttribute(data, base, mark - base, at - base)
            at++
            state = AFTER_NAME
          } else if (byte === APOSTROPHE || byte === QUOTATION) {
            at++
          } else {
            const end = oddValueEnd(data, at, limit)
            if (end === INCOMPLETE) break scanning
            at = end
            this.#isPlain = false
          }
          break
        }

        case EMPTY_TAG: {
          if (at === limit) break scanning
          if (data[at] !== GT) throw notWellFormed('/ without > in a tag')
          at++
          this.#startTag(data, base, at, depth)
          if (depth <= 1) {
            this.#isEmpty = true
            this.#payloadEnd = this.#payloadStart
            return this.#complete(at - base)
          }
          this.#endElement(at - base, depth--)
          state = CONTENT
          break
        }

        case END_NAME: {
          const row = depth * OPEN
          const start = base + (open[row] as number)
          const end = mark + (open[row + 1] as number) - (open[row] as number)
          const offset = start - mark
          while (at < limit && at < end && data[at] === data[at + offset]) at++
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
          if (depth === 1) return this.#complete(at - base)
          this.#endElement(at - base, depth--)
          state = CONTENT
          break
        }

        default: {
          while (at < limit && is(data, at, CDATA)) at++
          if (at === limit) break scanning
          if (data[at] !== BRACKET) {
            const end = characterEnd(data, at, limit)
            if (end === INCOMPLETE) break scanning
            at = end
          } else if (at + 2 >= limit) {
            if (at + 1 === limit || data[at + 1] === BRACKET) break scanning
            at++
          } else if (data[at + 1] === BRACKET && data[at + 2] === GT) {
            if (depth === 1 && hasText(data, mark, at)) this.#hasText = true
            at += 3
            state = CONTENT
          } else {
            at++
          }
        }
      }
    }
    this.#state = state
    this.#at = at - base
    this.#mark = mark - base
    this.#depth = depth
    this.#quote = quote
    return false
  }

  /** What was scanned. The bytes are copied; the scanner may begin anew. */
  frame(data: Buffer, base: number): Frame {
    const octets = octetsOf(data, base, base + this.#at)
    const { scope } = this.#tags
    const start = this.#payloadStart
    const end = this.#payloadEnd
    return new Frame(
      this.#name,
      this.#prefix,
      this.#ns,
      this.#tags.rootAttributes(data, base, octets),
      this.#isHeader || start === end ? NO_OCTETS : (octets.slice(start, end) as Octets),
      this.#children ?? NO_CHILDREN,
      this.#at,
      this.#hasText,
      this.#tags.declarations(),
      scope,
    )
  }

  #complete(size: number): true {
    this.#at = size
    return true
  }

  /** Whether no element is open: at the root's own '<'. */
  #isOutside(depth: number): boolean {
    return depth === (this.#isHeader ? -1 : 0)
  }

  #endAttribute(data: Buffer, base: number, start: number, end: number): void {
    const plain = this.#isPlain
    this.#tags.add(data, base, this.#nameStart, this.#nameEnd, this.#colon, start, end, plain)
  }

  /** All of a start tag is there. */
  #startTag(data: Buffer, base: number, at: number, depth: number): void {
    const open = this.#open
    const row = depth * OPEN
    const start = open[row] as number
    const tags = this.#tags
    tags.resolve(data, base, depth, start, open[row + 1] as number, open[row + 2] as number)
    if (depth <= 1) {
      this.#name = tags.name
      this.#prefix = tags.prefix
      this.#ns = tags.ns
      this.#payloadStart = at - base
    } else if (depth === 2) {
      const child = new Child(tags.name, tags.ns, start - 1 - this.#payloadStart)
      if (this.#children === undefined) this.#children = [child]
      else this.#children.push(child)
      this.#child = child
    }
  }

  #endElement(at: number, depth: number): void {
    this.#tags.end(depth)
    if (depth === 2) (this.#child as Child).end = at - this.#payloadStart
  }

  /** Behind a colon, or a character beyond ASCII, in the name that starts at `mark`. */
  #oddName(data: Buffer, base: number, mark: number, at: number, limit: number): number {
    if (data[at] === COLON) {
      if (this.#colon !== -1) throw notWellFormed('a name with two colons')
      this.#colon = at - base
      return at + 1
    }
    const code = characterAt(data, at, limit)
    if (code === INCOMPLETE) return INCOMPLETE
    const isStart = at === mark || at - base === this.#colon + 1
    if (code === INVALID || !(isStart ? names.startsName(code) : names.continuesName(code))) {
      throw notWellFormed('a character that names must not have')
    }
    return at + sequenceLength(code)
  }

  /** That name and local name are not empty and start as they must; beyond ASCII they do. */
  #checkName(data: Buffer, base: number, mark: number): void {
    if (!is(data, mark, NAME_START) && (data[mark] as number) < 0x80) {
      throw notWellFormed('not a name')
    }
    if (this.#colon === -1) return
    const local = base + this.#colon + 1
    if (!is(data, local, NAME_START) && (data[local] as number) < 0x80) {
      throw notWellFormed('not a name behind a colon')
    }
  }
}

function is(data: Buffer, at: number, bits: number): boolean {
  return ((CLASS[data[at] as number] as number) & bits) !== 0
}

/** Behind the character at `at`, which is in no class. */
function characterEnd(data: Buffer, at: number, limit: number): number {
  if ((data[at] as number) < 0x80) throw notWellFormed('a control character')
  const code = characterAt(data, at, limit)
  if (code === INCOMPLETE) return INCOMPLETE
  if (code === INVALID) throw notWellFormed('not UTF-8, or no character of XML')
  return at + sequenceLength(code)
}

/** Behind what stands at `at` in a value and makes that read otherwise than it stands. */
function oddValueEnd(data: Buffer, at: number, limit: number): number {
  const byte = data[at] as number
  if (byte === LT) throw notWellFormed('< in an attribute value')
  if (is(data, at, SPACE)) return at + 1
  if (byte !== AMP) return characterEnd(data, at, limit)
  const end = referenceEnd(data, at, limit)
  if (end !== INCOMPLETE) referredCharacter(data, at, end)
  return end
}

/** Behind `<![CDATA[`. Everything else that starts with `<!` is refused. */
function cdataStart(data: Buffer, at: number, limit: number): number {
  for (let k = 2; k < CDATA_OPEN.length; k++) {
    if (at + k === limit) return INCOMPLETE
    if (data[at + k] === CDATA_OPEN[k]) continue
    throw new StreamError('restricted-xml', 'comment or markup declaration')
  }
  return at + CDATA_OPEN.length
}

function hasText(data: Buffer, start: number, end: number): boolean {
  let at = start
  while (at < end && is(data, at, SPACE)) at++
  return at < end
}

import { StreamError } from './stream-error.ts'
import type { Frame } from './xml-frame.ts'
import {
  cdataStart,
  characterEnd,
  hasText,
  nameCharacterEnd,
  oddValueEnd,
  referenceEnd,
  referredCharacter,
} from './xml-markup.ts'
import * as names from './xml-names.ts'
import { notWellFormed } from './xml-namespaces.ts'
import { type ElementLimits, OPEN, Outline } from './xml-outline.ts'
import { quickTag } from './xml-quick-tag.ts'
import type { Scope } from './xml-reader.ts'

// Constants of this module are constants to the compiler; those of another module are looked up
// each time, which halves the speed.
const { CDATA, CLASS, INCOMPLETE, NAME, NAME_START, SPACE, TEXT, VALUE } = names

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

/** Nobody needs a scanner between elements, so idle connections own none. */
const idle: ElementScanner[] = []
const MAX_IDLE = 16

export function takeScanner(): ElementScanner {
  return idle.pop() ?? new ElementScanner()
}

export function giveBack(scanner: ElementScanner): void {
  if (idle.length < MAX_IDLE) idle.push(scanner)
}

/**
 * Scans one element, or a stream's start tag, in one pass over its bytes, which may come in any
 * number of pieces: what was scanned is not looked at again, however small the pieces are.
 * All offsets that it keeps are relative to the element's first byte, so the bytes may move between
 * two calls.
 */
export class ElementScanner {
  readonly #outline = new Outline()
  #isHeader = false

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

  #isEmpty = false

  /** Prepares for an element whose '<' is next, in the scope of `outside`. */
  begin(limits: ElementLimits, outside: Scope, isHeader = false): void {
    this.#outline.begin(limits, outside)
    this.#isHeader = isHeader
    this.#state = MARKUP
    this.#at = 0
    this.#depth = isHeader ? -1 : 0
    this.#isEmpty = false
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
    const outline = this.#outline
    const { open } = outline
    let state = this.#state
    let at = base + this.#at
    let mark = base + this.#mark
    let depth = this.#depth
    let quote = this.#quote

    scanning: for (;;) {
      switch (state) {
        case CONTENT: {
          if (depth === 1 && !outline.hasText) {
            while (at < limit && is(data, at, SPACE)) at++
            if (at < limit && data[at] !== LT && data[at] !== AMP) outline.hasText = true
          }
          at = textEnd(data, at, limit)
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
            if (depth === 1 && code > BLANK) outline.hasText = true
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
            outline.payloadEnd = at - base
            at += 2
            const row = depth * OPEN
            const start = base + (open[row] as number)
            const length = (open[row + 1] as number) - (open[row] as number)
            if (
              at + length < limit &&
              data[at + length] === GT &&
              isSame(data, at, start, length)
            ) {
              at += length
              state = END_TAG
            } else {
              mark = at
              state = END_NAME
            }
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
            const end = quickTag(outline, data, base, at, limit, depth + 1)
            if (end !== INCOMPLETE) {
              at = end
              depth++
              if (data[at - 2] !== SLASH) {
                if (this.#isHeader) return this.#complete(at - base)
                state = CONTENT
              } else if (depth <= 1) {
                return this.#completeEmpty(at - base)
              } else {
                outline.endElement(at - base, depth--)
                state = CONTENT
              }
            } else {
              mark = at
              this.#colon = -1
              state = ELEMENT_NAME
            }
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
              outline.startElement(++depth, mark - base, at - base, this.#colon)
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
            outline.startTag(data, base, at, depth)
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
          at = valueEnd(data, at, limit)
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
          outline.startTag(data, base, at, depth)
          if (depth <= 1) return this.#completeEmpty(at - base)
          outline.endElement(at - base, depth--)
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
          outline.endElement(at - base, depth--)
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
            if (depth === 1 && hasText(data, mark, at)) outline.hasText = true
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
    return this.#outline.frame(data, base, this.#at)
  }

  #complete(size: number): true {
    this.#at = size
    return true
  }

  #completeEmpty(size: number): true {
    this.#isEmpty = true
    return this.#complete(size)
  }

  /** Whether no element is open: at the root's own '<'. */
  #isOutside(depth: number): boolean {
    return depth === (this.#isHeader ? -1 : 0)
  }

  #endAttribute(data: Buffer, base: number, start: number, end: number): void {
    const plain = this.#isPlain
    const { tags } = this.#outline
    tags.add(data, base, this.#nameStart, this.#nameEnd, this.#colon, start, end, plain)
  }

  /** Behind a colon, or a character beyond ASCII, in the name that starts at `mark`. */
  #oddName(data: Buffer, base: number, mark: number, at: number, limit: number): number {
    if (data[at] === COLON) {
      if (this.#colon !== -1) throw notWellFormed('a name with two colons')
      this.#colon = at - base
      return at + 1
    }
    const isStart = at === mark || at - base === this.#colon + 1
    return nameCharacterEnd(data, at, limit, isStart)
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

function isSame(data: Buffer, one: number, other: number, length: number): boolean {
  for (let k = 0; k < length; k++) if (data[one + k] !== data[other + k]) return false
  return true
}

// Functions of their own for the sake of their loops, which compile better by themselves.

function textEnd(data: Buffer, from: number, limit: number): number {
  let at = from
  while (at < limit && ((CLASS[data[at] as number] as number) & TEXT) !== 0) at++
  return at
}

function valueEnd(data: Buffer, from: number, limit: number): number {
  let at = from
  while (at < limit && ((CLASS[data[at] as number] as number) & VALUE) !== 0) at++
  return at
}

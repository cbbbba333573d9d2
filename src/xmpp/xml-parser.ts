import { bytesOf, encode, NO_OCTETS, type Octets } from './octets.ts'
import { StreamError } from './stream-error.ts'
import type { Element } from './xml.ts'
import type { Frame } from './xml-frame.ts'
import { CLASS, SPACE } from './xml-names.ts'
import { notWellFormed } from './xml-namespaces.ts'
import type { ElementLimits } from './xml-outline.ts'
import type { Scope } from './xml-reader.ts'
import { type ElementScanner, giveBack, takeScanner } from './xml-scanner.ts'

export { type ChildRef, Frame } from './xml-frame.ts'

export interface StreamHandler {
  /** The stream's start tag. */
  onStreamStart(header: Frame): void
  /** Each complete first-level element. */
  onElement(frame: Frame): void
  /** The stream's end tag. */
  onStreamEnd(): void
}

export interface ParserLimits extends ElementLimits {
  /** Bytes of one first-level element, or of the stream's start tag. */
  maxStanzaSize: number
}

/** What limits may be at most. */
export const MOST_DEPTH = 500
export const MOST_ATTRIBUTES = 500

// What comes next.
const DECLARATION = 0
const HEADER = 1
const ELEMENT = 2
/** The end of a stream whose start tag was an empty one. */
const END = 3
/** Nothing: the stream has ended, or failed. */
const NOTHING = 4

const LT = 0x3c
const SLASH = 0x2f
const BYTE_ORDER_MARK = Buffer.from([0xef, 0xbb, 0xbf])
const XML_DECLARATION = Buffer.from('<?xml')
const LONGEST_DECLARATION = 256
const DECLARATION_START = /^<\?xml[ \t\r\n]/
const DECLARATION_FORM =
  /^<\?xml[ \t\r\n]+version[ \t\r\n]*=[ \t\r\n]*(?:'([^']*)'|"([^"]*)")(?:[ \t\r\n]+encoding[ \t\r\n]*=[ \t\r\n]*(?:'([A-Za-z][\w.-]*)'|"([A-Za-z][\w.-]*)"))?(?:[ \t\r\n]+standalone[ \t\r\n]*=[ \t\r\n]*(?:'(?:yes|no)'|"(?:yes|no)"))?[ \t\r\n]*$/

const NO_BYTES = Buffer.alloc(0)
const SMALLEST_BUFFER = 1024
const LEAST_COPIED = 512
const NO_SCOPE: Scope = { defaultNs: '', bindings: undefined }

/**
 * Cuts a stream into its first-level elements (RFC 6120 §4.1) and checks everything in them, in one
 * pass over bytes that may come in pieces of any size. What makes the payload of such an element fit
 * to be sent on as it came is said at `Frame`.
 *
 * Refused with a StreamError: what is not well-formed or not namespace-well-formed
 * (`not-well-formed`, RFC 6120 §11.3), comments, processing instructions, document type
 * declarations and references to entities that are not predefined (`restricted-xml`, §11.1),
 * encodings other than UTF-8 (`unsupported-encoding`, §11.6), whatever is beyond the limits
 * (`policy-violation`), and character data between the elements, which is well-formed but which no
 * stream may have (`bad-format`, §4.9.3.1). White space there is skipped (§4.6.1).
 *
 * Nothing is parsed after the stream's end tag, an error, or an exception of the handler, which
 * leaves through `push`: what comes then is ignored until `reset`.
 */
export class XmlStreamParser {
  /** May be changed between elements. */
  limits: ParserLimits
  readonly #handler: StreamHandler
  #expected = DECLARATION
  #scope = NO_SCOPE
  /** The stream's qualified name, for its end tag. */
  #streamName: Octets = NO_OCTETS
  #scanner: ElementScanner | undefined
  #isPaused = false
  #isRunning = false
  /** Whether another stream came before on this connection. */
  #isRenewed = false

  // Bytes not parsed, or of an element not complete: those of `#data` from `#at` to `#end`.
  #data: Buffer = NO_BYTES
  #at = 0
  #end = 0
  /** Whether `#data` is a copy of ours, not the chunk. */
  #isOwn = false
  /** Bytes of the chunk that are not even in `#data` yet. */
  #beyond = 0

  constructor(handler: StreamHandler, limits: ParserLimits) {
    this.#handler = handler
    this.limits = limits
  }

  /** Bytes held: of an element that is not complete, or waiting because of a pause. */
  get held(): number {
    return this.#end - this.#at + this.#beyond
  }

  /**
   * Consumes a chunk and calls the handler for what is complete. The chunk's memory may be used
   * again afterwards. Not to be called by the handler.
   *
   * @throws StreamError and whatever the handler throws.
   */
  push(chunk: Buffer): void {
    if (this.#expected === NOTHING) return
    if (this.#isRunning) throw new Error('push by a handler of the same parser')
    this.#beyond = chunk.length
    // What is held is completed with a copy of as little as will do; the rest stays in the chunk.
    while (this.#at < this.#end) {
      if (this.#beyond === 0) return
      const most = this.#isPaused ? chunk.length : Math.max(this.#end - this.#at, LEAST_COPIED)
      const copied = Math.min(this.#beyond, most)
      const from = chunk.length - this.#beyond
      this.#beyond -= copied
      this.#append(chunk, from, from + copied)
      this.#run()
      if (this.#end - this.#at <= copied) break
    }
    this.#at = chunk.length - this.held
    this.#end = chunk.length
    this.#data = chunk
    this.#beyond = 0
    this.#isOwn = false
    this.#run()
  }

  /**
   * Stops after the current element. Bytes that are there or come later wait, without a bound of
   * the parser's: who pauses stops reading, or minds `held`.
   */
  pause(): void {
    this.#isPaused = true
  }

  /** Parses what has been waiting. */
  resume(): void {
    this.#isPaused = false
    this.#run()
  }

  /**
   * Begins a new stream on the same connection (after SASL or STARTTLS): forgets all about the one
   * before. A pause stays. Bytes behind the last complete element belong to the new stream, or are
   * discarded if so wanted, as after STARTTLS, lest somebody has put them there in the clear
   * (RFC 6120 §5.4.3.3).
   *
   * @returns how many bytes had been waiting.
   */
  reset(options: { discard?: boolean } = {}): number {
    const waiting = this.held
    this.#expected = DECLARATION
    this.#scope = NO_SCOPE
    this.#streamName = NO_OCTETS
    this.#scanner = undefined
    this.#isRenewed = true
    if (options.discard) this.#discard()
    if (!this.#isRunning) this.#keep()
    return waiting
  }

  #run(): void {
    if (this.#isRunning) return
    this.#isRunning = true
    try {
      while (!this.#isPaused && this.#step());
    } catch (error) {
      this.#stop()
      throw error
    } finally {
      this.#isRunning = false
      this.#keep()
    }
  }

  /** One thing of those expected. False if there must be more bytes for it. */
  #step(): boolean {
    switch (this.#expected) {
      case ELEMENT:
        return this.#element()
      case HEADER:
        return this.#header()
      case DECLARATION:
        return this.#declaration()
      case END:
        return this.#finish()
      default:
        this.#at = this.#end
        return false
    }
  }

  #element(): boolean {
    if (this.#scanner === undefined) {
      const byte = this.#skipSpace()
      if (byte === undefined) return false
      if (byte !== LT) throw new StreamError('bad-format', 'character data between stanzas')
      if (this.#at + 1 === this.#end) return false
      if (this.#data[this.#at + 1] === SLASH) return this.#endOfStream()
      this.#begin(false)
    }
    const frame = this.#scan()
    if (frame === undefined) return false
    this.#handler.onElement(frame)
    return true
  }

  #header(): boolean {
    if (this.#scanner === undefined) {
      const byte = this.#skipSpace()
      if (byte === undefined) return false
      if (byte !== LT) throw notWellFormed('character data before the stream')
      this.#begin(true)
    }
    const scanner = this.#scanner as unknown as ElementScanner
    const frame = this.#scan()
    if (frame === undefined) return false
    this.#streamName = qnameOf(frame)
    this.#scope = frame.scope
    this.#expected = scanner.isEmpty ? END : ELEMENT
    this.#handler.onStreamStart(frame)
    return true
  }

  #begin(isHeader: boolean): void {
    this.#scanner = takeScanner()
    this.#scanner.begin(this.limits, this.#scope, isHeader)
  }

  /** Scans what there is; the frame, once it is complete. */
  #scan(): Frame | undefined {
    const scanner = this.#scanner as ElementScanner
    const start = this.#at
    const { maxStanzaSize } = this.limits
    const isCut = this.#end - start >= maxStanzaSize
    const limit = isCut ? start + maxStanzaSize : this.#end
    if (!scanner.scan(this.#data, start, limit)) {
      if (isCut) throw new StreamError('policy-violation', 'element too big')
      return undefined
    }
    const frame = scanner.frame(this.#data, start)
    this.#at = start + scanner.size
    this.#scanner = undefined
    giveBack(scanner)
    return frame
  }

  #endOfStream(): boolean {
    const end = this.#data.subarray(0, this.#end).indexOf('>', this.#at)
    if ((end === -1 ? this.#end : end) - this.#at > this.limits.maxStanzaSize) {
      throw new StreamError('policy-violation', 'end tag too big')
    }
    if (end === -1) return false
    const name = this.#data.latin1Slice(this.#at + 2, end)
    if (name.replace(/[ \t\n\r]+$/, '') !== this.#streamName) {
      throw notWellFormed('an end tag that does not match')
    }
    this.#at = end + 1
    return this.#finish()
  }

  #finish(): true {
    this.#expected = NOTHING
    this.#handler.onStreamEnd()
    return true
  }

  /** Byte order mark and XML declaration (XML 1.0 §2.8, §4.3.3; RFC 6120 §11.5, §11.6). */
  #declaration(): boolean {
    // Behind the last element of another stream, white space belongs to that.
    if (this.#isRenewed && this.#skipSpace() === undefined) return false
    const first = this.#data[this.#at]
    if (this.#at === this.#end) return false
    if (first === 0xfe || first === 0xff) throw new StreamError('unsupported-encoding')
    if (first === BYTE_ORDER_MARK[0]) {
      const isMark = this.#startsWith(BYTE_ORDER_MARK, 0)
      if (isMark === undefined) return false
      if (!isMark) throw notWellFormed('character data before the stream')
    }
    const skipped = first === BYTE_ORDER_MARK[0] ? BYTE_ORDER_MARK.length : 0
    const isDeclared = this.#startsWith(XML_DECLARATION, skipped)
    if (isDeclared === undefined) return false
    this.#at += skipped
    this.#expected = HEADER
    if (!isDeclared) return true

    const text = this.#data.latin1Slice(
      this.#at,
      Math.min(this.#end, this.#at + LONGEST_DECLARATION),
    )
    // Some other processing instruction, which is refused as such.
    if (text.length > XML_DECLARATION.length && !DECLARATION_START.test(text)) return true
    const end = text.indexOf('?>')
    if (end === -1) {
      if (text.length === LONGEST_DECLARATION) throw notWellFormed('XML declaration too long')
      this.#at -= skipped
      this.#expected = DECLARATION
      return false
    }
    checkDeclaration(text.slice(0, end))
    this.#at += end + 2
    return true
  }

  /** Undefined if too few bytes are there to say. */
  #startsWith(bytes: Buffer, offset: number): boolean | undefined {
    for (let k = 0; k < bytes.length; k++) {
      const at = this.#at + offset + k
      if (at >= this.#end) return undefined
      if (this.#data[at] !== bytes[k]) return false
    }
    return true
  }

  /** The byte behind white space, if there is one. */
  #skipSpace(): number | undefined {
    while (this.#at < this.#end) {
      const byte = this.#data[this.#at] as number
      if (((CLASS[byte] as number) & SPACE) === 0) return byte
      this.#at++
    }
    return undefined
  }

  #stop(): void {
    this.#expected = NOTHING
    this.#scanner = undefined
    this.#discard()
  }

  #discard(): void {
    this.#at = this.#end
    this.#beyond = 0
  }

  /** Takes over what was not parsed, for the chunk is the caller's. */
  #keep(): void {
    const length = this.#end - this.#at
    if (length === 0) {
      this.#data = NO_BYTES
      this.#at = 0
      this.#end = 0
    } else if (!this.#isOwn) {
      this.#move(length)
    }
  }

  #append(chunk: Buffer, start: number, end: number): void {
    const length = end - start
    if (!this.#isOwn || this.#end + length > this.#data.length)
      this.#move(this.#end - this.#at + length)
    chunk.copy(this.#data, this.#end, start, end)
    this.#end += length
  }

  /** Moves the bytes to the start of a buffer of ours with room for `capacity` and as much again. */
  #move(capacity: number): void {
    const length = this.#end - this.#at
    const isRoomy = this.#isOwn && this.#data.length >= capacity * 2
    const target = isRoomy
      ? this.#data
      : Buffer.allocUnsafe(Math.max(SMALLEST_BUFFER, capacity * 2))
    this.#data.copy(target, 0, this.#at, this.#end)
    this.#data = target
    this.#at = 0
    this.#end = length
    this.#isOwn = true
  }
}

/** Most streams have the same, and keep it. */
let lastQname = NO_OCTETS

function qnameOf({ prefix, name }: Frame): Octets {
  const qname = encode(prefix === '' ? name : `${prefix}:${name}`)
  if (qname !== lastQname) lastQname = qname
  return lastQname
}

function checkDeclaration(text: string): void {
  const match = DECLARATION_FORM.exec(text)
  if (match === null) throw notWellFormed('XML declaration')
  if ((match[1] ?? match[2]) !== '1.0') throw notWellFormed('XML version')
  const encoding = match[3] ?? match[4] ?? 'UTF-8'
  if (encoding.toUpperCase() !== 'UTF-8') throw new StreamError('unsupported-encoding')
}

/** What a stream has let in can be read, whatever its limits were. */
const READ_LIMITS = { maxDepth: MOST_DEPTH, maxAttributes: MOST_ATTRIBUTES }

/**
 * Reads one element from octets of any origin, with all the checks of a stream; `ns` is the default
 * namespace around it. No prefix is in scope but `xml`.
 *
 * @throws SyntaxError if it is not exactly one element, well-formed by itself.
 */
export function readElement(octets: Octets, ns: string): Element {
  const data = bytesOf(octets)
  const scanner = takeScanner()
  scanner.begin(READ_LIMITS, { defaultNs: ns, bindings: undefined })
  let isComplete = false
  try {
    isComplete = data[0] === LT && scanner.scan(data, 0, data.length)
  } catch (error) {
    if (!(error instanceof StreamError)) throw error
    throw new SyntaxError(`octets are no element: ${error.message}`, { cause: error })
  }
  if (!isComplete || scanner.size !== data.length) throw new SyntaxError('octets are no element')
  const frame = scanner.frame(data, 0)
  giveBack(scanner)
  return frame.toElement()
}

import { NO_COMMON } from './common-attributes.ts'
import { type Octets, octetsOf } from './octets.ts'
import { isStanzaKind } from './stanza-kind.ts'
import { STREAMS_NS, StreamError } from './stream-error.ts'
import { type ChildRef, Frame } from './xml-frame.ts'
import type { Scope } from './xml-reader.ts'
import { StartTags } from './xml-start-tags.ts'

/** Bounds on what one element may be made of. */
export interface ElementLimits {
  /** Levels of elements: the stream's is 0, a stanza is 1, its children are 2. */
  maxDepth: number
  /** Attributes of one element, declarations included; also prefix declarations in scope. */
  maxAttributes: number
}

/** Ints for each open element in `Outline.open`: start, end and colon (-1: none) of its name. */
export const OPEN = 3

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
 * What is known of an element while it is scanned: the names of the elements open, and what its
 * frame will say. Offsets are relative to its first byte.
 */
export class Outline {
  readonly tags = new StartTags()
  /** Names of the open elements by depth. */
  open = new Int32Array(0)
  hasText = false
  payloadEnd = 0

  #maxDepth = 0
  #name = ''
  #prefix = ''
  #ns = ''
  #payloadStart = 0
  #children: Child[] | undefined
  #child: Child | undefined

  begin({ maxDepth, maxAttributes }: ElementLimits, outside: Scope): void {
    const capacity = (maxDepth + 1) * OPEN
    if (this.open.length < capacity) this.open = new Int32Array(capacity)
    this.#maxDepth = maxDepth
    this.tags.begin(outside, maxAttributes)
    this.hasText = false
    this.#children = undefined
  }

  /** The name of a start tag is there. */
  startElement(depth: number, start: number, end: number, colon: number): void {
    if (depth > this.#maxDepth) {
      throw new StreamError('policy-violation', 'elements nested too deeply')
    }
    const row = depth * OPEN
    this.open[row] = start
    this.open[row + 1] = end
    this.open[row + 2] = colon
  }

  /** All of that start tag is there, up to `at`. */
  startTag(data: Buffer, base: number, at: number, depth: number): void {
    const { open, tags } = this
    const row = depth * OPEN
    const start = open[row] as number
    tags.resolve(data, base, depth, start, open[row + 1] as number, open[row + 2] as number)
    if (depth > 2) return
    if (depth === 2) {
      const child = new Child(tags.name, tags.ns, start - 1 - this.#payloadStart)
      if (this.#children === undefined) this.#children = [child]
      else this.#children.push(child)
      this.#child = child
      return
    }
    if (depth === 1 && tags.name === 'stream' && tags.ns === STREAMS_NS) {
      // It would hardly be closed before the stream is: there is no waiting for its end.
      throw new StreamError('policy-violation', 'a stream header inside a stream')
    }
    this.#name = tags.name
    this.#prefix = tags.prefix
    this.#ns = tags.ns
    this.#payloadStart = at - base
    this.payloadEnd = at - base
  }

  /** An element below the root ends at `at`. */
  endElement(at: number, depth: number): void {
    this.tags.end(depth)
    if (depth === 2) (this.#child as Child).end = at - this.#payloadStart
  }

  /** The frame of the element, which is complete with `size` bytes. They are copied. */
  frame(data: Buffer, base: number, size: number): Frame {
    const octets = octetsOf(data, base, base + size)
    const { payloadEnd, tags } = this
    return new Frame(
      this.#name,
      this.#prefix,
      this.#ns,
      isStanzaKind(this.#name) ? tags.common(data, base, octets) : NO_COMMON,
      octets,
      octets.slice(this.#payloadStart, payloadEnd) as Octets,
      this.#children ?? NO_CHILDREN,
      size,
      this.hasText,
      tags.declarations(),
      tags.scope,
    )
  }
}

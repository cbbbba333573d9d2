import { randomBytes } from 'node:crypto'

/**
 * Where a stanza stands in the story it belongs to: `trace` is the story, which begins with a stanza
 * that came in; `span` is this stanza's chapter, `parent` that of the stanza which caused it.
 */
export type TraceContext = {
  /** 32 hexadecimal digits. */
  readonly trace: string
  /** 16 hexadecimal digits. */
  readonly span: string
  readonly parent: string | undefined
  /** Whether it is exported: whoever continues the story goes by that. */
  readonly isSampled: boolean
}

export function newContext(cause?: TraceContext, isSampled = false): TraceContext {
  const id = randomBytes(24).toString('hex')
  const span = id.slice(32)
  if (cause === undefined) return { trace: id.slice(0, 32), span, parent: undefined, isSampled }
  return { trace: cause.trace, span, parent: cause.span, isSampled }
}

const FORMAT = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/

/** As `traceparent` of W3C Trace Context: what is noted on an envelope, and travels with it. */
export function toTraceparent({ trace, span, isSampled }: TraceContext): string {
  return `00-${trace}-${span}-${isSampled ? '01' : '00'}`
}

/** `undefined` for text that is none. The parent is not told. */
export function fromTraceparent(text: string): TraceContext | undefined {
  const [, trace, span, flags] = FORMAT.exec(text) ?? []
  if (trace === undefined || span === undefined || flags === undefined) return undefined
  return { trace, span, parent: undefined, isSampled: (Number.parseInt(flags, 16) & 1) === 1 }
}

import { StreamError } from './stream-error.ts'

export const XML_NS = 'http://www.w3.org/XML/1998/namespace'
export const XMLNS_NS = 'http://www.w3.org/2000/xmlns/'

/** A prefix declaration and, linked, those around it: the innermost first. */
export interface Binding {
  readonly prefix: string
  readonly uri: string
  /** Depth of the element that declares it; the stream's is 0. */
  readonly depth: number
  readonly outer: Binding | undefined
  /** How many declarations this chain holds. */
  readonly count: number
}

/** Adds `xmlns:prefix='uri'`, by the rules of Namespaces in XML 1.0 §3 and §2.2. */
export function bind(
  outer: Binding | undefined,
  prefix: string,
  uri: string,
  depth: number,
): Binding | undefined {
  if (prefix === 'xmlns') throw notWellFormed('the prefix xmlns must not be declared')
  if ((prefix === 'xml') !== (uri === XML_NS)) throw notWellFormed('wrong use of the prefix xml')
  if (uri === XMLNS_NS) throw notWellFormed('no prefix may stand for the namespace of xmlns')
  if (uri === '') throw notWellFormed('a prefix without a namespace')
  if (prefix === 'xml') return outer
  return { prefix, uri, depth, outer, count: outer === undefined ? 1 : outer.count + 1 }
}

/** The default namespace may be neither of the two reserved ones (Namespaces in XML 1.0 §3). */
export function checkDefault(uri: string): void {
  if (uri === XML_NS || uri === XMLNS_NS) throw notWellFormed('a reserved default namespace')
}

/** Whether a namespace of that many characters could be one of the two. */
export function mayBeReserved(length: number): boolean {
  return length === XML_NS.length || length === XMLNS_NS.length
}

/** The declaration that `prefix` refers to, or undefined. Knows nothing of `xml`. */
export function lookup(bindings: Binding | undefined, prefix: string): Binding | undefined {
  let binding = bindings
  while (binding !== undefined && binding.prefix !== prefix) binding = binding.outer
  return binding
}

export function notWellFormed(text: string): StreamError {
  return new StreamError('not-well-formed', text)
}

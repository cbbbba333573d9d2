import { decode, type Octets } from './octets.ts'
import { type Attributes, Element, type Node } from './xml.ts'
import { type Binding, bind, lookup, XML_NS } from './xml-namespaces.ts'

/**
 * Reads octets that the scanner has checked into trees. Nothing is checked a second time; for
 * octets of any other origin there is `readElement`.
 */

/** What stands around the octets: namespaces in scope. */
export interface Scope {
  readonly defaultNs: string
  readonly bindings: Binding | undefined
}

const NO_ATTRIBUTES: Attributes = Object.freeze({})

const BLANK = 0x20
const BANG = 0x21
const SLASH = 0x2f
const COLON = 0x3a
const EQUAL = 0x3d
const GT = 0x3e

const PREDEFINED: Readonly<Record<string, string>> = {
  lt: '<',
  gt: '>',
  amp: '&',
  apos: "'",
  quot: '"',
}
const REFERENCE = /&(?:#x([0-9A-Fa-f]+)|#([0-9]+)|([a-z]+));/g

/** What makes character data, and attribute values, read otherwise than they stand. */
const ODD_TEXT = /[&\r\x80-\xff]/
const ODD_VALUE = /[&\t\n\r\x80-\xff]/

/** Character data outside of CDATA sections, to text. */
export function readText(raw: Octets): string {
  return ODD_TEXT.test(raw) ? resolveReferences(normaliseLines(decode(raw))) : raw
}

/** An attribute's value, to text: normalised as XML 1.0 §3.3.3 has it for CDATA attributes. */
export function readValue(raw: Octets): string {
  if (!ODD_VALUE.test(raw)) return raw
  return resolveReferences(normaliseLines(decode(raw)).replace(/[\t\n]/g, ' '))
}

/** Line ends as XML 1.0 §2.11 has them. */
function normaliseLines(text: string): string {
  return text.includes('\r') ? text.replace(/\r\n?/g, '\n') : text
}

function resolveReferences(text: string): string {
  if (!text.includes('&')) return text
  return text.replace(REFERENCE, (_, hex?: string, decimal?: string, name?: string) => {
    if (hex !== undefined) return String.fromCodePoint(Number.parseInt(hex, 16))
    if (decimal !== undefined) return String.fromCodePoint(Number.parseInt(decimal, 10))
    return PREDEFINED[name as string] as string
  })
}

/**
 * Reads the attributes of the start tag whose name is at `start`, without declarations; `scope` is
 * what holds inside the element. A prefixed attribute brings the declaration of its prefix along as an
 * attribute `xmlns:prefix`, so that the element keeps its meaning wherever it is put.
 */
export function readAttributes(octets: Octets, start: number, scope: Scope): Attributes {
  let attributes: Record<string, string> | undefined
  const tag = new TagAttributes(octets, start)
  while (tag.next()) {
    if (tag.isDeclaration) continue
    attributes ??= {}
    const name = decode(tag.name)
    set(attributes, name, readValue(tag.raw))
    const colon = name.indexOf(':')
    if (colon === -1) continue
    const binding = lookup(scope.bindings, name.slice(0, colon))
    if (binding !== undefined) set(attributes, `xmlns:${binding.prefix}`, binding.uri)
  }
  return attributes ?? NO_ATTRIBUTES
}

function set(attributes: Record<string, string>, name: string, value: string): void {
  if (name !== '__proto__') attributes[name] = value
  // Assigning would set the prototype.
  else Object.defineProperty(attributes, name, { value, enumerable: true })
}

/** An element whose end is still to come. */
interface Open {
  readonly outer: Open | undefined
  readonly name: string
  readonly ns: string
  readonly attributes: Attributes
  readonly scope: Scope
  readonly children: Node[]
}

/** The nodes between `start` and `end`: text (CDATA sections merged into it) and elements. */
export function readContent(octets: Octets, start: number, end: number, outside: Scope): Node[] {
  const top: Node[] = []
  let open: Open | undefined
  let children = top
  let text = ''
  let at = start
  while (at < end) {
    const markup = octets.indexOf('<', at)
    const textEnd = markup === -1 || markup > end ? end : markup
    if (textEnd > at) text += readText(octets.slice(at, textEnd) as Octets)
    if (textEnd === end) break
    const next = octets.charCodeAt(markup + 1)
    if (next === BANG) {
      const inside = markup + '<![CDATA['.length
      const close = octets.indexOf(']]>', inside)
      text += normaliseLines(decode(octets.slice(inside, close) as Octets))
      at = close + 3
      continue
    }
    if (text !== '') children.push(text)
    text = ''
    if (next === SLASH) {
      const { outer, name, ns, attributes } = open as Open
      const element = new Element(name, ns, attributes, children)
      open = outer
      children = open === undefined ? top : open.children
      children.push(element)
      at = octets.indexOf('>', markup) + 1
      continue
    }
    const tag = readTag(octets, markup + 1, open === undefined ? outside : open.scope)
    at = tag.end
    const { name, ns, attributes, scope } = tag
    if (octets.charCodeAt(at - 2) === SLASH) {
      children.push(new Element(name, ns, attributes, []))
    } else {
      children = []
      open = { outer: open, name, ns, attributes, scope, children }
    }
  }
  if (text !== '') children.push(text)
  return top
}

interface Tag {
  readonly name: string
  readonly ns: string
  readonly attributes: Attributes
  /** Namespaces in scope inside the element. */
  readonly scope: Scope
  /** Offset behind the tag's '>'. */
  readonly end: number
}

/** The start tag whose name is at `start`. */
function readTag(octets: Octets, start: number, outside: Scope): Tag {
  const tag = new TagAttributes(octets, start)
  const qname = decode(octets.slice(start, tag.at) as Octets)
  let { defaultNs, bindings } = outside
  let hasOthers = false
  while (tag.next()) {
    if (!tag.isDeclaration) {
      hasOthers = true
      continue
    }
    const { name } = tag
    if (name === 'xmlns') defaultNs = readValue(tag.raw)
    else bindings = bind(bindings, decode(name.slice(6) as Octets), readValue(tag.raw), 0)
  }
  const isSame = defaultNs === outside.defaultNs && bindings === outside.bindings
  const scope = isSame ? outside : { defaultNs, bindings }
  const colon = qname.indexOf(':')
  return {
    name: colon === -1 ? qname : qname.slice(colon + 1),
    ns: colon === -1 ? defaultNs : namespaceOf(qname.slice(0, colon), bindings),
    attributes: hasOthers ? readAttributes(octets, start, scope) : NO_ATTRIBUTES,
    scope,
    end: tag.at,
  }
}

/** The raw value of an attribute of the start tag with which `octets` begin. */
export function attributeOf(octets: Octets, qname: Octets): Octets | undefined {
  const tag = new TagAttributes(octets, 1)
  while (tag.next()) if (tag.isNamed(qname)) return tag.raw
  return undefined
}

/** Goes through the attributes of a start tag, declarations included. */
class TagAttributes {
  /** Behind the tag's name, then behind the attribute at hand, at last behind the tag. */
  at: number
  readonly #octets: Octets
  #start = 0
  #nameEnd = 0
  #valueStart = 0

  /** The tag's name is at `start`. */
  constructor(octets: Octets, start: number) {
    this.#octets = octets
    this.at = nameEnd(octets, start)
  }

  /** Of the attribute at hand. */
  get name(): Octets {
    return this.#octets.slice(this.#start, this.#nameEnd) as Octets
  }

  isNamed(qname: Octets): boolean {
    const isAsLong = this.#nameEnd - this.#start === qname.length
    return isAsLong && this.#octets.startsWith(qname, this.#start)
  }

  get isDeclaration(): boolean {
    const octets = this.#octets
    const length = this.#nameEnd - this.#start
    if (length < 5 || !octets.startsWith('xmlns', this.#start)) return false
    return length === 5 || octets.charCodeAt(this.#start + 5) === COLON
  }

  /** Its value as it stands. */
  get raw(): Octets {
    return this.#octets.slice(this.#valueStart, this.at - 1) as Octets
  }

  /** False: there are no more. */
  next(): boolean {
    const octets = this.#octets
    const start = skipSpace(octets, this.at)
    const byte = octets.charCodeAt(start)
    if (byte === GT || byte === SLASH) {
      this.at = start + (byte === GT ? 1 : 2)
      return false
    }
    const end = nameEnd(octets, start)
    const quote = skipSpace(octets, skipSpace(octets, end) + 1)
    this.#start = start
    this.#nameEnd = end
    this.#valueStart = quote + 1
    this.at = octets.indexOf(octets[quote] as string, quote + 1) + 1
    return true
  }
}

function namespaceOf(prefix: string, bindings: Binding | undefined): string {
  return prefix === 'xml' ? XML_NS : (lookup(bindings, prefix)?.uri ?? '')
}

function nameEnd(octets: Octets, start: number): number {
  let at = start
  for (;;) {
    const byte = octets.charCodeAt(at)
    if (byte <= BLANK || byte === EQUAL || byte === SLASH || byte === GT) return at
    at++
  }
}

function skipSpace(octets: Octets, start: number): number {
  let at = start
  while (octets.charCodeAt(at) <= BLANK) at++
  return at
}

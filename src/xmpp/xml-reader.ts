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
 * Reads the attributes of one element, given as raw names and values in turn, without declarations.
 * A prefixed attribute brings the declaration of its prefix along as an attribute `xmlns:prefix`,
 * so that the element keeps its meaning wherever it is put.
 */
export function readAttributes(flat: readonly string[], scope: Scope): Attributes {
  if (flat.length === 0) return NO_ATTRIBUTES
  const attributes: Record<string, string> = {}
  for (let k = 0; k < flat.length; k += 2) {
    const name = decode(flat[k] as Octets)
    set(attributes, name, readValue(flat[k + 1] as Octets))
    const colon = name.indexOf(':')
    if (colon === -1) continue
    const binding = lookup(scope.bindings, name.slice(0, colon))
    if (binding !== undefined) set(attributes, `xmlns:${binding.prefix}`, binding.uri)
  }
  return attributes
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
  let at = nameEnd(octets, start)
  const qname = decode(octets.slice(start, at) as Octets)
  const flat: string[] = []
  let { defaultNs, bindings } = outside
  for (;;) {
    at = skipSpace(octets, at)
    const byte = octets.charCodeAt(at)
    if (byte === GT || byte === SLASH) break
    const end = nameEnd(octets, at)
    const name = octets.slice(at, end)
    const quote = skipSpace(octets, skipSpace(octets, end) + 1)
    const close = octets.indexOf(octets[quote] as string, quote + 1)
    const raw = octets.slice(quote + 1, close) as Octets
    at = close + 1
    if (name === 'xmlns') defaultNs = readValue(raw)
    else if (!name.startsWith('xmlns:')) flat.push(name, raw)
    else bindings = bind(bindings, decode(name.slice(6) as Octets), readValue(raw), 0)
  }
  const isSame = defaultNs === outside.defaultNs && bindings === outside.bindings
  const scope = isSame ? outside : { defaultNs, bindings }
  const colon = qname.indexOf(':')
  return {
    name: colon === -1 ? qname : qname.slice(colon + 1),
    ns: colon === -1 ? defaultNs : namespaceOf(qname.slice(0, colon), bindings),
    attributes: readAttributes(flat, scope),
    scope,
    end: octets.indexOf('>', at) + 1,
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

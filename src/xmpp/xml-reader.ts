import { decode, type Octets } from './octets.ts'
import { Element, type Node } from './xml.ts'
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

const PREDEFINED: Readonly<Record<string, string>> = {
  lt: '<',
  gt: '>',
  amp: '&',
  apos: "'",
  quot: '"',
}
const REFERENCE = /&(?:#x([0-9A-Fa-f]+)|#([0-9]+)|([a-z]+));/g

function resolveReferences(text: string): string {
  if (!text.includes('&')) return text
  return text.replace(REFERENCE, (_, hex?: string, decimal?: string, name?: string) => {
    if (hex !== undefined) return String.fromCodePoint(Number.parseInt(hex, 16))
    if (decimal !== undefined) return String.fromCodePoint(Number.parseInt(decimal, 10))
    return PREDEFINED[name as string] as string
  })
}

/** Line ends as XML 1.0 §2.11 has them. */
function normaliseLines(text: string): string {
  return text.includes('\r') ? text.replace(/\r\n?/g, '\n') : text
}

/** Character data outside of CDATA sections, to text. */
export function readText(raw: Octets): string {
  return resolveReferences(normaliseLines(decode(raw)))
}

/** An attribute's value, to text: normalised as XML 1.0 §3.3.3 has it for CDATA attributes. */
export function readValue(raw: Octets): string {
  return resolveReferences(normaliseLines(decode(raw)).replace(/[\t\n]/g, ' '))
}

/** Attributes of an element, and the namespaces in scope inside of it. */
export interface ReadAttributes {
  readonly scope: Scope
  readonly attributes: Record<string, string>
}

/**
 * Reads the attributes of one element, given as raw names and values in turn. A prefixed attribute brings the declaration of its prefix along as
 * an attribute `xmlns:prefix`, so that the element keeps its meaning wherever it is put.
 */
export function readAttributes(flat: readonly string[], scope: Scope): ReadAttributes {
  let { defaultNs, bindings } = scope
  for (let k = 0; k < flat.length; k += 2) {
    const name = flat[k] as string
    if (!name.startsWith('xmlns')) continue
    const value = readValue(flat[k + 1] as Octets)
    if (name === 'xmlns') defaultNs = value
    else if (name[5] === ':') bindings = bind(bindings, decode(name.slice(6) as Octets), value, 0)
  }
  const attributes: Record<string, string> = {}
  for (let k = 0; k < flat.length; k += 2) {
    const name = decode(flat[k] as Octets)
    if (name === 'xmlns' || name.startsWith('xmlns:')) continue
    set(attributes, name, readValue(flat[k + 1] as Octets))
    const binding = lookup(bindings, name.slice(0, Math.max(0, name.indexOf(':'))))
    if (binding !== undefined) set(attributes, `xmlns:${binding.prefix}`, binding.uri)
  }
  return { scope: { defaultNs, bindings }, attributes }
}

function set(attributes: Record<string, string>, name: string, value: string): void {
  if (name !== '__proto__') attributes[name] = value
  // Assigning would set the prototype.
  else Object.defineProperty(attributes, name, { value, enumerable: true })
}

export function namespaceOf(prefix: string, { defaultNs, bindings }: Scope): string {
  if (prefix === '') return defaultNs
  if (prefix === 'xml') return XML_NS
  return lookup(bindings, prefix)?.uri ?? ''
}

interface Open extends ReadAttributes {
  readonly name: string
  readonly ns: string
  readonly children: Node[]
}

// Not \s, which takes the byte 0xA0 for a space.
const END_OF_NAME = /[ \t\n\r/>]/g
const ATTRIBUTE = /([^ \t\n\r=]+)[ \t\n\r]*=[ \t\n\r]*(?:'([^']*)'|"([^"]*)")/y

/** The nodes between `start` and `end`: text (CDATA sections merged into it) and elements. */
export function readContent(octets: Octets, start: number, end: number, outside: Scope): Node[] {
  const top: Node[] = []
  const open: Open[] = []
  let children = top
  let text = ''
  const flush = () => {
    if (text !== '') children.push(text)
    text = ''
  }
  let at = start
  while (at < end) {
    const markup = octets.indexOf('<', at)
    const textEnd = markup === -1 || markup > end ? end : markup
    if (textEnd > at) text += readText(octets.slice(at, textEnd) as Octets)
    if (textEnd === end) break
    const next = octets[markup + 1]
    if (next === '!') {
      const close = octets.indexOf(']]>', markup)
      text += normaliseLines(decode(octets.slice(markup + 9, close) as Octets))
      at = close + 3
      continue
    }
    flush()
    if (next === '/') {
      const { name, ns, attributes, children: inside } = open.pop() as Open
      children = open.at(-1)?.children ?? top
      children.push(new Element(name, ns, attributes, inside))
      at = octets.indexOf('>', markup) + 1
      continue
    }
    const tag = readTag(octets, markup)
    const scope = open.at(-1)?.scope ?? outside
    const inner = readAttributes(tag.flat, scope)
    const { qname } = tag
    const colon = qname.indexOf(':')
    const name = qname.slice(colon + 1)
    const prefix = colon === -1 ? '' : qname.slice(0, colon)
    const ns = namespaceOf(prefix, inner.scope)
    at = tag.end
    if (tag.empty) {
      children.push(new Element(name, ns, inner.attributes, []))
    } else {
      open.push({ ...inner, name, ns, children: [] })
      children = (open.at(-1) as Open).children
    }
  }
  flush()
  return top
}

interface Tag {
  readonly qname: string
  readonly flat: string[]
  /** Offset behind the tag's '>'. */
  readonly end: number
  readonly empty: boolean
}

function readTag(octets: Octets, start: number): Tag {
  END_OF_NAME.lastIndex = start + 1
  END_OF_NAME.test(octets)
  let at = END_OF_NAME.lastIndex - 1
  const qname = decode(octets.slice(start + 1, at) as Octets)
  const flat: string[] = []
  for (;;) {
    while (isSpace(octets.charCodeAt(at))) at++
    if (octets[at] === '>') return { qname, flat, end: at + 1, empty: false }
    if (octets[at] === '/') return { qname, flat, end: at + 2, empty: true }
    ATTRIBUTE.lastIndex = at
    const [, name, single, double] = ATTRIBUTE.exec(octets) as RegExpExecArray
    flat.push(name as string, (single ?? double) as string)
    at = ATTRIBUTE.lastIndex
  }
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x0a || code === 0x09 || code === 0x0d
}

import { encode, type Octets } from './octets.ts'

export type Node = Element | string
export type Attributes = Readonly<Record<string, string>>

/**
 * An XML element as an immutable tree, for payloads that somebody reads or builds. What merely
 * passes through stays octets (`Stanza`).
 *
 * `ns` is the element's namespace, '' for none. An element built without `xmlns` takes that of its
 * first parent; one built with `xmlns=''` has none and keeps none. Attribute names are kept as
 * written (`xml:lang`); `xmlns` is never among them.
 */
export class Element {
  readonly name: string
  readonly attributes: Attributes
  readonly children: readonly Node[]
  #ns: string | undefined

  /** `ns` undefined: that of the first parent. */
  constructor(
    name: string,
    ns: string | undefined,
    attributes: Attributes,
    children: readonly Node[],
  ) {
    this.name = name
    this.attributes = attributes
    this.children = children
    this.#ns = ns
    if (ns !== undefined) this.#adopt(ns)
  }

  get ns(): string {
    return this.#ns ?? ''
  }

  /** Whether it was built without a namespace and has had no parent yet. */
  get isUnbound(): boolean {
    return this.#ns === undefined
  }

  attr(name: string): string | undefined {
    return Object.hasOwn(this.attributes, name) ? this.attributes[name] : undefined
  }

  /** The first child element of that name; in this element's own namespace unless told otherwise. */
  child(name: string, ns: string = this.ns): Element | undefined {
    for (const node of this.children) {
      if (typeof node !== 'string' && node.name === name && node.ns === ns) return node
    }
    return undefined
  }

  /** All child elements, or those of that name and namespace. */
  elements(name?: string, ns: string = this.ns): Element[] {
    const found: Element[] = []
    for (const node of this.children) {
      if (typeof node === 'string') continue
      if (name === undefined || (node.name === name && node.ns === ns)) found.push(node)
    }
    return found
  }

  /** The character data of this element's direct children. */
  get text(): string {
    let text = ''
    for (const node of this.children) if (typeof node === 'string') text += node
    return text
  }

  /** A copy with these attributes set; `undefined` removes one. */
  withAttributes(changes: Readonly<Record<string, string | undefined>>): Element {
    const attributes: Record<string, string> = { ...this.attributes }
    for (const [name, value] of Object.entries(changes)) {
      if (value === undefined) delete attributes[name]
      else attributes[name] = value
    }
    return new Element(this.name, this.#ns, attributes, this.children)
  }

  /** A copy with other children. */
  withChildren(...children: readonly Node[]): Element {
    return new Element(this.name, this.#ns, this.attributes, children)
  }

  toString(): string {
    return serialise(this)
  }

  #adopt(ns: string): void {
    for (const node of this.children) {
      if (typeof node === 'string' || node.#ns !== undefined) continue
      node.#ns = ns
      node.#adopt(ns)
    }
  }
}

type Child = Node | undefined | false
type ElementAttributes = Readonly<Record<string, string | number | boolean | undefined>>

/**
 * Builds an element: `el('query', { xmlns: NS }, el('item', { jid }))`. Attributes and children
 * that are `undefined` (or `false`, for children) are left out.
 */
export function el(
  name: string,
  attributes: ElementAttributes = {},
  ...children: Child[]
): Element {
  let ns: string | undefined
  const kept: Record<string, string> = {}
  for (const key in attributes) {
    const value = attributes[key]
    if (value === undefined) continue
    if (key === 'xmlns') ns = String(value)
    else kept[key] = String(value)
  }
  const nodes = children.filter((child) => child !== undefined && child !== false)
  return new Element(name, ns, kept, nodes)
}

const SPECIAL_TEXT = /[&<>]/
const SPECIAL_ATTRIBUTE = /[&<>'"\t\n\r]/

/** Text to octets that may stand between tags. */
export function escapeText(text: string): Octets {
  const octets = encode(text)
  if (!SPECIAL_TEXT.test(octets) && !octets.includes('\r')) return octets
  return octets
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('\r', '&#13;') as Octets
}

/** Text to octets that may stand in a quoted attribute value, in either kind of quotes. */
export function escapeAttribute(text: string): Octets {
  const octets = encode(text)
  if (!SPECIAL_ATTRIBUTE.test(octets)) return octets
  return octets
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll("'", '&apos;')
    .replaceAll('"', '&quot;')
    .replaceAll('\t', '&#9;')
    .replaceAll('\n', '&#10;')
    .replaceAll('\r', '&#13;') as Octets
}

/** Octets of `element`, for a place whose default namespace is `scope`. */
export function serialise(element: Element, scope = ''): Octets {
  let out = `<${encode(element.name)}`
  const ns = element.isUnbound ? scope : element.ns
  if (ns !== scope) out += ` xmlns='${escapeAttribute(ns)}'`
  for (const name in element.attributes) {
    out += ` ${encode(name)}='${escapeAttribute(element.attributes[name] as string)}'`
  }
  if (element.children.length === 0) return `${out}/>` as Octets
  out += '>'
  for (const node of element.children) {
    out += typeof node === 'string' ? escapeText(node) : serialise(node, ns)
  }
  return `${out}</${encode(element.name)}>` as Octets
}

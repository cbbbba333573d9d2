import type { Jid } from './jid.ts'
import { decode, encode, inOnePiece, NO_OCTETS, type Octets } from './octets.ts'
import { pack, readIndex, unpack, writeIndex } from './packed-stanza.ts'
import { ofKind, type StanzaKind } from './stanza-kind.ts'
import { Element, escapeAttribute, escapeText, type Node, serialise } from './xml.ts'
import { type ChildRef, type Frame, readElement } from './xml-parser.ts'

/** The content namespace, in which stanzas are kept whatever stream they came from. */
export const CLIENT_NS = 'jabber:client'

export { isStanzaKind, type StanzaKind } from './stanza-kind.ts'

type StanzaAttributes = {
  readonly type?: string | undefined
  readonly id?: string | undefined
  readonly lang?: string | undefined
}

/** A child element as octets. */
type WrittenChild = { readonly name: string; readonly ns: string; readonly octets: Octets }

/** A payload built from elements, with its index. */
type Payload = { readonly octets: Octets; readonly children: readonly ChildRef[] }

const START = { message: '<message', presence: '<presence', iq: '<iq' } as const
const END = { message: '</message>', presence: '</presence>', iq: '</iq>' } as const
const WRAPPED = {
  message: `<message xmlns='${CLIENT_NS}'`,
  presence: `<presence xmlns='${CLIENT_NS}'`,
  iq: `<iq xmlns='${CLIENT_NS}'`,
} as const
/** Of the attributes that most stanzas have. */
const PREFIX: Readonly<Record<string, string>> = Object.assign(Object.create(null), {
  id: " id='",
  type: " type='",
  'xml:lang': " xml:lang='",
})

const NO_CHILDREN: readonly ChildRef[] = []
/** What a start tag says, but for addresses. */
type Tag = {
  readonly head: Octets
  readonly type: string | undefined
  readonly id: string | undefined
}

/** An id that nobody has asked for yet; no id, for XML does not have it. */
const LATER = '\x02'
const KINDS: Readonly<Record<string, StanzaKind>> = { m: 'message', p: 'presence', i: 'iq' }
const ATTRIBUTE = / ([^=]+)=(?:'([^']*)'|"([^"]*)")/g
const EMPTY: Payload = { octets: NO_OCTETS, children: NO_CHILDREN }

/**
 * A message, presence or iq: immutable, and apart from its start tag the very octets that came in.
 *
 * Addresses are not part of it: they stand on the envelope, which decides them (RFC 6120 §8.1.2.1).
 * Why the payload may be sent on unread is said at `XmlStreamParser`; a stanza whose own tag is
 * prefixed, or that has another default namespace inside, is rewritten once, here, on its way in.
 * Changing a stanza makes a new one; children that stay are not parsed for it.
 */
export class Stanza {
  readonly kind: StanzaKind
  readonly type: string | undefined
  #id: string | undefined
  /** All attributes but `from` and `to`, ready for a start tag: ` id='1' type='chat'`. */
  readonly head: Octets
  readonly payload: Octets
  /** `children`, or of a packed stanza what they are read from once somebody asks. */
  #children: readonly ChildRef[] | Octets
  /** The attributes of `head`: name and escaped value by turns. Of a packed stanza once somebody asks. */
  #known: readonly string[] | undefined
  #elements: (Element | undefined)[] | undefined

  private constructor(
    kind: StanzaKind,
    tag: Tag,
    payload: Octets,
    children: readonly ChildRef[] | Octets,
    attributes?: readonly string[],
  ) {
    this.kind = kind
    this.type = tag.type
    this.#id = tag.id
    this.head = tag.head
    this.payload = payload
    this.#children = children
    this.#known = attributes
  }

  static #of(
    kind: StanzaKind,
    attributes: readonly string[],
    payload: Octets,
    children: readonly ChildRef[],
  ): Stanza {
    return new Stanza(kind, tagOf(attributes), payload, children, attributes)
  }

  get id(): string | undefined {
    if (this.#id === LATER) this.#id = this.#attribute('id')
    return this.#id
  }

  /** Direct children: name, namespace and place in `payload`. */
  get children(): readonly ChildRef[] {
    if (typeof this.#children === 'string') {
      this.#children = readIndex(this.#children, CLIENT_NS, this.payload.length)
    }
    return this.#children
  }

  get #attributes(): readonly string[] {
    this.#known ??= [...this.head.matchAll(ATTRIBUTE)].flatMap(([, name = '', single, double]) => [
      name,
      single ?? (double as string).replaceAll("'", '&apos;'),
    ])
    return this.#known
  }

  /**
   * From a first-level element in the content namespace `ns` of its stream. `lang` is that of the
   * stream (`langOf`), which the stanza takes on when it has none. Children that name the namespace of such a
   * stream themselves are rewritten.
   */
  static fromFrame(frame: Frame, ns: string = CLIENT_NS, lang?: Octets): Stanza {
    const kind = frame.name as StanzaKind
    const { type, id, hasLang, others } = frame.common
    let head: string = others
    if (!hasLang && lang !== undefined) head += langAttribute(lang)
    const isForwardable = ns === CLIENT_NS || !frame.payload.includes(ns)
    if (frame.prefix === '' && frame.defaultNs === ns && isForwardable) {
      if (frame.declarations !== '') head += frame.declarations
      const children = ns === CLIENT_NS ? frame.children : inClientNamespace(frame.children, ns)
      return new Stanza(kind, { head: head as Octets, type, id }, frame.payload, children)
    }
    const whole = frame.toElement()
    for (const name in whole.attributes) {
      // Prefixed attributes of the start tag need their declarations still.
      if (name.startsWith('xmlns:'))
        head += ` ${name}='${escapeAttribute(whole.attributes[name] as string)}'`
    }
    const payload = payloadOf(whole.children.map((node) => intoClientNamespace(node, ns)))
    const tag = { head: head as Octets, type, id }
    return new Stanza(kind, tag, payload.octets, payload.children)
  }

  /** A stanza of our own. Children without a namespace are in the content namespace. */
  static build(
    kind: StanzaKind,
    attributes: StanzaAttributes = {},
    ...children: readonly Element[]
  ): Stanza {
    const payload = children.length === 0 ? EMPTY : payloadOf(children)
    return Stanza.#of(kind, flat(attributes), payload.octets, payload.children)
  }

  /** A stanza of our own around a single child that is octets already, its namespace declared. */
  static around(kind: StanzaKind, attributes: StanzaAttributes, child: WrittenChild): Stanza {
    const { name, ns, octets } = child
    const children = [{ name, ns, start: 0, end: octets.length }]
    return Stanza.#of(kind, flat(attributes), octets, children)
  }

  /** From a tree, such as `readElement` makes of what `toWrapped` gave. */
  static fromElement(element: Element): Stanza {
    const attributes: string[] = []
    for (const name in element.attributes) {
      if (name === 'from' || name === 'to') continue
      attributes.push(encode(name), escapeAttribute(element.attributes[name] as string))
    }
    const payload = payloadOf(element.children)
    return Stanza.#of(element.name as StanzaKind, attributes, payload.octets, payload.children)
  }

  /** What `toPacked` gave, at `start`. What it is given is not checked. */
  static fromPacked(packed: Octets, start: number): Stanza {
    const { kind, type, head, index, payload } = unpack(packed, start)
    return new Stanza(KINDS[kind] as StanzaKind, { head, type, id: LATER }, payload, index)
  }

  /** What another node of the same cluster makes the same stanza of. */
  toPacked(): Octets {
    const { kind, type, head, payload } = this
    const children = this.#children
    const index =
      typeof children === 'string' ? children : writeIndex(children, CLIENT_NS, payload.length)
    return pack({ kind: kind[0] as string, type, head, index, payload })
  }

  /** `xml:lang`, of the stanza or its stream. */
  get lang(): string | undefined {
    return this.#attribute('xml:lang')
  }

  get isError(): boolean {
    return this.type === 'error'
  }

  /** For iq: get or set. */
  get isRequest(): boolean {
    return this.type === 'get' || this.type === 'set'
  }

  has(name: string, ns: string = CLIENT_NS): boolean {
    return this.#find(name, ns) >= 0
  }

  hasNamespace(ns: string): boolean {
    for (const ref of this.children) if (ref.ns === ns) return true
    return false
  }

  /** The first direct child of that name and namespace, parsed when first asked for. */
  child(name: string, ns: string = CLIENT_NS): Element | undefined {
    const index = this.#find(name, ns)
    return index < 0 ? undefined : this.childAt(index)
  }

  /** The direct child at `index` of `children`. */
  childAt(index: number): Element | undefined {
    const ref = this.children[index]
    if (ref === undefined) return undefined
    this.#elements ??= []
    let element = this.#elements[index]
    if (element === undefined) {
      element = this.#read(ref)
      this.#elements[index] = element
    }
    return element
  }

  /** All direct children, parsed. */
  elements(): Element[] {
    return this.children.map((_, index) => this.childAt(index) as Element)
  }

  /** A copy with `type` or `id` changed; `undefined` removes it. */
  with(changes: { readonly type?: string | undefined; readonly id?: string | undefined }): Stanza {
    const attributes: string[] = []
    for (let i = 0; i < this.#attributes.length; i += 2) {
      const name = this.#attributes[i] as string
      if (Object.hasOwn(changes, name)) continue
      attributes.push(name, this.#attributes[i + 1] as string)
    }
    if (changes.type !== undefined) attributes.push('type', escapeAttribute(changes.type))
    if (changes.id !== undefined) attributes.push('id', escapeAttribute(changes.id))
    return Stanza.#of(this.kind, attributes, this.payload, this.children)
  }

  /** A copy with more children at the end; those there already are not parsed for it. */
  append(...elements: readonly Element[]): Stanza {
    const more = payloadOf(elements, this.payload.length)
    return this.#with((this.payload + more.octets) as Octets, [...this.children, ...more.children])
  }

  /** As `append`, with one child that is octets already, its namespace declared. */
  appendOctets(child: WrittenChild): Stanza {
    const { name, ns, octets } = child
    const start = this.payload.length
    const children = [...this.children, { name, ns, start, end: start + octets.length }]
    return this.#with((this.payload + octets) as Octets, children)
  }

  #with(payload: Octets, children: readonly ChildRef[]): Stanza {
    return new Stanza(this.kind, this, payload, children, this.#known)
  }

  /** A copy without the children that `isUnwanted`; itself when there are none. */
  without(isUnwanted: (ref: ChildRef, index: number) => boolean): Stanza {
    let payload = ''
    let from = 0
    let cut = 0
    const kept: ChildRef[] = []
    this.children.forEach((ref, index) => {
      if (isUnwanted(ref, index)) {
        payload += this.payload.slice(from, ref.start)
        from = ref.end
        cut += ref.end - ref.start
      } else kept.push(cut === 0 ? ref : { ...ref, start: ref.start - cut, end: ref.end - cut })
    })
    if (cut === 0) return this
    payload += this.payload.slice(from)
    return this.#with(payload as Octets, kept)
  }

  /** The whole stanza for a stream whose default namespace is the content namespace. */
  toOctets(from: Jid | undefined, to: Jid | undefined): Octets {
    return this.#write(ofKind(START, this.kind), from, to)
  }

  /**
   * The whole stanza for a stream whose default namespace is another content namespace, such as that
   * of servers: its own children are in that one too (RFC 6120 §4.8.3). What is deeper inside and
   * says `jabber:client`, such as a forwarded stanza, stays as it is.
   */
  toForeignOctets(from: Jid | undefined, to: Jid | undefined): Octets {
    const { payload, children } = this
    if (!payload.includes(CLIENT_NS) && !this.head.includes(CLIENT_NS)) {
      return this.toOctets(from, to)
    }
    let rewritten = ''
    let end = 0
    children.forEach((ref, index) => {
      rewritten += payload.slice(end, ref.start)
      rewritten +=
        ref.ns === CLIENT_NS
          ? serialise(this.childAt(index) as Element, CLIENT_NS)
          : payload.slice(ref.start, ref.end)
      end = ref.end
    })
    rewritten += payload.slice(end)
    const { kind } = this
    return new Stanza(kind, this, rewritten as Octets, NO_CHILDREN, this.#known).toOctets(from, to)
  }

  /** The same with its namespace declared, to be stored or wrapped in another element. */
  toWrapped(from: Jid | undefined, to: Jid | undefined): Octets {
    return this.#write(WRAPPED[this.kind], from, to)
  }

  /** The whole stanza as a tree in the content namespace, to be wrapped or stored. */
  toElement(from: Jid | undefined, to: Jid | undefined): Element {
    return readElement(this.toOctets(from, to), CLIENT_NS)
  }

  #write(start: string, from: Jid | undefined, to: Jid | undefined): Octets {
    const { kind, payload } = this
    let out = start
    if (from !== undefined) out += from.asFrom
    if (to !== undefined) out += to.asTo
    out += this.head
    // Each part that is joined costs an object.
    return (payload === '' ? `${out}/>` : `${out}>${payload}${ofKind(END, kind)}`) as Octets
  }

  #attribute(name: string): string | undefined {
    for (let i = 0; i < this.#attributes.length; i += 2) {
      if (this.#attributes[i] === name) return plain(this.#attributes[i + 1] as string)
    }
    return undefined
  }

  #find(name: string, ns: string): number {
    const { children } = this
    for (let i = 0; i < children.length; i++) {
      const ref = children[i] as ChildRef
      if (ref.name === name && ref.ns === ns) return i
    }
    return -1
  }

  #read(ref: ChildRef): Element {
    const octets = this.payload.slice(ref.start, ref.end) as Octets
    if (!this.head.includes(' xmlns:')) return readElement(octets, CLIENT_NS)
    let declarations = ''
    for (let i = 0; i < this.#attributes.length; i += 2) {
      const name = this.#attributes[i] as string
      if (name.startsWith('xmlns:')) declarations += ` ${name}='${this.#attributes[i + 1]}'`
    }
    const wrapped = readElement(`<x${declarations}>${octets}</x>` as Octets, CLIENT_NS)
    return wrapped.children[0] as Element
  }
}

const ENTITY: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }

/** Text of an escaped attribute value. */
function plain(value: string): string {
  const text = decode(value as Octets)
  if (!text.includes('&')) return text
  return text.replace(/&(#x?)?([^;]+);/g, (_, reference: string | undefined, body: string) => {
    if (reference === undefined) return ENTITY[body] as string
    return String.fromCodePoint(Number.parseInt(body, reference === '#x' ? 16 : 10))
  })
}

/** Of the stream that it was asked for last: most have the same. */
let lastLang: Octets = NO_OCTETS
let lastLangAttribute = " xml:lang=''" as Octets

function langAttribute(lang: Octets): Octets {
  if (lang !== lastLang) {
    lastLang = lang
    lastLangAttribute = inOnePiece(" xml:lang='", lang, "'")
  }
  return lastLangAttribute
}

function tagOf(attributes: readonly string[]): Tag {
  let head = ''
  let type: string | undefined
  let id: string | undefined
  for (let i = 0; i < attributes.length; i += 2) {
    const name = attributes[i] as string
    const value = attributes[i + 1] as string
    head += `${PREFIX[name] ?? ` ${name}='`}${value}'`
    if (name === 'type') type = plain(value)
    else if (name === 'id') id = plain(value)
  }
  return { head: head as Octets, type, id }
}

function flat({ type, id, lang }: StanzaAttributes): string[] {
  const attributes: string[] = []
  if (id !== undefined) attributes.push('id', escapeAttribute(id))
  if (type !== undefined) attributes.push('type', escapeAttribute(type))
  if (lang !== undefined) attributes.push('xml:lang', escapeAttribute(lang))
  return attributes
}

function payloadOf(nodes: readonly Node[], offset = 0): Payload {
  let octets = ''
  const children: ChildRef[] = []
  for (const node of nodes) {
    if (typeof node === 'string') {
      octets += escapeText(node)
      continue
    }
    const start = offset + octets.length
    octets += serialise(node, CLIENT_NS)
    const ns = node.isUnbound ? CLIENT_NS : node.ns
    children.push({ name: node.name, ns, start, end: offset + octets.length })
  }
  return { octets: octets as Octets, children }
}

function inClientNamespace(children: readonly ChildRef[], ns: string): readonly ChildRef[] {
  return children.map((ref) => {
    const { name, start, end } = ref
    return ref.ns === ns ? { name, ns: CLIENT_NS, start, end } : ref
  })
}

function intoClientNamespace(node: Node, ns: string): Node {
  if (typeof node === 'string') return node
  const children = node.children.map((child) => intoClientNamespace(child, ns))
  return new Element(node.name, node.ns === ns ? CLIENT_NS : node.ns, node.attributes, children)
}

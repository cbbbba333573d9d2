import type { CommonAttributes } from './common-attributes.ts'
import { encode, type Octets } from './octets.ts'
import { Element } from './xml.ts'
import { attributeOf, readAttributes, readContent, readValue, type Scope } from './xml-reader.ts'

/** A direct child element of a frame: its name, and where its tags and all between them stand. */
export interface ChildRef {
  /** Local name. */
  readonly name: string
  /** Namespace URI. */
  readonly ns: string
  /** Offset of its '<' in the payload, in octets. */
  readonly start: number
  /** Offset behind its last '>'. */
  readonly end: number
}

/**
 * One complete first-level element of a stream, checked; or, without payload, the stream's start
 * tag.
 *
 * A payload may be forwarded as the bytes that came in, under a start tag written anew, because:
 * - it is balanced and well-formed on its own: every tag, reference and character was checked;
 * - a prefix that it uses is declared in it, or is in `declarations`, which goes on the new start
 *   tag. Nothing else on the new tag or on the recipient's stream header can change what a prefix
 *   in the payload means, for a declaration nearer to its use wins;
 * - unprefixed elements in it are in the default namespace of the place where they stand, so the
 *   new start tag must have `defaultNs` as its default namespace. Between streams of different
 *   content namespaces (`jabber:client`, `jabber:server`, `jabber:component:accept`) the children
 *   in that namespace change theirs along with the stanza, as they should (RFC 6120 §4.8.3); only
 *   one that says `xmlns='jabber:client'` itself has to be rewritten;
 * - `xml:lang`, the one thing that XML inherits otherwise, is on the start tag or on the header:
 *   who forwards puts the sender's on the new tag (RFC 6120 §8.1.5).
 */
export class Frame {
  /** Local name. */
  readonly name: string
  /** '' if there is none. */
  readonly prefix: string
  /** Namespace URI. */
  readonly ns: string
  /** Of a stanza, the attributes that all of them may have; of anything else nothing. */
  readonly common: Readonly<CommonAttributes>
  /** All of it, as received. */
  readonly octets: Octets
  /** Everything between start tag and end tag, as received. */
  readonly payload: Octets
  /** Direct child elements. */
  readonly children: readonly ChildRef[]
  /** Bytes on the wire, from '<' to the last '>'. */
  readonly size: number
  /** Whether character data other than white space stands directly in it. */
  readonly hasText: boolean
  /**
   * Prefix declarations (` xmlns:x='uri'`) that attributes and payload need and that stand outside
   * of the payload: on this element's own start tag or on the stream header. Nearly always ''.
   */
  readonly declarations: Octets
  /** Namespaces in scope inside this element. */
  readonly scope: Scope

  constructor(
    name: string,
    prefix: string,
    ns: string,
    common: Readonly<CommonAttributes>,
    octets: Octets,
    payload: Octets,
    children: readonly ChildRef[],
    size: number,
    hasText: boolean,
    declarations: Octets,
    scope: Scope,
  ) {
    this.name = name
    this.prefix = prefix
    this.ns = ns
    this.common = common
    this.octets = octets
    this.payload = payload
    this.children = children
    this.size = size
    this.hasText = hasText
    this.declarations = declarations
    this.scope = scope
  }

  /** Default namespace inside this element. */
  get defaultNs(): string {
    return this.scope.defaultNs
  }

  /** Text of the attribute of that qualified name. */
  attribute(qname: string): string | undefined {
    const raw = attributeOf(this.octets, encode(qname))
    return raw && readValue(raw)
  }

  /** A direct child as a tree. */
  child(ref: ChildRef): Element {
    return readContent(this.payload, ref.start, ref.end, this.scope)[0] as Element
  }

  /** All of it as a tree. */
  toElement(): Element {
    const attributes = readAttributes(this.octets, 1, this.scope)
    const content = readContent(this.payload, 0, this.payload.length, this.scope)
    return new Element(this.name, this.ns, attributes, content)
  }
}

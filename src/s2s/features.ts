import type { Element } from '../xmpp/xml.ts'
import type { Frame } from '../xmpp/xml-parser.ts'
import { LIMITS_NS, SASL_NS } from './protocol.ts'

/** What the other side offers on its stream. */
export class Features {
  readonly #all: readonly Element[]

  constructor(frame?: Frame) {
    this.#all = frame?.children.map((ref) => frame.child(ref)) ?? []
  }

  has(name: string, ns: string): boolean {
    return this.#find(name, ns) !== undefined
  }

  hasMechanism(name: string): boolean {
    const offered = this.#find('mechanisms', SASL_NS)?.elements('mechanism') ?? []
    return offered.some(({ text }) => text.trim() === name)
  }

  /** Octets that a stanza may have; undefined if nothing is said (XEP-0478). */
  get maxSize(): number | undefined {
    const size = Number(this.#find('limits', LIMITS_NS)?.child('max-bytes')?.text)
    return size > 0 ? size : undefined
  }

  #find(name: string, ns: string): Element | undefined {
    return this.#all.find((feature) => feature.name === name && feature.ns === ns)
  }
}

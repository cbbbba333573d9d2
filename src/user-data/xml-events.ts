import { open, realpath } from 'node:fs/promises'
import { basename } from 'node:path'
import { type SaxesAttributeNS, SaxesParser, type SaxesTagNS } from 'saxes'
import { Element, type Node } from '../xmpp/xml.ts'
import { UserDataError } from './events.ts'

/** Of one element in memory. */
const MAX_ELEMENT = 64 * 1024 * 1024
/** What stores read back has at most 500. */
const MAX_DEPTH = 400
const CHUNK = 64 * 1024

/** An element begins whose children are told one by one, it ends, or there is a whole one. */
export type XmlEvent =
  | { readonly kind: 'start' | 'whole'; readonly element: Element; readonly line: number }
  | { readonly kind: 'end'; readonly line: number }

/**
 * Reads a file of XML of any size, and tells elements: those that `isOpened` (given the path of names to
 * it, its own last) as start and end, all others as a whole. Document type declarations are refused. Rejects with a
 * `UserDataError` that says where; `onBytes` is told what was read.
 */
export async function* readXml(
  file: string,
  isOpened: (path: readonly Element[]) => boolean,
  onBytes: (bytes: number) => void,
): AsyncGenerator<XmlEvent> {
  const name = basename(file)
  const parser = new SaxesParser({ xmlns: true, position: true })
  const wrong = (text: string) => new UserDataError(`${name}:${parser.line}: ${text}`)
  const reading = new Reading(parser, isOpened, () => {
    throw wrong('elements are too deep inside of one another')
  })
  parser.on('error', (error) => {
    throw wrong(error.message.replace(/^\d+:\d+: /, ''))
  })
  parser.on('doctype', () => {
    throw wrong('document type declarations are not read')
  })
  const decoder = new TextDecoder('utf-8', { fatal: true })
  const decode = (bytes?: Uint8Array) => {
    try {
      return bytes === undefined ? decoder.decode() : decoder.decode(bytes, { stream: true })
    } catch {
      throw wrong('not UTF-8')
    }
  }
  await using handle = await open(await realpath(file), 'r')
  const buffer = Buffer.alloc(CHUNK)
  for (;;) {
    const { bytesRead } = await handle.read(buffer, 0, CHUNK)
    if (bytesRead === 0) break
    onBytes(bytesRead)
    let failure: unknown
    try {
      parser.write(decode(buffer.subarray(0, bytesRead)))
    } catch (error) {
      failure = error
    }
    // What comes before a fault is told.
    yield* reading.take()
    if (failure !== undefined) throw failure
    if (parser.position - reading.since > MAX_ELEMENT) throw wrong('an element is too big')
  }
  parser.write(decode())
  parser.close()
  yield* reading.take()
}

/** Makes elements of what the parser tells. */
class Reading {
  /** Where what is not told yet begins. */
  since = 0
  readonly #parser: SaxesParser<{ xmlns: true; position: true }>
  #events: XmlEvent[] = []
  readonly #opened: Element[] = []
  readonly #building: { readonly element: Element; readonly children: Node[]; line: number }[] = []

  constructor(
    parser: SaxesParser<{ xmlns: true; position: true }>,
    isOpened: (path: readonly Element[]) => boolean,
    onTooDeep: () => never,
  ) {
    this.#parser = parser
    parser.on('opentag', (tag) => {
      const element = elementOf(tag)
      const { line } = parser
      if (this.#building.length === 0 && isOpened([...this.#opened, element])) {
        this.#opened.push(element)
        this.#tell({ kind: 'start', element, line })
        return
      }
      if (this.#building.length >= MAX_DEPTH) onTooDeep()
      this.#building.push({ element, children: [], line })
    })
    parser.on('closetag', () => this.#close())
    const onText = (text: string) => void this.#building.at(-1)?.children.push(text)
    parser.on('text', onText)
    parser.on('cdata', onText)
  }

  take(): readonly XmlEvent[] {
    const events = this.#events
    this.#events = []
    return events
  }

  #close(): void {
    const built = this.#building.pop()
    if (built === undefined) {
      this.#opened.pop()
      this.#tell({ kind: 'end', line: this.#parser.line })
      return
    }
    const { element, children, line } = built
    const { name, ns, attributes } = element
    const whole = new Element(name, ns, attributes, joined(children))
    const outer = this.#building.at(-1)
    if (outer === undefined) this.#tell({ kind: 'whole', element: whole, line })
    else outer.children.push(whole)
  }

  #tell(event: XmlEvent): void {
    this.#events.push(event)
    this.since = this.#parser.position
  }
}

/** Texts that a CDATA section stood between are one. */
function joined(nodes: readonly Node[]): Node[] {
  const all: Node[] = []
  for (const node of nodes) {
    const last = all.at(-1)
    if (typeof node === 'string' && typeof last === 'string') all[all.length - 1] = last + node
    else if (node !== '') all.push(node)
  }
  return all
}

/** As elements of streams are: prefixed attributes bring their declarations. */
function elementOf({ local, uri, attributes }: SaxesTagNS): Element {
  const kept: [string, string][] = []
  for (const { name, prefix, uri: ns, value } of Object.values<SaxesAttributeNS>(attributes)) {
    if (prefix === 'xmlns' || name === 'xmlns') continue
    kept.push([name, value])
    if (prefix !== '' && prefix !== 'xml') kept.push([`xmlns:${prefix}`, ns])
  }
  return new Element(local, uri, Object.fromEntries(kept), [])
}

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { NO_COMMON } from './common-attributes.ts'
import { encode, type Octets } from './octets.ts'
import { StreamError } from './stream-error.ts'
import { type Element, escapeAttribute, serialise } from './xml.ts'
import {
  document,
  fragment,
  mutated,
  PREFIXES,
  pieces,
  STANZAS,
  soup,
} from './xml-parser.documents.ts'
import { type Canonical, judge } from './xml-parser.oracle.ts'
import { type Frame, readElement, XmlStreamParser } from './xml-parser.ts'

/**
 * What must hold for the stream parser whatever comes in. Checked for some seconds by
 * `xml-parser.property.test.ts`, for as long as one likes by `npm run fuzz`.
 */
export const properties: Readonly<Record<string, fc.IRawProperty<unknown, false>>> = {
  'sound streams read as saxes reads them': fc.property(document, pieces, agreesWithOracle),
  'damaged streams are accepted and refused as by saxes': fc.property(
    mutated,
    pieces,
    agreesWithOracle,
  ),
  'nonsense is accepted and refused as by saxes': fc.property(soup, pieces, agreesWithOracle),
  'pieces make no difference': fc.property(
    fc.oneof(document, mutated, soup),
    pieces,
    isTheSameInPieces,
  ),
  'octets read as one element or not at all': fc.property(fragment, readsOrRefuses),
}

interface Reading {
  header: Frame | undefined
  frames: Frame[]
  hasEnded: boolean
  error: StreamError | undefined
}

/** What `XmlStreamParser` makes of `bytes`, pushed in pieces of the given sizes, over and over. */
function read(bytes: Uint8Array, pieces: readonly number[]): Reading {
  const reading: Reading = { header: undefined, frames: [], hasEnded: false, error: undefined }
  const parser = new XmlStreamParser(
    {
      onStreamStart: (header) => {
        reading.header = header
      },
      onElement: (frame) => reading.frames.push(frame),
      onStreamEnd: () => {
        reading.hasEnded = true
      },
    },
    { maxStanzaSize: 1 << 20, maxDepth: 100, maxAttributes: 100 },
  )
  // One piece of memory for all, as sockets may have it: what is kept must have been copied.
  const memory = Buffer.alloc(Math.max(1, ...pieces))
  try {
    for (let at = 0, k = 0; at < bytes.length; k++) {
      const size = Math.max(1, pieces[k % pieces.length] as number)
      const length = memory.write(
        Buffer.from(bytes.subarray(at, at + size)).toString('latin1'),
        'latin1',
      )
      parser.push(memory.subarray(0, length))
      memory.fill(0x3c)
      at += length
    }
  } catch (error) {
    if (!(error instanceof StreamError)) throw error
    reading.error = error
  }
  return reading
}

function canonical(element: Element): Canonical {
  const uriOf = (prefix: string) =>
    prefix === 'xml'
      ? 'http://www.w3.org/XML/1998/namespace'
      : (element.attr(`xmlns:${prefix}`) ?? `undeclared ${prefix}`)
  const attributes: string[] = []
  for (const [name, value] of Object.entries(element.attributes)) {
    const [prefix, local] = name.includes(':') ? name.split(':') : ['', name]
    if (prefix === 'xmlns') continue
    attributes.push(`{${prefix === '' ? '' : uriOf(prefix as string)}}${local}=${value}`)
  }
  const children = element.children.map((node) =>
    typeof node === 'string' ? node : canonical(node),
  )
  return { name: `{${element.ns}}${element.name}`, attributes: attributes.sort(), children }
}

/** A stanza as forwarded: payload as received, under a new start tag in a hostile place. */
function forward(frame: Frame): Octets {
  // A prefix that no generator uses, for an element outside of its own default namespace.
  const isPlain = frame.ns === frame.defaultNs
  const name = encode(isPlain ? frame.name : `forwarded:${frame.name}`)
  let tag = `<${name} xmlns='${escapeAttribute(frame.defaultNs)}'${frame.declarations}`
  if (!isPlain) tag += ` xmlns:forwarded='${escapeAttribute(frame.ns)}'`
  const { from, to, others } = frame.common
  if (from !== undefined) tag += ` from='${escapeAttribute(from)}'`
  if (to !== undefined) tag += ` to='${escapeAttribute(to)}'`
  tag += others
  const element = frame.payload === '' ? `${tag}/>` : `${tag}>${frame.payload}</${name}>`
  const misleading = PREFIXES.map((prefix) => ` xmlns:${prefix}='urn:misleading'`).join('')
  return `<stream xmlns='urn:other'${encode(misleading)}>${element}</stream>` as Octets
}

function agreesWithOracle(bytes: Uint8Array, pieces: readonly number[]): void {
  const verdict = judge(bytes)
  if (verdict.isMoot) return
  const { header, frames, hasEnded, error } = read(bytes, pieces)
  if (!verdict.isAccepted) {
    assert.ok(error !== undefined || !hasEnded, `accepted although: ${verdict.reason}`)
    return
  }
  if (error?.condition === 'bad-format' && /&#/.test(Buffer.from(bytes).toString('latin1'))) {
    // White space written as a reference between stanzas: to saxes like any other.
    return
  }
  assert.equal(error, undefined)
  assert.ok(hasEnded, 'the end was not seen')
  const root = verdict.root as Canonical
  const expected = root.children.filter((child) => typeof child !== 'string')
  assert.deepEqual(canonical((header as Frame).toElement()), { ...root, children: [] })
  assert.deepEqual(
    frames.map((frame) => canonical(frame.toElement())),
    expected,
  )
  for (const [k, frame] of frames.entries()) {
    checkFrame(frame, expected[k] as Canonical)
  }
}

function checkFrame(frame: Frame, expected: Canonical): void {
  const elements = expected.children.filter((child) => typeof child !== 'string')
  assert.deepEqual(
    frame.children.map(({ name, ns }) => `{${ns}}${name}`),
    elements.map(({ name }) => name),
  )
  assert.deepEqual(
    frame.children.map((ref) => canonical(frame.child(ref))),
    elements,
  )
  const texts = expected.children.filter((child) => typeof child === 'string')
  assert.equal(frame.hasText, /[^ \t\r\n]/.test(texts.join('')))

  const tree = frame.toElement()
  const rewritten = judge(Buffer.from(serialise(tree), 'latin1'))
  assert.deepEqual(rewritten.root, expected, 'writing the tree changed the meaning')
  assert.deepEqual(canonical(readElement(serialise(tree), '')), expected)
  for (const [name, value] of Object.entries(tree.attributes)) {
    if (!name.startsWith('xmlns:')) assert.equal(frame.attribute(name), value)
  }
  assert.equal(frame.attribute('none'), undefined)
  if (!STANZAS.includes(frame.name)) return assert.equal(frame.common, NO_COMMON)
  checkCommon(frame, tree)
  const forwarded = judge(Buffer.from(forward(frame), 'latin1'))
  assert.equal(forwarded.reason, '')
  assert.deepEqual(forwarded.root?.children, [expected], 'forwarding changed the meaning')
}

/** What stanzas are made of, against the tree. */
function checkCommon({ common, name, declarations, defaultNs }: Frame, tree: Element): void {
  const { from, to, type, id, hasLang, others } = common
  const expected = [tree.attr('from'), tree.attr('to'), tree.attr('type'), tree.attr('id')]
  assert.deepEqual([from, to, type, id], expected)
  assert.equal(hasLang, tree.attr('xml:lang') !== undefined)
  const tag = readElement(`<${encode(name)}${others}${declarations}/>` as Octets, defaultNs)
  const { attributes } = tree.withAttributes({ from: undefined, to: undefined })
  assert.deepEqual({ ...tag.attributes }, { ...attributes })
}

function isTheSameInPieces(bytes: Uint8Array, pieces: readonly number[]): void {
  const whole = read(bytes, [Math.max(1, bytes.length)])
  const other = read(bytes, pieces)
  assert.deepEqual(other.frames, whole.frames)
  assert.deepEqual(other.header, whole.header)
  assert.equal(other.hasEnded, whole.hasEnded)
  assert.equal(other.error?.message, whole.error?.message)
}

/** Either an element, or a SyntaxError: never anything else, whatever the octets. */
function readsOrRefuses(bytes: Uint8Array): void {
  const octets = Buffer.from(bytes).toString('latin1') as Octets
  let element: Element | undefined
  try {
    element = readElement(octets, 'jabber:client')
  } catch (error) {
    assert.ok(error instanceof SyntaxError)
  }
  const wrapped = judge(Buffer.from(`<s xmlns='jabber:client'>${octets}</s>`, 'latin1'))
  if (wrapped.isMoot) return
  const children = wrapped.isAccepted ? (wrapped.root?.children ?? []) : []
  const isOne = children.length === 1 && /^<.*>$/s.test(octets)
  if (element === undefined) assert.ok(!isOne, 'refused one well-formed element')
  else assert.deepEqual(canonical(element), children[0])
}

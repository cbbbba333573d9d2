import fc from 'fast-check'

/** Prefixes that documents use. */
export const PREFIXES = ['a', 'b', 'stream', 'é', 'xmlish']
const NAMESPACES = ['urn:a', 'urn:b', 'jabber:client', 'http://etherx.jabber.org/streams', 'ü&amp;']
const NAMES = ['x', 'body', 'é', 'à', '_', 'a.b-c·1', '𐀀', '__proto__', 'xmlns1', 'constructor']
export const STANZAS = ['message', 'presence', 'iq']
/** Attributes that they may have (RFC 6120 §8.1). */
const COMMON = ['from', 'to', 'type', 'id']
const TEXTS = [
  'text',
  ' ',
  '\n',
  '\t\r\n',
  '\r',
  ']]',
  ']',
  '"',
  "'",
  'ü',
  '中',
  '😀',
  '&amp;',
  '&lt;',
  '&gt;',
  '&apos;',
  '&quot;',
  '&#32;',
  '&#10;',
  '&#xd;',
  '&#x1F600;',
  '&#0000065;',
  '\u0085',
  '\ufffd',
  '\u00a0',
]

const pick = (from: readonly string[]) => fc.constantFrom(...from)
const space = pick(['', '', '', ' ', '\n\t'])
const someSpace = pick([' ', ' ', '\r\n '])

const prefixed = fc
  .tuple(fc.option(pick(PREFIXES), { freq: 2 }), pick(NAMES))
  .map(([prefix, name]) => (prefix === null ? name : `${prefix}:${name}`))

const value = fc
  .array(fc.oneof(pick(TEXTS), pick(['>', ']]>'])), { maxLength: 3 })
  .map((parts) => parts.join(''))

const quoted = (raw: string) =>
  raw.includes("'")
    ? `"${raw.replaceAll('"', '&quot;')}"`
    : raw.includes('"')
      ? `'${raw}'`
      : `"${raw}"`

const declaration = fc
  .tuple(fc.option(pick(PREFIXES), { freq: 3 }), pick(NAMESPACES))
  .map(([prefix, ns]) => `${prefix === null ? 'xmlns' : `xmlns:${prefix}`}='${ns}'`)

const attribute = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(pick(NAMES), space, space, value).map(asAttribute) },
  { weight: 4, arbitrary: fc.tuple(pick(COMMON), space, space, value).map(asAttribute) },
  { weight: 1, arbitrary: fc.tuple(prefixed, space, space, value).map(asAttribute) },
  { weight: 1, arbitrary: fc.constantFrom("xml:lang='en'", "xmlns=''") },
  { weight: 3, arbitrary: declaration },
)

function asAttribute([name, before, behind, raw]: [string, string, string, string]): string {
  return `${name}${before}=${behind}${quoted(raw)}`
}

/** Attributes of which no two have one name, as far as one sees. */
const attributes = fc.uniqueArray(fc.tuple(someSpace, attribute), {
  maxLength: 6,
  selector: ([, text]) => text.split(/[\s=]/)[0],
})

const text = fc.oneof(
  { weight: 4, arbitrary: pick(TEXTS) },
  {
    weight: 1,
    arbitrary: pick(['', 'x', '<&', ']]', ']', '> ]>', ' ', 'ü', '\r\n']).map(
      (inside) => `<![CDATA[${inside}]]>`,
    ),
  },
)

const { element } = fc.letrec<{ element: string }>((tie) => ({
  element: fc
    .tuple(
      fc.oneof(
        { weight: 3, arbitrary: pick(NAMES) },
        { weight: 3, arbitrary: pick(STANZAS) },
        { weight: 1, arbitrary: prefixed },
      ),
      attributes,
      space,
      fc.array(fc.oneof({ depthSize: 'small' }, text, tie('element')), { maxLength: 4 }),
      fc.boolean(),
    )
    .map(([name, inside, before, children, isShort]) => {
      const tag = `<${name}${inside.map((parts) => parts.join('')).join('')}${before}`
      if (children.length === 0 && isShort) return `${tag}/>`
      return `${tag}>${children.join('')}</${name}${before}>`
    }),
}))

const header = fc
  .tuple(
    pick(['', '', '\ufeff', "<?xml version='1.0'?>", '<?xml version="1.0" encoding="utf-8" ?>\n']),
    fc.boolean(),
    fc.subarray(PREFIXES, { minLength: 3 }),
    attributes,
  )
  .map(([before, isPrefixed, declared, inside]) => {
    const name = isPrefixed ? 'stream:stream' : 'stream'
    const declarations = declared.map((prefix) => ` xmlns:${prefix}='urn:header-${prefix}'`)
    return { before, name, tag: `${name}${declarations.join('')}`, inside }
  })

/** Streams, most of them sound. */
export const document: fc.Arbitrary<Buffer> = fc
  .tuple(header, fc.array(fc.tuple(element, space), { maxLength: 3 }))
  .map(([{ before, name, tag, inside }, elements]) => {
    const names = new Set(tag.split(/[\s=]/))
    const others = inside.filter(([, each]) => !names.has(each.split(/[\s=]/)[0] as string))
    const start = `${before}<${tag}${others.map((parts) => parts.join('')).join('')}>`
    return Buffer.from(`${start}${elements.map((parts) => parts.join('')).join('')}</${name}>`)
  })

/** What makes documents unsound, or might make a parser stumble. */
const TROUBLE: readonly Buffer[] = [
  ...[
    '<',
    '>',
    '/',
    '&',
    ';',
    ':',
    '=',
    '"',
    "'",
    ' ',
    '!',
    '?',
    ']',
    ']]>',
    '</',
    '/>',
    '<a',
    '<a>',
    '</a>',
    '<a/>',
    '<!--',
    '-->',
    '<!-- x -->',
    '<?',
    '?>',
    '<?xml version="1.0"?>',
    '<?x y?>',
    '<!DOCTYPE x>',
    '<!DOCTYPE x [<!ENTITY y "z">]>',
    '<![CDATA[',
    '<![CDATA[x]]>',
    '<![',
    '&#',
    '&#x',
    '&nbsp;',
    '&#0;',
    '&#x0;',
    '&#xFFFE;',
    '&#xD800;',
    '&#x110000;',
    '&#11111111111;',
    '&#x;',
    '&;',
    '&amp',
    'xmlns',
    " xmlns=''",
    " xmlns:a=''",
    " xmlns:a='urn:a'",
    " xmlns:xml='urn:a'",
    " xmlns:xml='http://www.w3.org/XML/1998/namespace'",
    " xmlns='http://www.w3.org/2000/xmlns/'",
    " xmlns:a='http://www.w3.org/2000/xmlns/'",
    " xmlns:xmlns='urn:a'",
    " xmlns:a='http://www.w3.org/XML/1998/namespace'",
    " xmlns:a='http&#58;//www.w3.org/2000/xmlns/'",
    ' x',
    " x=''",
    ' x=y',
    " a:x='' b:x=''",
    ' xml:lang=""',
    'xml:',
    'a:',
    'a:a:',
    'xmlns:a',
    'undeclared:',
    '\0',
    '\u0001',
    '\u007f',
    '\u0080',
    '\ufffe',
    '\uffff',
    '\ufeff',
    '\u00d7',
    '\u037e',
    '\u2028',
    '·',
    '\u0300',
    '-',
    '.',
    '1',
    '\v',
  ].map((text) => Buffer.from(text)),
  ...[
    [0x80],
    [0xc0, 0x80],
    [0xc1, 0xbf],
    [0xc3],
    [0xe0, 0x80, 0x80],
    [0xe0, 0x9f, 0xbf],
    [0xe2, 0x82],
    [0xed, 0xa0, 0x80],
    [0xed, 0xbf, 0xbf],
    [0xef, 0xbf, 0xbe],
    [0xf0, 0x80, 0x80, 0x80],
    [0xf0, 0x9f, 0x98],
    [0xf4, 0x90, 0x80, 0x80],
    [0xf5, 0x80, 0x80, 0x80],
    [0xf8],
    [0xfe],
    [0xff],
  ].map((bytes) => Buffer.from(bytes)),
]

/** Replaces `cut` bytes, at that fraction (0 to 1) of all or at the next such place. */
interface Mutation {
  readonly at: number
  readonly place: string
  readonly cut: number
  readonly insert: Buffer
}

const mutation: fc.Arbitrary<Mutation> = fc.record({
  at: fc.noBias(fc.nat(1000)).map((n) => n / 1000),
  place: fc.constantFrom('there', 'end of a tag', 'behind a tag', 'end of a name'),
  cut: fc.constantFrom(0, 0, 0, 1, 1, 2, 7),
  insert: fc.oneof(
    { weight: 1, arbitrary: fc.constant(Buffer.alloc(0)) },
    { weight: 6, arbitrary: fc.constantFrom(...TROUBLE) },
    {
      weight: 1,
      arbitrary: fc.uint8Array({ minLength: 1, maxLength: 3 }).map((bytes) => Buffer.from(bytes)),
    },
  ),
})

function applied(bytes: Buffer, { at, place, cut, insert }: Mutation): Buffer {
  let start = Math.floor(at * bytes.length)
  if (place === 'end of a tag') start = bytes.indexOf('>', start)
  if (place === 'behind a tag') start = bytes.indexOf('>', start) + 1
  if (place === 'end of a name') start = bytes.indexOf(' ', start)
  start = Math.max(0, start)
  return Buffer.concat([bytes.subarray(0, start), insert, bytes.subarray(start + cut)])
}

/** Streams with something done to them; some are sound still. */
export const mutated: fc.Arbitrary<Buffer> = fc
  .tuple(document, fc.array(mutation, { minLength: 1, maxLength: 2 }))
  .map(([bytes, mutations]) => mutations.reduce(applied, bytes))

/** Streams of nothing but trouble. */
export const soup: fc.Arbitrary<Buffer> = fc
  .array(fc.constantFrom(...TROUBLE, ...TEXTS.map((each) => Buffer.from(each))), { maxLength: 12 })
  .map((parts) =>
    Buffer.concat([
      Buffer.from('<s xmlns:a="urn:a" xmlns:b="urn:a">'),
      ...parts,
      Buffer.from('</s>'),
    ]),
  )

/** One element, sound or not. */
export const fragment: fc.Arbitrary<Buffer> = fc
  .tuple(element, fc.array(mutation, { maxLength: 1 }))
  .map(([octets, mutations]) => mutations.reduce(applied, Buffer.from(octets)))

/** Sizes of the pieces that a stream comes in, in turn. */
export const pieces: fc.Arbitrary<readonly number[]> = fc.oneof(
  fc.constantFrom([1], [2], [3], [600], [1 << 16]),
  fc.array(fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 500, max: 1500 })), {
    minLength: 1,
    maxLength: 8,
  }),
)

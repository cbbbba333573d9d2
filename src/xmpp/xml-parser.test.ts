import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Octets } from './octets.ts'
import { encode } from './octets.ts'
import { type StreamCondition, StreamError } from './stream-error.ts'
import { el } from './xml.ts'
import { type Frame, type ParserLimits, readElement, XmlStreamParser } from './xml-parser.ts'

const HEADER =
  "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='im.example.com'>"

const LIMITS: ParserLimits = { maxStanzaSize: 10_000, maxDepth: 100, maxAttributes: 100 }

/** A parser that notes what it tells: frames, and `start` and `end`. */
function reader(limits: Partial<ParserLimits> = {}) {
  const frames: Frame[] = []
  const events: string[] = []
  const parser: XmlStreamParser = new XmlStreamParser(
    {
      onStreamStart(header) {
        events.push('start')
        frames.push(header)
      },
      onElement(frame) {
        events.push(frame.name)
        frames.push(frame)
      },
      onStreamEnd() {
        events.push('end')
      },
    },
    { ...LIMITS, ...limits },
  )
  const push = (text: string | Buffer) => parser.push(Buffer.from(text as string))
  return { parser, push, frames, events }
}

/** The only element of a stream. */
function read(element: string, header = HEADER): Frame {
  const { push, frames } = reader()
  push(header + element)
  assert.equal(frames.length, 2)
  return frames[1] as Frame
}

/** In one piece and byte by byte. */
function refuses(stream: string | Buffer, condition: StreamCondition, limits = {}): void {
  const bytes = Buffer.from(stream as string)
  const isRefusal = (error: unknown) =>
    error instanceof StreamError && error.condition === condition
  assert.throws(() => reader(limits).push(bytes), isRefusal, bytes.toString())
  const { parser } = reader(limits)
  assert.throws(
    () => {
      for (const byte of bytes) parser.push(Buffer.from([byte]))
    },
    isRefusal,
    `${bytes}, byte by byte`,
  )
}

function refusesElement(element: string | Buffer, condition: StreamCondition, limits = {}): void {
  refuses(Buffer.concat([Buffer.from(HEADER), Buffer.from(element as string)]), condition, limits)
}

function accepts(element: string): void {
  read(element)
  const { parser, events } = reader()
  for (const byte of Buffer.from(HEADER + element)) parser.push(Buffer.from([byte]))
  assert.equal(events.length, 2, element)
}

describe('a stream', () => {
  test('its start tag is a frame without payload', () => {
    const { push, frames, events } = reader()
    push(`<?xml version='1.0'?>${HEADER}`)
    assert.deepEqual(events, ['start'])
    const [header] = frames
    assert.equal(header?.name, 'stream')
    assert.equal(header?.prefix, 'stream')
    assert.equal(header?.ns, 'http://etherx.jabber.org/streams')
    assert.equal(header?.defaultNs, 'jabber:client')
    assert.deepEqual(header?.toElement().attributes, { to: 'im.example.com' })
    assert.equal(header?.payload, '')
    assert.equal(header?.size, HEADER.length)
  })

  test('its prefix is what the header says', () => {
    const { push, events, frames } = reader()
    push("<s:stream xmlns:s='http://etherx.jabber.org/streams'><s:features/></s:stream >")
    assert.deepEqual(events, ['start', 'features', 'end'])
    assert.equal(frames[1]?.ns, 'http://etherx.jabber.org/streams')
    refuses("<s:stream xmlns:s='urn:x'></stream:stream>", 'not-well-formed')
  })

  test('the XML declaration may stand at its very start, behind a byte order mark', () => {
    for (const start of [
      '',
      '\ufeff',
      "<?xml version='1.0'?>",
      '\ufeff<?xml version="1.0"?>\r\n',
      "<?xml\tversion = '1.0'\n encoding = 'utf-8' ?>",
      '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>',
    ]) {
      for (const size of [1, 2, 1000]) {
        const { parser, events } = reader()
        const bytes = Buffer.from(start + HEADER)
        for (let at = 0; at < bytes.length; at += size) parser.push(bytes.subarray(at, at + size))
        assert.deepEqual(events, ['start'], JSON.stringify(start))
      }
    }
    refuses(` <?xml version='1.0'?>${HEADER}`, 'restricted-xml')
    refuses(`${HEADER}<?xml version='1.0'?>`, 'restricted-xml')
    refuses(`<?xml version='1.0'?><?xml version='1.0'?>${HEADER}`, 'restricted-xml')
  })

  test('a declaration of anything but XML 1.0 in UTF-8 is refused', () => {
    refuses("<?xml version='1.0' encoding='ISO-8859-1'?>", 'unsupported-encoding')
    refuses(Buffer.from(`\ufeff${HEADER}`, 'utf16le'), 'unsupported-encoding')
    refuses("<?xml version='1.1'?>", 'not-well-formed')
    refuses('<?xml?>', 'restricted-xml')
    refuses('<?xml ?>', 'not-well-formed')
    refuses("<?xml encoding='UTF-8'?>", 'not-well-formed')
    refuses("<?xml version='1.0' encoding=''?>", 'not-well-formed')
    refuses("<?xml version='1.0'encoding='UTF-8'?>", 'not-well-formed')
    refuses("<?xml version='1.0' standalone='maybe'?>", 'not-well-formed')
    refuses(`<?xml version='1.0'${' '.repeat(300)}?>`, 'not-well-formed')
  })

  test('nothing but white space stands before it', () => {
    const { push, events } = reader()
    push(`\n ${HEADER}`)
    assert.deepEqual(events, ['start'])
    refuses(`x${HEADER}`, 'not-well-formed')
    refuses(`</stream:stream>`, 'not-well-formed')
    refuses(`<![CDATA[x]]>`, 'bad-format')
    refuses('<!-- x -->', 'restricted-xml')
    refuses('<!DOCTYPE x>', 'restricted-xml')
    refuses(Buffer.from([0xef, 0xbb, 0x20]), 'not-well-formed')
  })

  test('white space between stanzas is skipped and not kept; other text is refused', () => {
    const { push, parser, events } = reader()
    push(`${HEADER} \n`)
    push(' ')
    assert.equal(parser.held, 0)
    push('\t<presence/> \r\n<iq/>')
    assert.deepEqual(events, ['start', 'presence', 'iq'])
    for (const text of ['x', '&#32;', '&amp;', '<![CDATA[ ]]>', ']]>']) {
      refusesElement(text, 'bad-format')
    }
  })

  test('it ends with its end tag, and what comes then is ignored', () => {
    const { push, parser, events } = reader()
    push(`${HEADER}</stream:stream\n> <message/>`)
    push('<<<')
    assert.deepEqual(events, ['start', 'end'])
    assert.equal(parser.held, 0)
    refusesElement('</stream>', 'not-well-formed')
    refusesElement('</stream:streams>', 'not-well-formed')
    refusesElement('</ stream:stream>', 'not-well-formed')
    refusesElement(`</${'x'.repeat(20_000)}`, 'policy-violation')
  })

  test('an empty one starts and ends', () => {
    for (const text of ['<stream/>', '<stream />', "<a:stream xmlns:a='urn:a'/>"]) {
      const { push, events } = reader()
      push(text)
      assert.deepEqual(events, ['start', 'end'])
    }
  })
})

describe('a frame', () => {
  test('has names, raw attributes, the payload as received and its direct children', () => {
    const payload = "<body>hé &amp; <b/></body>\n<x xmlns='urn:x'  ><y/></x ><z:z/>"
    const frame = read(
      `<message to="a&apos;b" xmlns:z='urn:z' z:id = 'ü'\n xml:lang='en' >${payload}</message>`,
    )
    assert.equal(frame.name, 'message')
    assert.equal(frame.prefix, '')
    assert.equal(frame.ns, 'jabber:client')
    assert.equal(frame.defaultNs, 'jabber:client')
    assert.equal(frame.payload, encode(payload))
    assert.deepEqual(
      frame.children.map(({ name, ns, start, end }) => [name, ns, frame.payload.slice(start, end)]),
      [
        ['body', 'jabber:client', encode('<body>hé &amp; <b/></body>')],
        ['x', 'urn:x', "<x xmlns='urn:x'  ><y/></x >"],
        ['z', 'urn:z', '<z:z/>'],
      ],
    )
    assert.equal(frame.declarations, " xmlns:z='urn:z'")
  })

  test('knows what all stanzas may have, and has the rest ready for another tag', () => {
    const { common } = read(
      `<message id="a'b" type='&#x63;hat' to='ü@x' z='1' xmlns:y='urn:y' y:z="&quot;"  q= 'r' from='a' p='' xml:lang='de'/>`,
    )
    const { from, to, type, id, hasLang, others } = common
    assert.deepEqual(
      { from, to, type, id, hasLang },
      {
        ...{ from: 'a', to: 'ü@x', type: 'chat', id: "a'b", hasLang: true },
      },
    )
    assert.equal(others, ` id="a'b" type='&#x63;hat' z='1' y:z="&quot;" q='r' p='' xml:lang='de'`)
    assert.deepEqual(
      { ...read("<message xmlns='jabber:client'/>").common },
      {
        ...{ from: undefined, to: undefined, type: undefined, id: undefined, hasLang: false },
        others: '',
      },
    )
  })

  test('of an empty element has no payload, however it is written', () => {
    for (const text of ['<a/>', '<a />', '<a></a>', '<a\n></a\t>']) {
      const frame = read(text)
      assert.equal(frame.payload, '')
      assert.deepEqual(frame.children, [])
      assert.equal(frame.size, text.length)
    }
  })

  test('gives attributes as text: references resolved, white space normalised', () => {
    const frame = read("<a one='&lt;&#x20AC;&#10;\t\r\nü&quot;' two=\"'\" ü='' __proto__='x'/>")
    assert.equal(frame.attribute('one'), '<€\n  ü"')
    assert.equal(frame.attribute('two'), "'")
    assert.equal(frame.attribute('ü'), '')
    assert.equal(frame.attribute('__proto__'), 'x')
    assert.equal(frame.attribute('three'), undefined)
  })

  test('says whether it has text of its own', () => {
    for (const text of ['x', ' x', '&amp;', '&#x41;', '<![CDATA[x]]>', '<b/>x', 'ü', '<b/> ]']) {
      assert.equal(read(`<a>${text}</a>`).hasText, true, text)
    }
    for (const text of [
      '',
      ' \n',
      '&#32;',
      '<b>x</b>',
      '<![CDATA[]]>',
      '<![CDATA[ ]]>',
      ' <b/> ',
    ]) {
      assert.equal(read(`<a>${text}</a>`).hasText, false, text)
    }
  })

  test('reads into trees, whole or child by child', () => {
    const frame = read(
      "<message id='1'>a<![CDATA[<b>]]>&gt;\r\n<x xmlns='urn:x' a='&#9;'><y>1</y><z xmlns=''/></x></message>",
    )
    const x = el('x', { xmlns: 'urn:x', a: '\t' }, el('y', {}, '1'), el('z', { xmlns: '' }))
    const [child] = frame.children
    assert.ok(child)
    assert.deepEqual(frame.child(child), x)
    assert.equal(frame.child(child).elements()[0]?.ns, 'urn:x')
    assert.equal(frame.child(child).elements('z', '')[0]?.ns, '')
    assert.deepEqual(
      frame.toElement(),
      el('message', { xmlns: 'jabber:client', id: '1' }, 'a<b>>\n', x),
    )
  })

  test('keeps the namespaces of attributes when it is read into a tree', () => {
    const frame = read("<a xmlns:p='urn:p'><b p:x='1'/></a>")
    assert.deepEqual(frame.toElement().child('b')?.attributes, { 'p:x': '1', 'xmlns:p': 'urn:p' })
  })

  test('names the declarations that its payload needs from outside', () => {
    const header = "<s:s xmlns:s='urn:s' xmlns:p='urn:&amp;\"p' xmlns:q='urn:q' xmlns='urn:d'>"
    const cases: [string, string][] = [
      ['<a><b/></a>', ''],
      ['<a><p:b/></a>', " xmlns:p='urn:&amp;&quot;p'"],
      ["<a><p:b/><p:b p:c=''/></a>", " xmlns:p='urn:&amp;&quot;p'"],
      ["<a><b p:c=''/><q:b/></a>", " xmlns:p='urn:&amp;&quot;p' xmlns:q='urn:q'"],
      ["<a><p:b xmlns:p='urn:own'/></a>", ''],
      ["<a xmlns:p='urn:own'><p:b/></a>", " xmlns:p='urn:own'"],
      ["<a xmlns:r='urn:r'/>", ''],
      ["<a p:x=''/>", " xmlns:p='urn:&amp;&quot;p'"],
      ['<p:a/>', ''],
      ["<a xml:lang='en'><b xml:lang='de'/></a>", ''],
    ]
    for (const [element, declarations] of cases) {
      assert.equal(read(element, header).declarations, declarations, element)
    }
  })
})

describe('well-formedness', () => {
  test('tags', () => {
    for (const element of [
      '<a><b></b></a>',
      '<a\t\n\r />',
      '<a></a \n>',
      '<a b = \'c\'\nd="e" />',
      "<a b='>' c='/>' d='\"'/>",
      '<a-._1/>',
      '<é/>',
      '<a·/>',
      '<𐀀/>',
      '<_/>',
      `<${'n'.repeat(300)}></${'n'.repeat(300)}>`,
    ]) {
      accepts(element)
    }
    for (const element of [
      '<a></b>',
      '<a></ab>',
      '<ab></a>',
      '<a><b></a></b>',
      '<a></a b>',
      '<a></>',
      '<>',
      '< a/>',
      '<1/>',
      '<-a/>',
      '<.a/>',
      '<·a/>',
      '<×/>',
      '<a/ >',
      '<a//>',
      '<a b/>',
      '<a b=c/>',
      "<a b='c'd='e'/>",
      "<a b='c'/ >",
      "<a b=''''/>",
      "<a ='c'/>",
      "<a 1='c'/>",
      "<a b='<'/>",
      "<a b 'c'/>",
      '<a<b/>',
      '<\u0000>',
      '<a$/>',
    ]) {
      refusesElement(element, 'not-well-formed')
    }
  })

  test('attributes: no two of one name, literally or by namespace', () => {
    accepts("<a b='' B='' bb='' é=''/>")
    accepts("<a xmlns:p='urn:1' xmlns:q='urn:2' p:b='' q:b='' b=''/>")
    refusesElement("<a b='' c='' b=''/>", 'not-well-formed')
    refusesElement("<a é='' é=''/>", 'not-well-formed')
    refusesElement("<a xmlns='urn:a' xmlns='urn:a'/>", 'not-well-formed')
    refusesElement("<a xml:lang='' xml:lang=''/>", 'not-well-formed')
    refusesElement("<a xmlns:p='urn:1' xmlns:q='urn:1' p:b='' q:b=''/>", 'not-well-formed')
    refusesElement("<a q:b='' p:b='' xmlns:p='urn:1' xmlns:q='urn:&#49;'/>", 'not-well-formed')
  })

  test('character data', () => {
    for (const text of [
      ']]',
      ']] >',
      ']&gt;',
      ']]&gt;',
      '>',
      '"',
      "'",
      '\t\r\n',
      '\u0085',
      '\u007f',
    ]) {
      accepts(`<a>${text}</a>`)
      accepts(`<a b="${text.replace('"', '')}"/>`)
    }
    refusesElement('<a>]]></a>', 'not-well-formed')
    refusesElement('<a>]]]></a>', 'not-well-formed')
    for (const character of [
      '\u0000',
      '\u0001',
      '\u0008',
      '\u000b',
      '\u000c',
      '\u001f',
      '\ufffe',
      '\uffff',
    ]) {
      refusesElement(`<a>${character}</a>`, 'not-well-formed')
      refusesElement(`<a>ü ${character}</a>`, 'not-well-formed')
      refusesElement(`<a b='${character}'/>`, 'not-well-formed')
      refusesElement(`<a><![CDATA[${character}]]></a>`, 'not-well-formed')
    }
  })

  test('UTF-8', () => {
    for (const text of ['\u0080', '߿', 'ࠀ', '\ud7ff', '\ue000', '\ufffd', '𐀀', '\u{10ffff}']) {
      accepts(`<a>${text}</a>`)
      accepts(`<a b='${text}'/>`)
      accepts(`<a><![CDATA[${text}]]></a>`)
    }
    for (const bytes of [
      [0x80],
      [0xbf],
      [0xc0, 0x80],
      [0xc1, 0xbf],
      [0xc3, 0x28],
      [0xc3, 0xc3],
      [0xe0, 0x80, 0xaf],
      [0xe0, 0x9f, 0xbf],
      [0xe2, 0x82, 0x28],
      [0xe2, 0x28, 0xa1],
      [0xed, 0xa0, 0x80],
      [0xed, 0xbf, 0xbf],
      [0xf0, 0x80, 0x80, 0x80],
      [0xf0, 0x8f, 0xbf, 0xbf],
      [0xf0, 0x9f, 0x98, 0x28],
      [0xf4, 0x90, 0x80, 0x80],
      [0xf5, 0x80, 0x80, 0x80],
      [0xff],
    ]) {
      for (const [before, behind] of [
        ['<a>', '</a>'],
        ["<a b='", "'/>"],
        ['<a', '/>'],
        ['<a><![CDATA[', ']]></a>'],
      ] as const) {
        refusesElement(
          Buffer.concat([Buffer.from(before), Buffer.from(bytes), Buffer.from(behind)]),
          'not-well-formed',
        )
      }
    }
  })

  test('references', () => {
    for (const reference of [
      ...['&lt;', '&gt;', '&amp;', '&apos;', '&quot;', '&#9;', '&#65;', '&#x41;', '&#xaF;'],
      ...['&#xD7FF;', '&#xE000;', '&#xFFFD;', '&#x10000;', '&#x10FFFF;', '&#00000000000065;'],
    ]) {
      accepts(`<a>${reference}</a>`)
      accepts(`<a b='${reference}'/>`)
    }
    for (const reference of [
      ...['&', '& ', '&;', '&lt', '&lt ;', '&#;', '&#x;', '&#X41;', '&#4a;', '&#xg;', '&#-1;'],
      ...['&#0;', '&#8;', '&#xB;', '&#xD800;', '&#xDFFF;', '&#xFFFE;', '&#xFFFF;', '&#x110000;'],
      ...['&#99999999999999999999;', '&é;', '&<'],
    ]) {
      refusesElement(`<a>${reference}</a>`, 'not-well-formed')
      refusesElement(`<a b='${reference}'/>`, 'not-well-formed')
    }
  })

  test('CDATA sections', () => {
    for (const inside of ['', 'x', '<&>', ']', ']]', ']>', ']]]', '> ]]', '\r\n', 'ü']) {
      accepts(`<a><![CDATA[${inside}]]></a>`)
    }
    assert.deepEqual(read('<a>1<![CDATA[]]]]><![CDATA[>&amp;]]>2</a>').toElement().children, [
      '1]]>&amp;2',
    ])
    refusesElement('<a><![CDATA[]]>]]></a>', 'not-well-formed')
    refusesElement("<a b='<![CDATA[]]>'/>", 'not-well-formed')
  })
})

describe('namespaces', () => {
  test('sound ones', () => {
    for (const element of [
      "<a xmlns=''/>",
      "<a xmlns='urn:a'><b xmlns=''/></a>",
      "<p:a xmlns:p='urn:p' p:b=''><p:c/></p:a>",
      "<a xml:lang='en' xml:space='preserve'/>",
      '<xml:a/>',
      "<a xmlns:xml='http://www.w3.org/XML/1998/namespace'/>",
      "<a xmlns:é='urn:é'><é:é/></a>",
      "<a xmlns:p='urn:p'><b xmlns:p='urn:q' p:x=''/></a>",
      "<a xmlns1='' xmlnsp=''/>",
      '<stream:a/>',
    ]) {
      accepts(element)
    }
  })

  test('unsound ones', () => {
    for (const element of [
      '<p:a/>',
      "<a p:b=''/>",
      "<a><b xmlns:p='urn:p'/><p:c/></a>",
      "<a xmlns:p=''/>",
      "<a xmlns:p='urn:p'><b xmlns:p=''/></a>",
      "<a xmlns:='urn:a'/>",
      "<a :b=''/>",
      '<:a/>',
      '<a:/>',
      '<a:b:c/>',
      "<a xmlns:p='urn:p' p:b:c=''/>",
      "<a xmlns:p='urn:p'><p:1/></a>",
      "<a xmlns:p='urn:p'><p:·/></a>",
      "<a xmlns:1='urn:p'/>",
      "<a xmlns:xml='urn:a'/>",
      "<a xmlns:p='http://www.w3.org/XML/1998/namespace'/>",
      "<a xmlns='http://www.w3.org/XML/1998/namespace'/>",
      "<a><b><c xmlns='http://www.w3.org/XML/1998/namespac&#101;'/></b></a>",
      "<a><b><c xmlns='http://www.w3.org/2000/xmlns/'/></b></a>",
      "<a xmlns:p='http://www.w3.org/2000/xmlns/'/>",
      "<a xmlns:xmlns='urn:a'/>",
      "<a xmlns:xmlns='http://www.w3.org/2000/xmlns/'/>",
      '<xmlns:a/>',
      "<a xml:='x'/>",
    ]) {
      refusesElement(element, 'not-well-formed')
    }
  })

  test('a declaration holds for its element and what is in it', () => {
    refusesElement("<a xmlns:p='urn:p'/><p:b/>", 'not-well-formed')
    const frame = read("<a xmlns:p='urn:p'><b xmlns:p='urn:q'><p:c/></b><p:d/></a>")
    assert.deepEqual(
      frame.children.map(({ ns }) => ns),
      ['jabber:client', 'urn:p'],
    )
    assert.equal(frame.toElement().elements()[0]?.elements('c', 'urn:q').length, 1)
  })
})

test('what RFC 6120 §11.1 forbids is refused anywhere', () => {
  for (const [before, behind] of [
    [HEADER, ''],
    [`${HEADER}<a>`, '</a>'],
    [`${HEADER}<a>x`, 'x</a>'],
  ] as const) {
    for (const piece of [
      '<!-- x -->',
      '<?php ?>',
      '<!DOCTYPE a>',
      '<!ENTITY a "b">',
      '<!x',
      '<![x',
    ]) {
      refuses(before + piece + behind, 'restricted-xml')
    }
  }
  for (const reference of ['&nbsp;', '&x;', '&ltx;', '&amplified;', `&${'x'.repeat(50)};`]) {
    refusesElement(`<a>${reference}</a>`, 'restricted-xml')
    refusesElement(`<a b='${reference}'/>`, 'restricted-xml')
  }
})

describe('limits', () => {
  test('the size of an element is bounded to the byte', () => {
    const element = `<a b='${'x'.repeat(50)}'>${'y'.repeat(50)}</a>`
    const limits = { maxStanzaSize: element.length }
    const { push, events } = reader({ maxStanzaSize: HEADER.length })
    push(HEADER)
    const exact = reader(limits)
    exact.parser.limits = LIMITS
    exact.push(HEADER)
    exact.parser.limits = { ...LIMITS, ...limits }
    exact.push(element + element)
    assert.deepEqual(exact.events, ['start', 'a', 'a'])
    assert.deepEqual(events, ['start'])
    exact.parser.limits = { ...LIMITS, maxStanzaSize: element.length - 1 }
    assert.throws(() => exact.push(element), { condition: 'policy-violation' })
    refuses(HEADER, 'policy-violation', { maxStanzaSize: HEADER.length - 1 })
  })

  test('too big is refused as soon as it is, in one chunk or many', () => {
    const { push, parser } = reader({ maxStanzaSize: 200 })
    push(`${HEADER}<a b='`)
    assert.throws(
      () => {
        for (let k = 0; k < 195; k++) push('x')
      },
      { condition: 'policy-violation' },
    )
    assert.equal(parser.held, 0)
    // The tag is unsound, but beyond what is looked at.
    refusesElement(`<a>${'x'.repeat(200)}</b>`, 'policy-violation', { maxStanzaSize: 200 })
  })

  test('depth counts the stream as 0', () => {
    const { push, events } = reader({ maxDepth: 2 })
    push(`${HEADER}<a><b/><b></b></a>`)
    assert.deepEqual(events, ['start', 'a'])
    refusesElement('<a><b><c/></b></a>', 'policy-violation', { maxDepth: 2 })
    refusesElement("<a><b><c d='&amp;'/></b></a>", 'policy-violation', { maxDepth: 2 })
  })

  test('attributes of an element, and prefixes in scope, are bounded', () => {
    const limits = { maxAttributes: 3 }
    const { push, events } = reader(limits)
    push(`${HEADER}<a b='' c='' d=''><e b='' c='' d=''/><e b='' c='' d=''/></a>`)
    assert.deepEqual(events, ['start', 'a'])
    refusesElement("<a b='' c='' d='' e=''/>", 'policy-violation', limits)
    refusesElement("<a><b b='' c='' d='' e='&amp;'/></a>", 'policy-violation', limits)
    refusesElement(
      "<a xmlns:p='urn:p'><b xmlns:q='urn:q'><c xmlns:r='urn:r'/></b></a>",
      'policy-violation',
      limits,
    )
  })

  test('deep elements can be read', () => {
    const element = `${'<a>'.repeat(99)}x${'</a>'.repeat(99)}`
    let inner = read(element).toElement()
    for (let depth = 1; depth < 99; depth++) inner = inner.child('a') ?? el('none')
    assert.equal(inner.text, 'x')
  })
})

describe('the parser', () => {
  test('keeps nothing of the chunk', () => {
    const { parser, frames } = reader()
    const memory = Buffer.alloc(300)
    for (const text of [HEADER, "<a id='1'><b", ">text</b></a><c id='", "2'/>"]) {
      const length = memory.write(text)
      parser.push(memory.subarray(0, length))
      memory.fill('<')
    }
    assert.deepEqual(
      frames.map((frame) => [frame.attribute('to') ?? frame.attribute('id'), frame.payload]),
      [
        ['im.example.com', ''],
        ['1', '<b>text</b>'],
        ['2', ''],
      ],
    )
  })

  test('reads the same from pieces of any size', () => {
    const elements = Array.from({ length: 200 }, (_, k) => {
      const text = 'text &amp; ü '.repeat((k * 7) % 90)
      return `<message id='${k}'><body>${text}</body><x xmlns='urn:${k}'/></message>\n`
    })
    const bytes = Buffer.from(HEADER + elements.join(''))
    const { push, frames } = reader()
    push(bytes)
    assert.equal(frames.length, 201)
    for (const size of [1, 7, 100, 511, 512, 513, 600, 1024, 1400, 4096, 16_384]) {
      const other = reader()
      const memory = Buffer.alloc(size)
      for (let at = 0; at < bytes.length; at += size) {
        const length = bytes.copy(memory, 0, at, at + size)
        other.parser.push(memory.subarray(0, length))
        memory.fill('<')
      }
      assert.deepEqual(other.frames, frames, `pieces of ${size}`)
    }
  })

  test('counts what it holds of an unfinished element, and holds nothing between elements', () => {
    const { parser, push } = reader()
    push(`${HEADER}<a/><b>12`)
    assert.equal(parser.held, 5)
    push('3</b')
    assert.equal(parser.held, 9)
    push('> ')
    assert.equal(parser.held, 0)
  })

  test('an exception of the handler leaves through push; what comes then is ignored', () => {
    const { parser, push, events } = reader()
    const failing: XmlStreamParser = new XmlStreamParser(
      {
        onStreamStart() {},
        onElement() {
          events.push('called')
          throw new RangeError('mine')
        },
        onStreamEnd() {},
      },
      LIMITS,
    )
    assert.throws(() => failing.push(Buffer.from(`${HEADER}<a/><b/>`)), RangeError)
    failing.push(Buffer.from('<c/>'))
    assert.deepEqual(events, ['called'])
    push(HEADER)
    assert.throws(() => push('<a></b>'), StreamError)
    push('<c/>')
    assert.deepEqual(events, ['called', 'start'])
    assert.equal(parser.held, 0)
  })

  test('pauses behind an element and goes on when told to', () => {
    const events: string[] = []
    const parser: XmlStreamParser = new XmlStreamParser(
      {
        onStreamStart: () => events.push('start'),
        onElement: ({ name }) => {
          events.push(name)
          if (name === 'wait') parser.pause()
        },
        onStreamEnd: () => events.push('end'),
      },
      LIMITS,
    )
    parser.push(Buffer.from(`${HEADER}<wait/><a/><wait/><b`))
    assert.deepEqual(events, ['start', 'wait'])
    assert.equal(parser.held, 4 + 7 + 2)
    parser.push(Buffer.from('/></stream:'))
    assert.deepEqual(events, ['start', 'wait'])
    parser.resume()
    assert.deepEqual(events, ['start', 'wait', 'a', 'wait'])
    parser.resume()
    assert.deepEqual(events, ['start', 'wait', 'a', 'wait', 'b'])
    parser.push(Buffer.from('stream>'))
    assert.deepEqual(events, ['start', 'wait', 'a', 'wait', 'b', 'end'])
  })

  test('may be paused and resumed, but not fed, by its handler', () => {
    const events: string[] = []
    const parser: XmlStreamParser = new XmlStreamParser(
      {
        onStreamStart: () => {},
        onElement: ({ name }) => {
          events.push(name)
          parser.pause()
          parser.resume()
          if (name === 'b') parser.push(Buffer.from('<d/>'))
        },
        onStreamEnd: () => {},
      },
      LIMITS,
    )
    assert.throws(() => parser.push(Buffer.from(`${HEADER}<a/><b/><c/>`)), /push by a handler/)
    assert.deepEqual(events, ['a', 'b'])
  })

  test('a reset begins a new stream with what is behind the last element', () => {
    const events: string[] = []
    const parser: XmlStreamParser = new XmlStreamParser(
      {
        onStreamStart: ({ defaultNs }) => events.push(defaultNs),
        onElement: ({ name }) => {
          events.push(name)
          if (name === 'response') parser.reset()
        },
        onStreamEnd: () => events.push('end'),
      },
      LIMITS,
    )
    parser.push(Buffer.from(`${HEADER}<response/>\n<?xml version='1.0'?><stream xmlns='urn:new'>`))
    parser.push(Buffer.from('<a/></stream>'))
    assert.deepEqual(events, ['jabber:client', 'response', 'urn:new', 'a', 'end'])
    assert.equal(parser.reset(), 0)
    parser.push(Buffer.from(HEADER))
    assert.deepEqual(events.slice(5), ['jabber:client'])
  })

  test('a reset can discard what was waiting, and says how much that was', () => {
    const discarded: number[] = []
    const events: string[] = []
    const parser: XmlStreamParser = new XmlStreamParser(
      {
        onStreamStart: () => events.push('start'),
        onElement: ({ name }) => {
          events.push(name)
          if (name === 'starttls') discarded.push(parser.reset({ discard: true }))
          if (name === 'later') parser.pause()
        },
        onStreamEnd: () => {},
      },
      LIMITS,
    )
    parser.push(Buffer.from(`${HEADER}<starttls/><evil/>`))
    assert.deepEqual(discarded, [7])
    parser.push(Buffer.from(`${HEADER}<later/><evil/><ev`))
    parser.push(Buffer.from('il/>'))
    assert.equal(parser.reset({ discard: true }), 14)
    parser.resume()
    assert.equal(parser.held, 0)
    parser.push(Buffer.from(HEADER))
    assert.deepEqual(events, ['start', 'starttls', 'start', 'later', 'start'])

    // However the bytes had come.
    const injected = `${HEADER}${'<evil/>'.repeat(300)}`
    parser.push(Buffer.from('<start'))
    parser.push(Buffer.from(`tls/>${injected}`))
    assert.equal(discarded.at(-1), injected.length)
    assert.equal(parser.held, 0)
    assert.equal(events.at(-1), 'starttls')
  })
})

describe('readElement', () => {
  test('reads one element in the namespace around it', () => {
    const element = readElement(encode("<a b='ü'><c xmlns='urn:c'>é</c></a>"), 'urn:a')
    assert.deepEqual(element, el('a', { xmlns: 'urn:a', b: 'ü' }, el('c', { xmlns: 'urn:c' }, 'é')))
  })

  test('refuses everything else', () => {
    for (const octets of [
      ...['', ' ', 'x', '<a>', '<a', '</a>', '<a/><b/>', ' <a/>', '<a/> ', '<a/>x', '<p:a/>'],
      ...['<a>&x;</a>', '<!-- --><a/>', "<?xml version='1.0'?><a/>", '<a>\u00ff</a>', '<a>\0</a>'],
      `${'<a>'.repeat(501)}${'</a>'.repeat(501)}`,
    ]) {
      assert.throws(() => readElement(octets as Octets, ''), SyntaxError, octets)
    }
  })
})

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import {
  isBareJid,
  isFullJid,
  type Jid,
  JidError,
  jid,
  parseBare,
  parseJid,
  prepareDomainpart,
  prepareLocalpart,
  prepareResource,
  tryParseJid,
} from './jid.ts'
import { prepareUsername } from './precis.ts'

type Parts = readonly [local: string, domain: string, resource: string]

const partsOf = ({ local, domain, resource }: Jid): Parts => [local, domain, resource]

describe('RFC 7622 §3.5', () => {
  const legal: Record<string, Parts> = {
    'juliet@example.com': ['juliet', 'example.com', ''],
    'juliet@example.com/foo': ['juliet', 'example.com', 'foo'],
    'juliet@example.com/foo bar': ['juliet', 'example.com', 'foo bar'],
    'juliet@example.com/foo@bar': ['juliet', 'example.com', 'foo@bar'],
    'foo\\20bar@example.com': ['foo\\20bar', 'example.com', ''],
    'fussball@example.com': ['fussball', 'example.com', ''],
    'fu\u00DFball@example.com': ['fu\u00DFball', 'example.com', ''],
    '\u03C0@example.com': ['\u03C0', 'example.com', ''],
    '\u03A3@example.com/foo': ['\u03C3', 'example.com', 'foo'],
    '\u03C3@example.com/foo': ['\u03C3', 'example.com', 'foo'],
    '\u03C2@example.com/foo': ['\u03C2', 'example.com', 'foo'],
    'king@example.com/\u265A': ['king', 'example.com', '\u265A'],
    'example.com': ['', 'example.com', ''],
    'example.com/foobar': ['', 'example.com', 'foobar'],
    'a.example.com/b@example.net': ['', 'a.example.com', 'b@example.net'],
    // Example 18, among the illegal ones by mistake (erratum 4560).
    'juliet@example.com/ foo': ['juliet', 'example.com', ' foo'],
  }
  for (const [text, parts] of Object.entries(legal)) {
    test(`takes ${text}`, () => assert.deepEqual(partsOf(parseJid(text)), parts))
  }

  const illegal = [
    '"juliet"@example.com',
    'foo bar@example.com',
    '@example.com/',
    'henry\u2163@example.com',
    '\u265A@example.com',
    'juliet@',
    '/foobar',
  ]
  for (const text of illegal) {
    test(`refuses ${text}`, () => assert.throws(() => parseJid(text), JidError))
  }
})

describe('parts', () => {
  const mapped: Record<string, string> = {
    'JULIET@EXAMPLE.COM/Balcony': 'juliet@example.com/Balcony',
    'juliet@example.com.': 'juliet@example.com',
    'juliet@example.com./balcony': 'juliet@example.com/balcony',
    'juliet@example.com/a/b@c': 'juliet@example.com/a/b@c',
    'juliet@example.com/\u00A0x': 'juliet@example.com/ x',
    'juliet@example.com/cafe\u0301': 'juliet@example.com/caf\u00E9',
    '\uFF2A\uFF35\uFF2C\uFF29\uFF25\uFF34@example.com': 'juliet@example.com',
    'juliet@\uFF25xample\uFF0Ecom': 'juliet@example.com',
    'juliet@[::1]/x': 'juliet@[::1]/x',
    'juliet@[2001:DB8::A]': 'juliet@[2001:db8::a]',
    '[fe80::1%25Eth0]': '[fe80::1%25Eth0]',
    '[::ffff:192.0.2.1]': '[::ffff:192.0.2.1]',
    '[v1.A:b]': '[v1.a:b]',
    'juliet@192.0.2.1': 'juliet@192.0.2.1',
    'user+tag(1)*!#$%=?^_`{|}~;,.-[]@example.com': 'user+tag(1)*!#$%=?^_`{|}~;,.-[]@example.com',
    chat_1: 'chat_1',
    localhost: 'localhost',
  }
  for (const [text, canonical] of Object.entries(mapped)) {
    test(`${text} is ${canonical}`, () => assert.equal(parseJid(text).full, canonical))
  }

  const refused = [
    '',
    '@',
    '/',
    '@/',
    '@example.com',
    'juliet@example.com/',
    'example.com/',
    'a@b@example.com',
    'a:b@example.com',
    "o'neill@example.com",
    'a&b@example.com',
    'a<b@example.com',
    'a>b@example.com',
    'a\uFF20b@example.com',
    'a\u0000@example.com',
    'a@exam ple.com',
    'a@example..com',
    'a@.example.com',
    'a@example.com..',
    'a@-example.com',
    'a@example-.com',
    'a@ab--cd.example',
    'a@[::1',
    'a@::1',
    'a@[]',
    'a@[1.2.3.4]',
    'a@[::1%eth0]',
    'a@[::1]:5222',
    'a@[v1]',
    'a@example.com:5222',
    'a@example.com/\u0000',
    'a@example.com/\u007F',
    'a@example.com/\uD800',
    'a@example.com/\uE000',
    'a@example.com/\u200B',
    'a\uDC00@example.com',
    'a@\uD800.com',
  ]
  for (const text of refused) {
    test(`refuses ${JSON.stringify(text)}`, () => assert.throws(() => parseJid(text), JidError))
  }

  test('each is at most 1023 octets', () => {
    const most = 'a'.repeat(1023)
    assert.equal(parseJid(`${most}@example.com/${most}`).full.length, 1023 * 2 + 13)
    assert.throws(() => parseJid(`${most}a@example.com`), JidError)
    assert.throws(() => parseJid(`example.com/${most}a`), JidError)

    const threeOctets = '\u540D'.repeat(341)
    assert.equal(parseJid(`${threeOctets}@example.com`).local, threeOctets)
    assert.throws(() => parseJid(`${threeOctets}a@example.com`), JidError)
    assert.throws(() => parseJid(`example.com/${threeOctets}a`), JidError)
  })

  test('the limit is for the prepared form', () => {
    const decomposed = 'u\u0308\u0304'.repeat(511)
    assert.equal(parseJid(`${decomposed}@example.com`).local, '\u01D6'.repeat(511))
    assert.throws(() => parseJid(`${'u\u0308\u0304'.repeat(512)}@example.com`), JidError)
    assert.throws(() => parseJid(`example.com/${'a'.repeat(1e6)}`), JidError)
    assert.throws(() => parseJid(`${'\u0130'.repeat(512)}@example.com`), JidError)
  })
})

describe('Jid', () => {
  const balcony = parseJid('Juliet@example.com/balcony')

  test('tells bare, full and domain addresses', () => {
    const rows = ['juliet@example.com', 'juliet@example.com/x', 'example.com', 'example.com/x'].map(
      (text) => {
        const it = parseJid(text)
        assert.equal(isBareJid(it), it.isBare)
        assert.equal(isFullJid(it), it.isFull)
        return [it.isBare, it.isFull, it.isDomain]
      },
    )
    assert.deepEqual(rows, [
      [true, false, false],
      [false, true, false],
      [true, false, true],
      [false, true, false],
    ])
  })

  test('has a bare form, always the same object', () => {
    assert.equal(balcony.bare, 'juliet@example.com')
    assert.equal(balcony.toBare().full, 'juliet@example.com')
    assert.equal(balcony.toBare(), balcony.toBare())
    assert.equal(balcony.toBare().toBare(), balcony.toBare())
    assert.equal(balcony.toBare().bare, 'juliet@example.com')
  })

  test('takes a resource, prepared', () => {
    assert.equal(balcony.withResource('cafe\u0301').full, 'juliet@example.com/caf\u00E9')
    assert.equal(balcony.withResource('balcony'), balcony)
    assert.equal(parseJid('example.com').withResource('x').full, 'example.com/x')
    assert.throws(() => balcony.withResource(''), JidError)
    assert.throws(() => balcony.withResource('\u0007'), JidError)
  })

  test('compares by canonical text', () => {
    assert.ok(balcony.equals(parseJid('JULIET@EXAMPLE.com./balcony')))
    assert.ok(!balcony.equals(parseJid('juliet@example.com/Balcony')))
    assert.ok(!balcony.equals(balcony.toBare()))
    assert.ok(balcony.bareEquals(parseJid('juliet@example.com')))
    assert.ok(!balcony.bareEquals(parseJid('romeo@example.com/balcony')))
  })

  test('is its canonical text as a string and in JSON', () => {
    assert.equal(`${balcony}`, 'juliet@example.com/balcony')
    assert.equal(JSON.stringify({ balcony }), '{"balcony":"juliet@example.com/balcony"}')
  })

  test('has octets that may stand in either quotes', () => {
    assert.equal(balcony.octets, 'juliet@example.com/balcony')
    const odd = parseJid(`example.com/<&>"'\u265A`)
    assert.equal(odd.octets, 'example.com/&lt;&amp;&gt;&quot;&apos;\xE2\x99\x9A')
    assert.equal(odd.octets, odd.octets)
  })
})

describe('parsing', () => {
  test('gives one object for raw and canonical text', () => {
    const raw = parseJid('Mercutio@Example.com/Plague')
    assert.equal(parseJid('mercutio@example.com/Plague'), raw)
    assert.equal(parseJid('Mercutio@Example.com/Plague'), raw)
    assert.equal(parseJid('mercutio@example.com'), raw.toBare())
  })

  test('gives equal addresses after a stranger sent many, and for long ones', () => {
    const before = parseJid('tybalt@example.com')
    for (let i = 0; i < 70_000; i++) parseJid(`stranger-${i}.example`)
    const after = parseJid('tybalt@example.com')
    assert.notEqual(after, before)
    assert.ok(after.equals(before))

    const long = `example.com/${'x'.repeat(300)}`
    assert.notEqual(parseJid(long), parseJid(long))
    assert.ok(parseJid(long).equals(parseJid(long)))
  })

  test('keeps what is asked for again and again', () => {
    const kept = parseJid('nurse@example.com')
    for (let i = 0; i < 70_000; i++) {
      parseJid(`visitor-${i}.example`)
      if (i % 10_000 === 0) assert.equal(parseJid('nurse@example.com'), kept)
    }
  })

  test('tryParseJid answers undefined', () => {
    assert.equal(tryParseJid(undefined), undefined)
    assert.equal(tryParseJid('@'), undefined)
    assert.equal(tryParseJid('example.com')?.full, 'example.com')
  })

  test('parseBare refuses a resource', () => {
    assert.equal(parseBare('Romeo@example.net').full, 'romeo@example.net')
    assert.throws(() => parseBare('romeo@example.net/orchard'), JidError)
  })

  test('jid prepares its parts', () => {
    assert.equal(jid('Romeo', 'EXAMPLE.net').full, 'romeo@example.net')
    assert.equal(jid('', 'example.net', 'x').full, 'example.net/x')
    assert.equal(jid('romeo', 'example.net', 'x'), parseJid('romeo@example.net/x'))
    assert.throws(() => jid('a@b', 'example.net'), JidError)
    assert.throws(() => jid('a', 'example.net/x'), JidError)
    assert.throws(() => jid('a', ''), JidError)
  })
})

describe('properties', () => {
  /** Text rich in what the rules are about. */
  const pieces = fc.constantFrom(
    ...[
      '@',
      '/',
      '.',
      ':',
      '[',
      ']',
      '::1',
      'xn--',
      'bcher-kva',
      '--',
      '-',
      '_',
      ' ',
      'a',
      'B',
      '1',
    ],
    ...[
      '\u00DF',
      '\u03A3',
      '\u0130',
      '\u0131',
      '\u0301',
      '\u0345',
      '\u1E9E',
      '\u01C5',
      '\u212A',
      '\u2163',
    ],
    ...['\u05D0', '\u0627', '\u0661', '\u06F1', '\u0644', '\u0651', '\u05F3', '\u094D', '\u0915'],
    ...[
      '\u200C',
      '\u200D',
      '\u00B7',
      'l',
      '\u0375',
      '\u30FB',
      '\u30AB',
      '\uFF76',
      '\uFF9E',
      '\u3002',
    ],
    ...[
      '\u13A0',
      '\uAB70',
      '\u1100',
      '\u1161',
      '\uFF21',
      '\uFF0E',
      '\uFF20',
      '\u265A',
      '\u3000',
      '\uD800',
    ],
  )
  const text = fc.oneof(
    fc.array(pieces, { maxLength: 12 }).map((found) => found.join('')),
    fc.array(pieces, { maxLength: 6 }).map((found) => `${found.join('')}@example.com`),
    fc.array(pieces, { maxLength: 6 }).map((found) => `example.com/${found.join('')}`),
    fc.string({ unit: 'binary' }),
    fc.string({ unit: 'grapheme' }),
    fc.string({
      unit: fc.integer({ min: 0, max: 0xffff }).map((unit) => String.fromCharCode(unit)),
    }),
  )

  test('nothing but JidError is thrown, and canonical text is its own canonical text', () => {
    fc.assert(
      fc.property(text, (raw) => {
        const parsed = tryParseJid(raw)
        if (parsed === undefined) return
        const { local, domain, resource, full } = parsed
        assert.equal(parseJid(full).full, full)
        assert.equal(jid(local, domain, resource).full, full)
        assert.equal(
          full,
          `${local === '' ? '' : `${local}@`}${domain}${resource === '' ? '' : `/${resource}`}`,
        )
        // The cache answers for the whole text only; the parts are prepared anew.
        if (local !== '') assert.equal(prepareLocalpart(local), local)
        assert.equal(prepareDomainpart(domain), domain)
        if (resource !== '') assert.equal(prepareResource(resource), resource)
      }),
      { numRuns: 3000, seed: 7622 },
    )
  })

  const attempt = (prepare: (text: string) => string, raw: string) => {
    try {
      return prepare(raw)
    } catch {
      return undefined
    }
  }

  test('ASCII localparts come out as PRECIS has them', () => {
    const ascii = fc.integer({ min: 0, max: 0x7f }).map((point) => String.fromCharCode(point))
    fc.assert(
      fc.property(fc.string({ unit: ascii }), (raw) => {
        const isExcluded = /["&'/:<>@]/.test(raw)
        assert.equal(
          attempt(prepareLocalpart, raw),
          isExcluded ? undefined : attempt(prepareUsername, raw),
        )
      }),
      { numRuns: 2000, seed: 7622 },
    )
  })

  test('ASCII domainparts come out as their fullwidth forms do', () => {
    const unit = fc.constantFrom(...'aZ09-_..!@ ', 'xn--', 'xn--bcher-kva', 'a'.repeat(61))
    fc.assert(
      fc.property(fc.string({ unit }), (raw) => {
        const wide = raw.replace(/[!-~]/g, (char) =>
          String.fromCharCode(char.charCodeAt(0) + 0xfee0),
        )
        assert.equal(attempt(prepareDomainpart, raw), attempt(prepareDomainpart, wide))
      }),
      { numRuns: 2000, seed: 7622 },
    )
  })

  test('ASCII resourceparts come out as they do before other text', () => {
    const ascii = fc.integer({ min: 0, max: 0x7f }).map((point) => String.fromCharCode(point))
    fc.assert(
      fc.property(fc.string({ unit: ascii, minLength: 1 }), (raw) => {
        const alone = attempt(prepareResource, raw)
        const before = attempt(prepareResource, `${raw}\u00E9`)
        assert.equal(alone && `${alone}\u00E9`, before)
      }),
      { numRuns: 2000, seed: 7622 },
    )
  })
})

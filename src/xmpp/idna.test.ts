import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { DomainError, prepareDomain } from './idna.ts'

const label = 'a'.repeat(63)

describe('domains', () => {
  const taken: Record<string, string> = {
    'example.com': 'example.com',
    'EXAMPLE.com.': 'example.com',
    'b\u00FCcher.example': 'b\u00FCcher.example',
    'B\u00DCCHER.example': 'b\u00FCcher.example',
    'bu\u0308cher.example': 'b\u00FCcher.example',
    'xn--bcher-kva.example': 'b\u00FCcher.example',
    'XN--BCHER-KVA.Example.': 'b\u00FCcher.example',
    'xn--fa-hia.de': 'fa\u00DF.de',
    'fa\u00DF.de': 'fa\u00DF.de',
    'FA\u1E9E.de': 'fa\u00DF.de',
    '\u0391\u03A3.gr': '\u03B1\u03C3.gr',
    '\u03B1\u03C2.gr': '\u03B1\u03C2.gr',
    '\u0130.tr': 'i\u0307.tr',
    '\u0131.tr': '\u0131.tr',
    '\u4F8B\u3048\u3002\u30C6\u30B9\u30C8': '\u4F8B\u3048.\u30C6\u30B9\u30C8',
    '\u4F8B\u3048\uFF61\u30C6\u30B9\u30C8\uFF0E': '\u4F8B\u3048.\u30C6\u30B9\u30C8',
    '\uFF83\uFF7D\uFF84.\uFF4A\uFF50': '\u30C6\u30B9\u30C8.jp',
    '\u13A0\u13B5.example': '\u13A0\u13B5.example',
    '\u05D0\u05D1.example': '\u05D0\u05D1.example',
    'xn--4dbcagdahymbxekheh6e0a7fei0b.example':
      '\u05DC\u05DE\u05D4\u05D4\u05DD\u05E4\u05E9\u05D5\u05D8\u05DC\u05D0\u05DE\u05D3\u05D1\u05E8\u05D9\u05DD\u05E2\u05D1\u05E8\u05D9\u05EA.example',
    '\u0646\u0627\u0645\u0647\u200C\u0627\u06CC.ir':
      '\u0646\u0627\u0645\u0647\u200C\u0627\u06CC.ir',
    '\u0915\u094D\u200D\u0937.in': '\u0915\u094D\u200D\u0937.in',
    'l\u00B7l.cat': 'l\u00B7l.cat',
    '\u30AB\u30FB.jp': '\u30AB\u30FB.jp',
    '1.2.3.4': '1.2.3.4',
    '999.999': '999.999',
    '4chan.example': '4chan.example',
    chat_1: 'chat_1',
    [`${label}.example`]: `${label}.example`,
    [`${`${label}.`.repeat(3)}${'b'.repeat(61)}`]: `${`${label}.`.repeat(3)}${'b'.repeat(61)}`,
  }
  for (const [text, canonical] of Object.entries(taken)) {
    test(`${text} is ${canonical}`, () => assert.equal(prepareDomain(text), canonical))
  }

  const refused: Record<string, string> = {
    '': 'empty',
    '.': 'empty label',
    'a..b': 'empty label',
    '\u3002a': 'empty label',
    'a b': 'space',
    'a@b': 'at sign',
    'a!b': 'punctuation',
    '-a': 'hyphen at the start',
    'a-': 'hyphen at the end',
    'ab--c': 'reserved label',
    '\u00FC-': 'hyphen at the end',
    'xn--': 'empty A-label',
    'xn--a': 'no Punycode of a label',
    'xn--abc-': 'A-label of ASCII',
    'xn--\u00FC': 'A-label beyond ASCII',
    'xn--99999999': 'Punycode beyond Unicode',
    'xn--3ba': 'upper case (\u00C0) in an A-label',
    'xn--a-xbb': 'A-label of decomposed text',
    '\u0301a': 'combining mark first',
    'a\uAB70': 'Cherokee small letter',
    '\u2460': 'circled digit',
    '\u2665': 'symbol',
    '\u20D0a': 'ignorable block',
    '\u0640\u0627': 'tatweel',
    '\u3164': 'Hangul filler',
    'a\u200Db': 'joiner out of context',
    'a\u00B7b': 'middle dot out of context',
    '\u0660\u06F0': 'both kinds of Arabic digits',
    '\u05D0a': 'mixed directions in a label',
    '1a.\u05D0': 'label that starts with a digit beside a right-to-left one',
    '\u05D0.-': 'hyphen beside a right-to-left label',
    '\u00FC_': 'underscore beyond ASCII',
    [`${label}a`]: 'label of 64',
    [`\u00FC${'a'.repeat(56)}`]: 'A-label of 64',
    [`${`${label}.`.repeat(3)}${'b'.repeat(62)}`]: 'name of 254',
    [`${'\u4F8B'.repeat(40)}.`.repeat(6)]: 'name of more than 253 in A-labels',
    [`xn--${'a'.repeat(4000)}`]: 'very long A-label',
    '[::1': 'open bracket',
    '[::g]': 'no address',
    '[::1].': 'something behind the bracket',
    '[::1%eth0]': 'zone without %25',
    '[::1%25]': 'empty zone',
  }
  for (const [text, why] of Object.entries(refused)) {
    test(`refuses ${text.slice(0, 40)}: ${why}`, () =>
      assert.throws(() => prepareDomain(text), DomainError))
  }

  test('an A-label may be 63 octets', () => {
    const longest = `\u00FC${'a'.repeat(55)}`
    assert.equal(prepareDomain(longest), longest)
  })
})

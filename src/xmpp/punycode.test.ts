import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { decodePunycode, encodePunycode } from './punycode.ts'

describe('punycode', () => {
  // RFC 3492 §7.1, in lower case.
  const samples: Record<string, string> = {
    egbpdaj6bu4bxfgehfvwxn:
      '\u0644\u064A\u0647\u0645\u0627\u0628\u062A\u0643\u0644\u0645\u0648\u0634\u0639\u0631\u0628\u064A\u061F',
    ihqwcrb4cv8a8dqg056pqjye: '\u4ED6\u4EEC\u4E3A\u4EC0\u4E48\u4E0D\u8BF4\u4E2D\u6587',
    'Proprostnemluvesky-uyb24dma41a': 'Pro\u010Dprost\u011Bnemluv\u00ED\u010Desky',
    '3B-ww4c5e180e575a65lsy2b': '3\u5E74B\u7D44\u91D1\u516B\u5148\u751F',
    'Hello-Another-Way--fc4qua05auwb3674vfr0b':
      'Hello-Another-Way-\u305D\u308C\u305E\u308C\u306E\u5834\u6240',
    '-> $1.00 <--': '-> $1.00 <-',
    'bcher-kva': 'b\u00FCcher',
  }
  for (const [encoded, label] of Object.entries(samples)) {
    test(encoded, () => {
      assert.equal(encodePunycode(label), encoded)
      assert.equal(decodePunycode(encoded), label)
    })
  }

  test('decodes upper-case digits', () => assert.equal(decodePunycode('bcher-KVA'), 'b\u00FCcher'))

  for (const encoded of ['b', '!', 'b\u00FC-kva', '99999999', '\u212A', 'a-b!', 'a-b']) {
    test(`${encoded} is none`, () => assert.equal(decodePunycode(encoded), undefined))
  }

  test('whatever is encoded decodes to the same', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (label) => {
        assert.equal(decodePunycode(encodePunycode(label)), label)
      }),
      { numRuns: 1000, seed: 3492 },
    )
  })

  test('whatever decodes is text or nothing', () => {
    const digits = fc.string({ unit: fc.constantFrom(...'abcdefghijklmnopqrstuvwxyz0123456789-') })
    fc.assert(
      fc.property(digits, (encoded) => {
        const label = decodePunycode(encoded)
        assert.ok(label === undefined || typeof label === 'string')
      }),
      { numRuns: 2000, seed: 3492 },
    )
  })
})

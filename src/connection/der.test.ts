import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  der,
  dotted,
  objectIdentifier,
  positiveInteger,
  readDer,
  sequence,
  tagged,
  tags,
  time,
} from './der.ts'

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

test('lengths take as many bytes as they need', () => {
  for (const [length, header] of [
    [0, '0400'],
    [127, '047f'],
    [128, '048180'],
    [255, '0481ff'],
    [256, '04820100'],
    [65_535, '0482ffff'],
  ] as const) {
    const encoded = der(tags.octetString, Buffer.alloc(length))
    assert.equal(hex(encoded.subarray(0, encoded.length - length)), header)
    assert.equal(readDer(encoded)[0]?.content.length, length)
  }
  assert.throws(() => der(tags.octetString, Buffer.alloc(65_536)), RangeError)
})

test('object identifiers go both ways', () => {
  assert.equal(hex(objectIdentifier('1.2.840.113549.1.1.11')), '06092a864886f70d01010b')
  assert.equal(hex(objectIdentifier('2.5.29.17')), '0603551d11')
  for (const id of ['1.3.6.1.5.5.7.8.5', '2.16.840.1.101.3.4.2.1', '1.3.101.112', '0.9.2342']) {
    assert.equal(dotted(readDer(objectIdentifier(id))[0]?.content ?? Buffer.alloc(0)), id)
  }
})

test('integers are positive and have no needless zeros', () => {
  assert.equal(hex(positiveInteger(Uint8Array.of(0, 0, 5))), '020105')
  assert.equal(hex(positiveInteger(Uint8Array.of(0x80))), '02020080')
  assert.equal(hex(positiveInteger(Uint8Array.of(0, 0))), '020100')
})

test('times change their form in 2050', () => {
  assert.equal(time(new Date('2049-12-31T23:59:59.999Z')).subarray(2).toString(), '491231235959Z')
  const late = time(new Date('2050-01-01T00:00:00Z'))
  assert.equal(late[0], tags.generalizedTime)
  assert.equal(late.subarray(2).toString(), '20500101000000Z')
})

test('tags of either form', () => {
  assert.equal(hex(tagged(2, Buffer.from('a'), 'primitive')), '820161')
  assert.equal(hex(tagged(3, sequence())), 'a3023000')
})

test('bytes that are no DER throw a RangeError, nothing else', () => {
  assert.throws(() => readDer(Buffer.from('30', 'hex')), RangeError)
  assert.throws(() => readDer(Buffer.from('3080', 'hex')), RangeError)
  assert.throws(() => readDer(Buffer.from('300500', 'hex')), RangeError)
  assert.throws(() => readDer(Buffer.from('3085ffffffffff', 'hex')), RangeError)
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      try {
        readDer(Buffer.from(bytes))
      } catch (error) {
        assert.ok(error instanceof RangeError)
      }
    }),
  )
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { decodeBase64, decodeInitialResponse, decodeResponse, encodeData } from './base64.ts'

const incorrect = { kind: 'failure', condition: 'incorrect-encoding' }

test('nothing is no initial response, = is an empty one', () => {
  assert.equal(decodeInitialResponse(''), undefined)
  assert.deepEqual(decodeInitialResponse('='), Buffer.alloc(0))
  assert.deepEqual(decodeInitialResponse('AGE='), Buffer.from('\0a'))
  assert.deepEqual(decodeResponse(''), Buffer.alloc(0))
  assert.deepEqual(decodeResponse('='), Buffer.alloc(0))
})

test('only canonical base64 is taken', () => {
  for (const text of [
    'A',
    'AA',
    'AAA',
    'AA=',
    'AB==', // stray bits
    '==',
    '====',
    'AAAA=',
    '=AAA',
    'AA==AAAA',
    'AAAA\n',
    ' AAAA',
    'AA AA',
    'AA-_',
    'AAA\u00e4',
    'AA!A',
  ]) {
    assert.deepEqual(decodeInitialResponse(text), incorrect, text)
    assert.deepEqual(decodeResponse(text), incorrect, text)
  }
})

test('size is bounded', () => {
  assert.ok(Buffer.isBuffer(decodeResponse('A'.repeat(8192))))
  assert.deepEqual(decodeResponse('A'.repeat(8196)), {
    kind: 'failure',
    condition: 'malformed-request',
    text: 'too long',
  })
})

test('any bytes come back', () => {
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      assert.deepEqual(decodeBase64(encodeData(Buffer.from(bytes))), Buffer.from(bytes))
    }),
  )
})

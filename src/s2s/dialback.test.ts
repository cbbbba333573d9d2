import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decode } from '../xmpp/octets.ts'
import { StanzaError } from '../xmpp/stanza-error.ts'
import { DialbackKeys, dialbackAnswer, dialbackError, dialbackQuestion } from './dialback.ts'

/** XEP-0220 §2.1.1. */
const EXAMPLE = {
  originating: 'capulet.example',
  receiving: 'montague.example',
  streamId: 'D60000229F',
}
const KEY = 'b4835385f37fe2895af6c196b59097b16862406db80559900d96bf6fa7d23df3'

test('the key of the specification', () => {
  const keys = new DialbackKeys('s3cr3tf0rd14lb4ck')
  assert.equal(keys.keyFor(EXAMPLE), KEY)
  assert.ok(keys.isValid(`\n  ${KEY}\n`, EXAMPLE))
})

test('no other key, and for nothing else', () => {
  const keys = new DialbackKeys('s3cr3tf0rd14lb4ck')
  assert.equal(keys.isValid('', EXAMPLE), false)
  assert.equal(keys.isValid(KEY.toUpperCase(), EXAMPLE), false)
  assert.equal(keys.isValid(KEY, { ...EXAMPLE, streamId: 'another' }), false)
  assert.equal(keys.isValid(KEY, { ...EXAMPLE, originating: 'paris.example' }), false)
  assert.equal(keys.isValid(KEY, { ...EXAMPLE, receiving: 'paris.example' }), false)
  assert.equal(new DialbackKeys('another').isValid(KEY, EXAMPLE), false)
})

test('elements have the prefix, and nothing that breaks out of them', () => {
  const from = 'capulet.example'
  const to = "montague.example'/>"
  assert.equal(
    decode(dialbackQuestion('verify', { from, to, id: '<1>', key: '<key>' })),
    "<db:verify from='capulet.example' to='montague.example&apos;/&gt;' id='&lt;1&gt;'>&lt;key&gt;</db:verify>",
  )
  assert.equal(
    decode(dialbackAnswer('result', { from, to: from, type: 'valid' })),
    "<db:result from='capulet.example' to='capulet.example' type='valid'/>",
  )
  assert.match(
    decode(dialbackError('result', { from, to: from }, new StanzaError('item-not-found'))),
    /^<db:result .* type='error'><error type='cancel'><item-not-found .*<\/db:result>$/,
  )
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  answer,
  countAfter,
  countBetween,
  enabled,
  failed,
  handledCountTooHigh,
  readCount,
  readMaximum,
  resume,
  resumed,
  WRAP,
} from './stream-management.ts'

test('counts begin anew after 2^32 - 1 (§4)', () => {
  assert.equal(countAfter(WRAP - 2, 1), WRAP - 1)
  assert.equal(countAfter(WRAP - 2, 2), 0)
  assert.equal(countBetween(WRAP - 2, 3), 5)
  assert.equal(countBetween(3, 3), 0)
  // A count that is lower than the last one stands for nearly all there are.
  assert.equal(countBetween(3, 2), WRAP - 1)
})

test('a count is an unsigned integer of 32 bits, as XML Schema writes it', () => {
  for (const [text, count] of [
    ['0', 0],
    ['4294967295', WRAP - 1],
    [' +7\n', 7],
    ['007', 7],
  ] as const) {
    assert.equal(readCount(text), count)
  }
  for (const text of [undefined, '', 'many', '-1', '1.5', '1e3', '0x10', '4294967296']) {
    assert.equal(readCount(text), undefined, `${text}`)
  }
})

test('for how long a client wants to be waited for, in seconds', () => {
  assert.equal(readMaximum('600'), 600)
  for (const text of [undefined, 'long', '-1', '1.5']) assert.equal(readMaximum(text), undefined)
})

test('elements as §3 to §5 write them', () => {
  const xmlns = "xmlns='urn:xmpp:sm:3'"
  assert.equal(answer(4), `<a ${xmlns} h='4'/>`)
  assert.equal(enabled({ id: undefined, max: 600 }), `<enabled ${xmlns}/>`)
  assert.equal(
    enabled({ id: 'a', max: 600, location: '[::1]:5222' }),
    `<enabled ${xmlns} id='a' resume='true' max='600' location='[::1]:5222'/>`,
  )
  assert.equal(resume('a', 1), `<resume ${xmlns} previd='a' h='1'/>`)
  assert.equal(resumed('a', 1), `<resumed ${xmlns} previd='a' h='1'/>`)
  const condition = "<item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
  assert.equal(failed('item-not-found'), `<failed ${xmlns}>${condition}</failed>`)
  assert.equal(failed('item-not-found', 0), `<failed ${xmlns} h='0'>${condition}</failed>`)
})

test('who acknowledges too much is told how much', () => {
  const { condition, detail } = handledCountTooHigh(10, 8)
  assert.equal(condition, 'undefined-condition')
  assert.equal(detail?.name, 'handled-count-too-high')
  assert.equal(detail.attr('h'), '10')
  assert.equal(detail.attr('send-count'), '8')
})

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { DELAY_NS, delay, readDelay } from './delay.ts'
import { parseJid } from './jid.ts'
import { el } from './xml.ts'

const at = Date.UTC(2002, 8, 10, 23, 8, 25)

describe('delay', () => {
  test('is built in UTC with milliseconds', () => {
    assert.equal(
      delay({ at, from: parseJid('capulet.com'), reason: 'Offline Storage' }).toString(),
      "<delay xmlns='urn:xmpp:delay' from='capulet.com' stamp='2002-09-10T23:08:25.000Z'>Offline Storage</delay>",
    )
    assert.equal(
      delay({ at }).toString(),
      "<delay xmlns='urn:xmpp:delay' stamp='2002-09-10T23:08:25.000Z'/>",
    )
  })

  test('reads what was built', () => {
    const said = { at, from: parseJid('coven@macbeth.shakespeare.lit'), reason: 'History' }
    assert.deepEqual(readDelay(delay(said)), said)
    assert.deepEqual(readDelay(delay({ at })), { at, from: undefined, reason: undefined })
  })

  test('reads times of other zones, and forgets a malformed sender', () => {
    const element = el('delay', { xmlns: DELAY_NS, stamp: '2002-09-11T01:08:25+02:00', from: '@' })
    assert.deepEqual(readDelay(element), { at, from: undefined, reason: undefined })
  })

  test('is nothing without a valid time, or in another namespace', () => {
    const stamp = '2002-09-10T23:08:25Z'
    assert.equal(readDelay(el('delay', { xmlns: DELAY_NS })), undefined)
    assert.equal(readDelay(el('delay', { xmlns: DELAY_NS, stamp: '20020910T23:08:25' })), undefined)
    assert.equal(readDelay(el('delay', { xmlns: 'jabber:x:delay', stamp })), undefined)
    assert.equal(readDelay(el('x', { xmlns: DELAY_NS, stamp })), undefined)
  })
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isChatStateOnly } from './chat-states.ts'
import { Stanza } from './stanza.ts'
import { type Element, el } from './xml.ts'

const composing = el('composing', { xmlns: 'http://jabber.org/protocol/chatstates' })
const hint = el('no-store', { xmlns: 'urn:xmpp:hints' })

const message = (...children: Element[]) => Stanza.build('message', { type: 'chat' }, ...children)

test('a chat state alone, or with what belongs to it', () => {
  assert.equal(isChatStateOnly(message(composing)), true)
  assert.equal(isChatStateOnly(message(el('thread', {}, 't1'), composing, hint)), true)
})

test('a chat state beside something else, or none', () => {
  assert.equal(isChatStateOnly(message(composing, el('body', {}, 'Hi'))), false)
  assert.equal(
    isChatStateOnly(message(composing, el('received', { xmlns: 'urn:xmpp:receipts' }))),
    false,
  )
  assert.equal(isChatStateOnly(message()), false)
  assert.equal(isChatStateOnly(message(hint)), false)
  assert.equal(isChatStateOnly(Stanza.build('iq', { type: 'set' }, composing)), false)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CARBONS_NS, carbonOf, forwarded, isCopy } from './forward.ts'
import { jid } from './jid.ts'
import type { Octets } from './octets.ts'
import { Stanza } from './stanza.ts'
import { el } from './xml.ts'

const romeo = jid('romeo', 'im.example.com', 'orchard')
const juliet = jid('juliet', 'im.example.com', 'balcony')
const message = Stanza.build('message', { type: 'chat' }, el('body', {}, 'Art thou not Romeo?'))

function carbon(name: 'sent' | 'received'): Stanza {
  const inner = forwarded(message.toWrapped(juliet, romeo))
  const octets = `<${name} xmlns='${CARBONS_NS}'>${inner}</${name}>` as Octets
  return Stanza.around('message', { type: 'chat' }, { name, ns: CARBONS_NS, octets })
}

test('the message in a carbon', () => {
  for (const [which, other] of [
    ['sent', 'received'],
    ['received', 'sent'],
  ] as const) {
    const copied = carbonOf(carbon(which), which)
    assert.equal(copied?.attr('from'), juliet.full)
    assert.equal(copied?.child('body')?.text, 'Art thou not Romeo?')
    assert.equal(carbonOf(carbon(which), other), undefined)
  }
})

test('a carbon is a copy; what is copied, or is not to be, is none', () => {
  assert.ok(isCopy(carbon('sent')))
  assert.ok(!isCopy(message))
  assert.equal(carbonOf(message, 'received'), undefined)
  assert.ok(!isCopy(message.append(el('private', { xmlns: CARBONS_NS }))))
})

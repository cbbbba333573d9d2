import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Stanza } from '../xmpp/stanza.ts'
import { type Element, el } from '../xmpp/xml.ts'
import { withoutSecrets } from './redaction.ts'

const SECRET = 'hunter2'
const shown = (...children: Element[]) => withoutSecrets(Stanza.build('iq', {}, ...children))

test('passwords are hidden, wherever and however they come', () => {
  const register = el(
    'query',
    { xmlns: 'jabber:iq:register' },
    el('username', {}, 'romeo'),
    el('password', {}, SECRET),
  )
  const field = (attributes: Record<string, string>) =>
    el(
      'x',
      { xmlns: 'jabber:x:data', type: 'submit' },
      el('field', attributes, el('value', {}, SECRET)),
    )
  const hiding: Element[] = [
    register,
    el('query', { xmlns: 'jabber:iq:auth' }, el('digest', {}, SECRET)),
    el('command', { xmlns: 'http://jabber.org/protocol/commands' }, field({ var: 'accountjid' })),
    el('delegation', { xmlns: 'urn:xmpp:delegation:2' }, el('forwarded', {}, register)),
    el('x', { xmlns: 'http://jabber.org/protocol/muc' }, el('password', {}, SECRET)),
    el('enable', { xmlns: 'urn:xmpp:push:0' }, field({ var: 'secret' })),
    field({ var: 'muc#roomconfig_roomsecret' }),
    field({ var: 'word', type: 'text-private' }),
    el('services', { xmlns: 'urn:xmpp:extdisco:2' }, el('service', { password: SECRET })),
    el('upload', { xmlns: 'urn:example' }, el('put', { token: SECRET })),
    el('header', { xmlns: 'urn:example', apiSecret: SECRET }),
  ]
  for (const element of hiding) {
    const text = shown(element)
    assert.ok(!text.includes(SECRET), text)
    assert.match(text, /\[hidden\]/)
  }
})

test('the rest is shown, up to a limit', () => {
  assert.equal(shown(el('body', {}, 'hello <3')), '<body>hello &lt;3</body>')
  assert.equal(
    shown(el('query', { xmlns: 'jabber:iq:roster' }, el('item', { jid: 'juliet@im.example.com' }))),
    "<query xmlns='jabber:iq:roster'><item jid='juliet@im.example.com'/></query>",
  )
  const long = shown(el('body', {}, 'x'.repeat(20_000)), el('subject', {}, 'y'))
  assert.deepEqual([long.length, long.at(-1)], [8_193, '…'])
})

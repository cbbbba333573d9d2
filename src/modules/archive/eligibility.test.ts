import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Stanza } from '../../xmpp/stanza.ts'
import { type Element, el } from '../../xmpp/xml.ts'
import { type Eligibility, isArchivable } from './eligibility.ts'

const body = el('body', {}, 'Wherefore art thou?')
const hint = (name: string) => el(name, { xmlns: 'urn:xmpp:hints' })
const marker = (name: string) => el(name, { xmlns: 'urn:xmpp:chat-markers:0', id: 'a' })
const composing = el('composing', { xmlns: 'http://jabber.org/protocol/chatstates' })
const invitation = el('x', { xmlns: 'http://jabber.org/protocol/muc#user' }, el('invite'))

const usual: Eligibility = { groupchat: false, markers: true }
const unmarked: Eligibility = { groupchat: false, markers: false }
const rooms: Eligibility = { groupchat: true, markers: true }

type Case = [
  what: string,
  type: string | undefined,
  children: readonly Element[],
  isArchived: boolean,
  settings?: Eligibility,
]

const cases: readonly Case[] = [
  ['a chat with a body', 'chat', [body], true],
  ['a message without type', undefined, [body], true],
  ['a message of type normal', 'normal', [body], true],
  ['a message of a type that nobody knows', 'sonnet', [body], true],
  ['a headline', 'headline', [body], false],
  ['an error with the body it is about', 'error', [body], false],
  ['a message of a room', 'groupchat', [body], false],
  ['a message of a room, where asked for', 'groupchat', [body], true, rooms],
  ['a subject of a room', 'groupchat', [el('subject', {}, 'Verona')], false, rooms],
  ['a body in another namespace', 'chat', [el('body', { xmlns: 'urn:other' }, 'x')], false],
  ['nothing', 'chat', [], false],
  ['a chat state', 'chat', [composing], false],
  ['a chat state with a body', 'chat', [composing, body], true],
  ['a chat state to be stored', 'chat', [composing, hint('store')], true],
  ['a body not to be stored', 'chat', [body, hint('no-store')], false],
  ['a body not to be stored for good', 'chat', [body, hint('no-permanent-store')], false],
  ['both hints', 'chat', [hint('store'), body, hint('no-store')], false],
  ['a body not to be copied', 'chat', [body, hint('no-copy')], true],
  ['a body with a delay', 'chat', [body, el('delay', { xmlns: 'urn:xmpp:delay' })], true],
  ['OMEMO', 'chat', [el('encrypted', { xmlns: 'eu.siacs.conversations.axolotl' })], true],
  ['OMEMO 2', 'chat', [el('encrypted', { xmlns: 'urn:xmpp:omemo:2' })], true],
  ['OpenPGP', undefined, [el('openpgp', { xmlns: 'urn:xmpp:openpgp:0' })], true],
  ['a receipt', 'chat', [el('received', { xmlns: 'urn:xmpp:receipts', id: 'a' })], true],
  ['a request for one', 'chat', [el('request', { xmlns: 'urn:xmpp:receipts' })], false],
  ['a marker', 'chat', [marker('displayed')], true],
  ['a marker, where they are left out', 'chat', [marker('displayed')], false, unmarked],
  ['a request for one', 'chat', [marker('markable')], false],
  ['a correction', 'chat', [el('replace', { xmlns: 'urn:xmpp:message-correct:0' })], true],
  ['a retraction', 'chat', [el('retract', { xmlns: 'urn:xmpp:message-retract:1' })], true],
  ['reactions', 'chat', [el('reactions', { xmlns: 'urn:xmpp:reactions:0' })], true],
  ['an invitation', undefined, [el('x', { xmlns: 'jabber:x:conference' })], true],
  ['an invitation through the room', undefined, [invitation], true],
  ['what a room says of itself', undefined, [invitation.withChildren(el('status'))], false],
  ['a carbon', 'chat', [el('sent', { xmlns: 'urn:xmpp:carbons:2' })], false],
  ['a result of an archive', undefined, [el('result', { xmlns: 'urn:xmpp:mam:2' })], false],
  [
    'an event',
    undefined,
    [el('event', { xmlns: 'http://jabber.org/protocol/pubsub#event' })],
    false,
  ],
]

for (const [what, type, children, isArchived, settings = usual] of cases) {
  test(`${what} is ${isArchived ? '' : 'not '}archived`, () => {
    const stanza = Stanza.build('message', { type, id: 'm' }, ...children)
    assert.equal(isArchivable(stanza, settings), isArchived)
  })
}

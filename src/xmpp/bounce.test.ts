import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bounce } from './bounce.ts'
import { Stanza, type StanzaKind } from './stanza.ts'
import { type StanzaCondition, StanzaError } from './stanza-error.ts'
import { el } from './xml.ts'

const REFUSED: StanzaCondition = 'service-unavailable'

/** Whether a stanza of this kind and type is answered with this error. */
const RULES: readonly (readonly [StanzaKind, string | undefined, StanzaCondition, boolean])[] = [
  ['message', undefined, REFUSED, true],
  ['message', 'normal', REFUSED, true],
  ['message', 'chat', REFUSED, true],
  ['message', 'groupchat', REFUSED, true],
  ['message', 'headline', REFUSED, true],
  ['message', 'error', REFUSED, false],
  ['iq', 'get', REFUSED, true],
  ['iq', 'set', REFUSED, true],
  ['iq', 'result', REFUSED, false],
  ['iq', 'error', REFUSED, false],
  ['iq', 'error', 'bad-request', false],
  // Not one of the four types: the sender has to learn that.
  ['iq', 'subscribe', 'bad-request', true],
  ['iq', undefined, 'bad-request', true],
  ['presence', undefined, REFUSED, false],
  ['presence', 'unavailable', REFUSED, false],
  ['presence', 'subscribe', REFUSED, false],
  ['presence', 'probe', 'internal-server-error', false],
  ['presence', 'lurking', 'bad-request', true],
  ['presence', undefined, 'jid-malformed', true],
  ['presence', undefined, 'not-acceptable', true],
  ['presence', 'error', 'bad-request', false],
]

for (const [kind, type, condition, isAnswered] of RULES) {
  test(`${kind} (${type ?? 'no type'}) is ${isAnswered ? '' : 'not '}told ${condition}`, () => {
    const stanza = Stanza.build(kind, { type, id: '1' })

    const answer = bounce(stanza, new StanzaError(condition))

    assert.equal(answer !== undefined, isAnswered)
  })
}

test('copies that a server made are nobody’s to be told of', () => {
  const inside = el('forwarded', { xmlns: 'urn:xmpp:forward:0' })
  for (const copy of [
    el('sent', { xmlns: 'urn:xmpp:carbons:2' }, inside),
    el('received', { xmlns: 'urn:xmpp:carbons:2' }, inside),
    el('result', { xmlns: 'urn:xmpp:mam:2' }, inside),
  ]) {
    const message = Stanza.build('message', { type: 'chat' }, copy)
    assert.equal(bounce(message, new StanzaError(REFUSED)), undefined)
  }
})

test('who asks that a message not be copied is told if it does not arrive', () => {
  const isPrivate = el('private', { xmlns: 'urn:xmpp:carbons:2' })
  const message = Stanza.build('message', { type: 'chat' }, el('body', {}, 'Hist!'), isPrivate)
  assert(bounce(message, new StanzaError(REFUSED))?.isError)
})

test('an error is what was sent, with another type and the error behind it', () => {
  const body = el('body', {}, 'Wherefore art thou?')
  const extra = el('x', { xmlns: 'urn:example' })
  const stanza = Stanza.build('message', { type: 'chat', id: 'm1', lang: 'en' }, body, extra)

  const answer = bounce(stanza, new StanzaError('gone', { text: 'Elsewhere' }), 'im.example.com')

  assert(answer !== undefined)
  assert.equal(answer.kind, 'message')
  assert.equal(answer.type, 'error')
  assert.equal(answer.id, 'm1')
  assert.equal(answer.lang, 'en')
  assert.deepEqual(
    answer.children.map(({ name, ns }) => `${ns} ${name}`),
    ['jabber:client body', 'urn:example x', 'jabber:client error'],
  )
  const error = answer.child('error')
  assert.equal(error?.attr('by'), 'im.example.com')
  assert.equal(error?.attr('type'), 'cancel')
  assert.deepEqual(StanzaError.fromElement(error).condition, 'gone')
  assert.deepEqual(StanzaError.fromElement(error).text, 'Elsewhere')
  assert.equal(stanza.type, 'chat')
})

test('what somebody answers is read as far as it makes sense', () => {
  const ns = 'urn:ietf:params:xml:ns:xmpp-stanzas'
  const read = (...args: Parameters<typeof el>) => {
    const { condition, type, text } = StanzaError.fromElement(el(...args))
    return [condition, type, text]
  }

  assert.deepEqual(
    read('error', { type: 'wait' }, el('conflict', { xmlns: ns }), el('text', { xmlns: ns }, 'x')),
    ['conflict', 'wait', 'x'],
  )
  assert.deepEqual(read('error', { type: 'odd' }, el('conflict', { xmlns: ns })), [
    'conflict',
    'cancel',
    undefined,
  ])
  assert.deepEqual(read('error', {}, el('made-up', { xmlns: ns })), [
    'undefined-condition',
    'cancel',
    undefined,
  ])
  assert.deepEqual(read('error', {}, el('conflict', { xmlns: 'urn:x' })), [
    'undefined-condition',
    'cancel',
    undefined,
  ])
  assert.equal(StanzaError.fromElement(undefined).condition, 'undefined-condition')
})

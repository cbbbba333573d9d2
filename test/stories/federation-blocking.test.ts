/** What of other servers' users an account does not want. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { el } from '../../src/xmpp/xml.ts'
import type { Client } from '../support/client.ts'
import { Internet } from '../support/federation.ts'
import { chat, presence } from '../support/stanzas.ts'

const BLOCKING = 'urn:xmpp:blocking'
const PRIVACY = 'jabber:iq:privacy'
const VERSION = 'jabber:iq:version'

type Stage = AsyncDisposable & { readonly juliet: Client; readonly romeo: Client }

/** On two servers; they see one another. */
async function setStage(): Promise<Stage> {
  const internet = await Internet.start()
  const capulet = await internet.server('capulet.example')
  const montague = await internet.server('montague.example')
  const juliet = await capulet.connect('juliet', 'balcony')
  const romeo = await montague.connect('romeo', 'orchard')
  for (const [one, other] of [
    [romeo, juliet],
    [juliet, romeo],
  ] as const) {
    await one.sends(presence('subscribe', other.bareJid))
    await other.receives({ name: 'presence', type: 'subscribe' })
    await other.sends(presence('subscribed', one.bareJid))
    await one.receives({ name: 'presence', type: undefined, from: other.fullJid })
  }
  return { juliet, romeo, [Symbol.asyncDispose]: () => internet[Symbol.asyncDispose]() }
}

async function block(juliet: Client, jid: string): Promise<void> {
  const answer = await juliet.ask(
    'set',
    undefined,
    el('block', { xmlns: BLOCKING }, el('item', { jid })),
  )
  assert.equal(answer.attr('type'), 'result')
}

async function deny(juliet: Client, value: string): Promise<void> {
  const item = el('item', { type: 'jid', value, action: 'deny', order: 1 })
  for (const child of [
    el('list', { name: 'feud' }, item),
    el('default', { name: 'feud' }),
    el('active', { name: 'feud' }),
  ]) {
    const answer = await juliet.ask('set', undefined, el('query', { xmlns: PRIVACY }, child))
    assert.equal(answer.attr('type'), 'result')
  }
}

for (const [what, refuse] of [
  ['an account is blocked', (juliet: Client) => block(juliet, 'romeo@montague.example')],
  ['its whole server is blocked', (juliet: Client) => block(juliet, 'montague.example')],
  ['a privacy list denies it', (juliet: Client) => deny(juliet, 'romeo@montague.example')],
  ['a privacy list denies its server', (juliet: Client) => deny(juliet, 'montague.example')],
] as const) {
  test(`${what}: nothing of it arrives, and it does not see who is there`, async () => {
    await using stage = await setStage()
    const { juliet, romeo } = stage

    await refuse(juliet)
    await romeo.receives({ name: 'presence', type: 'unavailable', from: juliet.fullJid })
    juliet.forgets()

    await romeo.sends(chat(juliet.bareJid, 'But soft'))
    await romeo.receives({ name: 'message', error: 'service-unavailable' })
    const asked = await romeo.ask('get', juliet.fullJid, el('query', { xmlns: VERSION }))
    assert.match(String(asked), /<service-unavailable/)
    await romeo.sends(presence('probe', juliet.bareJid), presence(undefined, juliet.fullJid))
    await juliet.sends(presence(undefined, undefined, el('show', {}, 'dnd')))
    await juliet.sends(chat(romeo.bareJid, 'It is nor hand nor foot'))
    await juliet.receives({ name: 'message', error: 'not-acceptable' })

    // All that either of them wrote has been decided upon by now.
    await romeo.ask('get', 'capulet.example', el('ping', { xmlns: 'urn:xmpp:ping' }))
    await juliet.ask('get', 'montague.example', el('ping', { xmlns: 'urn:xmpp:ping' }))
    assert.deepEqual(juliet.inbox({ from: romeo.fullJid }), [])
    assert.deepEqual(romeo.inbox({ from: juliet.fullJid }), [])
  })
}

test('what is blocked is not kept either', async () => {
  await using stage = await setStage()
  const { juliet, romeo } = stage
  await block(juliet, romeo.bareJid)
  await romeo.sends(chat(juliet.bareJid, 'But soft'))
  await romeo.receives({ name: 'message', error: 'service-unavailable' })

  const answer = await juliet.ask('set', undefined, el('query', { xmlns: 'urn:xmpp:mam:2' }))

  assert.equal(answer.attr('type'), 'result')
  assert.deepEqual(juliet.inbox({ child: 'urn:xmpp:mam:2', name: 'message' }), [])
})

test('subscriptions: refused, taken back, and forgotten on both sides', async () => {
  await using stage = await setStage()
  const { juliet, romeo } = stage
  const roster = (client: Client) =>
    client
      .ask('get', undefined, el('query', { xmlns: 'jabber:iq:roster' }))
      .then((answer) =>
        answer.child('query', 'jabber:iq:roster')?.child('item')?.attr('subscription'),
      )
  assert.equal(await roster(juliet), 'both')
  assert.equal(await roster(romeo), 'both')

  await juliet.sends(presence('unsubscribed', romeo.bareJid))
  await romeo.receives({ name: 'presence', type: 'unsubscribed', from: juliet.bareJid })
  await romeo.receives({ name: 'presence', type: 'unavailable', from: juliet.fullJid })
  assert.equal(await roster(romeo), 'from')
  assert.equal(await roster(juliet), 'to')

  const gone = el('item', { jid: juliet.bareJid, subscription: 'remove' })
  await romeo.ask('set', undefined, el('query', { xmlns: 'jabber:iq:roster' }, gone))
  await juliet.receives({ name: 'presence', type: 'unavailable', from: romeo.fullJid })
  assert.equal(await roster(romeo), undefined)
  assert.equal(await roster(juliet), 'none')
})

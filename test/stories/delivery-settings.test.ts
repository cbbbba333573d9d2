import assert from 'node:assert/strict'
import { test } from 'node:test'
import { el } from '../../src/xmpp/xml.ts'
import type { Client } from '../support/client.ts'
import { DOMAIN, startServer } from '../support/server.ts'

const body = (text: string) => el('body', {}, text)

test('a message of type normal to a resource that is gone goes to the account, if so configured', async () => {
  await using server = await startServer({ delivery: { normal_to_gone_resource: 'as-bare' } })
  const romeo = await server.connect('romeo')
  const juliet = await server.connect('juliet', 'balcony')

  romeo.send(el('message', { to: `${juliet.bareJid}/gone` }, body('Art thou not Romeo?')))

  await juliet.receives({ body: /Romeo/, to: `${juliet.bareJid}/gone` })
  await romeo.receivesNothing()
})

test('who writes to many that do not exist is no longer told so', async () => {
  await using server = await startServer({ limits: { unknown_recipients_per_minute: 2 } })
  const fates: string[] = []
  server.server.hooks.on('message_routed', (outcome, { envelope }) => {
    if (envelope.to.local === 'nobody') fates.push(outcome.fate)
    return outcome
  })
  const romeo = await server.connect('romeo')
  const mercutio = await server.connect('mercutio')
  const write = (from: Client, id: string, type = 'chat') =>
    from.send(el('message', { to: `nobody@${DOMAIN}`, id, type }, body('Who are you?')))

  // An error is never answered, and does not count.
  write(romeo, 'error', 'error')
  for (const id of ['first', 'second', 'third']) write(romeo, id)
  await romeo.receivesNext({ id: 'first', error: 'service-unavailable' })
  await romeo.receivesNext({ id: 'second', error: 'service-unavailable' })
  await romeo.receivesNothing()
  write(mercutio, 'fourth')
  await mercutio.receivesNext({ id: 'fourth', error: 'service-unavailable' })
  assert.deepEqual(fates, ['dropped', 'bounced', 'bounced', 'dropped', 'bounced'])
})

// --- RFC 6121 §8.5.3.1: who does not share presence with an account gets no answer of a resource.

const ask = (from: Client, to: string, id: string) =>
  from.send(el('iq', { type: 'get', to, id }, el('query', { xmlns: 'urn:example:question' })))

test('a request reaches a resource that has not shared its presence', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo')
  const juliet = await server.connect('juliet')

  ask(romeo, juliet.fullJid, 'q')

  await juliet.receivesNext({ name: 'iq', type: 'get', id: 'q', from: romeo.fullJid })
})

test('where requests need presence, strangers learn nothing of a resource', async () => {
  await using server = await startServer({
    modules: { presence: { requests_need_presence: true } },
  })
  const romeo = await server.connect('romeo')
  const juliet = await server.connect('juliet', 'balcony')

  ask(romeo, juliet.fullJid, 'there')
  await romeo.receivesNext({ id: 'there', error: 'service-unavailable', from: juliet.fullJid })
  ask(romeo, `${juliet.bareJid}/gone`, 'gone')
  await romeo.receivesNext({ id: 'gone', error: 'service-unavailable' })

  await juliet.receivesNothing()
})

test('where requests need presence, who got it directly may ask, as long as it lasts', async () => {
  await using server = await startServer({
    modules: { presence: { requests_need_presence: true } },
  })
  const romeo = await server.connect('romeo')
  const juliet = await server.connect('juliet')

  juliet.send(el('presence', { to: romeo.bareJid }))
  await romeo.receives({ name: 'presence', from: juliet.fullJid })
  ask(romeo, juliet.fullJid, 'now')
  await juliet.receivesNext({ name: 'iq', id: 'now' })

  juliet.send(el('presence', { to: romeo.bareJid, type: 'unavailable' }))
  await romeo.receives({ name: 'presence', type: 'unavailable' })
  ask(romeo, juliet.fullJid, 'then')
  await romeo.receivesNext({ id: 'then', error: 'service-unavailable' })
})

test('where requests need presence, a contact that is subscribed may ask, but not the other way', async () => {
  await using server = await startServer({
    modules: { presence: { requests_need_presence: true } },
  })
  const romeo = await server.connect('romeo')
  const juliet = await server.connect('juliet')
  romeo.send(el('presence', { type: 'subscribe', to: juliet.bareJid }))
  await juliet.receives({ name: 'presence', type: 'subscribe' })
  juliet.send(el('presence', { type: 'subscribed', to: romeo.bareJid }))
  await romeo.receives({ name: 'presence', from: juliet.fullJid })
  juliet.forgets()
  romeo.forgets()

  ask(romeo, juliet.fullJid, 'contact')
  await juliet.receives({ name: 'iq', id: 'contact' })
  ask(juliet, romeo.fullJid, 'stranger')
  await juliet.receives({ id: 'stranger', error: 'service-unavailable' })
})

test('where requests need presence, own resources and answers pass', async () => {
  await using server = await startServer({
    modules: { presence: { requests_need_presence: true } },
  })
  const orchard = await server.connect('romeo', 'orchard')
  const square = await server.connect('romeo', 'square')
  const juliet = await server.connect('juliet')

  ask(orchard, square.fullJid, 'own')
  await square.receives({ name: 'iq', id: 'own' })
  juliet.send(el('iq', { type: 'result', to: square.fullJid, id: 'answer' }))
  await square.receives({ name: 'iq', type: 'result', id: 'answer' })
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { el } from '../../src/xmpp/xml.ts'
import { conditionOf } from '../support/client.ts'
import { startServer } from '../support/server.ts'

test('a silent client is pinged, and stays when it answers', async () => {
  await using server = await startServer({ modules: { ping: { interval: '1s', timeout: '30s' } } })
  const juliet = await server.connect('juliet', 'balcony')
  const ping = await juliet.receives({ name: 'iq', type: 'get' })
  assert.notEqual(ping.child('ping', 'urn:xmpp:ping'), undefined)
  juliet.send(el('iq', { type: 'result', id: ping.attr('id'), to: server.domain }))
  await juliet.receivesNothing()
})

test('a client of RFC 3921 gets its session', async () => {
  await using server = await startServer()
  const juliet = await server.connect('juliet', 'balcony')
  const ns = 'urn:ietf:params:xml:ns:xmpp-session'
  assert.notEqual(juliet.features?.child('session', ns)?.child('optional', ns), undefined)
  const answer = await juliet.ask('set', server.domain, el('session', { xmlns: ns }))
  assert.equal(answer.attr('type'), 'result')
})

test('vCards are for everybody, private XML for its owner', async () => {
  await using server = await startServer()
  const juliet = await server.connect('juliet', 'balcony')
  const romeo = await server.connect('romeo', 'orchard')
  const card = el('vCard', { xmlns: 'vcard-temp' }, el('FN', {}, 'Juliet Capulet'))
  await juliet.ask('set', undefined, card)
  const seen = await romeo.ask('get', juliet.bareJid, el('vCard', { xmlns: 'vcard-temp' }))
  assert.equal(seen.child('vCard', 'vcard-temp')?.child('FN')?.text, 'Juliet Capulet')

  const kept = (...content: string[]) =>
    el('query', { xmlns: 'jabber:iq:private' }, el('nurse', { xmlns: 'urn:nurse' }, ...content))
  await juliet.ask('set', undefined, kept('Angelica'))
  const own = await juliet.ask('get', undefined, kept())
  assert.equal(own.child('query', 'jabber:iq:private')?.elements()[0]?.text, 'Angelica')
  assert.equal(conditionOf(await romeo.ask('get', juliet.bareJid, kept())), 'forbidden')
})

test('last activity is for contacts', async () => {
  await using server = await startServer()
  const juliet = await server.connect('juliet', 'balcony')
  const romeo = await server.connect('romeo', 'orchard')
  const query = el('query', { xmlns: 'jabber:iq:last' })
  assert.equal(conditionOf(await romeo.ask('get', juliet.bareJid, query)), 'forbidden')
  romeo.send(el('presence', { type: 'subscribe', to: juliet.bareJid }))
  await juliet.receives({ name: 'presence', type: 'subscribe' })
  juliet.send(el('presence', { type: 'subscribed', to: romeo.bareJid }))
  await romeo.receives({ name: 'presence', type: 'subscribed' })
  juliet.send(el('presence', { type: 'unavailable' }, el('status', {}, 'Parting')))
  await juliet.leaves()
  await romeo.receives({ name: 'presence', type: 'unavailable' })
  const answer = await romeo.ask('get', juliet.bareJid, query)
  assert.equal(answer.child('query', 'jabber:iq:last')?.text, 'Parting')
})

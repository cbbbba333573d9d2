import assert from 'node:assert/strict'
import { test } from 'node:test'
import { el } from '../../src/xmpp/xml.ts'
import type { Client } from '../support/client.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { chat, iq, message, presence } from '../support/stanzas.ts'
import { connectResumable, resume } from '../support/stream-management.ts'

const CSI_NS = 'urn:xmpp:csi:0'
const ACTIVE = el('active', { xmlns: CSI_NS })
const INACTIVE = el('inactive', { xmlns: CSI_NS })
const COMPOSING = el('composing', { xmlns: 'http://jabber.org/protocol/chatstates' })

/** A phone that is in a pocket, and somebody who writes to it. */
async function scene(server: TestServer) {
  const phone = await server.connect('romeo', 'phone')
  const juliet = await server.connect('juliet')
  phone.send(INACTIVE)
  await phone.roundTrip()
  return { phone, juliet }
}

/** Once the server has seen all that others sent. */
async function settled(...others: readonly Client[]): Promise<void> {
  for (const other of others) await other.roundTrip()
}

test('client state indication is offered to whom is authenticated', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo')
  assert.ok(romeo.features?.child('csi', CSI_NS))
  const stranger = await server.openStream()
  assert.equal(stranger.features?.child('csi', CSI_NS), undefined)
})

test('an inactive client gets only the last presence of each, when it is active again', async () => {
  await using server = await startServer()
  const { phone, juliet } = await scene(server)
  const tybalt = await server.connect('tybalt')
  for (const show of ['away', 'xa', 'dnd']) {
    juliet.send(presence(undefined, phone.fullJid, el('show', {}, show)))
    tybalt.send(presence(undefined, phone.fullJid, el('status', {}, show)))
  }
  await settled(juliet, tybalt)
  assert.equal(phone.inbox().length, 0)
  phone.send(ACTIVE)
  await phone.receivesNext({ name: 'presence', from: juliet.fullJid, show: 'dnd' })
  await phone.receivesNext({ name: 'presence', from: tybalt.fullJid, status: 'dnd' })
  juliet.send(presence(undefined, phone.fullJid, el('show', {}, 'chat')))
  await phone.receivesNext({ name: 'presence', show: 'chat' })
})

test('what passes at once is preceded by what waits', async () => {
  await using server = await startServer()
  const { phone, juliet } = await scene(server)
  juliet.send(presence(undefined, phone.fullJid, el('show', {}, 'away')))
  juliet.send(chat(phone.fullJid, 'Art thou there?'))
  await phone.receivesNext({ name: 'presence', show: 'away' })
  await phone.receivesNext({ body: 'Art thou there?' })
})

test('typing is forgotten, a body beside it is not', async () => {
  await using server = await startServer()
  const { phone, juliet } = await scene(server)
  juliet.send(message('chat', phone.fullJid, undefined, COMPOSING))
  juliet.send(chat(phone.fullJid, 'There', COMPOSING))
  await phone.receivesNext({ body: 'There' })
  phone.send(ACTIVE)
  await phone.receivesNothing()
})

test('another device’s typing is forgotten, too', async () => {
  await using server = await startServer()
  const phone = await server.connect('romeo', 'phone')
  const desk = await server.connect('romeo', 'desk')
  const juliet = await server.connect('juliet')
  await phone.ask('set', undefined, el('enable', { xmlns: 'urn:xmpp:carbons:2' }))
  phone.send(INACTIVE)
  await phone.roundTrip()
  desk.send(message('chat', juliet.fullJid, undefined, COMPOSING))
  // As most clients send it.
  const hint = el('no-store', { xmlns: 'urn:xmpp:hints' })
  desk.send(message('chat', juliet.fullJid, undefined, COMPOSING, el('thread', {}, '1'), hint))
  desk.send(chat(juliet.fullJid, 'Speak again'))
  await juliet.receives({ body: 'Speak again' })
  const copy = await phone.receivesNext({ name: 'message', child: 'urn:xmpp:carbons:2' })
  assert.match(copy.toString(), /Speak again/)
})

test('receipts, calls, encrypted messages, requests and subscriptions pass at once', async () => {
  await using server = await startServer()
  const { phone, juliet } = await scene(server)
  const urgent = [
    el('received', { xmlns: 'urn:xmpp:receipts', id: '1' }),
    el('propose', { xmlns: 'urn:xmpp:jingle-message:0', id: '1' }),
    el('encryption', { xmlns: 'urn:xmpp:eme:0', namespace: 'eu.siacs.conversations.axolotl' }),
  ]
  for (const payload of urgent) {
    juliet.send(message('chat', phone.fullJid, undefined, payload))
    await phone.receives({ name: 'message', child: payload.ns })
  }
  juliet.send(iq('get', phone.fullJid, el('query', { xmlns: 'jabber:iq:version' })))
  await phone.receives({ name: 'iq', type: 'get' })
  juliet.send(presence('subscribe', phone.bareJid))
  await phone.receives({ name: 'presence', type: 'subscribe' })
})

test('too much that waits is sent', async () => {
  await using server = await startServer({ modules: { csi: { max_stanzas: 3 } } })
  const { phone, juliet } = await scene(server)
  for (let i = 0; i < 3; i++) {
    const sender = await server.connect(`sender${i}`)
    sender.send(presence(undefined, phone.fullJid))
    await sender.roundTrip()
  }
  await settled(juliet)
  for (let i = 0; i < 3; i++) await phone.receives({ name: 'presence', from: /^sender/ })
})

test('what waits is not lost with the connection; a resumed stream begins active', async () => {
  await using server = await startServer()
  const juliet = await server.connect('juliet')
  const { client: phone, id } = await connectResumable(server, 'romeo', 'phone')
  phone.send(INACTIVE)
  await phone.roundTrip()
  juliet.send(presence(undefined, phone.fullJid, el('show', {}, 'away')))
  await settled(juliet)
  await phone.vanishes()
  const { client: back } = await resume(server, { id, h: 1, fullJid: phone.fullJid })
  await back.receives({ name: 'presence', show: 'away' })
  juliet.send(presence(undefined, phone.fullJid, el('show', {}, 'dnd')))
  await settled(juliet)
  await back.roundTrip()
  assert.equal(back.inbox({ name: 'presence', show: 'dnd' }).length, 1)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { el } from '../../src/xmpp/xml.ts'
import type { Client } from '../support/client.ts'
import { type ConnectOptions, startServer, type TestServer } from '../support/server.ts'
import { chat, presence } from '../support/stanzas.ts'

const ROMEO = 'romeo@im.example.com'
const JULIET = 'juliet@im.example.com'

/** Romeo and Juliet, subscribed to each other; neither is connected. */
async function befriend(server: TestServer) {
  const romeo = await server.connect('romeo', 'subscribing')
  const juliet = await server.connect('juliet', 'subscribing')
  romeo.send(presence('subscribe', JULIET))
  await juliet.receives({ type: 'subscribe' })
  juliet.send(presence('subscribed', ROMEO), presence('subscribe', ROMEO))
  await romeo.receives({ type: 'subscribe' })
  romeo.send(presence('subscribed', JULIET))
  await juliet.receives({ type: 'subscribed' })
  await romeo.leaves()
  await juliet.leaves()
}

const status = (text: string) => el('status', {}, text)
const of = (client: Client, type?: string) => ({
  name: 'presence',
  type,
  from: client.fullJid,
})

/** Connects without presence, so that the test sees what it brings. */
const connectSilently = (server: TestServer, localpart: string, resource: string) =>
  server.connect(localpart, resource, { priority: undefined } satisfies ConnectOptions)

/** Juliet, who has learnt that Romeo is away. */
async function connectJuliet(server: TestServer) {
  const juliet = await server.connect('juliet', 'balcony')
  await juliet.receives({ type: 'unavailable', from: ROMEO })
  return juliet
}

test('who comes online sees contacts and own resources, and is seen', async () => {
  await using server = await startServer()
  await befriend(server)
  const juliet = await connectJuliet(server)
  const home = await server.connect('romeo', 'home')
  await juliet.receives(of(home))
  home.forgets()

  const orchard = await connectSilently(server, 'romeo', 'orchard')
  await orchard.receivesNothing()
  orchard.send(presence(undefined, undefined, status('hid from their sight')))
  await orchard.receives({ ...of(orchard), to: ROMEO, status: 'hid from their sight' })
  await orchard.receives(of(home))
  await orchard.receives(of(juliet))
  await juliet.receives({ ...of(orchard), to: JULIET, status: 'hid from their sight' })
  await home.receives(of(orchard))
  await orchard.receivesNothing()
  await juliet.receivesNothing()
  await home.receivesNothing()
})

test('away, and gone with a word', async () => {
  await using server = await startServer()
  await befriend(server)
  const juliet = await connectJuliet(server)
  const romeo = await server.connect('romeo', 'orchard')
  await juliet.receives(of(romeo))

  romeo.send(presence(undefined, undefined, el('show', {}, 'away')))
  await juliet.receives({ ...of(romeo), show: 'away' })
  romeo.send(presence('unavailable', undefined, status('good night')))
  await juliet.receives({ ...of(romeo, 'unavailable'), status: 'good night' })
  await romeo.receives({ ...of(romeo, 'unavailable'), status: 'good night' })
  await romeo.leaves()
  await juliet.receivesNothing()
})

test('a lost connection counts as gone', async () => {
  await using server = await startServer()
  await befriend(server)
  const juliet = await connectJuliet(server)
  const romeo = await server.connect('romeo', 'orchard')
  await juliet.receives(of(romeo))
  await romeo.vanishes()
  await juliet.receives(of(romeo, 'unavailable'))
  await juliet.receivesNothing()
})

test('a contact who is away: since when, and why', async () => {
  await using server = await startServer()
  await befriend(server)
  const romeo = await server.connect('romeo', 'orchard')
  romeo.send(presence('unavailable', undefined, status('banished')))
  await romeo.leaves()
  const juliet = await connectSilently(server, 'juliet', 'balcony')
  juliet.send(presence())
  const last = await juliet.receives({
    type: 'unavailable',
    from: ROMEO,
    status: 'banished',
    child: 'urn:xmpp:delay',
  })
  const stamp = last.child('delay', 'urn:xmpp:delay')?.attr('stamp') ?? ''
  assert.ok(Date.parse(stamp) <= Date.now())
})

test('a replaced session: contacts notice nothing until its successor goes', async () => {
  await using server = await startServer()
  await befriend(server)
  const juliet = await connectJuliet(server)
  const old = await server.connect('romeo', 'orchard')
  await juliet.receives(of(old))
  const fresh = await connectSilently(server, 'romeo', 'orchard')
  await old.receivesStreamError('conflict')
  await fresh.roundTrip()
  await juliet.receivesNothing()
  await fresh.leaves()
  await juliet.receives(of(old, 'unavailable'))
  await juliet.receivesNothing()
})

test('directed presence ends with the session', async () => {
  await using server = await startServer()
  const juliet = await server.connect('juliet', 'balcony')
  const romeo = await server.connect('romeo', 'orchard')
  romeo.send(presence(undefined, juliet.fullJid, status('psst')))
  await juliet.receives({ ...of(romeo), to: juliet.fullJid, status: 'psst' })
  romeo.send(presence(undefined, undefined, status('not for her')))
  await romeo.leaves()
  await juliet.receivesNext({ ...of(romeo, 'unavailable'), to: juliet.fullJid })
})

test('a stranger who probes learns nothing but that', async () => {
  await using server = await startServer()
  const juliet = await server.connect('juliet', 'balcony')
  const romeo = await server.connect('romeo', 'orchard')
  romeo.send(presence('probe', JULIET), presence('probe', 'nobody@im.example.com'))
  await romeo.receivesNothing()
  await juliet.receivesNothing()
})

test('presence that is wrong is refused, and changes nothing', async () => {
  await using server = await startServer()
  const romeo = await connectSilently(server, 'romeo', 'orchard')
  romeo.send(presence('invisible'))
  await romeo.receives({ name: 'presence', error: 'bad-request' })
  romeo.send(presence(undefined, undefined, el('priority', {}, '128')))
  await romeo.receives({ name: 'presence', error: 'bad-request' })
  assert.equal(server.sessionOf(romeo).priority, undefined)
})

test('priority decides who gets what is sent to the account', async () => {
  await using server = await startServer()
  const phone = await server.connect('juliet', 'phone', { priority: -1 })
  const tablet = await server.connect('juliet', 'tablet', { priority: 1 })
  const desk = await server.connect('juliet', 'desk', { priority: 0 })
  const romeo = await server.connect('romeo')
  romeo.send(chat(JULIET, 'one'))
  await tablet.receives({ body: 'one' })
  desk.send(presence(undefined, undefined, el('priority', {}, '5')))
  await desk.roundTrip()
  romeo.send(chat(JULIET, 'two'))
  await desk.receives({ body: 'two' })
  await romeo.roundTrip()
  await phone.receivesNothing({ name: 'message' })
  await tablet.receivesNothing({ name: 'message' })
})

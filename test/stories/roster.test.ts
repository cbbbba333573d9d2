import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Element, el } from '../../src/xmpp/xml.ts'
import { type Client, conditionOf } from '../support/client.ts'
import { startServer } from '../support/server.ts'
import { presence } from '../support/stanzas.ts'

const NS = 'jabber:iq:roster'
const ROMEO = 'romeo@im.example.com'
const JULIET = 'juliet@im.example.com'

const query = (ver: string | undefined, ...items: readonly Element[]) =>
  el('query', { xmlns: NS, ver }, ...items)

const item = (jid: string, attributes: Record<string, string> = {}, ...groups: string[]) =>
  el('item', { xmlns: NS, jid, ...attributes }, ...groups.map((group) => el('group', {}, group)))

const fetch = (client: Client, ver?: string) => client.ask('get', undefined, query(ver))
const set = (client: Client, one: Element) => client.ask('set', undefined, query(undefined, one))

const push = (one: Element) => ({ name: 'iq', type: 'set', child: query(undefined, one) })

const itemsOf = (result: Element) =>
  (result.child('query', NS)?.elements('item') ?? []).map((one) => one.attr('jid'))

const versionOf = (result: Element) => result.child('query', NS)?.attr('ver')

test('the stream offers roster versions and approvals in advance', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo')
  const offered = romeo.features?.elements().map(({ ns }) => ns)
  assert.ok(offered?.includes('urn:xmpp:features:rosterver'))
  assert.ok(offered?.includes('urn:xmpp:features:pre-approval'))
})

test('a contact is added, changed and removed, and the other clients follow', async () => {
  await using server = await startServer()
  const orchard = await server.connect('romeo', 'orchard')
  const home = await server.connect('romeo', 'home', { priority: undefined })
  const deaf = await server.connect('romeo', 'deaf')
  assert.deepEqual(itemsOf(await fetch(orchard)), [])
  await fetch(home)

  const juliet = item(JULIET, { name: 'Juliet', subscription: 'none' }, 'Friends', 'Capulets')
  assert.equal((await set(orchard, juliet)).attr('type'), 'result')
  await orchard.receives(push(juliet))
  const pushed = await home.receives(push(juliet))
  assert.equal(pushed.attr('from') ?? ROMEO, ROMEO)
  home.send(el('iq', { type: 'result', id: pushed.attr('id') }))
  assert.deepEqual(itemsOf(await fetch(deaf)), [JULIET])

  await set(home, item(JULIET, { subscription: 'remove' }))
  await orchard.receives(push(item(JULIET, { subscription: 'remove' })))
  const again = await set(home, item(JULIET, { subscription: 'remove' }))
  assert.equal(conditionOf(again), 'item-not-found')
})

test('what is wrong with a roster set is said', async () => {
  await using server = await startServer({ modules: { roster: { max_name: 10, max_groups: 2 } } })
  const romeo = await server.connect('romeo')
  await server.createAccount('juliet')
  const twoItems = query(undefined, item(JULIET), item('nurse@im.example.com'))
  const refusals: [string, Element][] = [
    ['bad-request', await romeo.ask('set', undefined, twoItems)],
    ['bad-request', await romeo.ask('set', undefined, query(undefined))],
    ['bad-request', await set(romeo, item(JULIET, {}, 'twice', 'twice'))],
    ['not-acceptable', await set(romeo, item(JULIET, {}, ''))],
    ['not-acceptable', await set(romeo, item(JULIET, {}, 'a', 'b', 'c'))],
    ['not-acceptable', await set(romeo, item(JULIET, { name: 'far too long' }))],
    ['jid-malformed', await set(romeo, item('@nowhere'))],
    ['not-allowed', await set(romeo, item(ROMEO))],
    ['forbidden', await romeo.ask('set', JULIET, query(undefined, item(ROMEO)))],
    ['forbidden', await romeo.ask('get', JULIET, query(undefined))],
  ]
  assert.deepEqual(
    refusals.map(([, answer]) => conditionOf(answer)),
    refusals.map(([condition]) => condition),
  )
  assert.deepEqual(itemsOf(await fetch(romeo)), [])
})

test('a client that knows a version gets what has changed since', async () => {
  await using server = await startServer()
  const orchard = await server.connect('romeo', 'orchard')
  for (const name of ['juliet', 'mercutio', 'benvolio', 'tybalt', 'paris', 'rosaline']) {
    await set(orchard, item(`${name}@im.example.com`))
  }
  const known = versionOf(await fetch(orchard, ''))
  assert.ok(known)
  await orchard.leaves()

  const home = await server.connect('romeo', 'home')
  await set(home, item('nurse@im.example.com'))
  await set(home, item('friar@im.example.com'))

  const back = await server.connect('romeo', 'orchard')
  const caughtUp = await fetch(back, known)
  assert.equal(caughtUp.elements().length, 0)
  const first = await back.receivesNext(push(item('nurse@im.example.com')))
  const second = await back.receivesNext(push(item('friar@im.example.com')))
  assert.notEqual(versionOf(first), versionOf(second))
  const latest = await fetch(back, versionOf(second))
  assert.equal(latest.elements().length, 0)
  await back.receivesNothing()
})

test('a small roster is sent as a whole when it has changed', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo')
  await set(romeo, item(JULIET))
  const known = versionOf(await fetch(romeo, ''))
  assert.ok(known)
  await set(romeo, item('nurse@im.example.com'))

  const changed = await fetch(romeo, known)

  assert.deepEqual(itemsOf(changed), [JULIET, 'nurse@im.example.com'])
})

/** Romeo and Juliet, connected and interested in their rosters. */
async function lovers(server: Awaited<ReturnType<typeof startServer>>) {
  const romeo = await server.connect('romeo', 'orchard')
  const juliet = await server.connect('juliet', 'balcony')
  await fetch(romeo)
  await fetch(juliet)
  return { romeo, juliet }
}

async function befriend(romeo: Client, juliet: Client) {
  romeo.send(presence('subscribe', JULIET))
  await juliet.receives({ name: 'presence', type: 'subscribe' })
  juliet.send(presence('subscribed', ROMEO), presence('subscribe', ROMEO))
  await romeo.receives({ name: 'presence', type: 'subscribe' })
  romeo.send(presence('subscribed', JULIET))
  await juliet.receives(push(item(ROMEO, { subscription: 'both' })))
  await romeo.receives(push(item(JULIET, { subscription: 'both' })))
  await romeo.roundTrip()
  await juliet.roundTrip()
  romeo.forgets()
  juliet.forgets()
}

test('a subscription, from the request to the presence', async () => {
  await using server = await startServer()
  const { romeo, juliet } = await lovers(server)

  romeo.send(presence('subscribe', `${JULIET}/balcony`, el('status', {}, 'it is I')))
  await romeo.receivesNext(push(item(JULIET, { subscription: 'none', ask: 'subscribe' })))
  await juliet.receivesNext({ type: 'subscribe', from: ROMEO, to: JULIET, status: 'it is I' })

  juliet.send(presence('subscribed', ROMEO))
  await juliet.receivesNext(push(item(ROMEO, { subscription: 'from' })))
  await romeo.receivesNext({ name: 'presence', type: 'subscribed', from: JULIET })
  await romeo.receivesNext(push(item(JULIET, { subscription: 'to' })))
  await romeo.receivesNext({ name: 'presence', type: undefined, from: juliet.fullJid })
  await romeo.receivesNothing()
})

test('who knows the roster is told of answers, though not available', async () => {
  await using server = await startServer()
  const { romeo, juliet } = await lovers(server)
  const home = await server.connect('romeo', 'home', { priority: undefined })
  const deaf = await server.connect('romeo', 'deaf', { priority: undefined })
  await fetch(home)

  juliet.send(presence('subscribe', ROMEO))
  await romeo.receives({ name: 'presence', type: 'subscribe' })
  romeo.send(presence('subscribe', JULIET), presence('subscribed', JULIET))
  await juliet.receives({ name: 'presence', type: 'subscribe' })
  juliet.send(presence('subscribed', ROMEO), presence('unsubscribe', ROMEO))
  await romeo.receives({ name: 'presence', type: 'unsubscribe' })
  juliet.send(presence('unsubscribed', ROMEO))
  await romeo.receives({ name: 'presence', type: 'unsubscribed' })

  await home.roundTrip()
  const told = home.inbox({ name: 'presence' }).map((each) => each.attr('type'))
  assert.deepEqual(told, ['subscribed', 'unsubscribe', 'unsubscribed'])
  await deaf.receivesNothing()
})

test('a request for somebody who is away waits, and survives a restart', async () => {
  await using first = await startServer({ storage: { url: 'sqlite:meerkat.db' } })
  await first.createAccount('juliet')
  const romeo = await first.connect('romeo')
  const nick = el('nick', { xmlns: 'http://jabber.org/protocol/nick' }, 'Romeo')
  romeo.send(presence('subscribe', JULIET, nick))
  await romeo.roundTrip()
  await first.stop()

  await using second = await startServer({
    data_dir: first.directory,
    storage: { url: 'sqlite:meerkat.db' },
  })
  for (const resource of ['balcony', 'chamber']) {
    const juliet = await second.connect('juliet', resource)
    await juliet.receives({ type: 'subscribe', from: ROMEO, child: nick })
    await juliet.leaves()
  }
  const juliet = await second.connect('juliet')
  juliet.send(presence('unsubscribed', ROMEO))
  await juliet.roundTrip()
  juliet.forgets()
  await juliet.becomesAvailable()
  await juliet.receivesNothing({ type: 'subscribe' })
})

test('a contact who is removed loses the presence and both subscriptions', async () => {
  await using server = await startServer()
  const { romeo, juliet } = await lovers(server)
  await befriend(romeo, juliet)

  await set(romeo, item(JULIET, { subscription: 'remove' }))
  await romeo.receives(push(item(JULIET, { subscription: 'remove' })))
  await juliet.receivesNext({ name: 'presence', type: 'unavailable', from: romeo.fullJid })
  await juliet.receivesNext({ name: 'presence', type: 'unsubscribed', from: ROMEO })
  await juliet.receivesNext(push(item(ROMEO, { subscription: 'from' })))
  await juliet.receivesNext({ name: 'presence', type: 'unsubscribe', from: ROMEO })
  await juliet.receivesNext(push(item(ROMEO, { subscription: 'none' })))
  await romeo.receives({ name: 'presence', type: 'unavailable', from: juliet.fullJid })
  await romeo.roundTrip()
  await juliet.receivesNothing()
})

test('an approval in advance needs no second word', async () => {
  await using server = await startServer()
  const { romeo, juliet } = await lovers(server)
  juliet.send(presence('subscribed', ROMEO))
  await juliet.receives(push(item(ROMEO, { subscription: 'none', approved: 'true' })))
  await romeo.receivesNothing()

  romeo.send(presence('subscribe', JULIET))
  await romeo.receives({ name: 'presence', type: 'subscribed', from: JULIET })
  await romeo.receives({ name: 'presence', type: undefined, from: juliet.fullJid })
  await juliet.receivesNext(push(item(ROMEO, { subscription: 'from' })))
  await juliet.receivesNothing()
})

test('two clients that change a roster at once do not undo each other', async () => {
  await using server = await startServer()
  const orchard = await server.connect('romeo', 'orchard')
  const home = await server.connect('romeo', 'home')
  await fetch(home)
  const jids = Array.from({ length: 20 }, (_, index) => `contact-${index}@im.example.com`)
  await Promise.all(jids.map((jid, index) => set(index % 2 === 0 ? orchard : home, item(jid))))
  assert.deepEqual(itemsOf(await fetch(orchard)).sort(), [...jids].sort())
  await home.roundTrip()
  const versions = home
    .inbox({ name: 'iq', type: 'set' })
    .map((pushed) => Number(versionOf(pushed)))
  assert.equal(versions.length, 20)
  assert.deepEqual(
    versions,
    versions.map((_, index) => (versions[0] as number) + index),
  )
})

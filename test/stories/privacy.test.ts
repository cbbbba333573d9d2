import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseBare } from '../../src/xmpp/jid.ts'
import { type Element, el } from '../../src/xmpp/xml.ts'
import { askArchive } from '../support/archive.ts'
import { type Client, conditionOf } from '../support/client.ts'
import {
  listNames,
  PRIVACY,
  privacyQuery,
  refusalOf,
  rules,
  setsActive,
  setsDefault,
  setsList,
} from '../support/privacy.ts'
import { DOMAIN, startServer, type TestServer } from '../support/server.ts'
import { chat, presence } from '../support/stanzas.ts'

const ROMEO = `romeo@${DOMAIN}`
const JULIET = `juliet@${DOMAIN}`

const noRomeo = (name: string, ...kinds: readonly string[]) =>
  rules(name, { type: 'jid', value: ROMEO, kinds })
const nobody = rules('nobody', {})

const active = (name?: string) => el('active', { name })
const byDefault = (name?: string) => el('default', { name })
const without = (name: string) => el('list', { name })

const push = (name: string) => ({ name: 'iq', type: 'set', child: privacyQuery(without(name)) })

const rosterItem = (jid: string, ...groups: readonly string[]) =>
  el(
    'query',
    { xmlns: 'jabber:iq:roster' },
    el('item', { jid }, ...groups.map((group) => el('group', {}, group))),
  )

/** Romeo and Juliet see each other's presence; neither is connected. */
async function befriend(server: TestServer): Promise<void> {
  const romeo = await server.connect('romeo', 'befriending')
  const juliet = await server.connect('juliet', 'befriending')
  romeo.send(presence('subscribe', JULIET))
  await juliet.receives({ type: 'subscribe' })
  juliet.send(presence('subscribed', ROMEO), presence('subscribe', ROMEO))
  await romeo.receives({ type: 'subscribe' })
  romeo.send(presence('subscribed', JULIET))
  await juliet.receives({ type: 'subscribed' })
  await romeo.leaves()
  await juliet.leaves()
}

/** Both connected; they know of each other's presence. */
async function lovers(server: TestServer) {
  await befriend(server)
  const romeo = await server.connect('romeo', 'orchard')
  const juliet = await server.connect('juliet', 'balcony')
  for (const one of [romeo, juliet]) {
    await one.roundTrip()
    one.forgets()
  }
  return { romeo, juliet }
}

// --- Lists come and go (XEP-0016 §2.3 to §2.8).

test('lists are named, read, changed and removed', async () => {
  await using server = await startServer()
  const juliet = await server.connect('juliet', 'balcony')
  assert.deepEqual(await listNames(juliet), [])
  await setsList(juliet, noRomeo('private', 'message', 'presence-out'))
  await setsList(juliet, nobody)
  await setsActive(juliet, 'nobody')
  await setsDefault(juliet, 'private')
  assert.deepEqual(await listNames(juliet), [
    'active nobody',
    'default private',
    'list private',
    'list nobody',
  ])
  const read = await juliet.ask('get', undefined, privacyQuery(without('private')))
  const query = read.child('query', PRIVACY)
  assert.equal(String(query), String(privacyQuery(noRomeo('private', 'message', 'presence-out'))))

  await setsActive(juliet)
  await setsDefault(juliet)
  assert.equal(await refusalOf(juliet, without('nobody')), undefined)
  assert.deepEqual(await listNames(juliet), ['list private'])
})

test('what is wrong with a request is said', async () => {
  await using server = await startServer({ modules: { privacy: { max_lists: 1, max_items: 2 } } })
  const juliet = await server.connect('juliet', 'balcony')
  await server.createAccount('romeo')
  await setsList(juliet, noRomeo('private'))
  const get = async (...children: readonly Element[]) =>
    conditionOf(await juliet.ask('get', undefined, privacyQuery(...children)))
  const found: Record<string, string | undefined> = {
    'no such list to read': await get(without('public')),
    'two lists to read': await get(without('private'), without('public')),
    'something else to read': await get(active()),
    'nothing to set': await refusalOf(juliet),
    'two things to set': await refusalOf(juliet, active(), byDefault()),
    'an unknown thing to set': await refusalOf(juliet, el('passive')),
    'no such active list': await refusalOf(juliet, active('public')),
    'no such default list': await refusalOf(juliet, byDefault('public')),
    'no such list to remove': await refusalOf(juliet, without('public')),
    'a list without name': await refusalOf(juliet, el('list', {}, el('item'))),
    'a bad rule': await refusalOf(juliet, el('list', { name: 'private' }, el('item'))),
    'a list too many': await refusalOf(juliet, nobody),
    'a rule too many': await refusalOf(juliet, rules('private', {}, {}, {})),
    "somebody else's lists": conditionOf(await juliet.ask('get', ROMEO, privacyQuery())),
    "a change of somebody else's": conditionOf(
      await juliet.ask('set', ROMEO, privacyQuery(byDefault())),
    ),
  }
  assert.deepEqual(found, {
    'no such list to read': 'item-not-found',
    'two lists to read': 'bad-request',
    'something else to read': 'bad-request',
    'nothing to set': 'bad-request',
    'two things to set': 'bad-request',
    'an unknown thing to set': 'bad-request',
    'no such active list': 'item-not-found',
    'no such default list': 'item-not-found',
    'no such list to remove': 'item-not-found',
    'a list without name': 'bad-request',
    'a bad rule': 'bad-request',
    'a list too many': 'resource-constraint',
    'a rule too many': 'resource-constraint',
    "somebody else's lists": 'forbidden',
    "a change of somebody else's": 'forbidden',
  })
  assert.deepEqual(await listNames(juliet), ['list private'])
})

test('every client of the account is told the name of a list that changes', async () => {
  await using server = await startServer()
  const balcony = await server.connect('juliet', 'balcony')
  const chamber = await server.connect('juliet', 'chamber', { priority: undefined })
  await setsList(balcony, noRomeo('private'))
  for (const client of [balcony, chamber]) {
    const told = await client.receives(push('private'))
    assert.equal(told.child('query', PRIVACY)?.elements()[0]?.elements().length, 0)
  }
  await setsDefault(balcony, 'private')
  await setsActive(chamber, 'private')
  await balcony.receivesNothing(push('private'))
  await chamber.leaves()
  await refusalOf(balcony, without('private'))
  await balcony.receives(push('private'))
})

test('no list is taken away from another resource', async () => {
  await using server = await startServer()
  const balcony = await server.connect('juliet', 'balcony')
  await setsList(balcony, noRomeo('first'))
  await setsList(balcony, nobody)
  await setsDefault(balcony, 'first')
  const chamber = await server.connect('juliet', 'chamber', { priority: undefined })

  // The chamber goes by the default list.
  assert.equal(await refusalOf(balcony, byDefault('nobody')), 'conflict')
  assert.equal(await refusalOf(balcony, byDefault()), 'conflict')
  assert.equal(await refusalOf(balcony, without('first')), 'conflict')
  assert.equal(await refusalOf(balcony, byDefault('first')), undefined)

  // Now by another.
  await setsActive(chamber, 'nobody')
  assert.equal(await refusalOf(balcony, without('nobody')), 'conflict')
  assert.equal(await refusalOf(balcony, byDefault()), undefined)

  // An own list may be removed, and does not apply then.
  await setsActive(balcony, 'first')
  assert.equal(await refusalOf(balcony, without('first')), undefined)
  assert.deepEqual(await listNames(balcony), ['list nobody'])
})

test('lists outlive the server, and go with the account', async () => {
  await using first = await startServer({ storage: { url: 'sqlite:meerkat.db' } })
  const juliet = await first.connect('juliet')
  await setsList(juliet, noRomeo('private'))
  await setsDefault(juliet, 'private')
  await setsList(juliet, nobody)
  await first.stop()

  await using second = await startServer({
    data_dir: first.directory,
    storage: { url: 'sqlite:meerkat.db' },
  })
  const back = await second.connect('juliet')
  assert.deepEqual(await listNames(back), ['default private', 'list nobody', 'list private'])
  const romeo = await second.connect('romeo')
  romeo.send(chat(JULIET, 'Art thou there?'))
  assert.equal(conditionOf(await romeo.receives({ type: 'error' })), 'service-unavailable')

  await second.server.lifecycle.remove(parseBare(JULIET))
  const heir = await second.connect('juliet')
  assert.deepEqual(await listNames(heir), [])
  romeo.send(chat(JULIET, 'And now?'))
  await heir.receives({ body: 'And now?' })
})

// --- Whose list it is.

test('own resources and the own server are above all rules', async () => {
  await using server = await startServer()
  const balcony = await server.connect('juliet', 'balcony')
  const chamber = await server.connect('juliet', 'chamber')
  await setsList(balcony, nobody)
  await setsActive(balcony, 'nobody')
  await setsActive(chamber, 'nobody')
  assert.equal(await refusalOf(balcony, byDefault('nobody')), undefined)

  balcony.send(chat(chamber.fullJid, 'to the resource'), chat(JULIET, 'to the account'))
  await chamber.receives({ body: 'to the resource' })
  await chamber.receives({ body: 'to the account' })
  await balcony.receives({ body: 'to the account' })
  balcony.send(el('presence', {}, el('show', {}, 'away')))
  await chamber.receives({ name: 'presence', from: balcony.fullJid, show: 'away' })
  balcony.send(el('iq', { type: 'get', id: 'q', to: chamber.fullJid }, el('x', { xmlns: 'urn:x' })))
  await chamber.receives({ name: 'iq', id: 'q', from: balcony.fullJid })
  chamber.send(el('iq', { type: 'result', id: 'q', to: balcony.fullJid }))
  await balcony.receives({ name: 'iq', id: 'q', from: chamber.fullJid })
})

test('an active list is one resource’s, and there instead of the default list', async () => {
  await using server = await startServer()
  const balcony = await server.connect('juliet', 'balcony')
  await setsList(balcony, noRomeo('private'))
  await setsDefault(balcony, 'private')
  await setsList(balcony, rules('open', { action: 'allow' }))
  const chamber = await server.connect('juliet', 'chamber')
  await setsActive(chamber, 'open')
  await chamber.ask('set', undefined, el('enable', { xmlns: 'urn:xmpp:carbons:2' }))
  await balcony.ask('set', undefined, el('enable', { xmlns: 'urn:xmpp:carbons:2' }))
  const romeo = await server.connect('romeo', 'orchard')
  for (const one of [balcony, chamber]) {
    await one.roundTrip()
    one.forgets()
  }

  romeo.send(chat(balcony.fullJid, 'no'))
  assert.equal(conditionOf(await romeo.receives({ body: 'no' })), 'service-unavailable')
  romeo.send(chat(chamber.fullJid, 'yes'))
  await chamber.receivesNext({ body: 'yes' })
  romeo.send(chat(JULIET, 'both'))
  await chamber.receivesNext({ body: 'both' })
  romeo.send(presence(undefined, JULIET))
  await chamber.receivesNext({ name: 'presence', from: romeo.fullJid })
  // Nor as copies.
  await balcony.receivesNothing()
  await romeo.receivesNothing()

  // Only the balcony gets what is for the account: nobody does then.
  await chamber.becomesAvailable(-1)
  romeo.send(chat(JULIET, 'nobody'))
  assert.equal(conditionOf(await romeo.receives({ body: 'nobody' })), 'service-unavailable')
  await chamber.leaves()
  romeo.send(chat(JULIET, 'alone'))
  assert.equal(conditionOf(await romeo.receives({ body: 'alone' })), 'service-unavailable')
  assert.deepEqual((await askArchive(balcony)).bodies, ['yes', 'both'])
})

test('without anybody there the default list decides, whatever lists were active', async () => {
  await using server = await startServer()
  const juliet = await server.connect('juliet', 'balcony')
  await setsList(juliet, nobody)
  await setsActive(juliet, 'nobody')
  const romeo = await server.connect('romeo', 'orchard')
  romeo.send(chat(JULIET, 'now'))
  assert.equal(conditionOf(await romeo.receives({ body: 'now' })), 'service-unavailable')
  await juliet.leaves()
  romeo.send(chat(JULIET, 'then'))
  await romeo.receivesNothing()
  const back = await server.connect('juliet', 'balcony')
  await back.receives({ body: 'then' })
  assert.deepEqual(await listNames(back), ['list nobody'])
})

test('an unavailable resource with a list of its own keeps nothing from the offline store', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo', 'orchard')
  const juliet = await server.connect('juliet', 'balcony')
  await setsList(juliet, noRomeo('private'))
  await setsDefault(juliet, 'private')
  await juliet.leaves()
  const open = await server.connect('juliet', 'chamber', { priority: undefined })
  await setsList(open, rules('open', { action: 'allow' }))
  await setsActive(open, 'open')
  // The list in force for the account while nobody is available is the default list.
  romeo.send(chat(JULIET, 'kept?'))
  assert.equal(conditionOf(await romeo.receives({ body: 'kept?' })), 'service-unavailable')
  romeo.send(chat(open.fullJid, 'direct'))
  await open.receives({ body: 'direct' })
})

test('what was kept before it was denied is not delivered', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo', 'orchard')
  await server.createAccount('juliet')
  romeo.send(chat(JULIET, 'old'))
  await romeo.roundTrip()
  const juliet = await server.connect('juliet', 'balcony', { priority: undefined })
  await setsList(juliet, noRomeo('private', 'message'))
  await setsDefault(juliet, 'private')
  await juliet.becomesAvailable()
  await juliet.receivesNothing({ name: 'message' })
  await romeo.receivesNothing()
})

test('rules about the roster follow it', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo', 'orchard')
  const juliet = await server.connect('juliet', 'balcony')
  await juliet.ask('set', undefined, rosterItem(ROMEO, 'Friends'))
  await setsList(
    juliet,
    rules('friends', { type: 'group', value: 'Friends', action: 'allow' }, { kinds: ['message'] }),
  )
  await setsDefault(juliet, 'friends')
  await juliet.ask('set', undefined, rosterItem(ROMEO))
  romeo.send(chat(JULIET, 'stranger'))
  await romeo.receives({ type: 'error', body: 'stranger' })

  await juliet.ask('set', undefined, rosterItem(ROMEO, 'Friends'))
  romeo.send(chat(JULIET, 'friend'))
  await juliet.receives({ body: 'friend' })
  await romeo.receivesNothing()
})

test('a rule about a group that no contact is in is refused', async () => {
  await using server = await startServer()
  const juliet = await server.connect('juliet', 'balcony')
  const friends = rules('friends', { type: 'group', value: 'Friends', action: 'allow' })
  assert.equal(await refusalOf(juliet, friends), 'item-not-found')
  await juliet.ask('set', undefined, rosterItem(ROMEO, 'Friends'))
  await setsList(juliet, friends)
})

test('a list that is edited applies at once, in its new form', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo', 'orchard')
  const juliet = await server.connect('juliet', 'balcony')
  await setsList(juliet, rules('mine', { type: 'jid', value: 'nurse@elsewhere.example' }))
  await setsActive(juliet, 'mine')
  romeo.send(chat(JULIET, 'one'))
  await juliet.receives({ body: 'one' })
  await setsList(juliet, noRomeo('mine'))
  romeo.send(chat(JULIET, 'two'))
  await romeo.receives({ type: 'error', body: 'two' })
})

// --- Presence (XEP-0016 §2.11).

const unavailable = (from: Client) => ({
  name: 'presence',
  type: 'unavailable',
  from: from.fullJid,
})
const available = (from: Client) => ({ name: 'presence', type: undefined, from: from.fullJid })

test('a contact from whom presence is withheld sees her leave, and come back', async () => {
  await using server = await startServer()
  const { romeo, juliet } = await lovers(server)
  await setsList(juliet, noRomeo('hidden', 'presence-out'))
  await romeo.receivesNothing()
  await setsDefault(juliet, 'hidden')
  await romeo.receivesNext(unavailable(juliet))

  juliet.send(el('presence', {}, el('show', {}, 'away')))
  await juliet.roundTrip()
  romeo.send(presence('probe', JULIET))
  await romeo.receivesNothing()

  await setsDefault(juliet)
  const shown = await romeo.receivesNext(available(juliet))
  assert.equal(shown.child('show')?.text, 'away')
  await romeo.receivesNothing()
})

test('one resource hides while another is seen', async () => {
  await using server = await startServer()
  const { romeo, juliet } = await lovers(server)
  const chamber = await server.connect('juliet', 'chamber')
  await romeo.receivesNext(available(chamber))
  await setsList(juliet, noRomeo('hidden', 'presence-out'))
  await setsActive(chamber, 'hidden')
  await romeo.receivesNext(unavailable(chamber))
  juliet.send(el('presence', {}, el('show', {}, 'away')))
  chamber.send(el('presence', {}, el('show', {}, 'dnd')))
  await chamber.roundTrip()
  await romeo.receivesNext({ ...available(juliet), show: 'away' })
  romeo.send(presence('probe', JULIET))
  await romeo.receivesNext({ ...available(juliet), show: 'away' })
  await chamber.leaves()
  await romeo.receivesNothing()
})

test('who starts hidden is never seen, but sees', async () => {
  await using server = await startServer()
  const { romeo, juliet } = await lovers(server)
  await setsList(juliet, noRomeo('hidden', 'presence-out'))
  await setsDefault(juliet, 'hidden')
  await juliet.leaves()
  await romeo.roundTrip()
  romeo.forgets()
  const back = await server.connect('juliet', 'balcony', { priority: undefined })
  back.send(presence())
  await back.receives(available(romeo))
  await romeo.receivesNothing()
})

test('whoever may not see her presence does not learn when she was last there', async () => {
  await using server = await startServer()
  const { romeo, juliet } = await lovers(server)
  const last = () => romeo.ask('get', JULIET, el('query', { xmlns: 'jabber:iq:last' }))
  assert.equal((await last()).attr('type'), 'result')
  await setsList(juliet, noRomeo('hidden', 'presence-out'))
  await setsDefault(juliet, 'hidden')
  assert.equal(conditionOf(await last()), 'forbidden')
})

test('a request for her presence is not even stored', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo', 'orchard')
  const juliet = await server.connect('juliet', 'balcony')
  await setsList(juliet, noRomeo('private'))
  await setsDefault(juliet, 'private')
  romeo.send(presence('subscribe', JULIET))
  await romeo.roundTrip()
  await setsDefault(juliet)
  await juliet.becomesAvailable()
  await juliet.receivesNothing({ type: 'subscribe' })
})

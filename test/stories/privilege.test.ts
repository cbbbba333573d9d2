import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Element, el } from '../../src/xmpp/xml.ts'
import { conditionOf } from '../support/client.ts'
import type { TestComponent } from '../support/component.ts'
import { startServer } from '../support/server.ts'
import { presence } from '../support/stanzas.ts'

const PUBSUB = 'pubsub.im.example.com'
const OTHER = 'other.example.net'
const NS = 'urn:xmpp:privilege:2'
const FORWARD = 'urn:xmpp:forward:0'
const ROSTER = 'jabber:iq:roster'
const CLIENT = 'jabber:client'
const TASK = 'urn:example:task'

type Permissions = Readonly<Record<string, unknown>>

function start(permissions: Permissions) {
  return startServer({
    component: {},
    modules: { privilege: { components: { [PUBSUB]: permissions } } },
  })
}

const readRoster = (component: TestComponent, owner: string) =>
  component.ask('get', owner, el('query', { xmlns: ROSTER }))

const setItem = (jid: string, name: string) =>
  el('query', { xmlns: ROSTER }, el('item', { jid, name }))

const privileged = (inner: Element) => el('privileged_iq', { xmlns: NS }, inner)

test('a component that has not told yet what it answers is told what it may do', async () => {
  await using server = await startServer({
    component: {},
    modules: {
      delegation: { namespaces: [{ namespace: TASK, component: PUBSUB }] },
      privilege: { components: { [PUBSUB]: { roster: 'get', presence: 'managed_entity' } } },
    },
  })
  const component = await server.connectComponent(PUBSUB)
  await component.receives({ name: 'message', child: 'urn:xmpp:delegation:2' })
  await component.receives({ name: 'message', child: NS })
  const juliet = await server.connect('juliet', 'balcony')
  await component.receives({ name: 'presence', from: juliet.fullJid })
})

test('a component is told what it may do, by each hosted domain', async () => {
  await using server = await startServer({
    domains: ['im.example.com', 'example.org'],
    component: {},
    modules: {
      privilege: {
        components: {
          [PUBSUB]: {
            roster: 'both',
            message: 'outgoing',
            presence: 'roster',
            iq: { [TASK]: 'set', 'urn:example:none': 'none' },
          },
        },
      },
    },
  })
  const pubsub = await server.connectComponent(PUBSUB)
  for (const from of ['im.example.com', 'example.org']) {
    const told = await pubsub.receives({ name: 'message', from, to: PUBSUB })
    const perms = told.child('privilege', NS)?.elements('perm') ?? []
    assert.deepEqual(
      perms.map(({ attributes }) => attributes),
      [
        { access: 'roster', type: 'both', push: 'true' },
        { access: 'message', type: 'outgoing' },
        { access: 'presence', type: 'roster' },
        { access: 'iq' },
      ],
    )
    assert.deepEqual(
      perms[3]?.elements('namespace').map(({ attributes }) => attributes),
      [{ ns: TASK, type: 'set' }],
    )
  }
  const other = await server.connectComponent(OTHER)
  await other.receivesNothing()
})

test('a roster is read and changed by a component that may, and its owner is told', async () => {
  await using server = await start({ roster: 'both' })
  const juliet = await server.connect('juliet')
  await juliet.ask('get', undefined, el('query', { xmlns: ROSTER }))
  const pubsub = await server.connectComponent(PUBSUB)

  const set = await pubsub.ask('set', juliet.bareJid, setItem('romeo@example.net', 'Romeo'))
  assert.equal(set.attr('type'), 'result')
  assert.equal(set.attr('from'), juliet.bareJid)
  await juliet.receives({ name: 'iq', type: 'set', child: ROSTER })
  const roster = await readRoster(pubsub, juliet.bareJid)
  const [item] = roster.child('query', ROSTER)?.elements('item') ?? []
  assert.equal(item?.attr('name'), 'Romeo')

  const push = await pubsub.receives({ name: 'iq', type: 'set', from: juliet.bareJid, to: PUBSUB })
  assert.equal(push.child('query', ROSTER)?.child('item')?.attr('jid'), 'romeo@example.net')
})

test('without permission, rosters and their changes stay closed', async () => {
  await using server = await start({ roster: 'get', push: false })
  const juliet = await server.connect('juliet')
  const pubsub = await server.connectComponent(PUBSUB)
  const other = await server.connectComponent(OTHER)
  assert.equal((await readRoster(pubsub, juliet.bareJid)).attr('type'), 'result')
  const set = await pubsub.ask('set', juliet.bareJid, setItem('romeo@example.net', 'Romeo'))
  assert.equal(conditionOf(set), 'forbidden')
  assert.equal(conditionOf(await readRoster(other, juliet.bareJid)), 'forbidden')
  assert.equal(
    conditionOf(await readRoster(pubsub, 'nobody@im.example.com')),
    'service-unavailable',
  )
  await juliet.ask('set', undefined, setItem('nurse@example.net', 'Nurse'))
  await pubsub.receivesNothing({ name: 'iq', type: 'set' })
})

// --- Messages.

function wrapped(from: string, to: string): Element {
  const inner = el('message', { xmlns: CLIENT, from, to, id: 'inner' }, el('body', {}, 'Hark!'))
  return el('privilege', { xmlns: NS }, el('forwarded', { xmlns: FORWARD }, inner))
}

test('a message is sent in the name of an account, and of the server', async () => {
  await using server = await start({ message: 'outgoing' })
  const romeo = await server.connect('romeo')
  const pubsub = await server.connectComponent(PUBSUB)
  for (const from of ['juliet@im.example.com', 'im.example.com']) {
    await pubsub.sends(
      el('message', { from: PUBSUB, to: 'im.example.com' }, wrapped(from, romeo.fullJid)),
    )
    await romeo.receives({ name: 'message', from, body: 'Hark!', without: NS })
  }
})

for (const [what, permissions, from] of [
  ['another server', { message: 'outgoing' }, 'juliet@example.net'],
  ['a resource', { message: 'outgoing' }, 'juliet@im.example.com/balcony'],
  ['an account, without permission', {}, 'juliet@im.example.com'],
] as const) {
  test(`no message is sent in the name of ${what}`, async () => {
    await using server = await start(permissions)
    const romeo = await server.connect('romeo')
    const pubsub = await server.connectComponent(PUBSUB)
    await pubsub.sends(
      el(
        'message',
        { from: PUBSUB, to: 'im.example.com', id: 'outer' },
        wrapped(from, romeo.fullJid),
      ),
    )
    await pubsub.receives({ id: 'outer', error: 'forbidden' })
    await romeo.receivesNothing()
  })
}

// --- Requests.

test('a request is made in the name of an account, and answered', async () => {
  await using server = await start({ iq: { [TASK]: 'both' } })
  await server.createAccount('juliet')
  const pubsub = await server.connectComponent(PUBSUB)
  const other = await server.connectComponent(OTHER)

  const inner = (type: string) =>
    el('iq', { xmlns: CLIENT, type, to: OTHER, id: 'inner' }, el('task', { xmlns: TASK }))
  const asking = pubsub.ask('set', 'juliet@im.example.com', privileged(inner('set')))
  const request = await other.receives({ name: 'iq', type: 'set', from: 'juliet@im.example.com' })
  const reply = { type: 'result', id: request.attr('id'), from: OTHER, to: 'juliet@im.example.com' }
  await other.sends(el('iq', reply, el('done', { xmlns: TASK })))
  const answer = await asking
  assert.equal(answer.attr('type'), 'result')
  const forwarded = answer.child('privilege', NS)?.child('forwarded', FORWARD)?.child('iq', CLIENT)
  assert.deepEqual(forwarded?.attributes, {
    id: 'inner',
    from: OTHER,
    to: 'juliet@im.example.com',
    type: 'result',
  })
  assert.ok(forwarded?.child('done', TASK) !== undefined)

  const failing = pubsub.ask('get', 'juliet@im.example.com', privileged(inner('get')))
  const second = await other.receives({ name: 'iq', type: 'get' })
  const error = el(
    'error',
    { type: 'cancel' },
    el('gone', { xmlns: 'urn:ietf:params:xml:ns:xmpp-stanzas' }),
  )
  await other.sends(el('iq', { ...reply, type: 'error', id: second.attr('id') }, error))
  const failed = (await failing).child('privilege', NS)?.child('forwarded', FORWARD)
  const told = failed?.child('iq', CLIENT)
  assert.equal(told?.attr('type'), 'error')
  assert.equal(told === undefined ? '' : conditionOf(told), 'gone')
})

test('a request to the account itself is answered by the server', async () => {
  await using server = await start({ iq: { 'jabber:iq:private': 'get' } })
  await server.createAccount('juliet')
  const pubsub = await server.connectComponent(PUBSUB)
  const query = el('query', { xmlns: 'jabber:iq:private' }, el('x', { xmlns: 'urn:x' }))
  const answer = await pubsub.ask(
    'get',
    'juliet@im.example.com',
    privileged(el('iq', { xmlns: CLIENT, type: 'get', id: 'inner' }, query)),
  )
  const inner = answer.child('privilege', NS)?.child('forwarded', FORWARD)?.child('iq', CLIENT)
  assert.equal(inner?.attr('type'), 'result')
})

for (const [what, outer, to, attributes, ns] of [
  ['of another type than granted', 'get', 'juliet@im.example.com', {}, TASK],
  ['of a namespace that is not granted', 'set', 'juliet@im.example.com', {}, 'urn:other'],
  ['of another type inside', 'set', 'juliet@im.example.com', { type: 'get' }, TASK],
  [
    'from another account inside',
    'set',
    'juliet@im.example.com',
    { from: 'a@im.example.com' },
    TASK,
  ],
  ['in the name of a resource', 'set', 'juliet@im.example.com/balcony', {}, TASK],
  ['in the name of nobody', 'set', 'nobody@im.example.com', {}, TASK],
  ['in the name of the server', 'set', 'im.example.com', {}, TASK],
] as const) {
  test(`no request is made ${what}`, async () => {
    await using server = await start({ iq: { [TASK]: 'set' } })
    await server.connect('juliet', 'balcony')
    const pubsub = await server.connectComponent(PUBSUB)
    const inner = el(
      'iq',
      { xmlns: CLIENT, type: outer, to: PUBSUB, id: 'inner', ...attributes },
      el('task', { xmlns: ns }),
    )
    const answer = await pubsub.ask(outer, to, privileged(inner))
    assert.equal(conditionOf(answer), 'forbidden')
  })
}

test('nobody else makes requests in the name of an account', async () => {
  await using server = await start({ iq: { [TASK]: 'set' } })
  await server.createAccount('juliet')
  const romeo = await server.connect('romeo')
  const other = await server.connectComponent(OTHER)
  const inner = el('iq', { xmlns: CLIENT, type: 'set', id: 'inner' }, el('task', { xmlns: TASK }))
  for (const sender of [romeo, other]) {
    const answer = await sender.ask('set', 'juliet@im.example.com', privileged(inner))
    assert.equal(conditionOf(answer), 'forbidden')
  }
})

// --- Presence.

test('managed_entity: a component sees accounts come and go, and who is there', async () => {
  await using server = await start({ presence: 'managed_entity' })
  const juliet = await server.connect('juliet')
  await juliet.sends(presence(undefined, undefined, el('show', {}, 'chat')))
  await juliet.roundTrip()
  const pubsub = await server.connectComponent(PUBSUB)
  await pubsub.receives({ name: 'presence', type: undefined, from: juliet.fullJid, to: PUBSUB })

  const romeo = await server.connect('romeo')
  await pubsub.receives({ name: 'presence', type: undefined, from: romeo.fullJid })
  await romeo.sends(presence(undefined, undefined, el('show', {}, 'away')))
  await romeo.roundTrip()
  await pubsub.receivesNothing({ name: 'presence' })
  await romeo.leaves()
  await pubsub.receives({ name: 'presence', type: 'unavailable', from: romeo.fullJid })
  await pubsub.receivesNothing({ name: 'presence' })
})

test('roster: a component sees what contacts show to accounts, once', async () => {
  await using server = await start({ presence: 'roster', roster: 'get', push: false })
  const pubsub = await server.connectComponent(PUBSUB)
  const other = await server.connectComponent(OTHER)
  for (const localpart of ['juliet', 'nurse']) {
    const client = await server.connect(localpart)
    const contact = `romeo@${OTHER}`
    await client.sends(presence('subscribe', contact))
    await other.receives({ type: 'subscribe', from: client.bareJid })
    await other.sends(el('presence', { type: 'subscribed', from: contact, to: client.bareJid }))
    await client.receives({ type: 'subscribed', from: contact })
  }
  await pubsub.roundTrip()
  pubsub.forgets()

  const show = (to: string, type: string | undefined, from = `romeo@${OTHER}/orchard`) =>
    other.sends(el('presence', { from, to, type }, el('status', {}, 'here')))
  await show('juliet@im.example.com', undefined)
  await show('nurse@im.example.com', undefined)
  await show('nurse@im.example.com', undefined, `stranger@${OTHER}/x`)
  await pubsub.receives({ from: `romeo@${OTHER}/orchard`, status: 'here', type: undefined })
  await other.roundTrip()
  await pubsub.receivesNothing()
  await show('juliet@im.example.com', 'unavailable')
  await show('nurse@im.example.com', 'unavailable')
  await pubsub.receives({ from: `romeo@${OTHER}/orchard`, type: 'unavailable' })
  await other.roundTrip()
  await pubsub.receivesNothing()
})

test('presence of rosters is only for those who may read them', async () => {
  await assert.rejects(
    start({ presence: 'roster', roster: 'set' }),
    /roster: found "set", expected "get" or "both" where presence is "roster"/,
  )
})

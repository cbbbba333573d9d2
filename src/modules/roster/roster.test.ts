import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Core, conditionOf, startCore } from '../../../test/support/core.ts'
import {
  presence,
  presencesAway,
  presencesOf,
  sendPresence,
} from '../../../test/support/presence.ts'
import type { RecordingSession } from '../../../test/support/recording-session.ts'
import { resultOf } from '../../core/hooks.ts'
import { NOT_TAKEN } from '../../core/user-data.ts'
import { type BareJid, parseBare } from '../../xmpp/jid.ts'
import type { Stanza } from '../../xmpp/stanza.ts'
import { type Element, el } from '../../xmpp/xml.ts'
import { presence as presenceModule } from '../presence/index.ts'
import { roster } from './index.ts'

const NS = 'jabber:iq:roster'
const ROMEO = 'romeo@im.example.com'
const JULIET = 'juliet@im.example.com'
const TYBALT = 'tybalt@elsewhere.example'

const query = (...children: Element[]) => el('query', { xmlns: NS }, ...children)
const item = (contact: string, attributes: object = {}, ...groups: string[]) =>
  el('item', { jid: contact, ...attributes }, ...groups.map((group) => el('group', {}, group)))

const start = (settings: object = {}) =>
  startCore({ accounts: ['romeo', 'juliet'], modules: [[roster, settings], [presenceModule]] })

const notYet = { priority: undefined }

async function fetch(core: Core, session: RecordingSession, ver?: string): Promise<Stanza> {
  return await core.ask(session, session.jid.bare, 'get', el('query', { xmlns: NS, ver }))
}

async function set(core: Core, session: RecordingSession, wanted: Element): Promise<Stanza> {
  return await core.ask(session, session.jid.bare, 'set', query(wanted))
}

/** Items of a result as `jid subscription name [groups] ask approved`. */
function itemsOf(stanza: Stanza): string[] {
  return (stanza.child('query', NS)?.elements('item') ?? []).map(describe).sort()
}

function describe(one: Element): string {
  const groups = one.elements('group').map(({ text }) => text)
  const words = [
    one.attr('jid'),
    one.attr('subscription'),
    one.attr('name'),
    groups.length === 0 ? undefined : `[${groups}]`,
    one.attr('ask') && 'asking',
    one.attr('approved') && 'approved',
  ]
  return words.filter((word) => word !== undefined).join(' ')
}

/** Roster pushes received since the last call. */
function pushesOf(session: RecordingSession): string[] {
  const taken = session.received.splice(0)
  return taken
    .filter(({ stanza }) => stanza.kind === 'iq' && stanza.type === 'set')
    .flatMap(({ stanza }) => itemsOf(stanza))
}

const versionOf = (stanza: Stanza) => stanza.child('query', NS)?.attr('ver') ?? ''

const refused = async (wanted: Element, settings: object = {}) => {
  await using core = await start(settings)
  const romeo = await core.connect('romeo')
  return conditionOf(await core.ask(romeo, ROMEO, 'set', query(...wanted.elements())))
}

/** In a query, so that several or none can be tried. */
const items = (...children: Element[]) => el('x', { xmlns: NS }, ...children)

for (const [name, wanted, condition] of [
  ['no item', items(), 'bad-request'],
  ['two items', items(item(JULIET), item(TYBALT)), 'bad-request'],
  ['an item without jid', items(el('item')), 'bad-request'],
  ['a jid that is none', items(item('@im.example.com')), 'jid-malformed'],
  ['a jid with a resource', items(item(`${JULIET}/balcony`)), 'bad-request'],
  ['a group without a name', items(item(JULIET, {}, '')), 'not-acceptable'],
  ['a group named twice', items(item(JULIET, {}, 'Friends', 'Friends')), 'bad-request'],
  ['a name that is too long', items(item(JULIET, { name: 'x'.repeat(1024) })), 'not-acceptable'],
  ['a group that is too long', items(item(JULIET, {}, 'x'.repeat(1024))), 'not-acceptable'],
  ['oneself', items(item(ROMEO)), 'not-allowed'],
  ['removal of a stranger', items(item(JULIET, { subscription: 'remove' })), 'item-not-found'],
] as const) {
  test(`a roster set is refused: ${name}`, async () => {
    assert.equal(await refused(wanted), condition)
  })
}

test('limits: groups of an item, items of a roster', async () => {
  await using core = await start({ max_items: 1, max_groups: 1 })
  const romeo = await core.connect('romeo')
  assert.equal(conditionOf(await set(core, romeo, item(JULIET, {}, 'a', 'b'))), 'not-acceptable')
  assert.equal((await set(core, romeo, item(JULIET, {}, 'a'))).type, 'result')
  assert.equal((await set(core, romeo, item(JULIET, {}, 'b'))).type, 'result')
  assert.equal(conditionOf(await set(core, romeo, item(TYBALT))), 'resource-constraint')
  await assert.rejects(sendPresence(core, romeo, presence('subscribe'), TYBALT), {
    condition: 'not-acceptable',
  })
  assert.deepEqual(itemsOf(await fetch(core, romeo)), [`${JULIET} none [b]`])
})

test('a roster belongs to its account alone', async () => {
  await using core = await start()
  const romeo = await core.connect('romeo')
  const get = await core.ask(romeo, JULIET, 'get', query())
  const change = await core.ask(romeo, JULIET, 'set', query(item(TYBALT)))
  assert.equal(conditionOf(get), 'forbidden')
  assert.equal(conditionOf(change), 'forbidden')
  const stranger = await core.ask(TYBALT, JULIET, 'set', query(item(TYBALT)))
  assert.equal(conditionOf(stranger), 'forbidden')
})

test('a roster is asked for as a whole', async () => {
  await using core = await start()
  const romeo = await core.connect('romeo')
  const answer = await core.ask(romeo, ROMEO, 'get', query(item(JULIET)))
  assert.equal(conditionOf(answer), 'bad-request')
})

test('clients cannot write what the server decides', async () => {
  await using core = await start()
  const romeo = await core.connect('romeo')
  const forged = { subscription: 'both', ask: 'subscribe', approved: 'true', name: 'Jule' }
  await set(core, romeo, item(JULIET, forged, 'Friends', 'Capulets'))
  assert.deepEqual(itemsOf(await fetch(core, romeo)), [`${JULIET} none Jule [Friends,Capulets]`])
})

test('changes are pushed to resources that asked for the roster, and survive', async () => {
  await using core = await start()
  const orchard = await core.connect('romeo', 'orchard')
  const home = await core.connect('romeo', 'home')
  const phone = await core.connect('romeo', 'phone', notYet)
  await fetch(core, orchard)
  await fetch(core, phone)
  await set(core, home, item(JULIET, { name: 'Juliet' }))
  await set(core, home, item(JULIET, { name: 'My Juliet' }, 'Friends'))
  await set(core, home, item(JULIET, { subscription: 'remove' }))
  const expected = [
    `${JULIET} none Juliet`,
    `${JULIET} none My Juliet [Friends]`,
    `${JULIET} remove`,
  ]
  const pushes = orchard.received.filter(({ stanza }) => stanza.type === 'set')
  assert.ok(pushes.every(({ from, to }) => from.full === ROMEO && to.full === orchard.jid.full))
  assert.equal(new Set(pushes.map(({ stanza }) => stanza.id)).size, 3)
  assert.deepEqual(pushesOf(orchard), expected)
  assert.deepEqual(pushesOf(phone), expected)
  assert.deepEqual(pushesOf(home), [])
})

test('a set that changes nothing is pushed, too', async () => {
  await using core = await start()
  const romeo = await core.connect('romeo')
  await fetch(core, romeo)
  for (let i = 0; i < 2; i++) await set(core, romeo, item(JULIET, { name: 'Juliet' }))
  assert.deepEqual(pushesOf(romeo), [`${JULIET} none Juliet`, `${JULIET} none Juliet`])
})

test('a roster outlives the module', async () => {
  await using core = await start()
  const romeo = await core.connect('romeo')
  await set(core, romeo, item(JULIET, { name: 'Ìuliet & <Co>' }, 'a&b', '\u{1F339}'))
  await core.send(TYBALT, ROMEO, presence('subscribe', { status: 'draw, villain' }))
  await core.modules.unload('roster')
  await core.load(roster)
  assert.deepEqual(itemsOf(await fetch(core, romeo)), [
    `${JULIET} none Ìuliet & <Co> [a&b,\u{1F339}]`,
  ])
  romeo.setPresence(undefined, undefined)
  await sendPresence(core, romeo)
  assert.ok(presencesOf(romeo).includes(`${TYBALT} subscribe draw, villain`))
})

test('versions: nothing, what changed, or the whole roster', async () => {
  await using core = await start()
  const romeo = await core.connect('romeo')
  const empty = await fetch(core, romeo, '')
  assert.equal(versionOf(empty), '0')
  await set(core, romeo, item(JULIET))
  const first = await fetch(core, romeo, versionOf(empty))
  assert.deepEqual(itemsOf(first), [`${JULIET} none`])

  const unchanged = await fetch(core, romeo, versionOf(first))
  assert.equal(unchanged.children.length, 0)

  for (let i = 0; i < 6; i++) await set(core, romeo, item(`guest${i}@elsewhere.example`))
  const many = await fetch(core, romeo, versionOf(first))
  assert.equal(itemsOf(many).length, 7, 'six pushes take more than seven items')

  await set(core, romeo, item(TYBALT))
  await set(core, romeo, item(JULIET, { name: 'Juliet' }))
  romeo.received.splice(0)
  const caughtUp = await fetch(core, romeo, versionOf(many))
  assert.equal(caughtUp.children.length, 0)
  assert.equal(romeo.received[0]?.stanza.type, 'result')
  assert.deepEqual(pushesOf(romeo), [`${TYBALT} none`, `${JULIET} none Juliet`])

  for (let i = 0; i < 6; i++) {
    await set(core, romeo, item(`guest${i}@elsewhere.example`, { subscription: 'remove' }))
  }
  const latest = await fetch(core, romeo, '')
  assert.equal(itemsOf(latest).length, 2)
  await set(core, romeo, item(TYBALT, { subscription: 'remove' }))
  const behindRemoval = await fetch(core, romeo, versionOf(latest))
  assert.deepEqual(itemsOf(behindRemoval), [`${JULIET} none Juliet`])
  assert.ok(Number(versionOf(behindRemoval)) > Number(versionOf(latest)))
  for (const unknown of ['nonsense', '99999999999999', '-1']) {
    assert.equal(itemsOf(await fetch(core, romeo, unknown)).length, 1, unknown)
  }
})

test('versions of an account that was made anew are not mistaken for the old ones', async () => {
  await using core = await start()
  const romeo = await core.connect('romeo')
  await set(core, romeo, item(JULIET))
  const old = versionOf(await fetch(core, romeo))
  core.now += 60_000
  await core.hooks.at('remove_user', 'default').run(parseBare(ROMEO), {})
  assert.deepEqual(itemsOf(await fetch(core, romeo, old)), [])
  await set(core, romeo, item(TYBALT))
  assert.deepEqual(itemsOf(await fetch(core, romeo, old)), [`${TYBALT} none`])
})

test('subscribing, from the request to both', async () => {
  await using core = await start()
  const romeo = await core.connect('romeo', 'orchard', notYet)
  const juliet = await core.connect('juliet', 'balcony', notYet)
  for (const session of [romeo, juliet]) {
    await fetch(core, session)
    await sendPresence(core, session)
    session.received.splice(0)
  }

  await sendPresence(core, romeo, presence('subscribe', { status: 'it is I' }), JULIET)
  assert.deepEqual(pushesOf(romeo), [`${JULIET} none asking`])
  assert.deepEqual(itemsOf(await fetch(core, juliet)), [])
  assert.deepEqual(presencesOf(juliet), [`${ROMEO} subscribe it is I`])

  await sendPresence(core, juliet, presence('subscribed'), ROMEO)
  const seen = romeo.received.map(
    ({ from, stanza }) => `${from.full} ${stanza.type ?? 'available'}`,
  )
  // The stanza, then the push, then the presence (RFC 6121 §3.1.6).
  assert.deepEqual(seen, [`${JULIET} subscribed`, `${ROMEO} set`, `${JULIET}/balcony available`])
  assert.deepEqual(pushesOf(romeo), [`${JULIET} to`])
  assert.deepEqual(pushesOf(juliet), [`${ROMEO} from`])

  await sendPresence(core, juliet, presence('subscribe'), ROMEO)
  await sendPresence(core, romeo, presence('subscribed'), JULIET)
  assert.deepEqual(itemsOf(await fetch(core, romeo)), [`${JULIET} both`])
  assert.deepEqual(itemsOf(await fetch(core, juliet)), [`${ROMEO} both`])
})

/** Romeo and Juliet, both available and subscribed to each other, with nothing received yet. */
async function couple(core: Core) {
  const romeo = await core.connect('romeo', 'orchard', notYet)
  const juliet = await core.connect('juliet', 'balcony', notYet)
  await sendPresence(core, romeo)
  await sendPresence(core, juliet)
  await sendPresence(core, romeo, presence('subscribe'), JULIET)
  await sendPresence(core, juliet, presence('subscribed'), ROMEO)
  await sendPresence(core, juliet, presence('subscribe'), ROMEO)
  await sendPresence(core, romeo, presence('subscribed'), JULIET)
  await fetch(core, romeo)
  await fetch(core, juliet)
  romeo.received.splice(0)
  juliet.received.splice(0)
  return { romeo, juliet }
}

test('cancelling a subscription: unavailable first', async () => {
  await using core = await start()
  const { romeo, juliet } = await couple(core)
  await sendPresence(core, juliet, presence('unsubscribed'), ROMEO)
  assert.deepEqual(presencesOf(romeo), [`${JULIET}/balcony unavailable`, `${JULIET} unsubscribed`])
  assert.deepEqual(pushesOf(juliet), [`${ROMEO} to`])
  assert.deepEqual(itemsOf(await fetch(core, romeo)), [`${JULIET} from`])
})

test('unsubscribing: the contact is told, then falls silent', async () => {
  await using core = await start()
  const { romeo, juliet } = await couple(core)
  await sendPresence(core, romeo, presence('unsubscribe'), JULIET)
  assert.deepEqual(pushesOf(juliet), [`${ROMEO} to`])
  assert.deepEqual(itemsOf(await fetch(core, juliet)), [`${ROMEO} to`])
  assert.deepEqual(presencesOf(romeo), [`${JULIET}/balcony unavailable`])
})

test('removing a contact ends both subscriptions', async () => {
  await using core = await start()
  const { romeo, juliet } = await couple(core)
  await set(core, romeo, item(JULIET, { subscription: 'remove' }))
  assert.deepEqual(pushesOf(romeo), [`${JULIET} remove`])
  assert.deepEqual(presencesOf(juliet), [
    `${ROMEO}/orchard unavailable`,
    `${ROMEO} unsubscribed`,
    `${ROMEO} unsubscribe`,
  ])
  assert.deepEqual(itemsOf(await fetch(core, juliet)), [`${ROMEO} none`])
})

test('an account that is removed takes leave of its contacts', async () => {
  await using core = await start()
  const { juliet } = await couple(core)
  await core.hooks.at('remove_user', 'default').run(parseBare(ROMEO), {})
  assert.deepEqual(presencesOf(juliet), [
    `${ROMEO}/orchard unavailable`,
    `${ROMEO} unsubscribed`,
    `${ROMEO} unsubscribe`,
  ])
  assert.deepEqual(itemsOf(await fetch(core, juliet)), [`${ROMEO} none`])
})

test('a request waits whole until it is answered', async () => {
  await using core = await start()
  const vcard = el('x', { xmlns: 'vcard-temp:x:update' }, el('photo', {}, 'sha'))
  const request = presence('subscribe', { status: 'hello' }).append(vcard)
  await core.send(TYBALT, ROMEO, request)
  await core.send(TYBALT, ROMEO, presence('subscribe', { status: 'again' }))

  const romeo = await core.connect('romeo', 'orchard', notYet)
  await fetch(core, romeo)
  for (let login = 0; login < 2; login++) {
    romeo.received.splice(0)
    await sendPresence(core, romeo)
    const [waiting, ...others] = romeo.received.filter(({ stanza }) => stanza.type === 'subscribe')
    assert.deepEqual(others, [])
    assert.equal(waiting?.to.full, ROMEO)
    assert.equal(waiting?.stanza.child('status')?.text, 'hello')
    assert.equal(String(waiting?.stanza.child('x', 'vcard-temp:x:update')), String(vcard))
    await sendPresence(core, romeo, presence('unavailable'))
  }
  assert.deepEqual(itemsOf(await fetch(core, romeo)), [])

  await sendPresence(core, romeo, presence('unsubscribed'), TYBALT)
  assert.deepEqual(presencesAway(core), [`${ROMEO} ${TYBALT} unsubscribed`])
  romeo.received.splice(0)
  await sendPresence(core, romeo)
  assert.deepEqual(presencesOf(romeo), [`${ROMEO}/orchard available`])
})

test('requests: their number is limited, and of a long one only the fact is kept', async () => {
  await using core = await start({ max_requests: 2, max_request_size: 100 })
  const long = presence('subscribe', { status: 'x'.repeat(100) })
  await core.send('one@elsewhere.example', ROMEO, long)
  await core.send('two@elsewhere.example', ROMEO, presence('subscribe', { status: 'short' }))
  await core.send('three@elsewhere.example', ROMEO, presence('subscribe'))
  const romeo = await core.connect('romeo', 'orchard', notYet)
  await sendPresence(core, romeo)
  assert.deepEqual(presencesOf(romeo), [
    `${ROMEO}/orchard available`,
    'one@elsewhere.example subscribe',
    'two@elsewhere.example subscribe short',
  ])
})

test('an approval in advance grants one request unseen', async () => {
  await using core = await start()
  const romeo = await core.connect('romeo', 'orchard', notYet)
  await fetch(core, romeo)
  await sendPresence(core, romeo)
  await sendPresence(core, romeo, presence('subscribed'), TYBALT)
  assert.deepEqual(presencesAway(core), [])
  assert.deepEqual(pushesOf(romeo), [`${TYBALT} none approved`])

  await core.send(TYBALT, ROMEO, presence('subscribe'))
  assert.deepEqual(presencesAway(core), [
    `${ROMEO} ${TYBALT} subscribed`,
    `${ROMEO}/orchard ${TYBALT} available`,
  ])
  assert.deepEqual(
    romeo.received.map(({ stanza }) => stanza.kind),
    ['iq'],
  )
  assert.deepEqual(pushesOf(romeo), [`${TYBALT} from`])
})

test('an approval in advance can be taken back', async () => {
  await using core = await start()
  const romeo = await core.connect('romeo')
  await sendPresence(core, romeo, presence('subscribed'), TYBALT)
  await sendPresence(core, romeo, presence('unsubscribed'), TYBALT)
  assert.deepEqual(presencesAway(core), [])
  assert.deepEqual(itemsOf(await fetch(core, romeo)), [`${TYBALT} none`])
})

test('who is subscribed and asks again is answered for the account', async () => {
  await using core = await start()
  const { romeo } = await couple(core)
  await core.send(TYBALT, ROMEO, presence('subscribe'))
  await sendPresence(core, romeo, presence('subscribed'), TYBALT)
  presencesAway(core)
  romeo.received.splice(0)
  await core.send(TYBALT, ROMEO, presence('subscribe'))
  assert.deepEqual(presencesAway(core), [
    `${ROMEO} ${TYBALT} subscribed`,
    `${ROMEO}/orchard ${TYBALT} available`,
  ])
  assert.deepEqual(romeo.received, [])
})

test('subscription stanzas are between bare JIDs, whatever the client wrote', async () => {
  await using core = await start()
  const romeo = await core.connect('romeo')
  await sendPresence(core, romeo, presence('subscribe'), `${TYBALT}/square`)
  assert.deepEqual(presencesAway(core), [`${ROMEO} ${TYBALT} subscribe`])
  await core.send(`${TYBALT}/square`, romeo.jid.full, presence('subscribed'))
  assert.deepEqual(itemsOf(await fetch(core, romeo)), [`${TYBALT} to`])
})

test('nobody subscribes to oneself', async () => {
  await using core = await start()
  const romeo = await core.connect('romeo')
  await sendPresence(core, romeo, presence('subscribe'), ROMEO)
  assert.deepEqual(itemsOf(await fetch(core, romeo)), [])
  assert.deepEqual(presencesOf(romeo), [])
})

test('other modules learn the subscription and the groups of a contact', async () => {
  await using core = await start()
  const romeo = await core.connect('romeo')
  await set(core, romeo, item(TYBALT, {}, 'Capulets'))
  const owner = parseBare(ROMEO)
  const ask = (contact: string) =>
    core.hooks
      .at('roster_get_jid_info', 'default')
      .run({ subscription: 'none', groups: [] }, { owner, contact: parseBare(contact) })
  assert.deepEqual(await ask(TYBALT), { subscription: 'none', groups: ['Capulets'] })
  assert.deepEqual(await ask(JULIET), { subscription: 'none', groups: [] })
})

test('stream features: only once it is known whose roster it is', async () => {
  await using core = await start()
  const features = async (account: BareJid | undefined) => {
    const params = { domain: 'im.example.com', account, isEncrypted: true }
    const offered = await core.hooks.at('c2s_stream_features', 'default').run([], params)
    return (offered as Element[]).map(({ name, ns }) => `${name} ${ns}`)
  }
  assert.deepEqual(await features(undefined), [])
  assert.deepEqual(await features(parseBare(ROMEO)), [
    'ver urn:xmpp:features:rosterver',
    'sub urn:xmpp:features:pre-approval',
  ])
})

test('a change that cannot be stored is refused, and nobody hears of it', async () => {
  await using core = await start()
  const romeo = await core.connect('romeo')
  await fetch(core, romeo)
  romeo.received.splice(0)
  await core.storage.write('drop table roster_item', [])
  const answer = await set(core, romeo, item(JULIET))
  assert.equal(conditionOf(answer), 'internal-server-error')
  await assert.rejects(sendPresence(core, romeo, presence('subscribe'), TYBALT))
  assert.deepEqual(pushesOf(romeo), [])
  assert.deepEqual(presencesAway(core), [])
})

test('a request from elsewhere that a contact from elsewhere has been granted waits no more', async () => {
  await using core = await start()
  const owner = parseBare(ROMEO)
  const take = (part: Element) =>
    core.hooks
      .at('import_user_data', 'default')
      .run(NOT_TAKEN, { account: owner, portion: { part, items: part.elements() } })
  const request = (from: string) =>
    el('presence', { xmlns: 'jabber:client', type: 'subscribe', from })
  await take(request(TYBALT))
  await take(request(JULIET))
  await take(query(item(TYBALT, { subscription: 'from' }), item(JULIET, { subscription: 'to' })))
  const point = core.hooks.at('roster_get_subscription_lists', 'default')
  const none = { from: [], to: [], pending: [] }
  const { from, pending } = resultOf(await point.run(none, { owner }), none)
  assert.deepEqual(from.map(String), [TYBALT])
  assert.deepEqual(
    pending.map((envelope) => envelope.from.bare),
    [JULIET],
  )
})

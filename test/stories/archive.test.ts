import assert from 'node:assert/strict'
import { test } from 'node:test'
import { UNWATCHED } from '../../src/core/command.ts'
import { el } from '../../src/xmpp/xml.ts'
import { archiveQuery, askArchive, MAM } from '../support/archive.ts'
import { type Client, conditionOf } from '../support/client.ts'
import { DOMAIN, startServer } from '../support/server.ts'
import { chat, message } from '../support/stanzas.ts'

const SID = 'urn:xmpp:sid:0'
const ROMEO = `romeo@${DOMAIN}`
const JULIET = `juliet@${DOMAIN}`
const NURSE = `nurse@${DOMAIN}`

const start = (archive = {}, others = {}) => startServer({ modules: { archive, ...others } })

async function bodiesOf(client: Client, wanted = {}): Promise<readonly string[]> {
  return (await askArchive(client, wanted)).bodies
}

test('a message is in both archives, and its recipient is told the id', async () => {
  await using server = await start()
  const romeo = await server.connect('romeo')
  const juliet = await server.connect('juliet', 'balcony')

  romeo.send(chat(JULIET, 'Art thou not Romeo?'))
  const received = await juliet.receives({ body: 'Art thou not Romeo?' })
  const { results: own } = await askArchive(juliet)
  const { results: others } = await askArchive(romeo)

  const stanzaId = received.child('stanza-id', SID)
  assert.equal(stanzaId?.attr('by'), JULIET)
  assert.equal(stanzaId?.attr('id'), own[0]?.id)
  for (const results of [own, others]) {
    assert.equal(results.length, 1)
    const [{ message: kept, stamp }] = results as [(typeof results)[0]]
    assert.equal(kept.attr('from'), romeo.fullJid)
    assert.equal(kept.attr('to'), JULIET)
    assert.equal(kept.attr('type'), 'chat')
    assert.equal(kept.child('body')?.text, 'Art thou not Romeo?')
    assert.equal(kept.child('stanza-id', SID), undefined)
    assert(Math.abs(Date.parse(stamp) - Date.now()) < 60_000, stamp)
  }
})

test('a message for somebody who is away waits, with its id, and is archived once', async () => {
  await using server = await start()
  const romeo = await server.connect('romeo')
  await server.createAccount('juliet')
  romeo.send(chat(JULIET, 'Parting is such sweet sorrow'))
  await romeo.roundTrip()
  const juliet = await server.connect('juliet')
  const received = await juliet.receives({ body: /sorrow/ })
  const { results } = await askArchive(juliet)
  assert.equal(results.length, 1)
  assert.equal(received.child('stanza-id', SID)?.attr('id'), results[0]?.id)
})

test('copies for the account’s other resources have its own id of the message, and no other', async () => {
  await using server = await start()
  const romeo = await server.connect('romeo', 'orchard')
  const garden = await server.connect('romeo', 'garden')
  const juliet = await server.connect('juliet', 'balcony')
  await garden.ask('set', undefined, el('enable', { xmlns: 'urn:xmpp:carbons:2' }))
  // The account's preferences are looked up now, and known from then on.
  romeo.send(chat(JULIET, 'first'))
  await askArchive(romeo)
  romeo.send(chat(JULIET, 'second'))
  const copies = (element: ReturnType<typeof el>) =>
    element.child('sent', 'urn:xmpp:carbons:2')?.child('forwarded', 'urn:xmpp:forward:0')
  const isSecond = (element: ReturnType<typeof el>) =>
    copies(element)?.child('message', 'jabber:client')?.child('body')?.text === 'second'
  const copy = copies(await garden.receives(isSecond))?.child('message', 'jabber:client')
  const { results } = await askArchive(romeo, { page: { max: '1', before: '' } })

  const ids = copy?.elements('stanza-id', SID) ?? []
  assert.deepEqual(
    ids.map((id) => [id.attr('by'), id.attr('id')]),
    [[ROMEO, results[0]?.id]],
  )
  const received = await juliet.receives({ body: 'second' })
  assert.deepEqual(
    received.elements('stanza-id', SID).map((id) => id.attr('by')),
    [JULIET],
  )
})

test('what is refused in the end is in no archive', async () => {
  await using server = await start({}, { offline: false })
  const romeo = await server.connect('romeo')
  await server.createAccount('juliet')
  romeo.send(chat(JULIET, 'lost'), chat(`nobody@${DOMAIN}`, 'lost, too'))
  await romeo.receives({ type: 'error', from: JULIET })
  await romeo.receives({ type: 'error' })
  assert.deepEqual(await bodiesOf(romeo), [])
  assert.deepEqual(await bodiesOf(await server.connect('juliet')), [])
})

test('a message to oneself is archived once', async () => {
  await using server = await start()
  const romeo = await server.connect('romeo', 'orchard')
  romeo.send(chat(ROMEO, 'a note'), chat(JULIET, 'none'))
  await romeo.receives({ body: 'a note' })
  assert.deepEqual(await bodiesOf(romeo), ['a note'])
  assert.deepEqual(await bodiesOf(romeo, { fields: { with: ROMEO } }), ['a note'])
})

test('ids that others claim to speak for an account are taken off, and no others', async () => {
  await using server = await start()
  const romeo = await server.connect('romeo')
  const juliet = await server.connect('juliet')
  const claim = (by: string) => el('stanza-id', { xmlns: SID, by, id: `by ${by}` })
  const origin = el('origin-id', { xmlns: SID, id: 'o1' })

  const claims = [JULIET, JULIET.toUpperCase(), ROMEO, 'room@rooms.example.com'].map(claim)
  romeo.send(message('headline', juliet.fullJid, 'not archived', ...claims, origin))
  romeo.send(chat(juliet.fullJid, 'archived', ...claims, origin))

  const headline = await juliet.receives({ body: 'not archived' })
  const archived = await juliet.receives({ body: 'archived' })
  const idsOf = (element: typeof headline) =>
    element.elements('stanza-id', SID).map((id) => id.attr('by'))
  assert.deepEqual(idsOf(headline), ['room@rooms.example.com'])
  assert.deepEqual(idsOf(archived), ['room@rooms.example.com', JULIET])
  assert.equal(archived.child('origin-id', SID)?.attr('id'), 'o1')
})

test('an archive is its account’s alone', async () => {
  await using server = await start()
  const romeo = await server.connect('romeo')
  await server.connect('juliet')
  for (const payload of [el('metadata', { xmlns: MAM }), el('prefs', { xmlns: MAM })]) {
    assert.equal(conditionOf(await romeo.ask('get', JULIET, payload)), 'forbidden')
  }
  assert.equal(conditionOf(await romeo.ask('set', JULIET, archiveQuery({}))), 'forbidden')
})

async function withConversation() {
  const server = await start()
  const romeo = await server.connect('romeo')
  const juliet = await server.connect('juliet', 'balcony')
  const nurse = await server.connect('nurse')
  for (const [from, to, body] of [
    [romeo, juliet, '1'],
    [juliet, romeo, '2'],
    [nurse, juliet, '3'],
    [romeo, juliet, '4'],
    [juliet, nurse, '5'],
  ] as const) {
    from.send(chat(to.fullJid, body))
    await to.receives({ body })
  }
  const { results } = await askArchive(juliet)
  const ids = results.map(({ id }) => id)
  return { server, romeo, juliet, nurse, results, ids }
}

test('pages go forth and back, and say when there is no more', async () => {
  const { server, juliet, ids } = await withConversation()
  await using _ = server
  const whole = await askArchive(juliet)
  assert.deepEqual(whole.bodies, ['1', '2', '3', '4', '5'])
  assert.deepEqual([whole.isComplete, whole.count], [true, '5'])

  const first = await askArchive(juliet, { page: { max: '2' } })
  assert.deepEqual(first.bodies, ['1', '2'])
  assert.deepEqual([first.isComplete, first.first, first.last], [false, ids[0], ids[1]])
  const next = await askArchive(juliet, { page: { max: '3', after: first.last ?? '' } })
  assert.deepEqual([next.bodies, next.isComplete], [['3', '4', '5'], true])
  const beyond = await askArchive(juliet, { page: { max: '3', after: next.last ?? '' } })
  assert.deepEqual([beyond.bodies, beyond.isComplete, beyond.first], [[], true, undefined])

  const last = await askArchive(juliet, { page: { max: '2', before: '' } })
  assert.deepEqual([last.bodies, last.isComplete], [['4', '5'], false])
  const rest = await askArchive(juliet, { page: { max: '3', before: last.first ?? '' } })
  assert.deepEqual([rest.bodies, rest.isComplete], [['1', '2', '3'], true])

  const flipped = await askArchive(juliet, { page: { max: '2', before: '' }, isFlipped: true })
  assert.deepEqual(flipped.bodies, ['5', '4'])
  assert.deepEqual([flipped.first, flipped.last], [ids[3], ids[4]])

  const places = [first, next, beyond, last, rest, flipped].map(({ count, index }) => [
    count,
    index,
  ])
  const expected = [0, 2, undefined, 3, 0, 3].map((index) => ['5', index?.toString()])
  assert.deepEqual(places, expected)
  const none = await askArchive(juliet, { page: { max: '0' } })
  assert.deepEqual([none.bodies, none.count, none.isComplete], [[], '5', false])
  const nothing = await askArchive(juliet, {
    fields: { with: 'nobody@elsewhere.example' },
    page: { max: '0' },
  })
  assert.deepEqual([nothing.count, nothing.isComplete], ['0', true])
})

test('the archive is filtered by contact, time and ids', async () => {
  const { server, romeo, juliet, ids, results } = await withConversation()
  await using _ = server
  const filtered = (fields: Record<string, string | string[]>, page?: Record<string, string>) =>
    bodiesOf(juliet, { fields, ...(page && { page }) })

  assert.deepEqual(await filtered({ with: ROMEO }), ['1', '2', '4'])
  assert.deepEqual(await filtered({ with: romeo.fullJid }), ['1', '2', '4'])
  assert.deepEqual(await filtered({ with: `${ROMEO}/elsewhere` }), [])
  assert.deepEqual(await filtered({ with: NURSE }, { max: '1', before: '' }), ['5'])
  assert.deepEqual(await filtered({ with: JULIET }), [])

  const [first, second, third, fourth] = ids as [string, string, string, string]
  assert.deepEqual(await filtered({ 'after-id': second }), ['3', '4', '5'])
  assert.deepEqual(await filtered({ 'after-id': first, 'before-id': fourth }), ['2', '3'])
  assert.deepEqual(await filtered({ 'after-id': first }, { before: third }), ['2'])
  assert.deepEqual(await filtered({ ids: [third, first] }), ['1', '3'])
  assert.deepEqual(await filtered({ ids: [third, first], with: NURSE }), ['3'])

  const stamp = results[0]?.stamp as string
  const later = new Date(Date.parse(stamp) + 3_600_000).toISOString()
  assert.deepEqual(await filtered({ start: later }), [])
  assert.equal((await filtered({ start: stamp, end: later })).length, 5)
  assert.deepEqual(await filtered({ end: '2020-06-07T00:00:00Z' }), [])
  assert.deepEqual(await filtered({ end: '1999-06-07T00:00:00Z' }), [])
  assert.equal((await filtered({ 'include-groupchat': 'true' })).length, 5)
})

test('what cannot be answered is refused', async () => {
  const { server, juliet, romeo } = await withConversation()
  await using _ = server
  const { results } = await askArchive(romeo, { fields: { with: JULIET } })
  const refused = async (wanted: Parameters<typeof archiveQuery>[0]) =>
    conditionOf(await juliet.ask('set', undefined, archiveQuery(wanted)))

  for (const name of ['after-id', 'before-id', 'ids']) {
    assert.equal(await refused({ fields: { [name]: 'nowhere' } }), 'item-not-found')
  }
  for (const name of ['after', 'before']) {
    assert.equal(await refused({ page: { [name]: 'nowhere' } }), 'item-not-found')
  }
  assert.equal(await refused({ page: { index: '3' } }), 'feature-not-implemented')
  assert.equal(await refused({ fields: { mood: 'sad' } }), 'feature-not-implemented')
  assert.equal(await refused({ fields: { FORM_TYPE: 'urn:other' } }), 'bad-request')
  assert.equal(await refused({ fields: { with: '@' } }), 'not-acceptable')
  assert.equal(await refused({ fields: { start: 'yesterday' } }), 'not-acceptable')
  // Between two local users both archives know it by one id.
  assert.equal(await refused({ fields: { ids: results[0]?.id ?? '' } }), undefined)
})

test('an archive tells where it begins and ends', async () => {
  const { server, juliet, ids, results } = await withConversation()
  await using _ = server
  const answer = await juliet.ask('get', undefined, el('metadata', { xmlns: MAM }))
  const metadata = answer.child('metadata', MAM)
  assert.equal(metadata?.child('start')?.attr('id'), ids[0])
  assert.equal(metadata?.child('start')?.attr('timestamp'), results[0]?.stamp)
  assert.equal(metadata?.child('end')?.attr('id'), ids[4])
  const paris = await server.connect('paris')
  const empty = await paris.ask('get', undefined, el('metadata', { xmlns: MAM }))
  assert.deepEqual(empty.child('metadata', MAM)?.children, [])
})

test('the form says by what one can ask, discovery that one can', async () => {
  await using server = await start({ fulltext: true })
  const romeo = await server.connect('romeo')
  const answer = await romeo.ask('get', undefined, el('query', { xmlns: MAM }))
  const x = answer.child('query', MAM)?.child('x', 'jabber:x:data')
  const names = x?.elements('field').map((field) => field.attr('var'))
  assert.deepEqual(names, [
    'FORM_TYPE',
    'with',
    'start',
    'end',
    'before-id',
    'after-id',
    'ids',
    'include-groupchat',
    '{urn:xmpp:fulltext:0}fulltext',
  ])
  const disco = el('query', { xmlns: 'http://jabber.org/protocol/disco#info' })
  for (const to of [DOMAIN, ROMEO]) {
    const said = (await romeo.ask('get', to, disco)).elements()[0]
    const features = said?.elements('feature').map((feature) => feature.attr('var')) ?? []
    for (const feature of [
      MAM,
      `${MAM}#extended`,
      SID,
      'urn:xmpp:fulltext:0',
      'urn:xmpp:message-retract:1#tombstone',
    ]) {
      assert(features.includes(feature), `${to} has ${feature}`)
    }
  }
})

const prefs = (wanted: string, lists: { always?: string[]; never?: string[] } = {}) => {
  const list = (name: 'always' | 'never') =>
    el(name, {}, ...(lists[name] ?? []).map((address) => el('jid', {}, address)))
  return el('prefs', { xmlns: MAM, default: wanted }, list('always'), list('never'))
}

test('an account says whose messages it wants archived', async () => {
  await using server = await start()
  const romeo = await server.connect('romeo', 'orchard')
  const juliet = await server.connect('juliet', 'balcony')
  const set = (payload: ReturnType<typeof prefs>) => juliet.ask('set', undefined, payload)
  const says = async (body: string, from = romeo) => {
    from.send(chat(JULIET, body))
    await juliet.receives({ body })
  }
  const unset = await juliet.ask('get', undefined, el('prefs', { xmlns: MAM }))
  assert.equal(String(unset.child('prefs', MAM)), String(prefs('always')))

  await says('by default')
  const applied = await set(prefs('never', { always: [`${ROMEO}/orchard`] }))
  assert.equal(
    String(applied.child('prefs', MAM)),
    String(prefs('never', { always: [`${ROMEO}/orchard`] })),
  )
  await says('that resource')
  await says('another resource', await server.connect('romeo', 'garden'))
  await set(prefs('always', { never: [ROMEO], always: [`${ROMEO}/orchard`] }))
  await says('in both lists')
  await set(prefs('roster'))
  await says('a stranger')
  const item = el('item', { jid: ROMEO })
  await juliet.ask('set', undefined, el('query', { xmlns: 'jabber:iq:roster' }, item))
  await says('a contact')
  juliet.send(chat(NURSE, 'to a stranger'))

  assert.deepEqual(await bodiesOf(juliet), ['by default', 'that resource', 'a contact'])
  assert.equal((await bodiesOf(romeo)).length, 6)
})

test('preferences that make no sense are refused', async () => {
  await using server = await start({ max_listed: 2 })
  const juliet = await server.connect('juliet')
  const refused = async (payload: ReturnType<typeof prefs>) =>
    conditionOf(await juliet.ask('set', undefined, payload))
  assert.equal(await refused(prefs('sometimes')), 'bad-request')
  assert.equal(await refused(prefs('always', { never: ['@'] })), 'bad-request')
  const many = { always: [ROMEO, NURSE], never: [`paris@${DOMAIN}`] }
  assert.equal(await refused(prefs('always', many)), 'resource-constraint')
})

test('a message that was taken back leaves a tombstone in both archives', async () => {
  await using server = await start()
  const romeo = await server.connect('romeo')
  const juliet = await server.connect('juliet')
  const retract = (id: string) => el('retract', { xmlns: 'urn:xmpp:message-retract:1', id })
  const says = (id: string, body: string, ...more: ReturnType<typeof el>[]) =>
    el('message', { type: 'chat', to: JULIET, id }, el('body', {}, body), ...more)

  romeo.send(says('m1', 'I love Rosaline'), says('m2', 'I love thee'))
  await juliet.receives({ body: 'I love thee' })
  // Nobody takes back what another said.
  juliet.send(el('message', { type: 'chat', to: ROMEO, id: 'r0' }, retract('m2')))
  await romeo.receives({ id: 'r0' })
  romeo.send(says('r1', 'I said nothing', retract('m1')))
  await juliet.receives({ id: 'r1' })

  for (const client of [romeo, juliet]) {
    const { results } = await untilTombstone(client)
    const bodies = results.map(({ body }) => body)
    assert.deepEqual(bodies, ['', 'I love thee', '', 'I said nothing'])
    const tombstone = results[0]?.message.child('retracted', 'urn:xmpp:message-retract:1')
    assert.equal(tombstone?.attr('id'), 'r1')
    assert.equal(tombstone?.attr('stamp'), results[3]?.stamp)
    assert.equal(results[0]?.message.attr('id'), 'm1')
    assert.equal(results[0]?.message.attr('from'), romeo.fullJid)
    assert.equal(results[0]?.message.children.length, 1)
  }
})

/** Tombstones are put up in the background. */
async function untilTombstone(client: Client) {
  for (;;) {
    const answer = await askArchive(client)
    if (answer.results[0]?.body === '') return answer
  }
}

test('words are found in one’s own messages, in any form', async () => {
  await using server = await start({ fulltext: true })
  const romeo = await server.connect('romeo')
  const juliet = await server.connect('juliet')
  const bodies = ['O, speak again, bright angel!', 'Été à Vérone', 'speak (again) & "again"']
  for (const body of bodies) {
    romeo.send(chat(JULIET, body))
    await juliet.receives({ body })
  }
  const nurse = await server.connect('nurse')
  nurse.send(chat(ROMEO, 'speak, angel'))
  await romeo.receives({ body: 'speak, angel' })
  const found = (search: string, fields = {}) =>
    bodiesOf(juliet, { fields: { '{urn:xmpp:fulltext:0}fulltext': search, ...fields } })

  assert.deepEqual(await found('angel'), [bodies[0]])
  assert.deepEqual(await found('AGAIN speak'), [bodies[0], bodies[2]])
  assert.deepEqual(await found('verone ete'), [bodies[1]])
  assert.deepEqual(await found('speak "nothing'), [])
  assert.deepEqual(await found('again OR verone'), [])
  assert.deepEqual(await found(''), bodies)
  assert.deepEqual(await found('speak', { with: NURSE }), [])
  assert.deepEqual(await found('speak', { with: ROMEO }), [bodies[0], bodies[2]])
})

test('an archive goes with its account', async () => {
  await using server = await start()
  const romeo = await server.connect('romeo')
  const juliet = await server.connect('juliet')
  romeo.send(chat(JULIET, 'forget me'))
  await juliet.receives({ body: 'forget me' })
  await juliet.ask('set', undefined, prefs('never'))
  await server.server.lifecycle.remove(server.sessionOf(juliet).jid.toBare())
  const heiress = await server.connect('juliet')
  assert.deepEqual(await bodiesOf(heiress), [])
  romeo.send(chat(JULIET, 'another'))
  await heiress.receives({ body: 'another' })
  assert.deepEqual(await bodiesOf(heiress), ['another'])
})

test('messages of rooms are archived where asked for, and shown where asked for', async () => {
  await using server = await start({ groupchat: true })
  const juliet = await server.connect('juliet', 'balcony')
  const romeo = await server.connect('romeo')
  romeo.send(message('groupchat', juliet.fullJid, 'to all'), chat(juliet.fullJid, 'to her'))
  await juliet.receives({ body: 'to her' })
  assert.deepEqual(await bodiesOf(juliet), ['to her'])
  const shown = { fields: { 'include-groupchat': 'true' } }
  assert.deepEqual(await bodiesOf(juliet, shown), ['to all', 'to her'])
})

test('a page of long messages is cut, and the next goes on', async () => {
  await using server = await start()
  const romeo = await server.connect('romeo')
  const juliet = await server.connect('juliet')
  const long = 'O Romeo '.repeat(12_000)
  for (const n of [1, 2, 3, 4, 5]) romeo.send(chat(JULIET, `${n} ${long}`))
  await juliet.receives({ body: /^5/ })
  const first = await askArchive(juliet)
  assert.deepEqual([first.bodies.length, first.isComplete], [3, false])
  const rest = await askArchive(juliet, { page: { after: first.last ?? '' } })
  assert.deepEqual([rest.bodies.length, rest.isComplete], [2, true])
})

test('an operator removes old messages, of one account or all', async () => {
  const { server, juliet, romeo } = await withConversation()
  await using _ = server
  const purge = (args: object) => server.server.commands.run('archive purge', args, UNWATCHED)
  assert.deepEqual(await purge({ older_than: '1h' }), { removed: 0 })
  assert.notDeepEqual(await purge({ older_than: 0, jid: JULIET }), { removed: 0 })
  assert.deepEqual((await askArchive(juliet)).bodies, [])
  assert.notDeepEqual((await askArchive(romeo)).bodies, [])
  await purge({ older_than: 0 })
  assert.deepEqual((await askArchive(romeo)).bodies, [])
})

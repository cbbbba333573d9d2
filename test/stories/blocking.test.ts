import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseBare } from '../../src/xmpp/jid.ts'
import { type Element, el } from '../../src/xmpp/xml.ts'
import { askArchive } from '../support/archive.ts'
import { type Client, conditionOf } from '../support/client.ts'
import {
  BLOCKING,
  block,
  blockItem,
  blocklist,
  blocks,
  listNames,
  PRIVACY,
  privacyQuery,
  rules,
  setsDefault,
  setsList,
  unblock,
  unblocks,
} from '../support/privacy.ts'
import { DOMAIN, startServer, type TestServer } from '../support/server.ts'
import { chat, presence } from '../support/stanzas.ts'

const ROMEO = `romeo@${DOMAIN}`
const JULIET = `juliet@${DOMAIN}`
const NURSE = 'nurse@elsewhere.example'
const REPORTING = 'urn:xmpp:reporting:1'

const push = (name: 'block' | 'unblock', ...jids: readonly string[]) => ({
  name: 'iq',
  type: 'set',
  from: JULIET,
  child: el(name, { xmlns: BLOCKING }, ...jids.map((jid) => blockItem(jid))),
})

async function befriend(romeo: Client, juliet: Client): Promise<void> {
  romeo.send(presence('subscribe', JULIET))
  await juliet.receives({ type: 'subscribe' })
  juliet.send(presence('subscribed', ROMEO), presence('subscribe', ROMEO))
  await romeo.receives({ type: 'subscribe' })
  romeo.send(presence('subscribed', JULIET))
  await juliet.receives({ type: 'subscribed' })
  for (const one of [romeo, juliet, romeo]) await one.roundTrip()
  romeo.forgets()
  juliet.forgets()
}

async function lovers(server: TestServer) {
  const romeo = await server.connect('romeo', 'orchard')
  const juliet = await server.connect('juliet', 'balcony')
  await befriend(romeo, juliet)
  return { romeo, juliet }
}

test('who asked for the list is told what is blocked and unblocked', async () => {
  await using server = await startServer()
  const balcony = await server.connect('juliet', 'balcony')
  const chamber = await server.connect('juliet', 'chamber', { priority: undefined })
  const deaf = await server.connect('juliet', 'deaf')
  assert.deepEqual(await blocklist(chamber), [])

  await blocks(balcony, ROMEO, 'Nurse@ELSEWHERE.example/Kitchen')
  await balcony.receives(push('block', ROMEO, 'nurse@elsewhere.example/Kitchen'))
  await chamber.receivesNext(push('block', ROMEO, 'nurse@elsewhere.example/Kitchen'))
  assert.deepEqual(await blocklist(chamber), ['nurse@elsewhere.example/Kitchen', ROMEO])

  await unblocks(chamber, ROMEO, 'never@blocked.example')
  await chamber.receives(push('unblock', ROMEO, 'never@blocked.example'))
  assert.deepEqual(await blocklist(balcony), ['nurse@elsewhere.example/Kitchen'])

  await unblocks(balcony)
  const all = await chamber.receives(push('unblock'))
  assert.equal(all.child('unblock', BLOCKING)?.elements().length, 0)
  assert.deepEqual(await blocklist(balcony), [])
  await deaf.receivesNothing()
})

test('what is wrong with a command is said, and nothing is blocked', async () => {
  await using server = await startServer({ modules: { blocking: { max_items: 2 } } })
  const juliet = await server.connect('juliet', 'balcony')
  await server.createAccount('romeo')
  const found = async (payload: Element, to?: string) =>
    conditionOf(await juliet.ask('set', to, payload))
  const item = (jid?: string) => el('item', { jid })
  assert.deepEqual(
    {
      nobody: await found(block()),
      'no jid': await found(block(item())),
      'no address': await found(block(item(ROMEO), item('@nowhere'))),
      'no address to unblock': await found(unblock(item('@nowhere'))),
      oneself: await found(block(item(JULIET))),
      'an own resource': await found(block(item(`${JULIET}/chamber`))),
      'too many': await found(block(item('a.example'), item('b.example'), item('c.example'))),
      "somebody else's": await found(block(item(NURSE)), ROMEO),
    },
    {
      nobody: 'bad-request',
      'no jid': 'bad-request',
      'no address': 'jid-malformed',
      'no address to unblock': 'jid-malformed',
      oneself: 'not-allowed',
      'an own resource': 'not-allowed',
      'too many': 'resource-constraint',
      "somebody else's": 'forbidden',
    },
  )
  assert.deepEqual(await blocklist(juliet), [])
  await blocks(juliet, 'a.example', 'b.example')
  await blocks(juliet, 'b.example')
  assert.deepEqual(await blocklist(juliet), ['a.example', 'b.example'])
})

test('blocked: she leaves, and is as if never there; unblocked: she comes back', async () => {
  await using server = await startServer()
  const { romeo, juliet } = await lovers(server)
  await blocks(juliet, ROMEO)
  await romeo.receivesNext({ name: 'presence', type: 'unavailable', from: juliet.fullJid })
  juliet.send(el('presence', {}, el('show', {}, 'away')))
  await juliet.roundTrip()
  romeo.send(presence('probe', JULIET))
  await romeo.receivesNothing()

  await unblocks(juliet, ROMEO)
  await romeo.receivesNext({ name: 'presence', type: undefined, show: 'away' })
  romeo.send(chat(JULIET, 'at last'))
  await juliet.receives({ body: 'at last' })
  await romeo.receivesNothing()
})

test('blocked twice or never, nobody comes or goes', async () => {
  await using server = await startServer()
  const { romeo, juliet } = await lovers(server)
  await unblocks(juliet, ROMEO)
  await romeo.receivesNothing()
  await blocks(juliet, ROMEO)
  await blocks(juliet, ROMEO)
  await romeo.receivesNext({ type: 'unavailable' })
  await romeo.receivesNothing()
})

test('a domain is blocked with its accounts, and unblocked with them', async () => {
  await using server = await startServer()
  const { romeo, juliet } = await lovers(server)
  const chamber = await server.connect('juliet', 'chamber')
  await romeo.receivesNext({ from: chamber.fullJid })
  await blocks(juliet, DOMAIN)
  await romeo.receives({ type: 'unavailable', from: juliet.fullJid })
  await romeo.receives({ type: 'unavailable', from: chamber.fullJid })
  // Her own server and her own resources are not blocked.
  chamber.send(chat(juliet.fullJid, 'still here'))
  await juliet.receives({ body: 'still here' })
  await unblocks(juliet)
  await romeo.receives({ type: undefined, from: juliet.fullJid })
  await romeo.receives({ type: undefined, from: chamber.fullJid })
})

test('directed presence is taken back', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo', 'orchard')
  const juliet = await server.connect('juliet', 'balcony')
  juliet.send(presence(undefined, romeo.fullJid))
  await romeo.receives({ name: 'presence', from: juliet.fullJid })
  await blocks(juliet, ROMEO)
  await romeo.receivesNext({ type: 'unavailable', from: juliet.fullJid })
  await juliet.leaves()
  await romeo.receivesNothing()
})

test('blocks outlive the server, and go with the account', async () => {
  await using first = await startServer({ storage: { url: 'sqlite:meerkat.db' } })
  const juliet = await first.connect('juliet')
  await blocks(juliet, ROMEO, NURSE)
  await first.stop()

  await using second = await startServer({
    data_dir: first.directory,
    storage: { url: 'sqlite:meerkat.db' },
  })
  const romeo = await second.connect('romeo')
  romeo.send(chat(JULIET, 'Art thou there?'))
  assert.equal(conditionOf(await romeo.receives({ type: 'error' })), 'service-unavailable')
  const back = await second.connect('juliet')
  await back.receivesNothing()
  assert.deepEqual(await blocklist(back), [NURSE, ROMEO])

  await second.server.lifecycle.remove(parseBare(JULIET))
  const heir = await second.connect('juliet')
  assert.deepEqual(await blocklist(heir), [])
})

test('what was kept before its sender was blocked is not delivered', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo', 'orchard')
  await server.createAccount('juliet')
  romeo.send(chat(JULIET, 'old'))
  await romeo.roundTrip()
  const juliet = await server.connect('juliet', 'balcony', { priority: undefined })
  await blocks(juliet, ROMEO)
  await juliet.becomesAvailable()
  await juliet.receivesNothing({ name: 'message' })
  await romeo.receivesNothing()
  await unblocks(juliet)
  await juliet.leaves()
  const back = await server.connect('juliet', 'balcony')
  await back.receivesNothing({ name: 'message' })
})

test('who writes to somebody blocked is told why it does not leave, and it is not archived', async () => {
  await using server = await startServer()
  const juliet = await server.connect('juliet', 'balcony')
  await blocks(juliet, ROMEO)
  juliet.send(chat(ROMEO, 'O Romeo'))
  const error = await juliet.receives({ type: 'error', body: 'O Romeo' })
  assert.equal(conditionOf(error), 'not-acceptable')
  assert.ok(error.child('error')?.child('blocked', 'urn:xmpp:blocking:errors'))
  assert.deepEqual((await askArchive(juliet)).bodies, [])
})

// --- Together with privacy lists (XEP-0191 §5).

test('both a list and a block apply, each for itself', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo', 'orchard')
  const juliet = await server.connect('juliet', 'balcony')
  const isHeard = async (body: string) => {
    romeo.send(chat(JULIET, body))
    await romeo.roundTrip()
    await juliet.roundTrip()
    return juliet.inbox({ body }).length > 0
  }
  await setsList(juliet, rules('private', { type: 'jid', value: ROMEO, kinds: ['message'] }))
  await setsDefault(juliet, 'private')
  await blocks(juliet, ROMEO)
  // Rules about messages alone are none that a block could be.
  assert.deepEqual(await blocklist(juliet), [ROMEO])
  await unblocks(juliet)
  assert.deepEqual(await listNames(juliet), ['default private', 'list private'])
  assert.equal(await isHeard('denied'), false)
  await setsDefault(juliet)
  assert.equal(await isHeard('free'), true)
  await blocks(juliet, ROMEO)
  assert.equal(await isHeard('blocked'), false)
})

test('what the default list denies altogether is shown and lifted as a block', async () => {
  await using server = await startServer()
  const { romeo, juliet } = await lovers(server)
  await setsList(
    juliet,
    rules(
      'private',
      { type: 'jid', value: ROMEO },
      { type: 'jid', value: NURSE },
      { kinds: ['iq'] },
    ),
  )
  await setsDefault(juliet, 'private')
  await romeo.receivesNext({ type: 'unavailable', from: juliet.fullJid })
  await blocks(juliet, NURSE)
  assert.deepEqual(await blocklist(juliet), [NURSE, ROMEO])
  juliet.forgets()

  await unblocks(juliet, ROMEO)
  await romeo.receivesNext({ type: undefined, from: juliet.fullJid })
  await juliet.receives({
    type: 'set',
    child: privacyQuery(el('list', { name: 'private' })),
  })
  assert.deepEqual(await blocklist(juliet), [NURSE])
  const read = await juliet.ask('get', undefined, privacyQuery(el('list', { name: 'private' })))
  assert.equal(read.child('query', PRIVACY)?.elements()[0]?.elements().length, 2)

  await unblocks(juliet)
  assert.deepEqual(await blocklist(juliet), [])
  assert.deepEqual(await listNames(juliet), ['default private', 'list private'])
})

// --- Reports (XEP-0377).

const report = (reason: string | undefined, ...more: readonly Element[]) =>
  el('report', { xmlns: REPORTING, reason }, ...more)
const SPAM = 'urn:xmpp:reporting:spam'

test('a report goes to whoever looks after the server, and to nobody else', async () => {
  const admin = `admin@${DOMAIN}`
  await using server = await startServer({ modules: { blocking: { report_to: admin } } })
  const overseer = await server.connect('admin', 'desk')
  const balcony = await server.connect('juliet', 'balcony')
  await blocklist(balcony)
  const stanzaId = el('stanza-id', { xmlns: 'urn:xmpp:sid:0', by: JULIET, id: '28482' })
  const spam = report(SPAM, stanzaId, el('text', { 'xml:lang': 'en' }, 'Never came trouble'))
  const answer = await balcony.ask('set', undefined, block(blockItem(NURSE, spam)))
  assert.equal(answer.attr('type'), 'result')
  const pushed = await balcony.receives(push('block', NURSE))
  assert.equal(pushed.child('block', BLOCKING)?.elements()[0]?.elements().length, 0)

  const received = await overseer.receives({ name: 'message', from: DOMAIN })
  assert.match(received.child('body')?.text ?? '', /nurse@elsewhere.example.*juliet.*spam\nNever/s)
  const forwarded = received.child('report', REPORTING)
  assert.equal(forwarded?.attr('reason'), SPAM)
  assert.equal(forwarded?.child('jid', 'urn:xmpp:jid:0')?.text, NURSE)
  assert.equal(forwarded?.child('stanza-id', 'urn:xmpp:sid:0')?.attr('id'), '28482')
  assert.deepEqual(await blocklist(balcony), [NURSE])
})

test('what is no report keeps nobody from blocking; too many are forgotten', async () => {
  const admin = `admin@${DOMAIN}`
  await using server = await startServer({
    modules: { blocking: { report_to: admin, reports_per_hour: 1 } },
  })
  const overseer = await server.connect('admin', 'desk')
  const juliet = await server.connect('juliet', 'balcony')
  const reportOn = async (jid: string, reason?: string) =>
    (await juliet.ask('set', undefined, block(blockItem(jid, report(reason))))).attr('type')
  assert.equal(await reportOn('a.example'), 'result')
  assert.equal(await reportOn('b.example', 'x'.repeat(257)), 'result')
  assert.equal(await reportOn('c.example', SPAM), 'result')
  assert.equal(await reportOn('d.example', SPAM), 'result')
  assert.equal((await blocklist(juliet)).length, 4)
  await overseer.receives({ body: /^c.example/ })
  await overseer.receivesNothing()
})

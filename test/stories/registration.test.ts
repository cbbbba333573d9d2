import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import type { Kysely } from 'kysely'
import { Envelope } from '../../src/core/envelope.ts'
import { tableNames } from '../../src/storage/tables.ts'
import { jid, parseJid } from '../../src/xmpp/jid.ts'
import { Stanza } from '../../src/xmpp/stanza.ts'
import { type Element, el } from '../../src/xmpp/xml.ts'
import { conditionOf } from '../support/client.ts'
import { DOMAIN, PASSWORD, startServer } from '../support/server.ts'
import { enable } from '../support/stream-management.ts'

const NS = 'jabber:iq:register'
const FEATURE = 'http://jabber.org/features/iq-register'
const fields = (username: string, password: string) =>
  el('query', { xmlns: NS }, el('username', {}, username), el('password', {}, password))

const open = {
  auth: { registration: true },
  listen: { tls: 'required' },
}

test('a stranger makes an account and logs in on the same stream', async () => {
  await using server = await startServer(open)
  const nurse = await server.openStream()
  assert.notEqual(nurse.features?.child('register', FEATURE), undefined)
  const asked = await nurse.ask('get', DOMAIN, el('query', { xmlns: NS }))
  assert.notEqual(asked.child('query', NS)?.child('username'), undefined)
  assert.equal((await nurse.ask('set', DOMAIN, fields('nurse', 'Angelica'))).attr('type'), 'result')
  await nurse.authenticate({ localpart: 'nurse', password: 'Angelica' })
  await nurse.bind('house')
  assert.equal(nurse.fullJid, `nurse@${DOMAIN}/house`)
})

test('who makes accounts may take the time that it takes', async () => {
  await using server = await startServer({
    ...open,
    listen: { tls: 'required', pre_auth_timeout: '1s', pre_auth_bytes: 10_000 },
  })
  const nurse = await server.openStream()
  const isMade = async (name: string) =>
    (await nurse.ask('set', DOMAIN, fields(name, 'x'.repeat(900)))).attr('type') === 'result'
  for (let i = 0; i < 9; i++) assert.ok(await isMade(`child${i}`))
  const silent = await server.openStream()
  await silent.receivesStreamError('connection-timeout')
  assert.ok(await isMade('susan'))
})

test('a name that is taken is refused, and another one taken', async () => {
  await using server = await startServer(open)
  await server.createAccount('juliet')
  const stranger = await server.openStream()
  const taken = await stranger.ask('set', DOMAIN, fields('juliet', 'x'))
  assert.equal(conditionOf(taken), 'conflict')
  assert.equal((await stranger.ask('set', DOMAIN, fields('rosaline', 'x'))).attr('type'), 'result')
})

test('nobody removes an account before login', async () => {
  await using server = await startServer(open)
  await server.createAccount('juliet')
  const stranger = await server.openStream()
  const removal = el('query', { xmlns: NS }, el('remove'), el('username', {}, 'juliet'))
  const refused = await stranger.ask('set', DOMAIN, removal)
  assert.equal(conditionOf(refused), 'unexpected-request')
  assert.equal(
    (await stranger.tryToAuthenticate({ localpart: 'juliet', password: PASSWORD })).name,
    'success',
  )
})

test('the name of an administrator is not to be had', async () => {
  await using server = await startServer({ ...open, admin: { jids: [`prince@${DOMAIN}`] } })
  const stranger = await server.openStream()
  const refused = await stranger.ask('set', DOMAIN, fields('Prince', 'x'))
  assert.equal(conditionOf(refused), 'conflict')
  assert.equal((await stranger.ask('set', DOMAIN, fields('page', 'x'))).attr('type'), 'result')
})

test('without leave of the operator there is no registration', async () => {
  await using server = await startServer({ listen: { tls: 'required' } })
  const stranger = await server.openStream()
  assert.equal(stranger.features?.child('register', FEATURE), undefined)
  const asked = await stranger.ask('get', DOMAIN, el('query', { xmlns: NS }))
  assert.equal(conditionOf(asked), 'service-unavailable')
})

test('a new password is the one that counts', async () => {
  await using server = await startServer(open)
  const juliet = await server.connect('juliet', 'balcony')
  const changed = await juliet.ask('set', DOMAIN, fields('juliet', 'T4b0r'))
  assert.equal(changed.attr('type'), 'result')
  const again = await server.openStream()
  const refused = await again.tryToAuthenticate({ localpart: 'juliet', password: PASSWORD })
  assert.equal(refused.name, 'failure')
  await again.authenticate({ localpart: 'juliet', password: 'T4b0r' })
})

test('a removed account is answered, logged out everywhere, and gone', async () => {
  await using server = await startServer(open)
  const balcony = await server.connect('juliet', 'balcony')
  const chamber = await server.connect('juliet', 'chamber')
  const gone = await balcony.ask('set', DOMAIN, el('query', { xmlns: NS }, el('remove')))
  assert.equal(gone.attr('type'), 'result')
  await balcony.receivesStreamError('not-authorized')
  await chamber.receivesStreamError('not-authorized')
  const again = await server.openStream()
  const refused = await again.tryToAuthenticate({ localpart: 'juliet', password: PASSWORD })
  assert.equal(refused.name, 'failure')
})

test('of an account that is removed, no table keeps anything', async () => {
  await using server = await startServer(open)
  const { storage, lifecycle, router } = server.server
  const juliet = await server.connect('juliet')
  const set = async (payload: Element) => {
    assert.equal((await juliet.ask('set', juliet.bareJid, payload)).attr('type'), 'result')
  }
  const mercutio = 'mercutio@verona.example'
  await set(el('query', { xmlns: 'jabber:iq:roster' }, el('item', { jid: mercutio })))
  await set(el('vCard', { xmlns: 'vcard-temp' }, el('FN', {}, 'Juliet')))
  await set(el('query', { xmlns: 'jabber:iq:private' }, el('note', { xmlns: 'urn:example:note' })))
  await set(el('block', { xmlns: 'urn:xmpp:blocking' }, el('item', { jid: mercutio })))
  await set(el('prefs', { xmlns: 'urn:xmpp:mam:2', default: 'always' }, el('always'), el('never')))
  const rule = el('item', { type: 'jid', value: mercutio, action: 'deny', order: 1 })
  const list = el('list', { name: 'feud' }, rule)
  await set(el('query', { xmlns: 'jabber:iq:privacy' }, list))
  await enable(juliet)
  await juliet.leaves()
  const from = parseJid('romeo@verona.example')
  const origin = { kind: 's2s', domain: from.domain } as const
  const words = Stanza.build('message', { type: 'chat' }, el('body', {}, 'Wilt thou be gone?'))
  await router.route(new Envelope(from, parseJid(juliet.bareJid), words, origin))

  const account = jid('juliet', DOMAIN).toBare()
  await server.server.administrators.add(account)
  await storage.write('insert into announcement_seen (account, id) values (?, ?)', [
    account.full,
    'x',
  ])
  await storage.write('insert into announcement_due (account) values (?)', [account.full])

  const db = storage.db as unknown as Kysely<Record<string, Record<string, unknown>>>
  const tables = async (mention: boolean) => {
    const found: string[] = []
    for (const name of await tableNames(storage)) {
      const rows = await db.selectFrom(name).selectAll().execute()
      const isThere = rows.some((row) => JSON.stringify(Object.values(row)).includes('juliet'))
      if (isThere === mention) found.push(name)
    }
    return found
  }
  // Of no account; and those that are written when the server stops, or while an account is removed.
  const others = [
    'access_list',
    'account_removal',
    'admin_token',
    'announcement',
    ...(storage.dialect === 'sqlite' ? ['archive_indexed'] : []),
    'domain',
    'migration',
    'node_fence',
    'node_run',
    'secret',
    'sm_kept',
    'sm_queue',
    'sm_session',
  ]
  // When somebody left is written behind.
  while ((await tables(true)).filter((name) => name.startsWith('last_')).length < 2) await delay(50)
  assert.deepEqual(await tables(false), others, 'a new table is to be filled here')
  await lifecycle.remove(account)
  assert.deepEqual(await tables(true), [])
})

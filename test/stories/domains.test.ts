import assert from 'node:assert/strict'
import { cpSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import type { Server } from '../../src/server.ts'
import { el } from '../../src/xmpp/xml.ts'
import { writeSelfSigned } from '../support/certificates.ts'
import { until } from '../support/cluster.ts'
import { emptyDirectory } from '../support/directory.ts'
import { giveAsOperator as give } from '../support/operator.ts'
import { DOMAIN, startServer, type TestServer } from '../support/server.ts'
import { chat, presence } from '../support/stanzas.ts'
import { connectResumable } from '../support/stream-management.ts'

const VERONA = 'verona.example'
const ROSTER_NS = 'jabber:iq:roster'

test('clients log in at a domain as soon as it is added, and others find it', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo')
  await server.server.dynamicDomains.add(VERONA)

  const juliet = await server.connect('juliet', undefined, { domain: VERONA })
  await romeo.sends(chat(juliet.fullJid, 'a new town'))
  await juliet.receives({ body: 'a new town', from: romeo.fullJid })
  await juliet.sends(chat(romeo.fullJid, 'and an answer'))
  await romeo.receives({ body: 'and an answer' })
  assert.deepEqual(server.server.domains.names, [DOMAIN, VERONA])
})

test('components that serve a name under each domain follow', async () => {
  await using server = await startServer({ component: {} })
  const { dynamicDomains } = server.server
  const irc = await server.connectComponent('irc', { isSubdomain: true })
  await dynamicDomains.add(VERONA)
  const juliet = await server.connect('juliet', undefined, { domain: VERONA })

  await juliet.sends(chat(`nurse@irc.${VERONA}`, 'Where is he?'))
  await irc.receives({ to: `nurse@irc.${VERONA}`, body: 'Where is he?' })
  irc.address = `irc.${VERONA}`
  await irc.sends(
    `<message from='nurse@irc.${VERONA}' to='${juliet.fullJid}'><body>Here</body></message>`,
  )
  await juliet.receives({ from: `nurse@irc.${VERONA}`, body: 'Here' })

  await dynamicDomains.disable(VERONA)
  const romeo = await server.connect('romeo')
  await romeo.sends(chat(`nurse@irc.${VERONA}`, 'Anybody?'))
  await romeo.receives({ error: 'remote-server-not-found' })
  await romeo.sends(chat(`nurse@irc.${DOMAIN}`, 'Anybody?'))
  await irc.receives({ to: `nurse@irc.${DOMAIN}`, body: 'Anybody?' })
})

test('a domain is there once, and not in place of something else', async () => {
  await using server = await startServer({ component: {} })
  await server.connectComponent('plays.example')
  const { dynamicDomains } = server.server

  await assert.rejects(dynamicDomains.add(DOMAIN), { kind: 'fixed' })
  await assert.rejects(dynamicDomains.add('plays.example'), { kind: 'taken' })
  await dynamicDomains.add(VERONA)
  await assert.rejects(dynamicDomains.add(VERONA), { kind: 'taken' })
  await assert.rejects(dynamicDomains.disable('mantua.example'), { kind: 'unknown' })
  await assert.rejects(
    dynamicDomains.remove(DOMAIN, () => {}),
    { kind: 'unknown' },
  )
})

test('where there is TLS a domain needs a certificate', async () => {
  const listen = { tls: 'starttls' }
  await using directory = await emptyDirectory()
  const own = await writeSelfSigned(directory.path, DOMAIN)
  const tls = { directory: directory.path, domains: { [DOMAIN]: { certificate: own, key: own } } }
  await using server = await startServer({ listen, tls })

  await assert.rejects(server.server.dynamicDomains.add(VERONA), /verona\.example\.pem/)
  assert.deepEqual(server.server.domains.names, [DOMAIN])
  await writeSelfSigned(directory.path, VERONA)
  await server.server.dynamicDomains.add(VERONA)
  const juliet = await server.connect('juliet', undefined, { domain: VERONA })
  const shown =
    'getPeerX509Certificate' in juliet.socket ? juliet.socket.getPeerX509Certificate() : undefined
  assert.match(shown?.subjectAltName ?? '', /verona\.example/)
})

test('a disabled domain has no sessions, returns stanzas, and keeps what it has', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo')
  await server.server.dynamicDomains.add(VERONA)
  const juliet = await server.connect('juliet', undefined, { domain: VERONA })
  await server.createAccount('nurse', undefined, VERONA)
  await romeo.sends(chat(`nurse@${VERONA}`, 'before'))
  await romeo.roundTrip()

  await server.server.dynamicDomains.disable(VERONA)
  await juliet.receivesStreamError('host-gone')
  await romeo.sends(chat(`nurse@${VERONA}`, 'meanwhile'))
  const refused = await romeo.receives({ name: 'message', type: 'error' })
  assert.equal(refused.child('error')?.elements()[0]?.name, 'service-unavailable')
  const late = await server.open({ domain: VERONA })
  late.sendHeader()
  await late.receivesStreamError('host-unknown')

  await server.server.dynamicDomains.enable(VERONA)
  const nurse = await server.connect('nurse', undefined, { domain: VERONA })
  await nurse.receives({ body: 'before' })
  await nurse.receivesNothing({ name: 'message' })
})

/** Of a server that keeps what it has in files. */
const kept = (directory: string) => ({
  data_dir: directory,
  storage: { url: 'sqlite:meerkat.db' },
  modules: { archive: { fulltext: true } },
})

/** Everything that is kept of a domain, at the one that is to go. */
async function fill(server: TestServer): Promise<void> {
  const { storage, tokens } = server.server
  await give(server, 'motd set', { body: 'A feud', domain: VERONA })
  await give(server, 'welcome set', { body: 'Go in peace', domain: VERONA })
  await server.createAccount('prince', undefined, VERONA)
  await give(server, 'admin add', { jid: `prince@${VERONA}` })
  const limited = { name: 'a warden', role: 'domain-admin', expiresAt: undefined } as const
  for (const domains of [[VERONA], [DOMAIN, VERONA]]) await tokens.create({ ...limited, domains })
  const paris = await connectResumable(server, 'paris', 'tomb', { domain: VERONA, priority: 0 })
  const romeo = await server.connect('romeo')
  const juliet = await server.connect('juliet', undefined, { domain: VERONA })
  await server.createAccount('nurse', undefined, VERONA)
  const set = (...payload: Parameters<typeof el>) => juliet.ask('set', undefined, el(...payload))
  await set('query', { xmlns: ROSTER_NS }, el('item', { jid: 'tybalt@capulet.example' }))
  await set('vCard', { xmlns: 'vcard-temp' }, el('FN', {}, 'Juliet'))
  await set('query', { xmlns: 'jabber:iq:private' }, el('notes', { xmlns: 'urn:example:notes' }))
  await set('block', { xmlns: 'urn:xmpp:blocking' }, el('item', { jid: 'paris@capulet.example' }))
  await set(
    'query',
    { xmlns: 'jabber:iq:privacy' },
    el('list', { name: 'friends' }, el('item', { action: 'allow', order: 1 })),
  )
  await set('prefs', { xmlns: 'urn:xmpp:mam:2', default: 'always' }, el('always'), el('never'))
  await romeo.sends(chat(juliet.fullJid, 'to her'))
  await juliet.receives({ body: 'to her' })
  for (let n = 0; n < 20; n++) await romeo.sends(chat(`nurse@${VERONA}`, `to the nurse ${n}`))
  juliet.send(presence('unavailable'))
  await juliet.roundTrip()
  await romeo.sends(chat(paris.client.fullJid, 'not acknowledged'))
  await paris.client.receives({ body: 'not acknowledged' })
  await paris.client.vanishes()
  const ofSessions = 'select session from sm_queue join sm_session on session = id'
  while ((await storage.read(ofSessions, [])).length === 0) await setImmediate()
}

/** What a node keeps that is away, or has begun. */
async function keepElsewhere({ storage }: Server): Promise<void> {
  await storage.writeAll([
    // A removal that was broken off.
    {
      sql: "insert into account_removal (domain, localpart) values (?, 'paris')",
      parameters: [VERONA],
    },
    {
      sql: "insert into account_removal (domain, localpart) values (?, 'benvolio')",
      parameters: [VERONA],
    },
    {
      sql: `insert into sm_session (id, expires_at, state, node, epoch)
        select 'elsewhere', expires_at, state, 'elsewhere', 1 from sm_session`,
      parameters: [],
    },
    {
      sql: `insert into sm_queue (session, seq, at, stanza, notes)
        select 'elsewhere', seq, at, stanza, notes from sm_queue`,
      parameters: [],
    },
    {
      sql: `insert into sm_kept (node, epoch, id, account, stanza, notes)
        select 'elsewhere', 1, seq, 'paris@' || ?, stanza, notes from sm_queue
        where session = 'elsewhere'`,
      parameters: [VERONA],
    },
  ])
}

/** Tables of no account and no domain. */
const OTHERS = [
  // Names those with whom nobody here communicates, wherever they are.
  'access_list',
  'archive_indexed',
  'migration',
  'node_fence',
  'node_run',
  'secret',
]
/** But those that SQLite has for itself, and for the index of words. */
const TABLES = `select name from sqlite_schema where type = 'table'
  and name not like 'sqlite\\_%' escape '\\' and name not like 'archive\\_text\\_%' escape '\\'`
/** Words do not say whose they are: the messages do in which they are. */
const WORDS = `select coalesce(archive.owner, 'nobody') as owner
  from archive_text_docsize as words left join archive on seq = words.id`

/** Tables that say anything of the domain, except what others keep of their own, and all others. */
function tablesOf(directory: string, text: string) {
  using database = new DatabaseSync(join(directory, 'meerkat.db'), { readOnly: true })
  const tables = database.prepare(TABLES).all()
  const saying: string[] = []
  const silent: string[] = []
  for (const { name } of tables) {
    const sql = name === 'archive_text' ? WORDS : `select * from "${name}"`
    const rows = database.prepare(sql).all()
    const isMeant = (owner: unknown) => owner === 'nobody' || String(owner).includes(text)
    // What the sender wrote is in the sender's archive.
    const own = rows.filter(({ owner }) => owner === undefined || isMeant(owner))
    const isSaid = own.some((row) => row.owner === 'nobody' || JSON.stringify(row).includes(text))
    ;(isSaid ? saying : silent).push(String(name))
  }
  return { saying, silent: silent.sort() }
}

const mentions = (directory: string, text: string) => tablesOf(directory, text).saying

test('with a domain goes all that was kept of it, whatever modules run', async () => {
  await using directory = await emptyDirectory()
  const settings = kept(directory.path)
  await using server = await startServer(settings)
  const { dynamicDomains } = server.server
  await dynamicDomains.add(VERONA)
  await fill(server)
  await server.reload({ ...settings, modules: { vcard: false, archive: false } })
  await keepElsewhere(server.server)
  // When somebody left is written a moment later.
  const written = ['last_activity', 'last_presence']
  await until(() => written.every((table) => mentions(directory.path, VERONA).includes(table)))
  const { saying, silent } = tablesOf(directory.path, VERONA)
  assert.deepEqual(silent, OTHERS, 'a new table is to be filled here')

  const steps: number[] = []
  const rows = await dynamicDomains.remove(VERONA, (count) => steps.push(count))
  assert.ok(rows >= saying.length)
  assert.equal(steps.at(-1), rows)
  assert.deepEqual(mentions(directory.path, VERONA), [])
  assert.equal(await server.server.accounts.count(DOMAIN), 1)
  // Who administers another domain, too, goes on with that.
  const tokens = await server.server.tokens.list()
  assert.deepEqual(
    tokens.map(({ domains }) => domains),
    [[DOMAIN]],
  )

  // Whoever comes there later finds nothing.
  await server.reload(settings)
  await dynamicDomains.add(VERONA)
  const juliet = await server.connect('juliet', undefined, { domain: VERONA })
  const roster = await juliet.ask('get', undefined, el('query', { xmlns: ROSTER_NS }))
  assert.deepEqual(roster.child('query', ROSTER_NS)?.elements(), [])
  await juliet.receivesNothing({ name: 'message' })
})

test('a removal that was broken off goes on at the next start', async () => {
  await using directory = await emptyDirectory()
  const settings = kept(directory.path)
  {
    await using server = await startServer(settings)
    await server.server.dynamicDomains.add(VERONA)
    await fill(server)
    const { promise, resolve } = Promise.withResolvers<void>()
    const removed = server.server.dynamicDomains.remove(VERONA, () => resolve())
    removed.catch(() => {})
    await promise
    await server.stop()
    await assert.rejects(removed, /goes on when it starts again/)
  }
  assert.notDeepEqual(mentions(directory.path, VERONA), [])

  await using server = await startServer(settings)
  assert.deepEqual(server.server.domains.names, [DOMAIN])
  await assert.rejects(server.server.dynamicDomains.add(VERONA), { kind: 'removing' })
  await server.server.dynamicDomains.remove(VERONA, () => {})
  assert.deepEqual(mentions(directory.path, VERONA), [])
})

test('a server that is killed while it removes a domain goes on when it starts', async () => {
  await using directory = await emptyDirectory()
  await using copy = await emptyDirectory()
  {
    await using server = await startServer(kept(directory.path))
    await server.server.dynamicDomains.add(VERONA)
    await fill(server)
    // What a kill at this moment leaves on the disk.
    let isCopied = false
    await server.server.dynamicDomains.remove(VERONA, () => {
      if (!isCopied) cpSync(directory.path, copy.path, { recursive: true })
      isCopied = true
    })
  }
  assert.notDeepEqual(mentions(copy.path, VERONA), [])

  await using server = await startServer(kept(copy.path))
  const { promise, resolve } = Promise.withResolvers<void>()
  server.server.hooks.on('remove_domain', (domain) => {
    if (mentions(copy.path, VERONA).length <= 1) resolve()
    return domain
  })
  await promise
  while (server.server.dynamicDomains.states.size > 0) await setImmediate()
  // Changes have their turn one after the other.
  await server.reload(kept(copy.path))
  assert.deepEqual(mentions(copy.path, VERONA), [])
})

test('domains that were added are there after a restart', async () => {
  await using directory = await emptyDirectory()
  const settings = kept(directory.path)
  {
    await using server = await startServer(settings)
    await server.server.dynamicDomains.add(VERONA)
    await server.server.dynamicDomains.add('mantua.example')
    await server.server.dynamicDomains.disable('mantua.example')
  }
  await using server = await startServer(settings)
  assert.deepEqual(server.server.domains.names, [DOMAIN, VERONA])
  assert.equal(server.server.dynamicDomains.states.get('mantua.example'), 'disabled')
  assert.equal(server.server.routes.serves('mantua.example'), false)
})

test('a domain that is added has its own settings of modules', async () => {
  const host = { [VERONA]: { modules: { ping: { enabled: false } } } }
  await using server = await startServer({ host })
  await server.server.dynamicDomains.add(VERONA)
  const juliet = await server.connect('juliet', undefined, { domain: VERONA, priority: undefined })
  const answer = await juliet.ask('get', VERONA, el('ping', { xmlns: 'urn:xmpp:ping' }))
  assert.equal(answer.attr('type'), 'error')
})

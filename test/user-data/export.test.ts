import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { dataCommands, type Imported } from '../../src/admin/commands/data.ts'
import { CommandError, UNWATCHED } from '../../src/core/command.ts'
import { Envelope } from '../../src/core/envelope.ts'
import { adminContext } from '../../src/server-admin.ts'
import { jid, parseJid } from '../../src/xmpp/jid.ts'
import { Stanza } from '../../src/xmpp/stanza.ts'
import { type Element, el } from '../../src/xmpp/xml.ts'
import { askArchive } from '../support/archive.ts'
import type { Client } from '../support/client.ts'
import { emptyDirectory } from '../support/directory.ts'
import { giveAsOperator as give } from '../support/operator.ts'
import { DOMAIN, startServer, type TestServer } from '../support/server.ts'
import { chat, presence } from '../support/stanzas.ts'

const run = promisify(execFile)
const ROMEO = 'romeo@verona.example'

/** A message from another server comes in for an account. */
async function comesIn({ server }: TestServer, to: string, body: string): Promise<void> {
  const from = parseJid(`${ROMEO}/orchard`)
  const words = Stanza.build(
    'message',
    { type: 'chat', id: body.slice(0, 4) },
    el('body', {}, body),
  )
  const origin = { kind: 's2s', domain: from.domain } as const
  await server.router.route(new Envelope(from, parseJid(to), words, origin))
}

const set = async (client: Client, payload: Element) =>
  assert.equal((await client.ask('set', client.bareJid, payload)).attr('type'), 'result')

/** Something of everything. */
async function fill(server: TestServer): Promise<void> {
  const juliet = await server.connect('juliet')
  const item = el('item', { jid: ROMEO, name: 'Ro & <mëo>' }, el('group', {}, 'Friends'))
  await set(juliet, el('query', { xmlns: 'jabber:iq:roster' }, item))
  await juliet.sends(presence('subscribe', ROMEO))
  await set(juliet, el('vCard', { xmlns: 'vcard-temp' }, el('FN', {}, 'Juliet ☾')))
  const note = el('note', { xmlns: 'urn:example:note', 'xml:lang': 'en' }, ' a\r\nb ')
  await set(juliet, el('query', { xmlns: 'jabber:iq:private' }, note))
  await set(
    juliet,
    el('block', { xmlns: 'urn:xmpp:blocking' }, el('item', { jid: 'tybalt@x.example' })),
  )
  const never = el('never', {}, el('jid', {}, 'paris@x.example'))
  await set(
    juliet,
    el('prefs', { xmlns: 'urn:xmpp:mam:2', default: 'always' }, el('always'), never),
  )
  const rule = el('item', { type: 'jid', value: 'paris@x.example', action: 'deny', order: 1 })
  await set(juliet, el('query', { xmlns: 'jabber:iq:privacy' }, el('list', { name: 'feud' }, rule)))
  await set(juliet, el('query', { xmlns: 'jabber:iq:privacy' }, el('default', { name: 'feud' })))
  await server.createAccount('nurse')
  for (let n = 0; n < 450; n++) juliet.send(chat(`nurse@${DOMAIN}`, `word ${n} & more`))
  await juliet.roundTrip()
  await juliet.sends("<presence type='unavailable'><status>Good &amp; night</status></presence>")
  await juliet.leaves()
  await comesIn(server, juliet.bareJid, 'Wilt thou be gone? ]]> "so" \'so\'')
  const asking = Stanza.build('presence', { type: 'subscribe' }, el('status', {}, 'Mercutio here'))
  const mercutio = parseJid('mercutio@verona.example')
  const origin = { kind: 's2s', domain: mercutio.domain } as const
  await server.server.router.route(new Envelope(mercutio, parseJid(juliet.bareJid), asking, origin))
  await give(server, 'account disable', { jid: `nurse@${DOMAIN}` })
}

test('what one server writes another reads: everything of everybody, and nothing twice', async () => {
  await using directory = await emptyDirectory()
  await using one = await startServer()
  await fill(one)
  const file = join(directory.path, 'all.xml')
  const written = await give(one, 'account export', { file })
  assert.deepEqual(written, { file, accounts: 2 })
  assert.equal((await stat(file)).mode & 0o777, 0o600)
  await assert.rejects(give(one, 'account export', { file }), { code: 'conflict' })

  await using other = await startServer()
  const first = await give<Imported>(other, 'account import', { file })
  assert.deepEqual([first.accounts, first.existing, first.problems], [2, 0, []])
  const again = await give<Imported>(other, 'account import', { file })
  assert.deepEqual([again.accounts, again.existing, again.added], [0, 2, 0])
  assert.equal(again.there, first.added)
  const copy = join(directory.path, 'copy.xml')
  await give(other, 'account export', { file: copy })
  assert.equal(await readFile(copy, 'utf8'), await readFile(file, 'utf8'))

  // What contacts are told of somebody who is away.
  const account = jid('juliet', DOMAIN).toBare()
  const rows = 'select owner, at, stanza from last_presence where owner = ?'
  const [seen] = await one.server.storage.read(rows, [account.full])
  assert.match(String(seen?.stanza), /Good &amp; night/)
  assert.deepEqual(await other.server.storage.read(rows, [account.full]), [seen])
  const when = 'select account, at, status from last_activity where account = ?'
  assert.deepEqual(
    await other.server.storage.read(when, [account.full]),
    await one.server.storage.read(when, [account.full]),
  )

  // The password is the same, and so is what a client sees.
  const juliet = await other.connect('juliet')
  await juliet.receives({ body: 'Wilt thou be gone? ]]> "so" \'so\'' })
  await juliet.receives({ from: 'mercutio@verona.example' })
  const { bodies } = await askArchive(juliet, { page: { max: '100', before: '' } })
  assert.deepEqual(bodies.slice(-3), [
    'word 448 & more',
    'word 449 & more',
    'Wilt thou be gone? ]]> "so" \'so\'',
  ])
  const roster = await juliet.ask('get', juliet.bareJid, el('query', { xmlns: 'jabber:iq:roster' }))
  const [item] = roster.elements()[0]?.elements() ?? []
  assert.deepEqual([item?.attr('name'), item?.attr('ask')], ['Ro & <mëo>', 'subscribe'])
  const nurse = await (await other.openStream()).tryToAuthenticate({
    localpart: 'nurse',
    password: 'wherefore art thou',
  })
  assert.equal(nurse.name, 'failure')
})

test('of one account: what is kept of it, without its keys', async () => {
  await using directory = await emptyDirectory()
  await using server = await startServer()
  await fill(server)
  const file = join(directory.path, 'juliet.xml')
  await give(server, 'account data', { jid: `juliet@${DOMAIN}`, file })
  const text = await readFile(file, 'utf8')
  const kept = [
    'Friends',
    'Juliet ☾',
    'urn:example:note',
    'tybalt',
    'feud',
    'word 449',
    'Wilt thou',
    'last-presence',
    'Good &amp; night',
  ]
  for (const each of [...kept, 'Mercutio here', 'paris']) assert.ok(text.includes(each), each)
  assert.doesNotMatch(text, /stored-key|nurse'>/)
  await server.server.lifecycle.remove(jid('juliet', DOMAIN).toBare())
  await give(server, 'account export', { file: join(directory.path, 'rest.xml') })
  const rest = await readFile(join(directory.path, 'rest.xml'), 'utf8')
  assert.doesNotMatch(rest, /<user name='juliet'>/)
})

const document = (user: string) =>
  `<?xml version='1.0'?>\n<server-data xmlns='urn:xmpp:pie:0'>\n<host jid='${DOMAIN}'>\n${user}\n</host>\n</server-data>`

test('documents of other servers: passwords, foreign archives, what nobody knows', async () => {
  await using directory = await emptyDirectory()
  await using server = await startServer()
  const file = join(directory.path, 'in.xml')
  const results = ['b', 'a', 'c', 'd'].map(
    (name) => `<result xmlns='urn:xmpp:mam:2' id='${name}'><forwarded xmlns='urn:xmpp:forward:0'>
      <delay xmlns='urn:xmpp:delay' stamp='2009-07-10T23:08:25Z'/>
      <message xmlns='jabber:client' from='juliet@${DOMAIN}/x' to='${ROMEO}'><body>${name}</body></message>
      </forwarded></result>`,
  )
  await writeFile(
    file,
    document(`<!-- by hand --><user name='juliet' password='Capulet'>
      <query xmlns='jabber:iq:roster'><item jid='${ROMEO}' subscription='both'/><item jid='@'/></query>
      <query xmlns='jabber:iq:privacy'><list name='broken'><item type='jid' value='@' action='deny' order='1'/></list>
      <list name='feud'><item type='jid' value='tybalt@x.example' action='deny' order='1'/></list></query>
      <archive xmlns='urn:xmpp:pie:0#mam'>${results.join('')}<result/></archive>
      <last-presence xmlns='urn:meerkat:data:0' stamp='2009-07-10T23:08:25Z'><presence xmlns='jabber:client'/></last-presence>
      <x:thing xmlns:x='urn:example:thing'/></user>
      <user name='a@b'/></host><host jid='elsewhere.example'><user name='paris' password='x'/>`),
  )
  const result = await give<Imported>(server, 'account import', { file })
  assert.deepEqual([result.accounts, result.added, result.problem_count], [1, 6, 7])
  const problems = result.problems.join('\n')
  assert.match(problems, /in\.xml:\d+: juliet@im\.example\.com: contact "@"/)
  assert.match(problems, /privacy list "broken"/)
  assert.match(problems, /<thing\/> in namespace "urn:example:thing": nobody here knows it/)
  assert.match(problems, /user "a@b@im\.example\.com": no address/)
  assert.match(problems, /elsewhere\.example is not served here/)
  const juliet = await server.connect('juliet', 'x', { password: 'Capulet' })
  const lists = await juliet.ask('get', undefined, el('query', { xmlns: 'jabber:iq:privacy' }))
  assert.deepEqual(
    lists
      .child('query', 'jabber:iq:privacy')
      ?.elements('list')
      .map((list) => list.attr('name')),
    ['feud'],
  )
  const { bodies, results: found } = await askArchive(juliet, {})
  assert.deepEqual(bodies, ['b', 'a', 'c', 'd'])
  assert.equal(found[0]?.stamp, '2009-07-10T23:08:25.000Z')
  assert.equal((await give<Imported>(server, 'account import', { file })).added, 0)
})

test('what somebody has whose address is none goes to nobody else', async () => {
  await using directory = await emptyDirectory()
  await using server = await startServer()
  const file = join(directory.path, 'in.xml')
  const message =
    "<message xmlns='jabber:client' from='x@y.example'><body>for another</body></message>"
  const waiting = `<offline-messages>${message}</offline-messages>`
  await writeFile(
    file,
    document(`<user name='juliet' password='secret'/>\n<user name='tyb alt'>${waiting}</user>`),
  )
  const { added, problems } = await give<Imported>(server, 'account import', { file })
  assert.deepEqual([added, problems.length], [0, 1])
  assert.match(problems[0] as string, /"tyb alt@.*": no address of an account/)
})

test('an import or export that is broken off says so, and is no success', async () => {
  await using directory = await emptyDirectory()
  await using server = await startServer()
  await server.createAccount('juliet')
  const file = join(directory.path, 'in.xml')
  await writeFile(file, document("<user name='nurse' password='x'/>"))
  const call = { ...UNWATCHED, signal: AbortSignal.abort() }
  const context = adminContext(server.server, '1.2.3')
  const brokenOff = { code: 'unavailable', message: /broken off/ }
  for (const [name, args] of [
    ['account import', { file }],
    ['account export', { file: `${file}.out` }],
    ['account data', { jid: `juliet@${DOMAIN}`, file: `${file}.out` }],
  ] as const) {
    const command = dataCommands.find((each) => each.name === name)
    assert.ok(command)
    await assert.rejects(command.run(context, args, call), brokenOff, name)
  }
  assert.deepEqual(await readdir(directory.path), ['in.xml'])
})

test('a document in many files; none from outside of its directory', async () => {
  await using directory = await emptyDirectory()
  await using server = await startServer()
  const path = (name: string) => join(directory.path, 'in', name)
  await mkdir(path(DOMAIN), { recursive: true })
  const xi = "xmlns='urn:xmpp:pie:0' xmlns:xi='http://www.w3.org/2001/XInclude'"
  const main = (href: string) => `<server-data ${xi}><xi:include href='${href}'/></server-data>`
  await writeFile(path('main.xml'), main(`${DOMAIN}.xml`))
  await writeFile(
    path(`${DOMAIN}.xml`),
    `<host ${xi} jid='${DOMAIN}'><xi:include href='${DOMAIN}/juliet.xml'/></host>`,
  )
  await writeFile(
    path(`${DOMAIN}/juliet.xml`),
    `<user ${xi} name='juliet' password='x'><vCard xmlns='vcard-temp'><FN>J</FN></vCard></user>`,
  )
  const { accounts, added, problems } = await give<Imported>(server, 'account import', {
    file: path('main.xml'),
  })
  assert.deepEqual([accounts, added, problems], [1, 1, []])
  await writeFile(join(directory.path, 'secret.xml'), document(''))
  await symlink(join(directory.path, 'secret.xml'), path('link.xml'))
  for (const href of [
    '../secret.xml',
    '%2e%2e/secret.xml',
    '/etc/passwd',
    'file:///etc/passwd',
    'link.xml',
    'none.xml',
    'evil.xml',
  ]) {
    await writeFile(path('evil.xml'), main(href))
    await assert.rejects(
      give(server, 'account import', { file: path('evil.xml') }),
      /evil\.xml:1: include of/,
    )
  }
})

test('what is no such document is refused with its line, whatever came before stays', async () => {
  await using directory = await emptyDirectory()
  await using server = await startServer()
  const file = join(directory.path, 'in.xml')
  const refused: [string, RegExp][] = [
    ['', /in\.xml:1: document must contain a root element/],
    ['<html/>', /in\.xml:1: <html\/> is not server data/],
    [
      '<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>',
      /in\.xml:1: document type declarations are not read/,
    ],
    [document("<user name='nurse' password='x'/>\n<user name='j'>\n\n</b>"), /in\.xml:7: /],
    [document(`<user name='j'>${'<a>'.repeat(500)}`), /too deep/],
  ]
  for (const [text, reason] of refused) {
    await writeFile(file, text)
    await assert.rejects(give(server, 'account import', { file }), (error: unknown) => {
      assert.ok(error instanceof CommandError)
      assert.match(error.message, reason)
      return true
    })
  }
  const { accounts } = await give<{ accounts: string[] }>(server, 'account list', {})
  assert.deepEqual(accounts, [`nurse@${DOMAIN}`])
})

test('a file that is not there is named', async () => {
  await using directory = await emptyDirectory()
  await using server = await startServer()
  const nowhere = join(directory.path, 'none', 'all.xml')
  await assert.rejects(give(server, 'account import', { file: nowhere }), {
    code: 'not-found',
    message: `${nowhere} does not exist`,
  })
})

test('its documents are well-formed by the judgement of others', async () => {
  await using directory = await emptyDirectory()
  await using server = await startServer()
  await fill(server)
  const file = join(directory.path, 'all.xml')
  await give(server, 'account export', { file })
  const script = 'import sys, xml.dom.minidom as m; m.parse(sys.argv[1])'
  await run('python3', ['-c', script, file])
})

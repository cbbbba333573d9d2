import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import type { backupResult } from '../../src/admin/commands/backup.ts'
import type { Imported } from '../../src/admin/commands/data.ts'
import { openStorage } from '../../src/storage/open.ts'
import { el } from '../../src/xmpp/xml.ts'
import type { Client } from '../support/client.ts'
import type { TestComponent } from '../support/component.ts'
import { PASSWORD, type Settings, startServer, type TestServer } from '../support/server.ts'
import { isOnPostgres } from '../support/storage-backends.ts'

export const DOMAIN = 'im.example.com'
export const OTHER = 'other.example.com'
const ALICE = `alice@${DOMAIN}`
const BOB = `bob@${DOMAIN}`
const CAROL = `carol@${DOMAIN}`
const SERVICE = 'service.example.net'
const ADDED = 'added.example'
const REMOTE = 'remote.example.org'

/** A server with somebody connected at every door that commands tell about. */
export type Stage = AsyncDisposable & {
  readonly server: TestServer
  readonly alice: Client
  readonly component: TestComponent
  /** What was asked for the process that the server runs in. */
  readonly ends: (readonly [how: string, delay: number])[]
}

export async function openStage(settings: Settings = {}): Promise<Stage> {
  const server = await startServer({
    domains: [DOMAIN, OTHER],
    component: {},
    // What is in memory alone cannot be backed up.
    ...(!isOnPostgres() && { storage: { url: 'sqlite:meerkat.db' } }),
    ...settings,
  })
  try {
    const alice = await server.connect('alice', 'phone')
    await server.createAccount('bob')
    await server.createAccount('dora', PASSWORD, OTHER)
    const component = await server.connectComponent(SERVICE)
    alice.send(`<message to='${BOB}' type='chat' id='kept'><body>Read this later</body></message>`)
    await alice.ask('set', ALICE, blockOf('mallory@example.net'))
    await alice.ask('set', ALICE, PRIVACY_LIST)
    await alice.roundTrip()
    const ends: [string, number][] = []
    server.server.process = { end: (how, delay) => void ends.push([how, delay]) }
    return {
      server,
      alice,
      component,
      ends,
      [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
    }
  } catch (error) {
    await server[Symbol.asyncDispose]()
    throw error
  }
}

const blockOf = (jid: string) => el('block', { xmlns: 'urn:xmpp:blocking' }, el('item', { jid }))

const PRIVACY_LIST = el(
  'query',
  { xmlns: 'jabber:iq:privacy' },
  el(
    'list',
    { name: 'quiet' },
    el('item', { type: 'jid', value: 'noisy@example.net', action: 'deny', order: 1 }),
  ),
)

/** Takes a result of the shape that its command has: which that is, each says for itself. */
export type Look = (result: never, stage: Stage) => void | Promise<void>

export type Case = {
  readonly command: string
  readonly args: Readonly<Record<string, unknown>>
  /** What comes back, or what is to be seen of it. */
  readonly result: object | Look
  /** Arguments that are refused, with the code. */
  readonly refused?: readonly (readonly [args: Readonly<Record<string, unknown>>, code: string])[]
}

type Shown = { readonly messages: readonly { readonly domain: string; readonly body: string }[] }

type LoadedModule = {
  readonly settings: { readonly max_messages: number }
  readonly commands: readonly string[]
}

type ClusterNode = {
  readonly name: string
  readonly state: string
  readonly is_self: boolean
  readonly sessions: number
}

const nobody = `nobody@${DOMAIN}`
const foreign = 'erin@example.net'

/** Of a list of addresses elsewhere: one is added, shown and removed; others cannot be on it. */
function listCases(list: string, address: string, impossible: readonly string[]): Case[] {
  const kept = address.toLowerCase()
  return [
    {
      command: `${list} add`,
      args: { address },
      result: { address: kept },
      refused: impossible.map((each) => [{ address: each }, 'invalid'] as const),
    },
    { command: `${list} list`, args: {}, result: { addresses: [kept] } },
    {
      command: `${list} remove`,
      args: { address: kept },
      result: { address: kept },
      refused: [[{ address: 'example.net' }, 'not-found']],
    },
  ]
}

/** In this order on one stage. Every command is here. */
export const cases: readonly Case[] = [
  {
    command: 'account register',
    args: { jid: CAROL, password: 'a secret that nobody logs' },
    result: { jid: CAROL },
    refused: [
      [{ jid: ALICE, password: 'x' }, 'conflict'],
      [{ jid: foreign, password: 'x' }, 'not-found'],
      [{ jid: 'not a jid@@', password: 'x' }, 'invalid'],
    ],
  },
  {
    command: 'account password',
    args: { jid: CAROL, password: 'another secret that nobody logs' },
    result: { jid: CAROL },
    refused: [
      [{ jid: nobody, password: 'x' }, 'not-found'],
      [{ jid: CAROL, password: 'tab\t' }, 'invalid'],
    ],
  },
  {
    command: 'account list',
    args: { domain: DOMAIN },
    result: { accounts: [ALICE, BOB, CAROL] },
    refused: [
      [{ domain: 'example.net' }, 'not-found'],
      [{ after: 'alice' }, 'invalid'],
      [{ domain: DOMAIN, limit: 0 }, 'invalid'],
    ],
  },
  {
    command: 'account list',
    args: { domain: DOMAIN, after: 'alice', limit: 1 },
    result: { accounts: [BOB] },
  },
  {
    command: 'account count',
    args: { domain: DOMAIN },
    result: { accounts: 3 },
    refused: [[{ domain: 'example.net' }, 'not-found']],
  },
  {
    command: 'account count',
    args: { domain: DOMAIN, disabled: true },
    result: { accounts: 0 },
  },
  {
    command: 'account online',
    args: { domain: DOMAIN, state: 'active', idle_after: '1h' },
    result: ({ accounts, total }: { accounts: string[]; total: number }) => {
      assert.ok(accounts.includes(ALICE))
      assert.equal(total, accounts.length)
    },
    refused: [
      [{ domain: 'example.net' }, 'not-found'],
      [{ state: 'asleep' }, 'invalid'],
      [{ idle_after: '1ms' }, 'invalid'],
    ],
  },
  {
    command: 'account online',
    args: { domain: DOMAIN, state: 'idle', idle_after: '1h' },
    result: { accounts: [], total: 0 },
  },
  {
    command: 'account online',
    args: { domain: DOMAIN, limit: 0 },
    result: ({ accounts, total }: { accounts: string[]; total: number }) => {
      assert.deepEqual(accounts, [])
      assert.ok(total >= 1)
    },
  },
  {
    command: 'account info',
    args: { jid: ALICE },
    result: ({ jid, disabled, sessions }: { jid: string; disabled: boolean; sessions: number }) =>
      assert.deepEqual([jid, disabled, sessions], [ALICE, false, 1]),
    refused: [[{ jid: nobody }, 'not-found']],
  },
  {
    command: 'account disable',
    args: { jid: CAROL },
    result: { jid: CAROL },
    refused: [[{ jid: nobody }, 'not-found']],
  },
  {
    command: 'account enable',
    args: { jid: CAROL },
    result: { jid: CAROL },
    refused: [[{ jid: nobody }, 'not-found']],
  },
  {
    command: 'account export',
    args: { file: 'all.xml' },
    result: async ({ file, accounts }) => {
      assert.equal(accounts, 4)
      assert.match(await readFile(file, 'utf8'), /<user name='carol'>[\s\S]*<\/server-data>\n$/)
    },
    refused: [
      [{ file: 'x.xml', domain: 'example.net' }, 'not-found'],
      [{ file: 'x.xml', jid: nobody }, 'not-found'],
      [{ file: '' }, 'invalid'],
    ],
  },
  {
    command: 'account data',
    args: { jid: ALICE, file: 'alice.xml' },
    result: async ({ file, accounts }) => {
      assert.equal(accounts, 1)
      const text = await readFile(file, 'utf8')
      assert.match(text, /mallory@example\.net/)
      assert.doesNotMatch(text, /stored-key/)
    },
    refused: [
      [{ jid: nobody, file: 'x.xml' }, 'not-found'],
      [{ jid: ALICE, file: 'all.xml' }, 'conflict'],
    ],
  },
  {
    command: 'backup',
    args: { target: 'all.db' },
    result: async ({ file, rows, tables }: ReturnType<typeof backupResult>) => {
      await using saved = await openStorage(`sqlite:${file}`, { mustExist: true })
      const [row] = await saved.read<{ count: number }>('select count(*) as count from account', [])
      assert.equal(row?.count, 4)
      assert.ok(rows > 4)
      assert.ok(tables.some(({ table, rows: count }) => table === 'account' && count === 4))
    },
    refused: [
      [{ target: 'all.xml' }, 'conflict'],
      [{ target: '' }, 'invalid'],
    ],
  },
  {
    command: 'account import',
    args: { file: 'all.xml' },
    result: ({ accounts, existing, added, problems }: Imported) =>
      assert.deepEqual([accounts, existing, added, problems], [0, 4, 0, []]),
    refused: [[{ file: 'none.xml' }, 'not-found']],
  },
  {
    command: 'import prosody',
    args: { directory: 'prosody' },
    result: () => assert.fail('there is none'),
    refused: [[{ directory: 'prosody' }, 'not-found']],
  },
  {
    command: 'account seen',
    args: { jid: ALICE },
    result: { connected: true, at: null, status: null },
    refused: [[{ jid: nobody }, 'not-found']],
  },
  {
    command: 'roster set',
    args: {
      jid: BOB,
      contact: foreign,
      name: 'Erin',
      groups: 'Friends, Work',
      subscription: 'from',
    },
    result: ({ item }: { item: { jid: string; subscription: string } }) =>
      assert.deepEqual([item.jid, item.subscription], [foreign, 'from']),
    refused: [
      [{ jid: BOB, contact: foreign, subscription: 'lots' }, 'invalid'],
      [{ jid: BOB, contact: BOB }, 'invalid'],
      [{ jid: nobody, contact: foreign }, 'not-found'],
    ],
  },
  {
    command: 'roster list',
    args: { jid: BOB },
    result: {
      items: [
        {
          jid: foreign,
          name: 'Erin',
          groups: ['Friends', 'Work'],
          subscription: 'from',
          asking: false,
          asked: false,
        },
      ],
    },
    refused: [[{ jid: nobody }, 'not-found']],
  },
  {
    command: 'roster remove',
    args: { jid: BOB, contact: foreign },
    result: { removed: 1 },
    refused: [[{ jid: BOB, contact: 'frank@example.net' }, 'not-found']],
  },
  {
    command: 'privacy list',
    args: { jid: ALICE },
    result: {
      lists: [
        {
          name: 'quiet',
          default: false,
          items: [
            { order: 1, action: 'deny', type: 'jid', value: 'noisy@example.net', stanzas: [] },
          ],
        },
      ],
    },
    refused: [[{ jid: nobody }, 'not-found']],
  },
  {
    command: 'blocklist list',
    args: { jid: ALICE },
    result: { blocked: ['mallory@example.net'] },
    refused: [[{ jid: nobody }, 'not-found']],
  },
  {
    command: 'archive search',
    args: { jid: ALICE, limit: 10 },
    result: ({ messages }: { messages: { from: string; to: string; body: string }[] }) => {
      assert.deepEqual(
        messages.map(({ from, to, body }) => [from, to, body]),
        [[`${ALICE}/phone`, BOB, 'Read this later']],
      )
    },
    refused: [
      [{ jid: ALICE, limit: 100_000 }, 'invalid'],
      [{ jid: ALICE, start: 'yesterday' }, 'invalid'],
      [{ jid: ALICE, text: 'words' }, 'unavailable'],
      [{ jid: nobody }, 'not-found'],
    ],
  },
  {
    command: 'archive count',
    args: { jid: ALICE },
    result: { messages: 1 },
    refused: [[{ jid: nobody }, 'not-found']],
  },
  {
    command: 'archive purge',
    args: { older_than: '0ms', jid: ALICE },
    result: { removed: 1 },
    refused: [
      [{ older_than: 'long' }, 'invalid'],
      [{ older_than: '1d', jid: nobody }, 'not-found'],
    ],
  },
  {
    command: 'offline count',
    args: { jid: BOB },
    result: ({ messages, bytes }: { messages: number; bytes: number }) => {
      assert.equal(messages, 1)
      assert.ok(bytes > 0)
    },
    refused: [[{ jid: nobody }, 'not-found']],
  },
  {
    command: 'offline list',
    args: { jid: BOB },
    result: ({ messages }: Shown) => assert.equal(messages[0]?.body, 'Read this later'),
    refused: [[{ jid: BOB, limit: 0 }, 'invalid']],
  },
  {
    command: 'offline purge',
    args: { jid: BOB },
    result: { removed: 1 },
    refused: [[{ jid: nobody }, 'not-found']],
  },
  {
    command: 'message send',
    args: { jid: ALICE, body: 'Mind the gap', subject: 'Notice' },
    result: async ({ fate }: { fate: string }, { alice }) => {
      assert.equal(fate, 'delivered')
      const message = await alice.receives({ body: 'Mind the gap' })
      assert.equal(message.attr('from'), DOMAIN)
    },
    refused: [
      [{ jid: foreign, body: 'x' }, 'not-found'],
      [{ jid: ALICE, body: '' }, 'invalid'],
    ],
  },
  {
    command: 'message announce',
    args: { body: 'Back at noon', domain: DOMAIN },
    result: async ({ sent }, { alice }) => {
      assert.ok(sent >= 1)
      await alice.receives({ body: 'Back at noon' })
    },
    refused: [[{ body: 'x', domain: 'example.net' }, 'not-found']],
  },
  {
    command: 'motd set',
    args: { body: 'Curtain at eight', domain: DOMAIN },
    result: async ({ domains, sent }, { alice }) => {
      assert.deepEqual([domains, sent], [[DOMAIN], 1])
      assert.equal((await alice.receives({ body: 'Curtain at eight' })).attr('from'), DOMAIN)
    },
    refused: [
      [{ body: '' }, 'invalid'],
      [{ body: 'x', domain: 'example.net' }, 'not-found'],
    ],
  },
  {
    command: 'motd edit',
    args: { body: 'Curtain at nine', domain: DOMAIN },
    result: { domains: [DOMAIN] },
    refused: [[{ body: 'x', domain: OTHER }, 'not-found']],
  },
  {
    command: 'motd show',
    args: {},
    result: ({ messages }: Shown) =>
      assert.deepEqual(
        messages.map(({ domain, body }) => [domain, body]),
        [[DOMAIN, 'Curtain at nine']],
      ),
    refused: [[{ domain: 'example.net' }, 'not-found']],
  },
  {
    command: 'motd delete',
    args: {},
    result: { domains: [DOMAIN] },
    refused: [[{ domain: OTHER }, 'not-found']],
  },
  {
    command: 'welcome set',
    args: { body: 'Welcome to the Globe' },
    result: { domains: [DOMAIN, OTHER] },
    refused: [[{ body: '' }, 'invalid']],
  },
  {
    command: 'welcome show',
    args: { domain: DOMAIN },
    result: ({ messages: [message] }: Shown) => assert.equal(message?.body, 'Welcome to the Globe'),
  },
  {
    command: 'welcome delete',
    args: { domain: DOMAIN },
    result: { domains: [DOMAIN] },
    refused: [[{ domain: 'example.net' }, 'not-found']],
  },
  ...listCases('blacklist', 'Mallory@Example.net', [ALICE, DOMAIN, '@']),
  ...listCases('whitelist', 'verona.example', [OTHER]),
  {
    command: 'admin add',
    args: { jid: CAROL },
    result: { jid: CAROL },
    refused: [
      [{ jid: nobody }, 'not-found'],
      [{ jid: 'x' }, 'invalid'],
    ],
  },
  {
    command: 'admin list',
    args: {},
    result: ({ admins }: { admins: object[] }) =>
      assert.deepEqual(admins.at(-1), { jid: CAROL, is_fixed: false }),
  },
  {
    command: 'admin remove',
    args: { jid: CAROL },
    result: { jid: CAROL },
    refused: [[{ jid: ALICE }, 'not-found']],
  },
  {
    command: 'restart',
    args: { delay: '1m', announcement: 'Back in a minute' },
    result: async ({ at, sent }: { at: string; sent: number }, { alice, ends }) => {
      await alice.receives({ body: 'Back in a minute' })
      assert.ok(sent >= 1 && Date.parse(at) > Date.now())
      assert.deepEqual(ends.at(-1), ['restart', 60_000])
    },
    refused: [[{ delay: '2d' }, 'invalid']],
  },
  {
    command: 'shutdown',
    args: {},
    result: ({ sent }: { sent: number }, { ends }) => {
      assert.equal(sent, 0)
      assert.deepEqual(ends.at(-1), ['shutdown', 0])
    },
    refused: [[{ delay: 'soon' }, 'invalid']],
  },
  {
    command: 'stanza send',
    args: { xml: `<message from='${DOMAIN}' to='${ALICE}'><body>Raw</body></message>` },
    result: async ({ fate }: { fate: string }, { alice }) => {
      assert.equal(fate, 'delivered')
      await alice.receives({ body: 'Raw' })
    },
    refused: [
      [{ xml: '<message' }, 'invalid'],
      [{ xml: '<message/>' }, 'invalid'],
      [{ xml: `<message from='example.net' to='${ALICE}'/>` }, 'not-found'],
    ],
  },
  {
    command: 'component list',
    args: {},
    result: ({ components: [component] }: { components: { domains: string[] }[] }) =>
      assert.deepEqual(component?.domains, [SERVICE]),
  },
  {
    command: 's2s list',
    args: { remote: REMOTE },
    result: { connections: [], silent: [] },
  },
  {
    command: 's2s close',
    args: { remote: REMOTE },
    result: () => assert.fail('there is nothing to close'),
    refused: [[{ remote: REMOTE }, 'not-found']],
  },
  {
    command: 'domain list',
    args: {},
    result: ({ domains }: { domains: { name: string; accounts: number }[] }) =>
      assert.deepEqual(domains.map(({ name, accounts }) => [name, accounts]).slice(0, 2), [
        [DOMAIN, 3],
        [OTHER, 1],
      ]),
  },
  {
    command: 'domain add',
    args: { domain: ADDED },
    result: async (_, { server }) => assert.ok(server.server.routes.isHosted(ADDED)),
    refused: [
      [{ domain: DOMAIN }, 'conflict'],
      [{ domain: SERVICE }, 'conflict'],
      [{ domain: 'no domain' }, 'invalid'],
    ],
  },
  {
    command: 'domain disable',
    args: { domain: ADDED },
    result: async (_, { server }) => assert.ok(!server.server.routes.isHosted(ADDED)),
    refused: [[{ domain: DOMAIN }, 'not-found']],
  },
  {
    command: 'domain enable',
    args: { domain: ADDED },
    result: async (_, { server }) => assert.ok(server.server.routes.isHosted(ADDED)),
    refused: [[{ domain: 'nowhere.example' }, 'not-found']],
  },
  {
    command: 'domain remove',
    args: { domain: ADDED },
    result: { domain: ADDED, rows: 0 },
    refused: [[{ domain: 'nowhere.example' }, 'not-found']],
  },
  {
    command: 'module list',
    args: { name: 'offline' },
    result: ({ modules: [offline] }: { modules: LoadedModule[] }) => {
      assert.equal(offline?.settings.max_messages, 1000)
      assert.ok(offline?.commands.includes('offline purge'))
    },
    refused: [[{ name: 'nothing' }, 'not-found']],
  },
  {
    command: 'hook list',
    args: { name: 'remove_user' },
    result: ({ handlers }: { handlers: { by: string }[] }) =>
      assert.ok(handlers.some(({ by }) => by === 'offline')),
  },
  {
    command: 'route list',
    args: { node: 'local' },
    refused: [[{ node: 'nowhere' }, 'not-found']],
    result: ({ stages: [stage] }: { stages: { name: string; stanzas: number }[] }) => {
      assert.equal(stage?.name, 'c2s_in')
      assert.ok(stage.stanzas > 0)
    },
  },
  {
    command: 'outcome list',
    args: {},
    result: ({ outcomes }: { outcomes: { fate: string; by: string }[] }) =>
      assert.ok(outcomes.some(({ fate, by }) => fate === 'stored' && by === 'offline')),
  },
  {
    command: 'token create',
    args: { name: 'the board', role: 'read-only', domain: DOMAIN, expires: '1h' },
    result: ({ token, expires_at }: { token: string; expires_at: string }) => {
      assert.match(token, /^meerkat_[0-9a-f]{12}\.[A-Za-z0-9_-]{43}$/)
      assert.ok(Date.parse(expires_at) > Date.now())
    },
    refused: [
      [{ name: 'x', role: 'king' }, 'invalid'],
      [{ name: 'x', role: 'domain-admin' }, 'invalid'],
      [{ name: 'x', role: 'admin', domain: DOMAIN }, 'invalid'],
      [{ name: 'x', role: 'read-only', domain: 'example.net' }, 'not-found'],
    ],
  },
  {
    command: 'token list',
    args: {},
    result: ({ tokens }: { tokens: { name: string; domains: string[]; last_used_at: null }[] }) => {
      const last = tokens.at(-1)
      assert.deepEqual(
        [last?.name, last?.domains, last?.last_used_at],
        ['the board', [DOMAIN], null],
      )
    },
  },
  {
    command: 'token revoke',
    args: { id: '000000000000' },
    result: () => assert.fail('there is none'),
    refused: [[{ id: '000000000000' }, 'not-found']],
  },
  {
    command: 'status',
    args: {},
    result: ({ domains: [first] }: { domains: { name: string }[] }) =>
      assert.equal(first?.name, DOMAIN),
  },
  {
    command: 'cluster status',
    args: {},
    result: ({ nodes }: { nodes: ClusterNode[] }, { server }) =>
      assert.deepEqual(
        nodes.map(({ name, state, is_self, sessions }) => [name, state, is_self, sessions]),
        [['local', 'alive', true, server.server.sessionManager.sessions.size]],
      ),
  },
  {
    // There is no file to read again.
    command: 'reload',
    args: { dry_run: true },
    result: () => assert.fail('there is no file'),
    refused: [[{ dry_run: true }, 'unavailable']],
  },
  {
    command: 'session list',
    args: { jid: ALICE },
    result: ({ sessions }: { sessions: { jid: string }[] }) =>
      assert.deepEqual(
        sessions.map(({ jid }) => jid),
        [`${ALICE}/phone`],
      ),
    refused: [[{ jid: 'x' }, 'invalid']],
  },
  {
    command: 'session list',
    args: { search: 'LICE@', limit: 1 },
    result: ({ sessions }: { sessions: { jid: string }[] }) =>
      assert.deepEqual(
        sessions.map(({ jid }) => jid),
        [`${ALICE}/phone`],
      ),
    refused: [[{ limit: 0 }, 'invalid']],
  },
  {
    command: 'session list',
    args: { search: 'nobody has this' },
    result: { sessions: [] },
  },
  {
    command: 'component kick',
    args: { service: SERVICE },
    result: ({ kicked }: { kicked: string[] }) => assert.equal(kicked.length, 1),
    refused: [[{ service: 'nothing.example.net' }, 'not-found']],
  },
  {
    command: 'session kick',
    args: { jid: `${ALICE}/phone`, reason: 'Time to sleep' },
    result: async ({ kicked }: { kicked: string[] }, { alice }) => {
      assert.deepEqual(kicked, [`${ALICE}/phone`])
      await alice.receivesStreamError('policy-violation')
    },
    refused: [[{ jid: `${ALICE}/tablet` }, 'not-found']],
  },
  {
    command: 'explain',
    args: { stanza: '<message type="chat"><body>hush</body></message>', from: ALICE, to: BOB },
    result: ({ stanzas: [stanza] }: { stanzas: { outcome: { fate: string } }[] }) =>
      assert.equal(stanza?.outcome.fate, 'stored'),
    refused: [
      [{ stanza: '<message', from: ALICE }, 'invalid'],
      [{ stanza: '<body/>', from: ALICE }, 'invalid'],
      [{ stanza: '<message/>' }, 'invalid'],
      [{ stanza: '<message from="@"/>' }, 'invalid'],
    ],
  },
  {
    command: 'account remove',
    args: { jid: CAROL },
    result: { jid: CAROL },
    refused: [[{ jid: nobody }, 'not-found']],
  },
  {
    command: 'drain',
    args: { to: 'b.example.com' },
    result: ({ sessions, resumable }: { sessions: number; resumable: number }, { server }) => {
      assert.deepEqual([sessions, resumable], [0, 0])
      assert.equal(server.server.isServing, false)
    },
    refused: [[{ to: 'x'.repeat(301) }, 'invalid']],
  },
]

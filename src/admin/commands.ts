/** Everything that can be asked of a server, each command declared once. */
import { z } from 'zod'
import { accountJid, domain, duration } from '../core/config-types.ts'
import type { BareJid } from '../xmpp/jid.ts'
import { PrecisError } from '../xmpp/precis.ts'
import { type AdminContext, type Command, CommandError, defineCommand } from './command.ts'

const account = accountJid().describe('The account, such as alice@localhost.')
const password = z.string('a password').min(1, 'a password').describe('The password.')

/** How much is read from the store at once. */
const PAGE = 1_000

const registerAccount = defineCommand({
  name: 'account register',
  description: 'Create an account',
  permission: 'accounts:write',
  needsServer: false,
  args: z.strictObject({ jid: account, password }),
  positional: ['jid'],
  secret: 'password',
  examples: ['alice@localhost', 'alice@localhost --password "correct horse"'],
  result: z.strictObject({ jid: z.string() }),
  text: ({ jid }) => `${jid} is registered`,
  async run({ accounts, domains }, { jid, password }) {
    ensureServed(domains, jid.domain)
    const isNew = await acceptable(accounts.register(jid, password))
    if (!isNew) throw new CommandError('conflict', `${jid} exists already`)
    return { jid: jid.full }
  },
})

const removeAccount = defineCommand({
  name: 'account remove',
  description: 'Remove an account and everything kept for it',
  permission: 'accounts:write',
  needsServer: false,
  args: z.strictObject({ jid: account }),
  positional: ['jid'],
  examples: ['alice@localhost'],
  result: z.strictObject({ jid: z.string() }),
  text: ({ jid }) => `${jid} is removed`,
  async run({ accounts }, { jid }) {
    if (!(await accounts.remove(jid))) throw noAccount(jid)
    return { jid: jid.full }
  },
})

const setPassword = defineCommand({
  name: 'account password',
  description: 'Set the password of an account',
  permission: 'accounts:write',
  needsServer: false,
  args: z.strictObject({ jid: account, password }),
  positional: ['jid'],
  secret: 'password',
  examples: ['alice@localhost'],
  result: z.strictObject({ jid: z.string() }),
  text: ({ jid }) => `${jid} has a new password`,
  async run({ accounts }, { jid, password }) {
    const isThere = await acceptable(accounts.setPassword(jid, password))
    if (!isThere) throw noAccount(jid)
    return { jid: jid.full }
  },
})

const listAccounts = defineCommand({
  name: 'account list',
  description: 'List the accounts of a domain, or of all',
  permission: 'accounts:read',
  needsServer: false,
  args: z.strictObject({
    domain: domain().optional().describe('Only the accounts of this domain.'),
  }),
  positional: ['domain'],
  examples: ['', 'im.example.com'],
  result: z.strictObject({ accounts: z.array(z.string()) }),
  text: ({ accounts }) => accounts.join('\n') || 'no accounts',
  async run(context, { domain }) {
    if (domain !== undefined) ensureServed(context.domains, domain)
    const accounts: string[] = []
    for (const each of domain === undefined ? context.domains : [domain]) {
      for await (const jid of accountsOf(context, each)) accounts.push(jid.full)
    }
    return { accounts }
  },
})

const purgeArchive = defineCommand({
  name: 'archive purge',
  description: 'Remove old messages from the archive of an account, or from all',
  permission: 'archive:write',
  needsServer: true,
  args: z.strictObject({
    older_than: duration().describe('How old messages are at least, such as 90d.'),
    jid: accountJid().optional().describe('Only the archive of this account.'),
  }),
  positional: ['older_than', 'jid'],
  examples: ['90d', '1h alice@localhost'],
  result: z.strictObject({ removed: z.int() }),
  text: ({ removed }) => `${counted(removed, 'message')} removed`,
  async run({ archive, domains }, { older_than, jid }) {
    if (jid !== undefined) ensureServed(domains, jid.domain)
    const removed = await archive.purge(Date.now() - older_than, jid)
    if (removed === undefined) throw new CommandError('unavailable', 'there is no archive')
    return { removed }
  },
})

const listSessions = defineCommand({
  name: 'session list',
  description: 'List who is connected, and from where',
  permission: 'sessions:read',
  needsServer: true,
  args: z.strictObject({}),
  positional: [],
  examples: [''],
  result: z.strictObject({
    sessions: z.array(
      z.strictObject({
        jid: z.string(),
        priority: z.int().nullable().describe('Null while the resource is not available.'),
        connection: z.string(),
        address: z.string(),
        mechanism: z.string(),
        opened_at: z.iso.datetime(),
      }),
    ),
  }),
  text: ({ sessions }) =>
    table(
      sessions.map((session) => [
        session.jid,
        session.priority === null ? '-' : String(session.priority),
        session.connection,
        session.address,
        session.mechanism,
        session.opened_at,
      ]),
    ) || 'no sessions',
  async run(context) {
    const sessions = Array.from(context.sessions.values(), ({ jid, priority, info }) => ({
      jid: jid.full,
      priority: priority ?? null,
      connection: info.connection,
      address: info.address,
      mechanism: info.mechanism,
      opened_at: new Date(info.openedAt).toISOString(),
    }))
    return { sessions }
  },
})

const status = defineCommand({
  name: 'status',
  description: 'Tell what runs: version, domains, listeners, numbers',
  permission: 'server:read',
  needsServer: true,
  args: z.strictObject({}),
  positional: [],
  examples: ['', '--json'],
  result: z.strictObject({
    version: z.string(),
    node: z.string().describe('Version of Node.'),
    pid: z.int(),
    started_at: z.iso.datetime(),
    domains: z.array(z.strictObject({ name: z.string(), accounts: z.int() })),
    sessions: z.int(),
    memory: z.int().describe('Resident, in bytes.'),
    listeners: z.array(
      z.strictObject({
        kind: z.string(),
        address: z.string(),
        port: z.int(),
        tls: z.string(),
      }),
    ),
  }),
  text: ({ version, node, pid, started_at, domains, sessions, memory, listeners }) =>
    table([
      ['meerkat', `${version} on Node ${node}, pid ${pid}`],
      ['running since', started_at],
      ...domains.map(({ name, accounts }) => [
        'domain',
        `${name}, ${counted(accounts, 'account')}`,
      ]),
      ...listeners.map(({ kind, address, port, tls }) => [
        `${kind} listener`,
        `${address} port ${port}, TLS ${tls}`,
      ]),
      ['sessions', String(sessions)],
      ['memory', `${Math.round(memory / 2 ** 20)} MiB`],
    ]),
  async run(context) {
    const { running, version, sessions } = context
    if (!running) throw new CommandError('unavailable', 'the server does not run')
    const domains = context.domains.map(async (name) => ({
      name,
      accounts: await context.accounts.count(name),
    }))
    return {
      version,
      node: process.versions.node,
      pid: process.pid,
      started_at: new Date(running.startedAt).toISOString(),
      domains: await Promise.all(domains),
      sessions: sessions.size,
      memory: process.memoryUsage.rss(),
      listeners: running.listeners.map(({ kind, address, port, tls }) => ({
        kind,
        address,
        port,
        tls,
      })),
    }
  },
})

export const commands: readonly Command[] = [
  registerAccount,
  removeAccount,
  setPassword,
  listAccounts,
  purgeArchive,
  listSessions,
  status,
]

async function* accountsOf({ accounts }: AdminContext, domain: string): AsyncGenerator<BareJid> {
  let page = await accounts.list(domain, { limit: PAGE })
  while (page.length > 0) {
    yield* page
    const last = page.at(-1)
    if (last === undefined || page.length < PAGE) return
    page = await accounts.list(domain, { after: last.local, limit: PAGE })
  }
}

function ensureServed(domains: readonly string[], domain: string): void {
  if (domains.includes(domain)) return
  const served = domains.join(', ')
  throw new CommandError(
    'not-found',
    `${domain} is not a domain of this server, which has ${served}`,
  )
}

function noAccount(jid: BareJid): CommandError {
  return new CommandError('not-found', `there is no account ${jid}`)
}

/** A password that no client could send is the caller's mistake (RFC 8265 §4). */
async function acceptable<T>(work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (cause) {
    if (!(cause instanceof PrecisError)) throw cause
    throw new CommandError('invalid', `password: ${cause.message}`, { cause })
  }
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}

/** Columns under one another. */
function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = []
  for (const row of rows) {
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length)
  }
  const line = (row: readonly string[]) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd()
  return rows.map(line).join('\n')
}

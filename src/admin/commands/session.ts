import { z } from 'zod'
import { counted, table } from '../../core/command-text.ts'
import { accountJid, domain, duration, sessionJid } from '../../core/config-types.ts'
import { isStreamSession, type Resource } from '../../core/session.ts'
import { StreamError } from '../../xmpp/stream-error.ts'
import { type Command, CommandError, defineCommand } from '../command.ts'
import { ensureServed } from './domain.ts'

/** Who is connected; nobody while the server does not run. */
export interface AdminSessions {
  readonly size: number
  values(): Iterable<Resource>
  /** Connected resources of an account, given as text. */
  of(account: string): readonly Resource[]
}

export interface AdminActivity {
  /** Accounts with a client that has sent a message or presence within so many milliseconds. */
  active(wanted: {
    readonly domain?: string | undefined
    readonly within: number
  }): Promise<ReadonlySet<string>>
}

const listSessions = defineCommand({
  name: 'session list',
  description: 'List who is connected, and from where',
  permission: 'sessions:read',
  needsServer: true,
  args: z.strictObject({
    domain: domain().optional().describe('Only sessions of this domain.'),
    jid: accountJid().optional().describe('Only sessions of this account.'),
    search: z
      .string()
      .max(1_000)
      .optional()
      .describe('Only those with this in their JID or the address they come from.'),
    limit: z.coerce.number().int().min(1).optional().describe('How many at most.'),
  }),
  positional: [],
  examples: [
    '',
    '--domain im.example.com',
    '--jid alice@localhost',
    '--search 192.0.2. --limit 10',
  ],
  result: z.strictObject({
    sessions: z.array(
      z.strictObject({
        jid: z.string(),
        node: z.string().describe('Which node has its connection.'),
        priority: z.int().nullable().describe('Null while the resource is not available.'),
        connection: z.string(),
        is_connected: z
          .boolean()
          .nullable()
          .describe('False while its client may come back and resume it. Null: its node knows.'),
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
        session.node,
        session.priority === null ? '-' : String(session.priority),
        session.is_connected === false ? 'interrupted' : session.connection,
        session.address,
        session.mechanism,
        session.opened_at,
      ]),
    ) || 'no sessions',
  async run(context, args) {
    const { jid: account, domain, limit = Number.POSITIVE_INFINITY } = args
    const search = args.search?.toLowerCase()
    const all =
      account === undefined ? context.sessions.values() : context.sessions.of(account.full)
    const wanted: Resource[] = []
    for (const session of all) {
      if (wanted.length >= limit) break
      const { jid, info } = session
      if (domain !== undefined && jid.domain !== domain) continue
      const isFound =
        search === undefined ||
        jid.full.toLowerCase().includes(search) ||
        info.address.includes(search)
      if (isFound) wanted.push(session)
    }
    return { sessions: wanted.map((session) => described(session, context.node)) }
  },
})

function described(session: Resource, here: string) {
  const { jid, priority, info, shared } = session
  return {
    jid: jid.full,
    node: shared.clusterNode ?? here,
    priority: priority ?? null,
    connection: info.connection,
    is_connected: isStreamSession(session) ? session.isConnected : null,
    address: info.address,
    mechanism: info.mechanism,
    opened_at: new Date(info.openedAt).toISOString(),
  }
}

const listOnline = defineCommand({
  name: 'account online',
  description: 'List the accounts that are connected, or of these who is active or idle',
  permission: 'sessions:read',
  needsServer: true,
  args: z.strictObject({
    domain: domain().optional().describe('Only accounts of this domain.'),
    state: z
      .enum(['active', 'idle'])
      .optional()
      .describe(
        'active: a client of theirs has sent a message or presence lately; idle: none has.',
      ),
    idle_after: duration({ min: '1s' })
      .prefault('5m')
      .describe('How long the clients of somebody idle have sent neither.'),
    limit: z.coerce.number().int().min(0).optional().describe('How many at most.'),
  }),
  positional: ['domain'],
  examples: ['', 'im.example.com --state idle --idle-after 1h'],
  result: z.strictObject({
    accounts: z.array(z.string()),
    total: z.int().describe('How many there are, shown or not.'),
  }),
  text: ({ accounts, total }) =>
    [...accounts, `${accounts.length} of ${counted(total, 'account')}`].join('\n'),
  async run({ domains, sessions, activity }, { domain, state, idle_after: within, limit }) {
    if (domain !== undefined) ensureServed(domains, domain)
    const active = state === undefined ? undefined : await activity.active({ domain, within })
    const accounts = new Set<string>()
    for (const { jid } of sessions.values()) {
      if (domain !== undefined && jid.domain !== domain) continue
      if (active === undefined || active.has(jid.bare) === (state === 'active')) {
        accounts.add(jid.bare)
      }
    }
    return { accounts: [...accounts].slice(0, limit), total: accounts.size }
  },
})

const kickSession = defineCommand({
  name: 'session kick',
  description: 'End a session, or all of an account',
  permission: 'sessions:write',
  needsServer: true,
  args: z.strictObject({
    jid: sessionJid().describe('The session, such as alice@localhost/phone, or the account.'),
    reason: z.string().max(1_000).optional().describe('Told to the client.'),
  }),
  positional: ['jid'],
  examples: ['alice@localhost/phone', 'alice@localhost --reason "See you tomorrow"'],
  result: z.strictObject({ kicked: z.array(z.string()) }),
  text: ({ kicked }) => `${counted(kicked.length, 'session')} ended`,
  async run({ sessions }, { jid, reason }) {
    const meant = sessions.of(jid.bare).filter((each) => jid.isBare || each.jid.equals(jid))
    if (meant.length === 0) throw new CommandError('not-found', `${jid} is not connected`)
    // Clients come back at once after most errors, but not after this one.
    const error = new StreamError('policy-violation', reason)
    await Promise.all(meant.map((session) => session.close(error)))
    return { kicked: meant.map((session) => session.jid.full) }
  },
})

export const sessionCommands: readonly Command[] = [listSessions, listOnline, kickSession]

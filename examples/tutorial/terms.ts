import { z } from 'zod'
import type { Migration } from '../../src/index.ts'
import { accountJid, declareCommand, defineModule, el, StanzaError } from '../../src/index.ts'

const NS = 'urn:example:terms'

const migrations: readonly Migration[] = [
  {
    name: 'terms/0001-create',
    async up(db, types) {
      await db.schema
        .createTable('terms_accepted')
        .addColumn('account', types.text, (column) => column.primaryKey())
        .addColumn('version', 'bigint', (column) => column.notNull())
        .addColumn('at', 'bigint', (column) => column.notNull())
        .execute()
    },
  },
]

const ACCEPT = `insert into terms_accepted (account, version, at) values (?, ?, ?)
  on conflict (account) do update set version = excluded.version, at = excluded.at`
const READ = 'select version, at from terms_accepted where account = ?'
const REMOVE = 'delete from terms_accepted where account = ?'

type Accepted = { version: number; at: number }

const accepted = declareCommand({
  name: 'terms accepted',
  description: 'Tell which terms an account has accepted, and when',
  permission: 'accounts:read',
  needsServer: false,
  args: z.strictObject({ jid: accountJid().describe('The account, such as alice@localhost.') }),
  positional: ['jid'],
  examples: ['alice@localhost'],
  result: z.strictObject({
    version: z.int().nullable().describe('Null where it has accepted none.'),
    at: z.iso.datetime().nullable().describe('When that was.'),
  }),
  text: ({ version, at }) => (version === null ? 'none' : `version ${version}, ${at}`),
})

export default defineModule({
  name: 'terms',
  features: [NS],
  config: z.strictObject({
    version: z.int().min(1).default(1).describe('Raise it, and everybody has to accept anew.'),
    text: z.string().min(1).default('Be kind.').describe('What there is to accept.'),
  }),
  migrations,
  data: [{ table: 'terms_accepted', owner: 'account' }],
  commands: [accepted],

  start({ clock, commands, config, hooks, iq, storage }) {
    const acceptedBy = async (account: string) => (await storage.read<Accepted>(READ, [account]))[0]

    /** Sessions of accounts that have accepted: gone when the sessions are. */
    const known = new WeakSet<object>()

    iq.on('server', 'get', NS, 'terms', () =>
      el('terms', { xmlns: NS, version: config.version }, config.text),
    )

    iq.on('server', 'set', NS, 'accept', async ({ payload, session }) => {
      if (session === undefined) throw new StanzaError('forbidden')
      if (payload.attr('version') !== String(config.version)) throw new StanzaError('conflict')
      await storage.write(ACCEPT, [session.jid.bare, config.version, clock.now()])
      known.add(session)
      return undefined
    })

    hooks.on(
      'user_send_message',
      async (envelope, { session }) => {
        if (known.has(session) || envelope.to.local === '') return envelope
        const row = await acceptedBy(session.jid.bare)
        if (row?.version !== config.version) {
          throw new StanzaError('policy-violation', {
            text: `Please accept the terms of use first: ${config.text}`,
          })
        }
        known.add(session)
        return envelope
      },
      { explain: 'pure' },
    )

    hooks.on(
      'remove_user',
      async (account) => {
        await storage.write(REMOVE, [account.full])
        return account
      },
      { onError: 'skip' },
    )

    commands.on(accepted, async ({ jid }) => {
      const row = await acceptedBy(jid.full)
      if (row === undefined) return { version: null, at: null }
      return { version: row.version, at: new Date(row.at).toISOString() }
    })
  },
})

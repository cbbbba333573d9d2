import { z } from 'zod'
import { accountArgument, declareCommand } from '../core/command.ts'
import type { Envelope } from '../core/envelope.ts'
import { stop } from '../core/hooks.ts'
import type { IqRequest } from '../core/iq.ts'
import { defineModule } from '../core/module.ts'
import { maySeePresence } from '../core/presence-access.ts'
import type { Migration } from '../core/storage.ts'
import { OWN_DATA_NS, partFrom, taken } from '../core/user-data.ts'
import { BEHIND, WrittenBehind } from '../core/written-behind.ts'
import { formatDateTime, parseDateTime } from '../xmpp/datetime.ts'
import { StanzaError } from '../xmpp/stanza-error.ts'
import { el } from '../xmpp/xml.ts'

declare module '../core/storage.ts' {
  interface Schema {
    /** `at` in milliseconds since the epoch; `status` of the last unavailable presence, if known. */
    last_activity: { account: string; at: number; status: string | null }
  }
}

const NS = 'jabber:iq:last'
const MAX_STATUS = 1024

const migrations: readonly Migration[] = [
  {
    name: 'last/0001-create',
    async up(db, types) {
      await db.schema
        .createTable('last_activity')
        .addColumn('account', types.text, (column) => column.primaryKey())
        .addColumn('at', 'bigint', (column) => column.notNull())
        .addColumn('status', types.text)
        .execute()
    },
  },
]

/** Without a status the one known stays: the client had said goodbye before it went. */
const RECORD = `insert into last_activity (account, at, status) values (?, ?, ?)
  on conflict (account) do update
  set at = excluded.at, status = coalesce(excluded.status, last_activity.status)`
const READ = 'select at, status from last_activity where account = ?'
const REMOVE = 'delete from last_activity where account = ?'

const lastSeen = declareCommand({
  name: 'account seen',
  description: 'Tell when an account was last connected',
  permission: 'accounts:read',
  needsServer: false,
  args: z.strictObject({ jid: accountArgument }),
  positional: ['jid'],
  examples: ['alice@localhost'],
  result: z.strictObject({
    connected: z.boolean().describe('It is now.'),
    at: z.iso.datetime().nullable().describe('Null where it is connected, or never was.'),
    status: z.string().nullable().describe('What its client said as it went.'),
  }),
  text: ({ connected, at }) => (connected ? 'connected now' : (at ?? 'never')),
})

/** Says since when the server runs and when an account was last here (XEP-0012). */
export const last = defineModule({
  name: 'last',
  implements: ['XEP-0012 2.0'],
  features: [NS],
  accountFeatures: [NS],
  config: z.strictObject({}),
  migrations,
  data: [{ table: 'last_activity', owner: 'account' }],

  commands: [lastSeen],

  start(context) {
    const { commands, hooks, iq, sessions, storage, routes, clock, cluster, log } = context
    const behind = context.lasting(
      () => new WrittenBehind(cluster),
      (last) => last.stop(),
    )
    context.every(BEHIND, () => behind.flush())

    const record = (account: string, status: string | null) => {
      const text = status?.slice(0, MAX_STATUS).toWellFormed() ?? null
      const row = [account, clock.now(), text]
      behind.put(() =>
        storage
          .write(RECORD, row)
          .catch((error) => log.warn('last_activity_not_kept', { account, error })),
      )
    }

    /** As for the presence itself: contacts subscribed to it, nobody else (§7). */
    const refuseStrangers = async (envelope: Envelope) => {
      const { from, to } = envelope
      const domainType = routes.find(to.domain)?.domainType
      const mayAsk = await maySeePresence(hooks, domainType, to.toBare(), from)
      if (!mayAsk) throw new StanzaError('forbidden')
    }

    hooks.on('unset_presence', (envelope, { session }) => {
      const status = envelope.stanza.child('status')?.text ?? ''
      // Of a session that ends without a word `user_terminate` has told.
      if (session.isClosed && status === '') return envelope
      record(session.jid.bare, status)
      return envelope
    })
    // Before the presence module makes it unavailable, which says nothing of the client's own.
    hooks.on(
      'user_terminate',
      (reason, { session }) => {
        record(session.jid.bare, session.priority === undefined ? null : '')
        return reason
      },
      { order: 10, onError: 'skip' },
    )
    hooks.on(
      'remove_user',
      async (account) => {
        behind.flush()
        await storage.write(REMOVE, [account.full])
        return account
      },
      { onError: 'skip' },
    )

    hooks.on('remove_domain', (domain) => {
      // It is removed with the rest.
      behind.flush()
      return domain
    })

    const lastOf = async (account: string) => {
      behind.flush()
      return (await storage.read<{ at: number; status: string | null }>(READ, [account]))[0]
    }

    hooks.on('export_user_data', (parts, { account }) => [
      ...parts,
      partFrom(async () => {
        const row = await lastOf(account.full)
        if (row === undefined) return []
        const stamp = formatDateTime(row.at)
        return [el('last', { xmlns: OWN_DATA_NS, stamp }, row.status ?? undefined)]
      }),
    ])
    hooks.on('import_user_data', async (nobody, { account, portion: { part } }) => {
      if (part.name !== 'last' || part.ns !== OWN_DATA_NS) return nobody
      const at = parseDateTime(part.attr('stamp') ?? '')
      if (at === undefined) return stop(taken({ problems: ['last: no time'] }))
      if ((await lastOf(account.full)) !== undefined) return stop(taken({ there: 1 }))
      await storage.write(RECORD, [account.full, at, part.text.slice(0, MAX_STATUS).toWellFormed()])
      return stop(taken({ added: 1 }))
    })

    commands.on(lastSeen, async ({ jid: account }) => {
      const connected = sessions.sessions.of(account.full).length > 0
      const row = connected ? undefined : await lastOf(account.full)
      const at = row === undefined ? null : new Date(row.at).toISOString()
      return { connected, at, status: row?.status || null }
    })

    iq.on('server', 'get', NS, 'query', () => answer(Math.floor(process.uptime())))
    iq.on('account', 'get', NS, 'query', async ({ envelope, to }: IqRequest) => {
      await refuseStrangers(envelope)
      if (sessions.sessions.of(to.bare).length > 0) return answer(0)
      const row = await lastOf(to.bare)
      if (row === undefined) throw new StanzaError('item-not-found')
      return answer(Math.max(0, Math.floor((clock.now() - row.at) / 1000)), row.status ?? '')
    })

    // Clients answer for themselves, but only those who may know get to ask them (§4).
    hooks.on(
      'filter_local_packet',
      (envelope) => {
        const { stanza, to } = envelope
        if (stanza.kind !== 'iq' || stanza.type !== 'get') return envelope
        if (to.local === '' || to.resource === '' || !stanza.has('query', NS)) return envelope
        return refuseStrangers(envelope).then(() => envelope)
      },
      { explain: 'pure' },
    )
  },
})

function answer(seconds: number, status = '') {
  return el('query', { xmlns: NS, seconds }, status === '' ? undefined : status)
}

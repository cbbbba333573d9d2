import type { Account, AccountPage, AccountStore } from '../core/accounts.ts'
import type { Credentials, ScramHash, ScramKeys } from '../core/credentials.ts'
import { type Migration, type Statement, type Storage, StorageError } from '../core/storage.ts'
import { type BareJid, jid } from '../xmpp/jid.ts'
import { storedSecret } from './secrets.ts'

declare module '../core/storage.ts' {
  interface Schema {
    account: { domain: string; localpart: string; created_at: number; is_disabled: number }
    account_key: {
      domain: string
      localpart: string
      hash: ScramHash
      salt: Uint8Array
      iterations: number
      stored_key: Uint8Array
      server_key: Uint8Array
    }
    secret: { name: string; value: Uint8Array }
    /** Accounts that are removed, whose data may not be. */
    account_removal: { domain: string; localpart: string }
  }
}

export const accountMigrations: readonly Migration[] = [
  {
    name: 'core/0001-accounts',
    async up(db, types) {
      await db.schema
        .createTable('account')
        .addColumn('domain', types.text, (column) => column.notNull())
        .addColumn('localpart', types.text, (column) => column.notNull())
        .addColumn('created_at', 'bigint', (column) => column.notNull())
        .addColumn('is_disabled', 'bigint', (column) => column.notNull())
        .addPrimaryKeyConstraint('account_pk', ['domain', 'localpart'])
        .execute()
      await db.schema
        .createTable('account_key')
        .addColumn('domain', types.text, (column) => column.notNull())
        .addColumn('localpart', types.text, (column) => column.notNull())
        .addColumn('hash', types.text, (column) => column.notNull())
        .addColumn('salt', types.bytes, (column) => column.notNull())
        .addColumn('iterations', 'bigint', (column) => column.notNull())
        .addColumn('stored_key', types.bytes, (column) => column.notNull())
        .addColumn('server_key', types.bytes, (column) => column.notNull())
        .addPrimaryKeyConstraint('account_key_pk', ['domain', 'localpart', 'hash'])
        .addForeignKeyConstraint(
          'account_key_account_fk',
          ['domain', 'localpart'],
          'account',
          ['domain', 'localpart'],
          (constraint) => constraint.onDelete('cascade'),
        )
        .execute()
      await db.schema
        .createTable('secret')
        .addColumn('name', types.text, (column) => column.primaryKey())
        .addColumn('value', types.bytes, (column) => column.notNull())
        .execute()
    },
  },
  {
    name: 'core/0002-account-removals',
    async up(db, types) {
      await db.schema
        .createTable('account_removal')
        .addColumn('domain', types.text, (column) => column.notNull())
        .addColumn('localpart', types.text, (column) => column.notNull())
        .addPrimaryKeyConstraint('account_removal_pk', ['domain', 'localpart'])
        .execute()
    },
  },
]

/** All removals of a domain whose data is gone. Yields the number of rows. */
export async function* forgetRemovals(storage: Storage, domain: string): AsyncIterable<number> {
  yield (await storage.write('delete from account_removal where domain = ?', [domain])).changes
}

const SECRET = 'decoy credentials'

/** Accounts in the tables of `accountMigrations`. */
export function sqlAccountStore(storage: Storage): AccountStore {
  const { db } = storage
  return {
    create({ jid: at, credentials, createdAt, isDisabled }) {
      const account: Statement = {
        sql: 'insert into account (domain, localpart, created_at, is_disabled) values (?, ?, ?, ?)',
        parameters: [at.domain, at.local, createdAt, isDisabled ? 1 : 0],
      }
      return heeded(storage.writeAll([account, ...keyInserts(at, credentials)]))
    },

    async find(at) {
      const rows = await storage.read<AccountRow>(
        `select created_at, is_disabled, hash, salt, iterations, stored_key, server_key
           from account left join account_key using (domain, localpart)
          where domain = ? and localpart = ?`,
        [at.domain, at.local],
      )
      return toAccount(at, rows)
    },

    async exists(at) {
      const rows = await storage.read(
        'select 1 as found from account where domain = ? and localpart = ?',
        [at.domain, at.local],
      )
      return rows.length > 0
    },

    async setCredentials(at, credentials) {
      const forget: Statement = {
        sql: 'delete from account_key where domain = ? and localpart = ?',
        parameters: [at.domain, at.local],
      }
      const inserts = keyInserts(at, credentials)
      if (!(await heeded(storage.writeAll([forget, ...inserts])))) return false
      // Only keys find out that there is no account.
      return inserts.length > 0 || (await this.exists(at))
    },

    async setDisabled(at, isDisabled) {
      const { numUpdatedRows } = await db
        .updateTable('account')
        .set({ is_disabled: isDisabled ? 1 : 0 })
        .where('domain', '=', at.domain)
        .where('localpart', '=', at.local)
        .executeTakeFirst()
      return numUpdatedRows > 0
    },

    async remove(at) {
      const [, removed] = await storage.writeAll([
        {
          sql: `insert into account_removal (domain, localpart)
            select domain, localpart from account where domain = ? and localpart = ?
            on conflict do nothing`,
          parameters: [at.domain, at.local],
        },
        {
          sql: 'delete from account where domain = ? and localpart = ?',
          parameters: [at.domain, at.local],
        },
      ])
      return removed !== undefined && removed.changes > 0
    },

    async isBeingRemoved(at) {
      const rows = await storage.read(
        'select 1 as found from account_removal where domain = ? and localpart = ?',
        [at.domain, at.local],
      )
      return rows.length > 0
    },

    async removals() {
      const rows = await storage.read<{ domain: string; localpart: string }>(
        'select domain, localpart from account_removal order by domain, localpart',
        [],
      )
      return rows.map(({ domain, localpart }) => jid(localpart, domain))
    },

    async finishRemoval(at) {
      const parameters = [at.domain, at.local]
      const sql = 'delete from account_removal where domain = ? and localpart = ?'
      await storage.write(sql, parameters)
    },

    async list(domain, { after = '', limit, isDisabled }: AccountPage) {
      let query = db
        .selectFrom('account')
        .select('localpart')
        .where('domain', '=', domain)
        .where('localpart', '>', after)
        .orderBy('localpart')
        .limit(limit)
      if (isDisabled !== undefined) query = query.where('is_disabled', '=', isDisabled ? 1 : 0)
      const rows = await query.execute()
      return rows.map(({ localpart }) => jid(localpart, domain))
    },

    async count(domain, { isDisabled } = {}) {
      let query = db
        .selectFrom('account')
        .select(({ fn }) => fn.countAll().as('count'))
        .where('domain', '=', domain)
      if (isDisabled !== undefined) query = query.where('is_disabled', '=', isDisabled ? 1 : 0)
      const { count } = await query.executeTakeFirstOrThrow()
      return Number(count)
    },

    secret: () => storedSecret(storage, SECRET),
  }
}

function keyInserts(at: BareJid, credentials: Credentials): Statement[] {
  return Object.entries(credentials).map(([hash, keys]) => ({
    sql: `insert into account_key (domain, localpart, hash, salt, iterations, stored_key, server_key)
          values (?, ?, ?, ?, ?, ?, ?)`,
    parameters: [
      at.domain,
      at.local,
      hash,
      keys.salt,
      keys.iterations,
      keys.storedKey,
      keys.serverKey,
    ],
  }))
}

/** False where the tables refuse: the account exists already, or keys have no account. */
async function heeded(writing: Promise<unknown>): Promise<boolean> {
  try {
    await writing
    return true
  } catch (error) {
    if (error instanceof StorageError && error.kind === 'constraint') return false
    throw error
  }
}

/** One per set of keys; an account without any has one row of nulls. */
type AccountRow = { created_at: number; is_disabled: number } & (
  | {
      hash: ScramHash
      salt: Uint8Array
      iterations: number
      stored_key: Uint8Array
      server_key: Uint8Array
    }
  | { hash: null }
)

function toAccount(at: BareJid, rows: readonly AccountRow[]): Account | undefined {
  const [first] = rows
  if (!first) return undefined
  const credentials: { [hash in ScramHash]?: ScramKeys } = {}
  for (const row of rows) {
    if (row.hash === null) continue
    const { salt, iterations, stored_key: storedKey, server_key: serverKey } = row
    credentials[row.hash] = { salt, iterations, storedKey, serverKey }
  }
  return { jid: at, credentials, createdAt: first.created_at, isDisabled: first.is_disabled === 1 }
}

import type { Migration, Statement, Storage } from '../../core/storage.ts'

declare module '../../core/storage.ts' {
  interface Schema {
    /** `set_at` in milliseconds since the epoch. */
    announcement: { domain: string; kind: string; id: string; body: string; set_at: number }
    /** The last message of the day that an account got, by its id. */
    announcement_seen: { account: string; id: string }
    /** Accounts that have not logged in yet. */
    announcement_due: { account: string }
  }
}

/** The message of the day, and the one for new users: what XEP-0133 §4.23 to §4.27 call them. */
export const KINDS = ['motd', 'welcome'] as const
export type Kind = (typeof KINDS)[number]

export type Announcement = {
  readonly domain: string
  readonly kind: Kind
  /** Another one each time it is set; the same when it is edited. */
  readonly id: string
  readonly body: string
  /** Milliseconds since the epoch. */
  readonly set_at: number
}

export const migrations: readonly Migration[] = [
  {
    name: 'announcements/0001-create',
    async up(db, types) {
      await db.schema
        .createTable('announcement')
        .addColumn('domain', types.text, (column) => column.notNull())
        .addColumn('kind', types.text, (column) => column.notNull())
        .addColumn('id', types.text, (column) => column.notNull())
        .addColumn('body', types.text, (column) => column.notNull())
        .addColumn('set_at', 'bigint', (column) => column.notNull())
        .addPrimaryKeyConstraint('announcement_key', ['domain', 'kind'])
        .execute()
      await db.schema
        .createTable('announcement_seen')
        .addColumn('account', types.text, (column) => column.primaryKey())
        .addColumn('id', types.text, (column) => column.notNull())
        .execute()
      await db.schema
        .createTable('announcement_due')
        .addColumn('account', types.text, (column) => column.primaryKey())
        .execute()
    },
  },
]

const READ = 'select domain, kind, id, body, set_at from announcement order by domain, kind'
const SET = `insert into announcement (domain, kind, id, body, set_at) values (?, ?, ?, ?, ?)
  on conflict (domain, kind) do update
  set id = excluded.id, body = excluded.body, set_at = excluded.set_at`
const EDIT = 'update announcement set body = ? where domain = ? and kind = ?'
const REMOVE = 'delete from announcement where domain = ? and kind = ?'
const REMOVE_OF_DOMAIN = 'delete from announcement where domain = ?'
const HAS_SEEN = 'select 1 as seen from announcement_seen where account = ? and id = ?'
/** Changes nothing where it was seen, so that one of several that ask at once is told so. */
const SEE = `insert into announcement_seen (account, id) values (?, ?)
  on conflict (account) do update set id = excluded.id where announcement_seen.id <> excluded.id`
const EXPECT = 'insert into announcement_due (account) values (?) on conflict do nothing'
const IS_DUE = 'select 1 as due from announcement_due where account = ?'
const TAKE_DUE = 'delete from announcement_due where account = ?'
const FORGET_SEEN = 'delete from announcement_seen where account = ?'

export class AnnouncementStore {
  readonly #storage: Storage

  constructor(storage: Storage) {
    this.#storage = storage
  }

  all(): Promise<readonly Announcement[]> {
    return this.#storage.read(READ, [])
  }

  /** All or none. */
  async set(announcements: readonly Announcement[]): Promise<void> {
    await this.#storage.writeAll(
      announcements.map(({ domain, kind, id, body, set_at }) => ({
        sql: SET,
        parameters: [domain, kind, id, body, set_at],
      })),
    )
  }

  /** All or none. Resolves to the domains that have one. */
  edit(domains: readonly string[], kind: Kind, body: string): Promise<string[]> {
    return this.#changed(domains, (domain) => ({ sql: EDIT, parameters: [body, domain, kind] }))
  }

  /** All or none. Resolves to the domains that had one. */
  remove(domains: readonly string[], kind: Kind): Promise<string[]> {
    return this.#changed(domains, (domain) => ({ sql: REMOVE, parameters: [domain, kind] }))
  }

  async #changed(
    domains: readonly string[],
    statementFor: (domain: string) => Statement,
  ): Promise<string[]> {
    const results = await this.#storage.writeAll(domains.map(statementFor))
    return domains.filter((_, index) => (results[index]?.changes ?? 0) > 0)
  }

  /** False: the account has it already. Durable, and true for one of several that ask. */
  async see(account: string, id: string): Promise<boolean> {
    // Most have: a read costs less than a write.
    if ((await this.#storage.read(HAS_SEEN, [account, id])).length > 0) return false
    return (await this.#storage.write(SEE, [account, id])).changes > 0
  }

  async expect(account: string): Promise<void> {
    await this.#storage.write(EXPECT, [account])
  }

  /** False: the account has logged in before. Durable, and true for one of several that ask. */
  async takeDue(account: string): Promise<boolean> {
    if ((await this.#storage.read(IS_DUE, [account])).length === 0) return false
    return (await this.#storage.write(TAKE_DUE, [account])).changes > 0
  }

  async forget(account: string): Promise<void> {
    await this.#storage.writeAll([
      { sql: FORGET_SEEN, parameters: [account] },
      { sql: TAKE_DUE, parameters: [account] },
    ])
  }
}

/** Yields the number of rows. */
export async function* removeOfDomain(storage: Storage, domain: string): AsyncIterable<number> {
  yield (await storage.write(REMOVE_OF_DOMAIN, [domain])).changes
}

import type { Migration, Storage } from '../core/storage.ts'

declare module '../core/storage.ts' {
  interface Schema {
    /** Hosted domains besides those of the configuration; `added_at` in milliseconds since 1970. */
    domain: { name: string; state: DomainState; added_at: number }
  }
}

/** `removing`: as `disabled`, while all that is kept of it is removed. */
export type DomainState = 'enabled' | 'disabled' | 'removing'

export const domainMigrations: readonly Migration[] = [
  {
    name: 'domains/0001-create',
    async up(db, types) {
      await db.schema
        .createTable('domain')
        .addColumn('name', types.text, (column) => column.primaryKey())
        .addColumn('state', types.text, (column) => column.notNull())
        .addColumn('added_at', 'bigint', (column) => column.notNull())
        .execute()
    },
  },
]

const PUT = `insert into domain (name, state, added_at) values (?, ?, ?)
  on conflict (name) do update set state = excluded.state`

/** The domains that were added while a server ran. */
export class DomainStore {
  readonly #storage: Storage

  constructor(storage: Storage) {
    this.#storage = storage
  }

  /** In the order of their names. */
  async all(): Promise<ReadonlyMap<string, DomainState>> {
    const rows = await this.#storage.read<{ name: string; state: DomainState }>(
      'select name, state from domain order by name',
      [],
    )
    return new Map(rows.map(({ name, state }) => [name, state]))
  }

  async put(name: string, state: DomainState): Promise<void> {
    await this.#storage.write(PUT, [name, state, Date.now()])
  }

  async remove(name: string): Promise<void> {
    await this.#storage.write('delete from domain where name = ?', [name])
  }
}

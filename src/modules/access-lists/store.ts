import type { Migration, Storage } from '../../core/storage.ts'

declare module '../../core/storage.ts' {
  interface Schema {
    /** `address`: a domain, an account or a resource in canonical form. */
    access_list: { list: string; address: string }
  }
}

/** As XEP-0133 §4.11 and §4.12 name them. */
export const LISTS = ['blacklist', 'whitelist'] as const
export type ListName = (typeof LISTS)[number]

export const migrations: readonly Migration[] = [
  {
    name: 'access_lists/0001-create',
    async up(db, types) {
      await db.schema
        .createTable('access_list')
        .addColumn('list', types.text, (column) => column.notNull())
        .addColumn('address', types.text, (column) => column.notNull())
        .addPrimaryKeyConstraint('access_list_key', ['list', 'address'])
        .execute()
    },
  },
]

const READ = 'select list, address from access_list order by list, address'
const ADD = 'insert into access_list (list, address) values (?, ?) on conflict do nothing'
const REMOVE = 'delete from access_list where list = ? and address = ?'

export class AccessListStore {
  readonly #storage: Storage

  constructor(storage: Storage) {
    this.#storage = storage
  }

  /** Of both lists. */
  all(): Promise<readonly { readonly list: ListName; readonly address: string }[]> {
    return this.#storage.read(READ, [])
  }

  async add(list: ListName, address: string): Promise<void> {
    await this.#storage.write(ADD, [list, address])
  }

  /** False: it was not there. */
  async remove(list: ListName, address: string): Promise<boolean> {
    return (await this.#storage.write(REMOVE, [list, address])).changes > 0
  }
}

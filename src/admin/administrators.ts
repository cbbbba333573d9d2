import type { Maybe } from '../core/maybe.ts'
import type { Migration, Storage } from '../core/storage.ts'
import type { BareJid, Jid } from '../xmpp/jid.ts'

declare module '../core/storage.ts' {
  interface Schema {
    /** Accounts that may give commands besides those of the configuration. */
    administrator: { account: string }
  }
}

export const administratorMigrations: readonly Migration[] = [
  {
    name: 'admin/0002-administrators',
    async up(db, types) {
      await db.schema
        .createTable('administrator')
        .addColumn('account', types.text, (column) => column.primaryKey())
        .execute()
    },
  },
]

const READ = 'select account from administrator order by account'
const ADD = 'insert into administrator (account) values (?) on conflict do nothing'
const REMOVE = 'delete from administrator where account = ?'

type Options = {
  readonly storage: Pick<Storage, 'read' | 'write'>
  /** Those of the configuration now. */
  readonly fixed: () => readonly BareJid[]
  /** What is stored is another: told to other nodes. */
  readonly onChanged: () => Maybe<unknown>
}

/** Whose clients may give commands: accounts of the configuration, and those that were added since. */
export class Administrators {
  readonly #options: Options
  #added: ReadonlySet<string> = new Set()
  #loading: Promise<void> = Promise.resolve()

  constructor(options: Options) {
    this.#options = options
  }

  /** Those of the configuration first. */
  get all(): readonly { readonly jid: string; readonly isFixed: boolean }[] {
    const fixed = this.#options.fixed().map(({ full }) => full)
    const added = [...this.#added].filter((account) => !fixed.includes(account))
    return [
      ...fixed.map((account) => ({ jid: account, isFixed: true })),
      ...added.map((account) => ({ jid: account, isFixed: false })),
    ]
  }

  has(jid: Jid): boolean {
    return this.isFixed(jid) || this.#added.has(jid.bare)
  }

  /** It is in the configuration, where it is changed. */
  isFixed(jid: Jid): boolean {
    return this.#options.fixed().some((account) => account.bareEquals(jid))
  }

  /** What is stored, from now on. */
  load(): Promise<void> {
    // One after the other: what an earlier one has read must not take the place of what is newer.
    const loading = this.#loading.catch(() => {}).then(() => this.#read())
    this.#loading = loading
    return loading
  }

  async #read(): Promise<void> {
    const rows = await this.#options.storage.read<{ account: string }>(READ, [])
    this.#added = new Set(rows.map(({ account }) => account))
  }

  async add({ full }: BareJid): Promise<void> {
    await this.#options.storage.write(ADD, [full])
    await this.#changed()
  }

  /** False: it was none, or is one of the configuration. */
  async remove({ full }: BareJid): Promise<boolean> {
    // Of what is stored: what another node has added a moment ago may not be known here.
    const { changes } = await this.#options.storage.write(REMOVE, [full])
    if (changes === 0) return false
    await this.#changed()
    return true
  }

  async #changed(): Promise<void> {
    await this.load()
    await this.#options.onChanged()
  }
}

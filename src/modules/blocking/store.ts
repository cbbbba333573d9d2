import type { Migration, Storage } from '../../core/storage.ts'
import { type BareJid, type Jid, tryParseJid } from '../../xmpp/jid.ts'
import { Blocklist, NOBODY } from './blocklist.ts'

declare module '../../core/storage.ts' {
  interface Schema {
    blocked: { account: string; jid: string }
  }
}

export const migrations: readonly Migration[] = [
  {
    name: 'blocking/0001-create',
    async up(db, types) {
      await db.schema
        .createTable('blocked')
        .addColumn('account', types.text, (column) => column.notNull())
        .addColumn('jid', types.text, (column) => column.notNull())
        .addPrimaryKeyConstraint('blocked_key', ['account', 'jid'])
        .execute()
    },
  },
]

const PAGE = 1000

const LOAD = 'select jid from blocked where account = ? and jid > ? order by jid limit ?'
const ADD = 'insert into blocked (account, jid) values (?, ?) on conflict (account, jid) do nothing'
const REMOVE = 'delete from blocked where account = ? and jid = ?'
const REMOVE_ALL = 'delete from blocked where account = ?'

/** Where blocked addresses are kept. Changes of one account come one after the other. */
export class BlockingStore {
  readonly #storage: Storage

  constructor(storage: Storage) {
    this.#storage = storage
  }

  async load({ full }: BareJid): Promise<Blocklist> {
    const jids: Jid[] = []
    let page: readonly { readonly jid: string }[] = []
    do {
      page = await this.#storage.read<{ jid: string }>(LOAD, [full, page.at(-1)?.jid ?? '', PAGE])
      for (const { jid: text } of page) {
        // From addresses that a later Unicode no longer allows nothing comes.
        const jid = tryParseJid(text)
        if (jid !== undefined) jids.push(jid)
      }
    } while (page.length === PAGE)
    return jids.length === 0 ? NOBODY : new Blocklist(jids)
  }

  /** All or nothing. */
  async add({ full }: BareJid, jids: readonly Jid[]): Promise<void> {
    await this.#storage.writeAll(jids.map((jid) => ({ sql: ADD, parameters: [full, jid.full] })))
  }

  /** These, or all of the account's if `undefined`. */
  async remove({ full }: BareJid, jids: readonly Jid[] | undefined): Promise<void> {
    if (jids === undefined) await this.#storage.write(REMOVE_ALL, [full])
    else {
      const statements = jids.map((jid) => ({ sql: REMOVE, parameters: [full, jid.full] }))
      await this.#storage.writeAll(statements)
    }
  }
}

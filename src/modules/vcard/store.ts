import type { Migration, Storage } from '../../core/storage.ts'
import type { BareJid } from '../../xmpp/jid.ts'
import { decode, encode, type Octets } from '../../xmpp/octets.ts'
import type { Element } from '../../xmpp/xml.ts'
import { readElement } from '../../xmpp/xml-parser.ts'

declare module '../../core/storage.ts' {
  interface Schema {
    vcard: { account: string; xml: string }
  }
}

export const migrations: readonly Migration[] = [
  {
    name: 'vcard/0001-create',
    async up(db, types) {
      await db.schema
        .createTable('vcard')
        .addColumn('account', types.text, (column) => column.primaryKey())
        .addColumn('xml', types.text, (column) => column.notNull())
        .execute()
    },
  },
]

const READ = 'select xml from vcard where account = ?'
const PUT = `insert into vcard (account, xml) values (?, ?)
  on conflict (account) do update set xml = excluded.xml`
const REMOVE = 'delete from vcard where account = ?'

export class VcardStore {
  readonly #storage: Storage

  constructor(storage: Storage) {
    this.#storage = storage
  }

  async get(account: BareJid): Promise<Element | undefined> {
    const [row] = await this.#storage.read<{ xml: string }>(READ, [account.full])
    return row === undefined ? undefined : readElement(encode(row.xml), '')
  }

  /** `vcard` is the whole element. */
  async put(account: BareJid, vcard: Octets): Promise<void> {
    await this.#storage.write(PUT, [account.full, decode(vcard)])
  }

  async remove(account: BareJid): Promise<void> {
    await this.#storage.write(REMOVE, [account.full])
  }
}

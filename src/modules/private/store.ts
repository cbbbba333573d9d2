import type { Migration, Storage } from '../../core/storage.ts'
import type { BareJid } from '../../xmpp/jid.ts'
import { decode, encode, type Octets } from '../../xmpp/octets.ts'
import { type Element, serialise } from '../../xmpp/xml.ts'
import { readElement } from '../../xmpp/xml-parser.ts'

declare module '../../core/storage.ts' {
  interface Schema {
    /** `xml` holds one or more elements of that name and namespace; `size` is in bytes. */
    private_xml: { account: string; namespace: string; name: string; xml: string; size: number }
  }
}

export const migrations: readonly Migration[] = [
  {
    name: 'private/0001-create',
    async up(db, types) {
      await db.schema
        .createTable('private_xml')
        .addColumn('account', types.text, (column) => column.notNull())
        .addColumn('namespace', types.text, (column) => column.notNull())
        .addColumn('name', types.text, (column) => column.notNull())
        .addColumn('xml', types.text, (column) => column.notNull())
        .addColumn('size', 'bigint', (column) => column.notNull())
        .addPrimaryKeyConstraint('private_xml_key', ['account', 'namespace', 'name'])
        .execute()
    },
  },
]

/** What clients keep under one name and namespace. */
export type PrivateEntry = {
  readonly namespace: string
  readonly name: string
  readonly elements: readonly Element[]
}

const READ = 'select xml from private_xml where account = ? and namespace = ? and name = ?'
const ALL = 'select xml from private_xml where account = ? order by namespace, name'
const SIZES = 'select namespace, name, size from private_xml where account = ?'
const PUT = `insert into private_xml (account, namespace, name, xml, size) values (?, ?, ?, ?, ?)
  on conflict (account, namespace, name) do update set xml = excluded.xml, size = excluded.size`
const REMOVE = 'delete from private_xml where account = ?'

export class PrivateStore {
  readonly #storage: Storage

  constructor(storage: Storage) {
    this.#storage = storage
  }

  /** In the order in which they were set; empty when there are none. */
  async get(account: BareJid, namespace: string, name: string): Promise<readonly Element[]> {
    const [row] = await this.#storage.read<{ xml: string }>(READ, [account.full, namespace, name])
    return row === undefined ? [] : readElement(encode(`<x>${row.xml}</x>`), '').elements()
  }

  /** Everything of an account, entry by entry. */
  async all(account: BareJid): Promise<readonly Element[]> {
    const rows = await this.#storage.read<{ xml: string }>(ALL, [account.full])
    return rows.flatMap(({ xml }) => readElement(encode(`<x>${xml}</x>`), '').elements())
  }

  /**
   * Replaces these entries, all or none. False: the account would keep more than `maxBytes` or
   * `maxEntries`.
   */
  async put(
    account: BareJid,
    entries: readonly PrivateEntry[],
    { maxBytes, maxEntries }: { readonly maxBytes: number; readonly maxEntries: number },
  ): Promise<boolean> {
    type Sized = { namespace: string; name: string; size: number }
    const sizes = new Map<string, number>()
    for (const { namespace, name, size } of await this.#storage.read<Sized>(SIZES, [account.full]))
      sizes.set(`${name} ${namespace}`, size)
    const statements = entries.map(({ namespace, name, elements }) => {
      const octets = elements.map((element) => serialise(element)).join('')
      sizes.set(`${name} ${namespace}`, octets.length)
      const xml = decode(octets as Octets)
      return { sql: PUT, parameters: [account.full, namespace, name, xml, octets.length] }
    })
    const bytes = [...sizes.values()].reduce((sum, size) => sum + size, 0)
    if (bytes > maxBytes || sizes.size > maxEntries) return false
    await this.#storage.writeAll(statements)
    return true
  }

  async remove(account: BareJid): Promise<void> {
    await this.#storage.write(REMOVE, [account.full])
  }
}

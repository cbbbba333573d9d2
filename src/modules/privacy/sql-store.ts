import type { Migration, Storage } from '../../core/storage.ts'
import { decode, encode } from '../../xmpp/octets.ts'
import { serialise } from '../../xmpp/xml.ts'
import { readElement } from '../../xmpp/xml-parser.ts'
import { AccountLists, NO_LISTS } from './account-lists.ts'
import { PRIVACY_NS, restoreList, writeList } from './list-xml.ts'
import type { PrivacyStore } from './store.ts'

declare module '../../core/storage.ts' {
  interface Schema {
    /** `xml` is the list as clients see it. */
    privacy_list: { account: string; name: string; is_default: number; xml: string }
  }
}

export const migrations: readonly Migration[] = [
  {
    name: 'privacy/0001-create',
    async up(db, types) {
      await db.schema
        .createTable('privacy_list')
        .addColumn('account', types.text, (column) => column.notNull())
        .addColumn('name', types.text, (column) => column.notNull())
        .addColumn('is_default', 'integer', (column) => column.notNull())
        .addColumn('xml', types.text, (column) => column.notNull())
        .addPrimaryKeyConstraint('privacy_list_key', ['account', 'name'])
        .execute()
    },
  },
]

/** One account may have so many lists only if the limit was lowered since. */
const MAX_LISTS = 1000

const LOAD =
  'select name, is_default, xml from privacy_list where account = ? order by name limit ?'
const PUT =
  'insert into privacy_list (account, name, is_default, xml) values (?, ?, 0, ?)' +
  ' on conflict (account, name) do update set xml = excluded.xml'
const REMOVE = 'delete from privacy_list where account = ? and name = ?'
const SET_DEFAULT =
  'update privacy_list set is_default = case when name = ? then 1 else 0 end where account = ?'
const DECLINE_DEFAULT = 'update privacy_list set is_default = 0 where account = ?'
const REMOVE_ALL = 'delete from privacy_list where account = ?'

type Row = { readonly name: string; readonly is_default: number; readonly xml: string }

export function sqlPrivacyStore(storage: Storage): PrivacyStore {
  return {
    async load({ full }) {
      const rows = await storage.read<Row>(LOAD, [full, MAX_LISTS])
      if (rows.length === 0) return NO_LISTS
      const lists = rows.map(({ xml }) => restoreList(readElement(encode(xml), PRIVACY_NS)))
      return new AccountLists(lists, rows.find(({ is_default }) => is_default === 1)?.name)
    },
    async put({ full }, list) {
      const xml = decode(serialise(writeList(list), PRIVACY_NS))
      await storage.write(PUT, [full, list.name, xml])
    },
    async remove({ full }, name) {
      await storage.write(REMOVE, [full, name])
    },
    async setDefault({ full }, name) {
      if (name === undefined) await storage.write(DECLINE_DEFAULT, [full])
      else await storage.write(SET_DEFAULT, [name, full])
    },
    async removeAll({ full }) {
      await storage.write(REMOVE_ALL, [full])
    },
  }
}

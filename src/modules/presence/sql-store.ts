import type { Migration, Storage } from '../../core/storage.ts'
import { decode, encode } from '../../xmpp/octets.ts'
import { CLIENT_NS, Stanza } from '../../xmpp/stanza.ts'
import { readElement } from '../../xmpp/xml-parser.ts'
import type { LastPresence, LastPresenceStore } from './store.ts'

declare module '../../core/storage.ts' {
  interface Schema {
    last_presence: {
      owner: string
      /** Milliseconds since the epoch. */
      at: number
      /** The presence stanza, without addresses. */
      stanza: string
    }
  }
}

export const migrations: readonly Migration[] = [
  {
    name: 'presence/0001-create',
    async up(db, types) {
      await db.schema
        .createTable('last_presence')
        .addColumn('owner', types.text, (column) => column.primaryKey())
        .addColumn('at', 'bigint', (column) => column.notNull())
        .addColumn('stanza', types.text, (column) => column.notNull())
        .execute()
    },
  },
]

/** Placeholders of one query; below the limits of all databases. */
const MAX_OWNERS = 500

const UPSERT =
  'insert into last_presence (owner, at, stanza) values (?, ?, ?)' +
  ' on conflict (owner) do update set at = excluded.at, stanza = excluded.stanza'
const DELETE = 'delete from last_presence where owner = ?'

export function sqlLastPresenceStore(storage: Storage): LastPresenceStore {
  return {
    async find(owners) {
      const found = new Map<string, LastPresence>()
      for (let first = 0; first < owners.length; first += MAX_OWNERS) {
        const rows = await storage.db
          .selectFrom('last_presence')
          .select(['owner', 'at', 'stanza'])
          .where('owner', 'in', owners.slice(first, first + MAX_OWNERS))
          .execute()
        for (const { owner, at, stanza } of rows) {
          found.set(owner, { at: Number(at), stanza: read(stanza) })
        }
      }
      return found
    },
    async save({ full: owner }, { at, stanza }) {
      const text = decode(stanza.toOctets(undefined, undefined))
      await storage.write(UPSERT, [owner, at, text])
    },
    async remove({ full: owner }) {
      await storage.write(DELETE, [owner])
    },
  }
}

function read(text: string): Stanza {
  return Stanza.fromElement(readElement(encode(text), CLIENT_NS))
}

import type { Migration, SqlRow, Statement, Storage } from '../../core/storage.ts'
import { type BareJid, tryParseJid } from '../../xmpp/jid.ts'
import { decode, encode } from '../../xmpp/octets.ts'
import { CLIENT_NS, Stanza } from '../../xmpp/stanza.ts'
import { readElement } from '../../xmpp/xml-parser.ts'
import { Roster, type RosterEdit, type RosterItem } from './roster.ts'
import type { RosterStore } from './store.ts'
import type { SubscriptionState } from './subscription.ts'

declare module '../../core/storage.ts' {
  interface Schema {
    roster: { owner: string; version: number; removed_at: number }
    roster_item: {
      owner: string
      contact: string
      name: string
      /** JSON array of texts. */
      contact_groups: string
      state: string
      is_approved: number
      is_listed: number
      /** The presence stanza, without addresses. */
      request: string | null
      version: number
    }
  }
}

export const migrations: readonly Migration[] = [
  {
    name: 'roster/0001-create',
    async up(db, types) {
      await db.schema
        .createTable('roster')
        .addColumn('owner', types.text, (column) => column.primaryKey())
        .addColumn('version', 'bigint', (column) => column.notNull())
        .addColumn('removed_at', 'bigint', (column) => column.notNull())
        .execute()
      await db.schema
        .createTable('roster_item')
        .addColumn('owner', types.text, (column) => column.notNull())
        .addColumn('contact', types.text, (column) => column.notNull())
        .addColumn('name', types.text, (column) => column.notNull())
        .addColumn('contact_groups', types.text, (column) => column.notNull())
        .addColumn('state', types.text, (column) => column.notNull())
        .addColumn('is_approved', 'integer', (column) => column.notNull())
        .addColumn('is_listed', 'integer', (column) => column.notNull())
        .addColumn('request', types.text)
        .addColumn('version', 'bigint', (column) => column.notNull())
        .addPrimaryKeyConstraint('roster_item_key', ['owner', 'contact'])
        .execute()
    },
  },
]

const PAGE = 1000

const SELECT_ROSTER = 'select version, removed_at from roster where owner = ?'
const SELECT_ITEMS =
  'select contact, name, contact_groups, state, is_approved, is_listed, request, version' +
  ' from roster_item where owner = ? and contact > ? order by contact limit ?'
const UPSERT_ROSTER =
  'insert into roster (owner, version, removed_at) values (?, ?, ?)' +
  ' on conflict (owner) do update set version = excluded.version, removed_at = excluded.removed_at'
const UPSERT_ITEM =
  'insert into roster_item' +
  ' (owner, contact, name, contact_groups, state, is_approved, is_listed, request, version)' +
  ' values (?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict (owner, contact) do update set' +
  ' name = excluded.name, contact_groups = excluded.contact_groups, state = excluded.state,' +
  ' is_approved = excluded.is_approved, is_listed = excluded.is_listed,' +
  ' request = excluded.request, version = excluded.version'
const DELETE_ITEM = 'delete from roster_item where owner = ? and contact = ?'
const DELETE_ITEMS = 'delete from roster_item where owner = ?'
const DELETE_ROSTER = 'delete from roster where owner = ?'

type ItemRow = SqlRow & {
  readonly contact: string
  readonly name: string
  readonly contact_groups: string
  readonly state: string
  readonly is_approved: number
  readonly is_listed: number
  readonly request: string | null
  readonly version: number
}

export function sqlRosterStore(storage: Storage): RosterStore {
  return {
    async load({ full: owner }) {
      // Nothing is written in between: whoever edits a roster waits until it is loaded.
      const [head] = await storage.read<{ version: number; removed_at: number }>(SELECT_ROSTER, [
        owner,
      ])
      if (head === undefined) return new Roster(0, 0, [])
      const rows: ItemRow[] = []
      let page: readonly ItemRow[]
      do {
        page = await storage.read<ItemRow>(SELECT_ITEMS, [owner, rows.at(-1)?.contact ?? '', PAGE])
        rows.push(...page)
      } while (page.length === PAGE)
      // Versions tell the order in which items were last changed.
      rows.sort((a, b) => a.version - b.version)
      return new Roster(head.version, head.removed_at, rows.map(itemOf).filter(isItem))
    },

    async save({ full: owner }, edit) {
      const { version, removedAt } = edit
      await storage.writeAll([
        { sql: UPSERT_ROSTER, parameters: [owner, version, removedAt] },
        itemStatement(owner, edit),
      ])
    },

    async removeAll({ full: owner }) {
      await storage.writeAll([
        { sql: DELETE_ITEMS, parameters: [owner] },
        { sql: DELETE_ROSTER, parameters: [owner] },
      ])
    },
  }
}

function itemStatement(owner: string, { put, remove }: RosterEdit): Statement {
  if (put === undefined) return { sql: DELETE_ITEM, parameters: [owner, remove.full] }
  return {
    sql: UPSERT_ITEM,
    parameters: [
      owner,
      put.contact.full,
      put.name,
      JSON.stringify(put.groups),
      put.state,
      put.isApproved ? 1 : 0,
      put.isListed ? 1 : 0,
      put.request === undefined ? null : decode(put.request.toOctets(undefined, undefined)),
      put.version,
    ],
  }
}

function itemOf(row: ItemRow): RosterItem | undefined {
  const contact = tryParseJid(row.contact)
  // Addresses that a later Unicode no longer allows cannot be told anything.
  if (contact === undefined) return undefined
  return {
    contact: contact as BareJid,
    name: row.name,
    groups: JSON.parse(row.contact_groups),
    state: row.state as SubscriptionState,
    isApproved: row.is_approved === 1,
    isListed: row.is_listed === 1,
    request:
      row.request === null
        ? undefined
        : Stanza.fromElement(readElement(encode(row.request), CLIENT_NS)),
    version: row.version,
  }
}

function isItem(item: RosterItem | undefined): item is RosterItem {
  return item !== undefined
}

import { Envelope, idOf, type Notes, SERVER } from '../../core/envelope.ts'
import type { Maybe } from '../../core/maybe.ts'
import type { Migration, Statement, Storage } from '../../core/storage.ts'
import { delay } from '../../xmpp/delay.ts'
import { type BareJid, parseJid } from '../../xmpp/jid.ts'
import { decode, encode } from '../../xmpp/octets.ts'
import { CLIENT_NS, Stanza } from '../../xmpp/stanza.ts'
import { readElement } from '../../xmpp/xml-parser.ts'

declare module '../../core/storage.ts' {
  interface Schema {
    /**
     * Queues of messages, one for each account. `seq` ascends in the order of storing and is never
     * given twice; `stored_at` is in milliseconds since the epoch; `stanza` is the whole message with
     * its addresses; `notes` is JSON, or ''; `size` is what counts for the limits, in bytes. Messages
     * are delivered by `place` (see `Places`), then by `seq`.
     */
    offline_message: {
      seq: number
      account: string
      stored_at: number
      stanza: string
      notes: string
      size: number
      place: number
    }
  }
}

export const migrations: readonly Migration[] = [
  {
    name: 'offline/0001-create',
    async up(db, types) {
      await db.schema
        .createTable('offline_message')
        .addColumn('seq', types.serialKey)
        .addColumn('account', types.text, (column) => column.notNull())
        .addColumn('stored_at', 'bigint', (column) => column.notNull())
        .addColumn('stanza', types.text, (column) => column.notNull())
        .addColumn('notes', types.text, (column) => column.notNull())
        .addColumn('size', 'bigint', (column) => column.notNull())
        .execute()
      await db.schema
        .createIndex('offline_message_queue')
        .on('offline_message')
        .columns(['account', 'seq'])
        .execute()
    },
  },
  {
    name: 'offline/0002-place',
    async up(db) {
      await db.schema
        .alterTable('offline_message')
        .addColumn('place', 'bigint', (column) => column.notNull().defaultTo(0))
        .execute()
      await db.schema.dropIndex('offline_message_queue').execute()
      await db.schema
        .createIndex('offline_message_place')
        .on('offline_message')
        .columns(['account', 'place', 'seq'])
        .execute()
    },
  },
]

export type StoredMessage = {
  readonly seq: number
  readonly stored_at: number
  readonly stanza: string
  readonly notes: string
  readonly size: number
  readonly place: number
}

/** A message that came at that time, milliseconds since the epoch. */
export type Kept = { readonly envelope: Envelope; readonly at: number }

/** Behind which message a page begins. */
export type Cursor = { readonly place: number; readonly seq: number }

export const START: Cursor = { place: -1, seq: -1 }

export type Usage = { readonly count: number; readonly bytes: number }

/** Read at once, to find out what is there. */
const ADOPT_PAGE = 200

const ADD =
  'insert into offline_message (account, stored_at, stanza, notes, size, place) values (?, ?, ?, ?, ?, ?)'
const PAGE = `select seq, stored_at, stanza, notes, size, place from offline_message
  where account = ? and (place, seq) > (?, ?) order by place, seq limit ?`
const LIST = `select seq, stored_at, stanza, notes, size, place from offline_message
  where account = ? and seq > ? order by seq limit ?`
const LAST_PLACE = 'select cast(coalesce(max(place), 0) as bigint) as place from offline_message'
const HOLDS =
  'select stanza from offline_message where account = ? and place = ? order by seq limit 10'
/** Accounts that are asked about together. */
export const ASKED_AT_ONCE = 200
const WAITING = `select distinct account from offline_message
  where account in (${Array(ASKED_AT_ONCE).fill('?').join(', ')})`
const REMOVE = 'delete from offline_message where seq = ?'
const REMOVE_ALL = 'delete from offline_message where account = ?'
const USAGE = `select count(*) as count, cast(coalesce(sum(size), 0) as bigint) as bytes
  from offline_message where account = ?`

/** Accounts of which it is remembered. */
const MAX_LOOKS = 10_000

/** Under way, or over. */
type Look = { readonly hasFoundNothing: boolean }

const FOUND_NOTHING: Look = { hasFoundNothing: true }

const NOTHING: readonly StoredMessage[] = []

type Statements = Pick<Storage, 'read' | 'write' | 'writeAll'>

type Options = {
  /** Others store here, too. */
  readonly isShared: boolean
}

/** The messages that wait for accounts, each in its place. */
export class OfflineStore {
  readonly #storage: Statements
  readonly #isShared: boolean
  /**
   * When accounts came online that have been stored nothing for since: most find nothing, and need not look
   * the next time. By bare JID, oldest first.
   */
  readonly #looks = new Map<string, Look>()

  constructor(storage: Statements, { isShared }: Options) {
    this.#storage = storage
    this.#isShared = isShared
  }

  /** Resolves when the message is safe. */
  async add(account: BareJid, envelope: Envelope, now: number, place: number): Promise<void> {
    const { stanza, from, to, notes, hasNotes } = envelope
    const text = decode(stanza.toOctets(from, to))
    const noted = hasNotes ? JSON.stringify(notes) : ''
    this.#looks.delete(account.full)
    await this.#storage.write(ADD, [account.full, now, text, noted, sizeOf(envelope), place])
  }

  /**
   * Keeps messages that came elsewhere, all or none, without those it has already. Resolves to how many
   * are new.
   */
  async adopt(account: BareJid, messages: readonly Kept[]): Promise<number> {
    const key = (stanza: string, at: number) => `${at} ${stanza}`
    const there = new Set<string>()
    for (let cursor = START; ; ) {
      const page = await this.page(account.full, cursor, ADOPT_PAGE)
      for (const { stanza, stored_at } of page) there.add(key(stanza, stored_at))
      const last = page.at(-1)
      if (last === undefined) break
      cursor = last
    }
    const statements: Statement[] = []
    for (const { envelope, at } of messages) {
      const { stanza, from, to } = envelope
      const text = decode(stanza.toOctets(from, to))
      if (there.has(key(text, at))) continue
      there.add(key(text, at))
      const parameters = [account.full, at, text, '', sizeOf(envelope), at * 1_000]
      statements.push({ sql: ADD, parameters })
    }
    this.#looks.delete(account.full)
    await this.#storage.writeAll(statements)
    return statements.length
  }

  /** Whether a message is kept after all whose write has failed. */
  async holds(account: BareJid, { stanza, from, to }: Envelope, place: number): Promise<boolean> {
    const rows = await this.#storage.read<{ stanza: string }>(HOLDS, [account.full, place])
    const text = decode(stanza.toOctets(from, to))
    return rows.some((row) => row.stanza === text)
  }

  /** The oldest `limit` messages behind `after`. A promise only if the storage is asked. */
  page(account: string, after: Cursor, limit: number): Maybe<readonly StoredMessage[]> {
    const last = this.#looks.get(account)
    if (last?.hasFoundNothing === true) return NOTHING
    const page = this.#storage.read<StoredMessage>(PAGE, [account, after.place, after.seq, limit])
    const isLook = last === undefined && after === START && !this.#isShared
    return isLook ? this.#look(account, page) : page
  }

  async #look(
    account: string,
    page: Promise<readonly StoredMessage[]>,
  ): Promise<readonly StoredMessage[]> {
    const look: Look = { hasFoundNothing: false }
    this.#looks.set(account, look)
    if (this.#looks.size > MAX_LOOKS) {
      const [oldest] = this.#looks.keys()
      if (oldest !== undefined) this.#looks.delete(oldest)
    }
    try {
      const messages = await page
      if (messages.length === 0 && this.#looks.get(account) === look) {
        this.#looks.set(account, FOUND_NOTHING)
      }
      return messages
    } finally {
      if (this.#looks.get(account) === look) this.#looks.delete(account)
    }
  }

  /** Of at most `ASKED_AT_ONCE` accounts, those for which there is something. */
  async waiting(accounts: readonly string[]): Promise<readonly string[]> {
    const asked = Array.from({ length: ASKED_AT_ONCE }, (_, at) => accounts[at] ?? '')
    const rows = await this.#storage.read<{ account: string }>(WAITING, asked)
    return rows.map(({ account }) => account)
  }

  async remove(seq: number): Promise<void> {
    await this.#storage.write(REMOVE, [seq])
  }

  /** Resolves to how many these were. */
  async removeAll(account: BareJid): Promise<number> {
    const { changes } = await this.#storage.write(REMOVE_ALL, [account.full])
    return changes
  }

  /** The first `limit` messages stored behind the one with number `after`. */
  list(account: string, after: number, limit: number): Promise<readonly StoredMessage[]> {
    return this.#storage.read<StoredMessage>(LIST, [account, after, limit])
  }

  /** The last of all places. */
  async lastPlace(): Promise<number> {
    const [row] = await this.#storage.read<{ place: number }>(LAST_PLACE, [])
    return row?.place ?? 0
  }

  async usage(account: string): Promise<Usage> {
    const [row] = await this.#storage.read<Usage>(USAGE, [account])
    return row ?? { count: 0, bytes: 0 }
  }
}

/** What a message counts for the limits, in bytes. */
export function sizeOf({ stanza }: Envelope): number {
  return stanza.head.length + stanza.payload.length
}

/**
 * The message as it is delivered: with the time it was kept (XEP-0160 §2), noted where it is kept. Any
 * other copy is gone by now, and its key may be that of another message on the node that reads this.
 */
export function restore({ seq, stored_at, stanza, notes }: StoredMessage): Envelope {
  const element = readElement(encode(stanza), CLIENT_NS)
  const from = parseJid(element.attr('from') ?? '')
  const to = parseJid(element.attr('to') ?? '')
  const stamp = delay({ at: stored_at, from: parseJid(to.domain), reason: 'Offline Storage' })
  const { kept, ...noted } = notes === '' ? ({} as Notes) : (JSON.parse(notes) as Notes)
  const id = kept === undefined ? noted.id : (noted.id ?? idOf({ ...noted, kept }))
  const known = id === undefined ? noted : { ...noted, id }
  const delivered = Stanza.fromElement(element).append(stamp)
  return new Envelope(from, to, delivered, SERVER, { ...known, offline: seq })
}

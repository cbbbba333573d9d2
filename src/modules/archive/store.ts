import { ownersIn } from '../../core/owned-data.ts'
import type { Migration, SqlValue, Statement, Storage } from '../../core/storage.ts'
import { type BareJid, type Jid, parseJid } from '../../xmpp/jid.ts'
import type { FullText } from './full-text.ts'
import { ALL_IDS } from './ids.ts'

declare module '../../core/storage.ts' {
  interface Schema {
    /**
     * All archives together, in the order in which messages were archived: `seq` and `id` ascend
     * alike, but for what came from elsewhere. `owner` and `peer` are bare JIDs, `resource` is the peer's or ''; `xml` is the whole
     * message with its addresses.
     */
    archive: {
      seq: number
      owner: string
      id: string
      peer: string
      resource: string
      is_groupchat: number
      xml: string
    }
  }
}

export const archiveMigration: Migration = {
  name: 'archive/0001-create',
  async up(db, types) {
    await db.schema
      .createTable('archive')
      .addColumn('seq', types.serialKey)
      .addColumn('owner', types.text, (column) => column.notNull())
      .addColumn('id', types.text, (column) => column.notNull())
      .addColumn('peer', types.text, (column) => column.notNull())
      .addColumn('resource', types.text, (column) => column.notNull())
      .addColumn('is_groupchat', 'integer', (column) => column.notNull())
      .addColumn('xml', types.text, (column) => column.notNull())
      .execute()
    // The only index: each costs one page written for about every message. What was exchanged with
    // one contact is found by walking the owner's part of it, which has all that takes; but for the
    // longest addresses PostgreSQL has no room in an index.
    const isRoomy = types.dialect === 'sqlite'
    await db.schema
      .createIndex('archive_of_owner')
      .on('archive')
      .columns(isRoomy ? ['owner', 'id', 'peer'] : ['owner', 'id'])
      .unique()
      .execute()
  },
}

/** A message as one account's archive keeps it. */
export type ArchivedMessage = {
  readonly owner: string
  readonly id: string
  /** Who it came from, or went to. */
  readonly peer: Jid
  readonly isGroupchat: boolean
  /** The whole message, its namespace declared. */
  readonly xml: string
  /** What it can be found by; `undefined` where nobody searches. */
  readonly text?: string | undefined
}

/** Which messages of an archive; the bounds are ids, or what sorts among them, both excluded. */
export type Selection = {
  readonly owner: string
  readonly after: string
  readonly before: string
  /** Only those from or to this address; a bare JID stands for all its resources. */
  readonly peer?: Jid | undefined
  /** Only those with all words of this text. */
  readonly search?: string | undefined
  readonly withGroupchat: boolean
}

export type Found = { readonly id: string; readonly xml: string }

export type Window = {
  /** The oldest of the selection, or the newest. */
  readonly from: 'oldest' | 'newest'
  readonly limit: number
  /** A message that begins beyond so many bytes is left out, with all that follow. */
  readonly maxBytes: number
}

/** How many messages of an archive one statement looks at: meanwhile nobody else is served. */
const STRIDE = 20_000
/** So many messages are counted with each page. */
const FEW = 1_000
const DELETED_AT_ONCE = 500
/** Read at once, of messages that have the same text in them. */
const MENTIONED = 20

const COLUMNS = '(owner, id, peer, resource, is_groupchat, xml)'
const VALUES = '(?, ?, ?, ?, ?, ?)'
const insertOf = (rows: number) =>
  `insert into archive ${COLUMNS} values ${Array(rows).fill(VALUES).join(', ')}` +
  ' on conflict do nothing'
/** One statement for many rows costs less than many statements. */
const INSERTS = [32, 8, 1].map((rows) => ({ rows, sql: insertOf(rows) }))

/** A `from` and `where`, with what stands for its question marks. */
type Match = { readonly matching: string; readonly parameters: readonly SqlValue[] }

const DIRECTION = { oldest: 'asc', newest: 'desc' } as const
type From = Window['from']

const IN_BOUNDS = 'archive.owner = ? and archive.id > ? and archive.id < ? and is_groupchat <= ?'
const OF_PEER = 'archive.peer = ?'
const OF_RESOURCE = 'archive.resource = ?'

/** First which messages and how long they are; then those that fit are read. */
const windowOf = (from: From, { matching }: Match) => `
  select archive.id, archive.xml
  from (
    select seq, sum(size) over (order by id ${DIRECTION[from]}) - size as ahead
    from (
      select archive.seq, archive.id, octet_length(archive.xml) as size ${matching}
      order by archive.id ${DIRECTION[from]} limit ?
    ) as chosen
  ) as sized
  join archive on archive.seq = sized.seq
  where ahead < ?
  order by archive.id ${DIRECTION[from]}`

const countOf = ({ matching }: Match) =>
  `select count(*) as count from (select 1 as one ${matching} limit ?) as counted`

const strideOf = (from: From) =>
  `select id from archive where owner = ? and id > ? and id < ?
   order by id ${DIRECTION[from]} limit 1 offset ${STRIDE - 1}`
const BEYOND_FEW = `select id from archive where owner = ? and id > ? and id < ?
  order by id limit 1 offset ${FEW}`
const STRIDES = { oldest: strideOf('oldest'), newest: strideOf('newest') }

const BY_ID = 'select id, peer, resource, is_groupchat, xml from archive where owner = ? and id = ?'
const endOf = (from: From) =>
  `select id from archive where owner = ? order by id ${DIRECTION[from]} limit 1`
const ENDS = { oldest: endOf('oldest'), newest: endOf('newest') }
const NEWEST_OF_ALL =
  'select max(id) as id from (select id from archive order by seq desc limit 1000) as latest'

const MENTIONS = `select id, xml from archive
  where owner = ? and id > ? and id < ? and peer = ? and xml like ? escape '\\'
  order by id desc limit ${MENTIONED}`
const REPLACE = 'update archive set xml = ? where owner = ? and id = ?'
const DELETE = 'delete from archive where owner = ? and id = ?'
const DELETE_OLDEST = `delete from archive where id < ? and seq in (
  select seq from archive order by seq limit ${DELETED_AT_ONCE})`
const DELETE_OF_OWNER = `delete from archive where seq in (
  select seq from archive where owner = ? and id < ? order by id limit ${DELETED_AT_ONCE})`

/** A message that was asked for by its id, and what a selection goes by. */
export type Kept = {
  readonly id: string
  readonly peer: string
  readonly resource: string
  readonly is_groupchat: number
  readonly xml: string
}

/** Told, slice by slice, how many are gone. */
type OnRemoved = (count: number) => void

/** The messages of all archives. */
export class ArchiveStore {
  readonly #storage: Storage
  fullText: FullText | undefined

  constructor(storage: Storage, fullText?: FullText) {
    this.#storage = storage
    this.fullText = fullText
  }

  /** Resolves when all are safe. What an archive has already stays as it is. */
  async insert(messages: readonly ArchivedMessage[]): Promise<void> {
    const statements = insertions(messages)
    const fullText = this.fullText
    if (fullText !== undefined) {
      for (const { owner, id, text } of messages) {
        if (text) statements.push(fullText.insertion(owner, id, text))
      }
    }
    await Promise.all(statements.map(({ sql, parameters }) => this.#storage.write(sql, parameters)))
  }

  /** Messages of a selection, in the order in which the window looks at them. */
  async window(selection: Selection, window: Window): Promise<readonly Found[]> {
    const { from } = window
    let { limit, maxBytes } = window
    const found: Found[] = []
    const isSparse = selection.peer !== undefined || selection.search !== undefined
    // Where much may have to be looked at to find little.
    const strides = isSparse ? this.#strides(selection, from) : [selection]
    for await (const stride of strides) {
      const match = this.#match({ ...selection, ...stride })
      const parameters = [...match.parameters, limit, maxBytes]
      const rows = await this.#storage.read<Found>(windowOf(from, match), parameters)
      found.push(...rows)
      limit -= rows.length
      for (const { xml } of rows) maxBytes -= Buffer.byteLength(xml)
      if (limit <= 0 || maxBytes <= 0) break
    }
    return found
  }

  /** How many messages there are, as far as `atMost`. */
  async count(selection: Selection, atMost: number): Promise<number> {
    let count = 0
    for await (const stride of this.#strides(selection, 'oldest')) {
      const match = this.#match({ ...selection, ...stride })
      const parameters = [...match.parameters, atMost - count]
      const [row] = await this.#storage.read<{ count: number }>(countOf(match), parameters)
      count += row?.count ?? 0
      if (count >= atMost) break
    }
    return count
  }

  /** How many messages there are, where the archive has few within the bounds; else `undefined`. */
  async countOfFew(selection: Selection): Promise<number | undefined> {
    const { owner, after, before } = selection
    const beyond = await this.#storage.read(BEYOND_FEW, [owner, after, before])
    if (beyond.length > 0) return undefined
    const match = this.#match(selection)
    const parameters = [...match.parameters, FEW]
    const [row] = await this.#storage.read<{ count: number }>(countOf(match), parameters)
    return row?.count
  }

  /** The messages with these ids, whatever else is true of them; `undefined` where there is none. */
  async byIds(owner: string, ids: readonly string[]): Promise<readonly (Kept | undefined)[]> {
    const rows = await Promise.all(ids.map((id) => this.#storage.read<Kept>(BY_ID, [owner, id])))
    return rows.map(([row]) => row)
  }

  /** The ids of the oldest and the newest message; `undefined` when the archive is empty. */
  async ends(owner: string): Promise<{ oldest: string; newest: string } | undefined> {
    const [[oldest], [newest]] = await Promise.all([
      this.#storage.read<{ id: string }>(ENDS.oldest, [owner]),
      this.#storage.read<{ id: string }>(ENDS.newest, [owner]),
    ])
    if (oldest === undefined || newest === undefined) return undefined
    return { oldest: oldest.id, newest: newest.id }
  }

  /** Of the messages archived last, in any archive, the greatest id. */
  async newestOfAll(): Promise<string | undefined> {
    const [row] = await this.#storage.read<{ id: string | null }>(NEWEST_OF_ALL, [])
    return row?.id ?? undefined
  }

  /** Messages exchanged with `peer` before `before` that have `text` in them, newest first. */
  async *mentions(owner: string, peer: Jid, before: string, text: string): AsyncIterable<Found> {
    const pattern = `%${text.replace(/[\\%_]/g, '\\$&')}%`
    const selection = { owner, peer, after: ALL_IDS.after, before, withGroupchat: true }
    for await (const stride of this.#strides(selection, 'newest')) {
      let behind = stride.before
      let rows: readonly Found[]
      do {
        const parameters = [owner, stride.after, behind, peer.bare, pattern]
        rows = await this.#storage.read<Found>(MENTIONS, parameters)
        yield* rows
        behind = rows.at(-1)?.id ?? behind
      } while (rows.length === MENTIONED)
    }
  }

  /** Puts other content in the place of a message. */
  async replace(owner: string, id: string, xml: string): Promise<void> {
    await this.#storage.write(REPLACE, [xml, owner, id])
  }

  async remove(owner: string, id: string): Promise<void> {
    await this.#storage.write(DELETE, [owner, id])
  }

  /** Removes what is older than `before` from all archives. Resolves to the number of messages. */
  async removeOlder(before: string, onRemoved?: OnRemoved): Promise<number> {
    let removed = await this.removeOldest(before, onRemoved)
    for await (const owner of this.owners()) {
      const others = removed
      removed += await this.removeOf(owner, before, (count) => onRemoved?.(others + count))
    }
    return removed
  }

  /**
   * As `removeOlder`, but leaves what came from elsewhere behind newer messages: looks no further than
   * these. Costs next to nothing where nothing is old.
   */
  async removeOldest(before: string, onRemoved?: OnRemoved): Promise<number> {
    return await this.#removeSlices(DELETE_OLDEST, [before], onRemoved)
  }

  /** Removes what is older than `before` from one archive. Resolves to the number of messages. */
  async removeOf(
    owner: BareJid,
    before: string = ALL_IDS.before,
    onRemoved?: OnRemoved,
  ): Promise<number> {
    return await this.#removeSlices(DELETE_OF_OWNER, [owner.bare, before], onRemoved)
  }

  /** Whose archives have messages. */
  async *owners(): AsyncIterable<BareJid> {
    for await (const owner of ownersIn(this.#storage, { table: 'archive', owner: 'owner' })) {
      yield parseJid(owner).toBare()
    }
  }

  /** Slice by slice: others have their turn in between. */
  async #removeSlices(
    sql: string,
    parameters: readonly string[],
    onRemoved?: OnRemoved,
  ): Promise<number> {
    let removed = 0
    let changes: number
    do {
      const result = await this.#storage.write(sql, parameters)
      changes = result.changes
      removed += changes
      onRemoved?.(removed)
      // A slice that is not full may have some in it that a clock in advance has dated.
    } while (changes > 0)
    return removed
  }

  #match(selection: Selection): Match {
    const { owner, after, before, peer, search, withGroupchat } = selection
    const parameters: SqlValue[] = [owner, after, before, withGroupchat ? 1 : 0]
    let conditions = IN_BOUNDS
    if (peer !== undefined) {
      conditions += ` and ${OF_PEER}`
      parameters.push(peer.bare)
      if (peer.resource !== '') {
        conditions += ` and ${OF_RESOURCE}`
        parameters.push(peer.resource)
      }
    }
    const fullText = this.fullText
    const words = search === undefined ? undefined : fullText?.parameters(owner, search, selection)
    if (fullText === undefined || words === undefined) {
      return { matching: `from archive where ${conditions}`, parameters }
    }
    return {
      matching: `${fullText.matching} and ${conditions}`,
      parameters: [...words, ...parameters],
    }
  }

  /** The bounds of a selection in parts, so that one statement never has to look at too much. */
  async *#strides({ owner, after, before }: Selection, from: From) {
    let [low, high] = [after, before]
    for (;;) {
      const [end] = await this.#storage.read<{ id: string }>(STRIDES[from], [owner, low, high])
      if (end === undefined) break
      if (from === 'oldest') {
        yield { after: low, before: justBehind(end.id) }
        low = end.id
      } else {
        yield { after: justBefore(end.id), before: high }
        high = end.id
      }
    }
    yield { after: low, before: high }
  }
}

/** Sorts behind `id`, and before every id behind it: all are of one length. */
function justBehind(id: string): string {
  return `${id}~`
}

/** Sorts before `id`, and behind every id before it. */
function justBefore(id: string): string {
  return `${id.slice(0, -1)}${String.fromCharCode(id.charCodeAt(id.length - 1) - 1)}~`
}

function insertions(messages: readonly ArchivedMessage[]): Statement[] {
  const statements: Statement[] = []
  let next = 0
  for (const { rows, sql } of INSERTS) {
    while (messages.length - next >= rows) {
      const parameters: SqlValue[] = []
      for (const end = next + rows; next < end; next++) {
        const { owner, id, peer, isGroupchat, xml } = messages[next] as ArchivedMessage
        parameters.push(owner, id, peer.bare, peer.resource, isGroupchat ? 1 : 0, xml)
      }
      statements.push({ sql, parameters })
    }
  }
  return statements
}

import { ownersIn, removeOwned } from '../../core/owned-data.ts'
import type { Migration, SqlDialect, SqlValue, Statement, Storage } from '../../core/storage.ts'
import { type BareJid, type Jid, parseJid } from '../../xmpp/jid.ts'
import type { FullText } from './full-text.ts'
import { ALL_IDS } from './ids.ts'
import { hasIndexBehind, IndexBehind } from './index-behind.ts'
import { insertions } from './insertions.ts'

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
    // The only index. What was exchanged with one contact is found by walking the owner's part of it,
    // which has all that takes; but for the longest addresses PostgreSQL has no room in an index.
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

/** A `from` and `where`, with what stands for its question marks. */
type Match = { readonly matching: string; readonly parameters: readonly SqlValue[] }

const DIRECTION = { oldest: 'asc', newest: 'desc' } as const
type From = Window['from']

const IN_BOUNDS = 'archive.owner = ? and archive.id > ? and archive.id < ? and is_groupchat <= ?'
const OF_PEER = 'archive.peer = ?'
const OF_RESOURCE = 'archive.resource = ?'

/** The texts that find messages by their owner, where one index has all that takes, or a table does. */
function textsOf(dialect: SqlDialect) {
  const isBehind = dialect === 'sqlite'
  const archive = isBehind ? 'archive_index as archive' : 'archive'
  const size = isBehind
    ? '(select octet_length(xml) from archive as message where message.seq = archive.seq)'
    : 'octet_length(archive.xml)'
  const withId = isBehind
    ? 'seq in (select seq from archive_index where owner = ? and id = ?)'
    : 'owner = ? and id = ?'
  const whole = isBehind
    ? 'archive_index cross join archive on archive.seq = archive_index.seq'
    : 'archive'
  const key = isBehind ? 'archive_index' : 'archive'

  /** First which messages and how long they are; then those that fit are read. */
  const windowOf = (from: From, { matching }: Match) => `
    select archive.id, archive.xml
    from (
      select seq, sum(size) over (order by id ${DIRECTION[from]}) - size as ahead
      from (
        select archive.seq, archive.id, ${size} as size ${matching}
        order by archive.id ${DIRECTION[from]} limit ?
      ) as chosen
    ) as sized
    join archive on archive.seq = sized.seq
    where ahead < ?
    order by archive.id ${DIRECTION[from]}`

  const within = 'owner = ? and id > ? and id < ?'
  const strideOf = (from: From) =>
    `select id from ${archive} where ${within}
      order by id ${DIRECTION[from]} limit 1 offset ${STRIDE - 1}`
  const endOf = (from: From) =>
    `select id from ${archive} where owner = ? order by id ${DIRECTION[from]} limit 1`
  return {
    archive,
    key,
    windowOf,
    strides: { oldest: strideOf('oldest'), newest: strideOf('newest') },
    ends: { oldest: endOf('oldest'), newest: endOf('newest') },
    beyondFew: `select id from ${archive} where ${within} order by id limit 1 offset ${FEW}`,
    byId: `select id, peer, resource, is_groupchat, xml from archive where ${withId}`,
    mentions: `select archive.id, archive.xml from ${whole}
      where ${key}.owner = ? and ${key}.id > ? and ${key}.id < ? and ${key}.peer = ?
        and archive.xml like ? escape '\\'
      order by ${key}.id desc limit ${MENTIONED}`,
    replace: `update archive set xml = ? where ${withId}`,
    remove: `delete from archive where ${withId}`,
    removeOfOwner: `delete from archive where seq in (
      select seq from ${archive} where owner = ? and id < ? order by id limit ${DELETED_AT_ONCE})`,
  }
}
const TEXTS = { sqlite: textsOf('sqlite'), postgresql: textsOf('postgresql') }

const countOf = ({ matching }: Match) =>
  `select count(*) as count from (select 1 as one ${matching} limit ?) as counted`

const NEWEST_OF_ALL =
  'select max(id) as id from (select id from archive order by seq desc limit 1000) as latest'

const DELETE_OLDEST = `delete from archive where id < ? and seq in (
  select seq from archive order by seq limit ${DELETED_AT_ONCE})`

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
  readonly #texts: (typeof TEXTS)[SqlDialect]
  /** On SQLite, by which all else is found. */
  readonly #index: IndexBehind | undefined
  #fullText: FullText | undefined

  constructor(storage: Storage, fullText?: FullText) {
    this.#storage = storage
    this.#texts = TEXTS[storage.dialect]
    this.#index = storage.dialect === 'sqlite' ? new IndexBehind(storage) : undefined
    this.fullText = fullText
  }

  get fullText(): FullText | undefined {
    return this.#fullText
  }

  set fullText(fullText: FullText | undefined) {
    this.#fullText = fullText
    if (this.#index !== undefined) this.#index.isFollowed = fullText !== undefined
  }

  /** Resolves when all are safe. What an archive has already stays as it is. */
  async insert(messages: readonly ArchivedMessage[]): Promise<void> {
    const index = this.#index
    const fullText = this.#fullText
    // What is searched for by words is found by its place in the index when they are noted.
    if (fullText !== undefined && index?.isKnown === false) await index.upToDate()
    const written: Promise<unknown>[] = []
    const write = ({ sql, parameters }: Statement) => {
      written.push(this.#storage.write(sql, parameters))
    }
    insertions(messages).forEach(write)
    index?.inserted(messages.length)
    if (fullText !== undefined) {
      written.push(this.indexed())
      for (const { owner, id, text } of messages) {
        if (text) write(fullText.insertion(owner, id, text))
      }
    }
    await Promise.all(written)
  }

  /** Resolves when what was inserted so far can be found. Whoever reads need not ask. */
  async indexed(): Promise<void> {
    await this.#index?.upToDate()
  }

  /** Messages of a selection, in the order in which the window looks at them. */
  async window(selection: Selection, window: Window): Promise<readonly Found[]> {
    await this.indexed()
    const { from } = window
    let { limit, maxBytes } = window
    const found: Found[] = []
    const isSparse = selection.peer !== undefined || selection.search !== undefined
    // Where much may have to be looked at to find little.
    const strides = isSparse ? this.#strides(selection, from) : [selection]
    for await (const stride of strides) {
      const match = this.#match({ ...selection, ...stride })
      const parameters = [...match.parameters, limit, maxBytes]
      const rows = await this.#storage.read<Found>(this.#texts.windowOf(from, match), parameters)
      found.push(...rows)
      limit -= rows.length
      for (const { xml } of rows) maxBytes -= Buffer.byteLength(xml)
      if (limit <= 0 || maxBytes <= 0) break
    }
    return found
  }

  /** How many messages there are, as far as `atMost`. */
  async count(selection: Selection, atMost: number): Promise<number> {
    await this.indexed()
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
    await this.indexed()
    const { owner, after, before } = selection
    const beyond = await this.#storage.read(this.#texts.beyondFew, [owner, after, before])
    if (beyond.length > 0) return undefined
    const match = this.#match(selection)
    const parameters = [...match.parameters, FEW]
    const [row] = await this.#storage.read<{ count: number }>(countOf(match), parameters)
    return row?.count
  }

  /** The messages with these ids, whatever else is true of them; `undefined` where there is none. */
  async byIds(owner: string, ids: readonly string[]): Promise<readonly (Kept | undefined)[]> {
    await this.indexed()
    const { byId } = this.#texts
    const rows = await Promise.all(ids.map((id) => this.#storage.read<Kept>(byId, [owner, id])))
    return rows.map(([row]) => row)
  }

  /** The ids of the oldest and the newest message; `undefined` when the archive is empty. */
  async ends(owner: string): Promise<{ oldest: string; newest: string } | undefined> {
    await this.indexed()
    const { ends } = this.#texts
    const [[oldest], [newest]] = await Promise.all([
      this.#storage.read<{ id: string }>(ends.oldest, [owner]),
      this.#storage.read<{ id: string }>(ends.newest, [owner]),
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
    await this.indexed()
    const pattern = `%${text.replace(/[\\%_]/g, '\\$&')}%`
    const selection = { owner, peer, after: ALL_IDS.after, before, withGroupchat: true }
    for await (const stride of this.#strides(selection, 'newest')) {
      let behind = stride.before
      let rows: readonly Found[]
      do {
        const parameters = [owner, stride.after, behind, peer.bare, pattern]
        rows = await this.#storage.read<Found>(this.#texts.mentions, parameters)
        yield* rows
        behind = rows.at(-1)?.id ?? behind
      } while (rows.length === MENTIONED)
    }
  }

  /** Puts other content in the place of a message. */
  async replace(owner: string, id: string, xml: string): Promise<void> {
    await this.indexed()
    await this.#storage.write(this.#texts.replace, [xml, owner, id])
  }

  async remove(owner: string, id: string): Promise<void> {
    await this.indexed()
    await this.#storage.write(this.#texts.remove, [owner, id])
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
    await this.indexed()
    return await this.#removeSlices(this.#texts.removeOfOwner, [owner.bare, before], onRemoved)
  }

  /** Whose archives have messages. */
  async *owners(): AsyncIterable<BareJid> {
    await this.indexed()
    const { key } = this.#texts
    for await (const owner of ownersIn(this.#storage, { table: key, owner: 'owner' })) {
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
      return { matching: `from ${this.#texts.archive} where ${conditions}`, parameters }
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
      const [end] = await this.#storage.read<{ id: string }>(this.#texts.strides[from], [
        owner,
        low,
        high,
      ])
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

/** The archives of a domain, as `OwnedData` wants it. */
export async function* removeArchivesOf(storage: Storage, domain: string): AsyncIterable<number> {
  // Until it is brought up to date, the table has an index.
  if (storage.dialect === 'sqlite' && !(await hasIndexBehind(storage))) {
    yield* removeOwned(storage, { table: 'archive', owner: 'owner', key: 'seq' }, domain)
    return
  }
  const store = new ArchiveStore(storage)
  for await (const owner of store.owners()) {
    if (owner.domain === domain) yield await store.removeOf(owner)
  }
}

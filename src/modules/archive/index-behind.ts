import { sql as raw } from 'kysely'
import { type Migration, type Storage, StorageError } from '../../core/storage.ts'

declare module '../../core/storage.ts' {
  interface Schema {
    /** On SQLite, what archives are read by: of each row of `archive` all but its message. */
    archive_index: Omit<Schema['archive'], 'xml'>
    /** On SQLite, how far `archive_index` goes; without a row, it has nothing. */
    archive_indexed: { seq: number }
  }
}

/** So many messages are put into the index in one go: meanwhile nobody else is served. */
const INDEXED_AT_ONCE = 8_192

/**
 * An index has a page for about every owner, and SQLite writes each page that a commit changes as a
 * whole: most of what a message cost was its two places in the index. As a table it is written behind,
 * for thousands of messages at once, or when somebody wants to read.
 */
export const indexMigration: Migration = {
  name: 'archive/0003-index-behind',
  async up(db, { dialect, text }) {
    if (dialect !== 'sqlite') return
    await db.schema
      .createTable('archive_index')
      .addColumn('owner', text, (column) => column.notNull())
      .addColumn('id', text, (column) => column.notNull())
      .addColumn('peer', text, (column) => column.notNull())
      .addColumn('resource', text, (column) => column.notNull())
      .addColumn('is_groupchat', 'integer', (column) => column.notNull())
      .addColumn('seq', 'integer', (column) => column.notNull())
      .addPrimaryKeyConstraint('archive_index_key', ['owner', 'id', 'peer'])
      .modifyEnd(raw`without rowid`)
      .execute()
    await db.schema
      .createTable('archive_indexed')
      .addColumn('seq', 'integer', (column) => column.primaryKey())
      .execute()
    await raw`create trigger archive_index_removed after delete on archive begin
      delete from archive_index
      where owner = old.owner and id = old.id and peer = old.peer and seq = old.seq; end`.execute(
      db,
    )
    await db.schema.dropIndex('archive_of_owner').execute()
  },
}

const INDEXED = '(select coalesce(max(seq), 0) from archive_indexed)'
const UNINDEXED = `from archive where seq > ${INDEXED} order by seq limit ?`
const IS_BEHIND = `select 1 from archive where seq > ${INDEXED} limit 1`
const KEYS = 'owner, id, peer, resource, is_groupchat, seq'
/** In the order of the index, so that it is walked once. */
const extensionOf = (insert: string) =>
  `${insert} into archive_index (${KEYS})
    select ${KEYS} from (select ${KEYS} ${UNINDEXED}) order by owner, id, peer`
const EXTEND = extensionOf('insert')
const EXTEND_BY_NEW = extensionOf('insert or ignore')
const MARK = `insert into archive_indexed (seq)
  select max(seq) from (select seq ${UNINDEXED}) having max(seq) is not null`
/** Of those just put in; the index has two marks then, unless it is new. */
const REMOVE_KNOWN = `delete from archive
  where seq > (select iif(count(*) = 2, min(seq), 0) from archive_indexed) and seq <= ${INDEXED}
    and not exists (select 1 from archive_index as known where known.owner = archive.owner
      and known.id = archive.id and known.peer = archive.peer and known.seq = archive.seq)`
const FORGET_FORMER =
  'delete from archive_indexed where seq < (select max(seq) from archive_indexed)'

/** That table, and how much is not in it yet. */
export class IndexBehind {
  readonly #storage: Pick<Storage, 'read' | 'writeAll'>
  /** How many messages are not in it, at most. */
  #unindexed = Number.POSITIVE_INFINITY
  #indexing: Promise<void> | undefined
  /** What follows what is put in is on its way already: so this must not fail for what is there. */
  isFollowed = false

  constructor(storage: Pick<Storage, 'read' | 'writeAll'>) {
    this.#storage = storage
  }

  /** Whether it is known how much is missing. */
  get isKnown(): boolean {
    return this.#unindexed !== Number.POSITIVE_INFINITY
  }

  /** Called with each insertion, in the same turn. */
  inserted(count: number): void {
    this.#unindexed += count
    if (this.isFollowed || this.#unindexed < INDEXED_AT_ONCE) return
    // In the same transaction. Should it fail, the next to need the index hears of it.
    this.upToDate().catch(() => {})
  }

  /** Resolves when what was inserted so far can be found. */
  async upToDate(): Promise<void> {
    if (this.#unindexed === 0 && this.#indexing === undefined) {
      // Others write into the same file: another worker, a command.
      const [some] = await this.#storage.read(IS_BEHIND, [])
      if (some !== undefined) this.#unindexed = Number.POSITIVE_INFINITY
    }
    if (this.#unindexed > 0) {
      const indexing = this.#catchUp()
      this.#indexing = indexing
      const ended = () => {
        if (this.#indexing === indexing) this.#indexing = undefined
      }
      indexing.then(ended, ended)
    }
    await this.#indexing
  }

  /** Slice by slice: others have their turn in between. */
  async #catchUp(): Promise<void> {
    const unindexed = this.#unindexed
    // What comes from now on is counted anew.
    this.#unindexed = 0
    const limit = Number.isFinite(unindexed)
      ? Math.max(unindexed, INDEXED_AT_ONCE)
      : INDEXED_AT_ONCE
    try {
      let extended: number
      do extended = await this.#extendIndex(limit)
      while (extended === limit)
    } catch (error) {
      this.#unindexed = Number.POSITIVE_INFINITY
      throw error
    }
  }

  /** Resolves to the number of messages that were looked at, `limit` at most. */
  async #extendIndex(limit: number): Promise<number> {
    const mark = { sql: MARK, parameters: [limit] }
    const forget = { sql: FORGET_FORMER, parameters: [] }
    if (!this.isFollowed) {
      const extend = { sql: EXTEND, parameters: [limit] }
      try {
        const [extended] = await this.#storage.writeAll([extend, mark, forget])
        return extended?.changes ?? 0
      } catch (error) {
        if (!(error instanceof StorageError && error.kind === 'constraint')) throw error
      }
    }
    // Inserted once more, after a failure.
    const extend = { sql: EXTEND_BY_NEW, parameters: [limit] }
    const remove = { sql: REMOVE_KNOWN, parameters: [] }
    const [extended, , removed] = await this.#storage.writeAll([extend, mark, remove, forget])
    return (extended?.changes ?? 0) + (removed?.changes ?? 0)
  }
}

const HAS_INDEX = "select 1 from sqlite_master where type = 'table' and name = 'archive_indexed'"

/** Whether there is one yet. */
export async function hasIndexBehind(storage: Storage): Promise<boolean> {
  return (await storage.read(HAS_INDEX, [])).length > 0
}

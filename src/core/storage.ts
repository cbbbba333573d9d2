import type { Kysely, RawBuilder } from 'kysely'
import type { Fences } from './fences.ts'

/**
 * The tables, each declared by the code that owns it. A module declares its own beside its store,
 * creates them in its migrations, and asks only those:
 *
 * ```ts
 * // src/modules/private/sql-store.ts
 * import type { Migration, Storage } from '../../core/storage.ts'
 *
 * declare module '../../core/storage.ts' {
 *   interface Schema {
 *     private_xml: { owner: string; namespace: string; xml: string }
 *   }
 * }
 *
 * export const migrations: readonly Migration[] = [
 *   {
 *     name: 'private/0001-create',
 *     async up(db, types) {
 *       await db.schema
 *         .createTable('private_xml')
 *         .addColumn('owner', types.text, (column) => column.notNull())
 *         .addColumn('namespace', types.text, (column) => column.notNull())
 *         .addColumn('xml', types.text, (column) => column.notNull())
 *         .addPrimaryKeyConstraint('private_xml_key', ['owner', 'namespace'])
 *         .execute()
 *     },
 *   },
 * ]
 *
 * export function sqlPrivateStore({ db }: Storage): PrivateStore {
 *   return {
 *     async get(owner, namespace) {
 *       const row = await db
 *         .selectFrom('private_xml')
 *         .select('xml')
 *         .where('owner', '=', owner)
 *         .where('namespace', '=', namespace)
 *         .executeTakeFirst()
 *       return row?.xml
 *     },
 *     // …
 *   }
 * }
 * ```
 *
 * Column types are what is read: `string`, `number`, `Uint8Array`, `null`. For a column the
 * database fills, use Kysely's `Generated<number>`.
 */
export interface Schema {
  migration: { name: string; applied_at: number }
}

/**
 * What goes into a statement. No booleans: store 0 and 1.
 * What comes out: text as `string`, bytes as `Uint8Array`, integers as `number`; an integer beyond
 * ±2^53 makes the read fail rather than lose digits.
 */
export type SqlValue = string | number | bigint | Uint8Array | null

/** What a `read` or `returning` yields: columns by name. */
export type SqlRow = Record<string, string | number | Uint8Array | null>

export interface Statement {
  /**
   * A constant text, with `?` for each parameter. It is prepared once and kept: build values into
   * `parameters`, never into the text. Only what SQLite and PostgreSQL both understand.
   */
  readonly sql: string
  readonly parameters: readonly SqlValue[]
}

export interface WriteResult<Row = SqlRow> {
  /** Rows inserted, updated or deleted. */
  readonly changes: number
  /** What a `returning` clause yields; otherwise empty. */
  readonly rows: readonly Row[]
}

/**
 * A durable SQL store. Implementations pass `test/contracts/storage.test.ts`.
 *
 * A query of `db` counts as submitted some microtasks after its `execute()` is called: where its
 * place among `write` and `read` matters, await it.
 *
 * Errors are `StorageError`s. A store that failed (disk full, file locked) works again as soon as
 * its disk does; nothing needs to be reopened.
 */
export interface Storage extends AsyncDisposable {
  /** For what no text says to both databases alike, such as full-text search. */
  readonly dialect: SqlDialect

  /** Several servers may have it open at the same time, on several machines: a cluster can use it. */
  readonly isShared: boolean

  /** For the nodes, or the workers, that share it. */
  readonly fences: Fences

  /**
   * For ordinary queries. Outside a transaction they take part in the group commit like `write`.
   *
   * While a `db.transaction()` is open everything else waits: keep it short, ask nothing but the
   * `trx` inside it (the storage itself would wait for the transaction, which is rolled back once
   * it stands idle for too long), and await no network in it.
   */
  readonly db: Kysely<Schema>

  /**
   * One statement of a hot path, under group commit: what all callers write in one turn of the
   * event loop shares one transaction and one flush of the disk. Resolves once the row is safe from
   * a power cut.
   *
   * A statement that fails rejects its own caller and no other; a commit that fails rejects all
   * who shared it, and nothing of theirs is stored.
   */
  write<Row = SqlRow>(sql: string, parameters: readonly SqlValue[]): Promise<WriteResult<Row>>

  /** As `write`, for statements that are stored all together or not at all. Results in order. */
  writeAll(statements: readonly Statement[]): Promise<readonly WriteResult[]>

  /**
   * One hand-written query of a hot path. Read pages of bounded size (`limit ?`, going on from the
   * last key): all rows are in memory at once.
   */
  read<Row = SqlRow>(sql: string, parameters: readonly SqlValue[]): Promise<readonly Row[]>

  /**
   * Brings the tables up to date: runs what has not run yet, in the order given, each in its own
   * transaction and exactly once, however many processes start together. Call it once, with the
   * core's migrations first and then those of every module that is loaded.
   *
   * A database that has a migration of a known owner that is not in the list was written by a newer
   * release: rejects with `incompatible`, nothing changed. What belongs to owners unknown here
   * (modules no longer loaded) stays as it is.
   */
  migrate(migrations: readonly Migration[]): Promise<void>

  /** How much it has to do. */
  readonly load: StorageLoad

  /** Finishes what was submitted, then closes. What comes later is rejected with `closed`. */
  close(): Promise<void>
}

/** Plain numbers. `batches` and `seconds` only grow; each batch is one transaction at most. */
export interface StorageLoad {
  /** Requests without an answer yet, and what they take up in memory. */
  readonly waiting: number
  readonly waitingBytes: number
  /** Groups of requests that were answered together, commit included. */
  readonly batches: number
  /** What these took altogether, until they were answered. */
  readonly seconds: number
}

export interface Migration {
  /**
   * `owner/NNNN-what`, such as `offline/0001-create`: the owner is the module's name (or `core`),
   * the rest ascends within it. Never renamed and never edited once released.
   */
  readonly name: `${string}/${string}`
  /**
   * Runs inside a transaction. It must not lean on today's `Schema`, which goes on changing: it
   * creates tables with `db.schema`, and moves rows with Kysely's `sql`.
   */
  up(db: Kysely<unknown>, types: ColumnTypes): Promise<void>
}

export type SqlDialect = 'sqlite' | 'postgresql'

/** Column types whose spelling differs between databases. Besides them: `bigint`, `double precision`. */
export interface ColumnTypes {
  readonly dialect: SqlDialect
  /** Text that compares and sorts by code point, not by language. */
  readonly text: RawBuilder<unknown>
  readonly bytes: RawBuilder<unknown>
  /** Primary key that the database counts up; a number is never given twice. */
  readonly serialKey: RawBuilder<unknown>
}

/**
 * - `full`: no room on the disk, or a limit of the database reached;
 * - `io`: the disk failed, or may not be written;
 * - `busy`: another process holds the lock, or more is waiting than we keep in memory;
 * - `corrupt`: the file is damaged, or no database;
 * - `constraint`: the statement breaks a rule of its table (unique, not null, foreign key, check);
 * - `incompatible`: a database of a newer release, or of another program;
 * - `closed`: after `close`;
 * - `other`: a fault in the statement, or ours.
 */
export type StorageErrorKind =
  | 'full'
  | 'io'
  | 'busy'
  | 'corrupt'
  | 'constraint'
  | 'incompatible'
  | 'closed'
  | 'other'

/** Nothing of the rejected unit was stored, except after `io` and `other`, where it may have been. */
export class StorageError extends Error {
  override readonly name = 'StorageError'
  readonly kind: StorageErrorKind

  constructor(kind: StorageErrorKind, message: string, options: ErrorOptions = {}) {
    super(message, options)
    this.kind = kind
  }
}

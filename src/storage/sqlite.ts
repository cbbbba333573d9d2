import { Kysely } from 'kysely'
import type {
  Migration,
  Schema,
  SqlRow,
  SqlValue,
  Statement,
  Storage,
  StorageLoad,
  WriteResult,
} from '../core/storage.ts'
import { sqliteDialect, sqliteTypes } from './dialects.ts'
import { refuseUnfinished, runMigrations } from './migrations.ts'
import { SqliteQueue } from './sqlite-queue.ts'
import { toRows, toWriteResult } from './statements.ts'

export interface SqliteOptions {
  /** Default `full`. Anything less loses acknowledged writes in a power cut: for tests. */
  readonly synchronous?: 'full' | 'normal' | 'off'
  /** How long to wait for another process's lock, in milliseconds; default 5000. */
  readonly busyTimeoutMs?: number
  /** How long a transaction may stand idle before it is rolled back; default 5000. */
  readonly idleTransactionMs?: number
  /** What may wait in memory for a disk that does not keep up; default 256 MiB. */
  readonly maxPendingBytes?: number
  /** Nobody else may use it meanwhile. */
  readonly isExclusive?: boolean
  /** The database grows no further than this many pages of 4096 bytes; default unlimited. */
  readonly maxPages?: number
}

/**
 * Opens a SQLite database, creating it if it does not exist; other processes may have it open too.
 * Rejects with a `StorageError` that names the file and the remedy.
 */
export async function openSqlite(file: string, options: SqliteOptions = {}): Promise<Storage> {
  const queue = new SqliteQueue({
    file,
    synchronous: options.synchronous ?? 'full',
    busyTimeoutMs: options.busyTimeoutMs ?? 5000,
    isExclusive: options.isExclusive ?? false,
    maxPages: options.maxPages,
    idleTransactionMs: options.idleTransactionMs ?? 5000,
    maxPendingBytes: options.maxPendingBytes ?? 256 * 1024 * 1024,
  })
  await queue.open()
  return new SqliteStorage(file, queue)
}

/** SQLite in a worker thread, so that the disk never holds up a stanza. */
class SqliteStorage implements Storage {
  readonly dialect = 'sqlite'
  readonly isShared = false
  readonly db: Kysely<Schema>
  readonly #file: string
  readonly #queue: SqliteQueue

  constructor(file: string, queue: SqliteQueue) {
    this.#file = file
    this.#queue = queue
    this.db = new Kysely<Schema>({ dialect: sqliteDialect(queue) })
  }

  write<Row = SqlRow>(sql: string, parameters: readonly SqlValue[]): Promise<WriteResult<Row>> {
    return this.#queue.write(sql, parameters, toWriteResult<Row>)
  }

  async writeAll(statements: readonly Statement[]): Promise<readonly WriteResult[]> {
    if (statements.length === 0) return []
    const replies = await this.#queue.writeAll(statements)
    return replies.map(toWriteResult<SqlRow>)
  }

  read<Row = SqlRow>(sql: string, parameters: readonly SqlValue[]): Promise<readonly Row[]> {
    return this.#queue.read(sql, parameters, toRows<Row>)
  }

  get load(): StorageLoad {
    return this.#queue.load
  }

  async migrate(migrations: readonly Migration[]): Promise<void> {
    await refuseUnfinished(this, this.#file)
    await runMigrations(this.db, migrations, sqliteTypes, { database: this.#file })
  }

  close(): Promise<void> {
    return this.#queue.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

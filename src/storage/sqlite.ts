import { Kysely } from 'kysely'
import type { Fences } from '../core/fences.ts'
import type { Migration, Schema, Storage } from '../core/storage.ts'
import { sqliteDialect, sqliteTypes } from './dialects.ts'
import { refuseUnfinished, runMigrations } from './migrations.ts'
import { QueuedStorage } from './queued-storage.ts'
import { SqliteFences } from './sqlite-fences.ts'
import { SqliteQueue } from './sqlite-queue.ts'

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
  /** The database grows no further than this many pages of 8192 bytes; default unlimited. */
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
class SqliteStorage extends QueuedStorage {
  readonly dialect = 'sqlite'
  readonly isShared = false
  readonly fences: Fences
  readonly #file: string

  constructor(file: string, queue: SqliteQueue) {
    super(queue, new Kysely<Schema>({ dialect: sqliteDialect(queue) }))
    this.fences = new SqliteFences(queue)
    this.#file = file
  }

  async migrate(migrations: readonly Migration[]): Promise<void> {
    await refuseUnfinished(this, this.#file)
    await runMigrations(this.db, migrations, sqliteTypes, { database: this.#file })
  }
}

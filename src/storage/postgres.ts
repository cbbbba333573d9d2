import { Kysely, sql } from 'kysely'
import type { Fences } from '../core/fences.ts'
import { type Logger, silentLogger } from '../core/log.ts'
import type { Migration, Schema, Storage } from '../core/storage.ts'
import { postgresDialect, postgresTypes } from './dialects.ts'
import { refuseUnfinished, runMigrations } from './migrations.ts'
import { PostgresFences } from './postgres-fences.ts'
import { PostgresLink } from './postgres-link.ts'
import { PostgresQueue } from './postgres-queue.ts'
import { parsePostgresUrl } from './postgres-url.ts'
import { QueuedStorage } from './queued-storage.ts'

export interface PostgresOptions {
  /** Connections in all; one of them writes. Default 5. */
  readonly connections?: number
  /** How long requests wait for a server that is away, in milliseconds; default 10,000. */
  readonly patienceMs?: number
  /** How long to wait for another connection's lock, in milliseconds; default 5000. */
  readonly lockTimeoutMs?: number
  /** How long a statement may take, migrations aside, in milliseconds; default 30,000. */
  readonly statementTimeoutMs?: number
  /** How long a transaction may stand idle before it is rolled back; default 5000. */
  readonly idleTransactionMs?: number
  /** After so long a silence we ask whether the server is still there; default 5000. */
  readonly silenceMs?: number
  /** What may wait in memory for a server that is away or slow; default 256 MiB. */
  readonly maxPendingBytes?: number
  /** Nobody else may use it meanwhile. */
  readonly isExclusive?: boolean
  readonly log?: Logger
}

/** Of all servers that start together, one migrates. */
const LOCK_MIGRATIONS = sql`select
  set_config('lock_timeout', '0', true), set_config('statement_timeout', '0', true),
  pg_advisory_xact_lock(hashtext('meerkat migrations'), hashtext(current_schema()))`

/**
 * Opens a PostgreSQL database, which must exist; other servers may have it open too. Rejects with a
 * `StorageError` that names the hosts and the reason.
 */
export async function openPostgres(url: string, options: PostgresOptions = {}): Promise<Storage> {
  const address = parsePostgresUrl(url)
  const idleTransactionMs = options.idleTransactionMs ?? 5000
  const link = new PostgresLink({
    address,
    readers: (options.connections ?? 5) - 1,
    patienceMs: options.patienceMs ?? 10_000,
    connectTimeoutMs: 5000,
    lockTimeoutMs: options.lockTimeoutMs ?? 5000,
    statementTimeoutMs: options.statementTimeoutMs ?? 30_000,
    // Later than we do it ourselves, with a better error.
    idleTransactionMs: 2 * idleTransactionMs,
    isExclusive: options.isExclusive ?? false,
    silenceMs: options.silenceMs ?? 5000,
    log: options.log ?? silentLogger,
  })
  await link.open()
  const maxPendingBytes = options.maxPendingBytes ?? 256 * 1024 * 1024
  const queue = new PostgresQueue(link, { idleTransactionMs, maxPendingBytes })
  return new PostgresStorage(address.name, queue, new PostgresFences(queue, link))
}

class PostgresStorage extends QueuedStorage {
  readonly dialect = 'postgresql'
  readonly isShared = true
  readonly fences: Fences
  readonly #name: string

  constructor(name: string, queue: PostgresQueue, fences: Fences) {
    super(queue, new Kysely<Schema>({ dialect: postgresDialect(queue) }))
    this.#name = name
    this.fences = fences
  }

  async migrate(migrations: readonly Migration[]): Promise<void> {
    await refuseUnfinished(this, this.#name)
    await runMigrations(this.db, migrations, postgresTypes, {
      database: this.#name,
      lock: async (transaction) => {
        await LOCK_MIGRATIONS.execute(transaction)
      },
    })
  }
}

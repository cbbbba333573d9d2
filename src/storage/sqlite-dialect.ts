import {
  type CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  type Kysely,
  type QueryResult,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
  sql,
  type TransactionSettings,
} from 'kysely'
import { type ColumnTypes, StorageError } from '../core/storage.ts'
import type { StatementReply } from './sqlite-protocol.ts'
import type { SqliteQueue } from './sqlite-queue.ts'
import type { SqliteTransaction } from './sqlite-transaction.ts'

export const columnTypes: ColumnTypes = {
  text: sql`text`,
  bytes: sql`blob`,
  serialKey: sql`integer primary key autoincrement`,
}

/** Kysely over the worker: single queries join the group commit, transactions stand alone. */
export class QueueDialect implements Dialect {
  readonly #queue: SqliteQueue

  constructor(queue: SqliteQueue) {
    this.#queue = queue
  }

  createDriver(): Driver {
    return new QueueDriver(this.#queue)
  }

  createQueryCompiler(): SqliteQueryCompiler {
    return new SqliteQueryCompiler()
  }

  createAdapter(): SqliteAdapter {
    return new QueueAdapter()
  }

  // biome-ignore lint/suspicious/noExplicitAny: the signature of Kysely's interface
  createIntrospector(db: Kysely<any>): SqliteIntrospector {
    return new SqliteIntrospector(db)
  }
}

/** Kysely need not queue what the worker's queue already orders. */
class QueueAdapter extends SqliteAdapter {
  override get supportsMultipleConnections(): boolean {
    return true
  }
}

class QueueDriver implements Driver {
  readonly #queue: SqliteQueue

  constructor(queue: SqliteQueue) {
    this.#queue = queue
  }

  async init(): Promise<void> {}

  async acquireConnection(): Promise<QueueConnection> {
    return new QueueConnection(this.#queue)
  }

  async beginTransaction(
    connection: QueueConnection,
    settings: TransactionSettings,
  ): Promise<void> {
    connection.transaction = await this.#queue.begin(settings.accessMode === 'read only')
  }

  async commitTransaction(connection: QueueConnection): Promise<void> {
    await connection.transaction?.commit()
  }

  async rollbackTransaction(connection: QueueConnection): Promise<void> {
    await connection.transaction?.rollback()
  }

  async savepoint(connection: QueueConnection, name: string): Promise<void> {
    await connection.transaction?.run(`savepoint "${name}"`, [])
  }

  async rollbackToSavepoint(connection: QueueConnection, name: string): Promise<void> {
    await connection.transaction?.run(`rollback to "${name}"`, [])
  }

  async releaseSavepoint(connection: QueueConnection, name: string): Promise<void> {
    await connection.transaction?.run(`release "${name}"`, [])
  }

  async releaseConnection(): Promise<void> {}

  /** The storage closes the database. */
  async destroy(): Promise<void> {}
}

class QueueConnection implements DatabaseConnection {
  readonly #queue: SqliteQueue
  transaction: SqliteTransaction | undefined

  constructor(queue: SqliteQueue) {
    this.#queue = queue
  }

  async executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    const { sql, parameters } = query
    const reply = this.transaction
      ? await this.transaction.run(sql, parameters)
      : await this.#queue.query(sql, parameters, isReadOnly(query))
    return toResult<R>(reply)
  }

  // biome-ignore lint/correctness/useYield: it only refuses
  async *streamQuery<R>(): AsyncIterableIterator<QueryResult<R>> {
    throw new StorageError('other', 'Read pages of bounded size instead of a stream')
  }
}

function isReadOnly({ query, sql }: CompiledQuery): boolean {
  if (query.kind === 'SelectQueryNode') return true
  return query.kind === 'RawNode' && /^\s*(select|pragma|explain)\b/i.test(sql)
}

function toResult<R>(reply: StatementReply): QueryResult<R> {
  if (typeof reply === 'number') return { numAffectedRows: BigInt(reply), rows: [] }
  // Kysely knows the types of the columns from its schema.
  return { numAffectedRows: BigInt(reply.length), rows: reply as readonly unknown[] as R[] }
}

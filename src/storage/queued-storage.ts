import type { Kysely } from 'kysely'
import type { Fences } from '../core/fences.ts'
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
import type { StatementQueue } from './dialects.ts'
import { type StatementReply, toRows, toWriteResult } from './statements.ts'

/** What orders the statements of constant texts for one database. */
export interface StorageQueue extends StatementQueue {
  readonly load: StorageLoad
  read<T>(
    sql: string,
    parameters: readonly unknown[],
    shape: (reply: StatementReply) => T,
  ): Promise<T>
  write<T>(
    sql: string,
    parameters: readonly unknown[],
    shape: (reply: StatementReply) => T,
  ): Promise<T>
  writeAll(statements: readonly Statement[]): Promise<readonly StatementReply[]>
  close(): Promise<void>
}

/** A database behind a queue, whichever it is. */
export abstract class QueuedStorage implements Storage {
  abstract readonly dialect: Storage['dialect']
  abstract readonly isShared: boolean
  abstract readonly fences: Fences
  readonly db: Kysely<Schema>
  readonly #queue: StorageQueue

  constructor(queue: StorageQueue, db: Kysely<Schema>) {
    this.#queue = queue
    this.db = db
  }

  abstract migrate(migrations: readonly Migration[]): Promise<void>

  write<Row = SqlRow>(text: string, parameters: readonly SqlValue[]): Promise<WriteResult<Row>> {
    return this.#queue.write(text, parameters, toWriteResult<Row>)
  }

  async writeAll(statements: readonly Statement[]): Promise<readonly WriteResult[]> {
    if (statements.length === 0) return []
    const replies = await this.#queue.writeAll(statements)
    return replies.map(toWriteResult<SqlRow>)
  }

  read<Row = SqlRow>(text: string, parameters: readonly SqlValue[]): Promise<readonly Row[]> {
    return this.#queue.read(text, parameters, toRows<Row>)
  }

  get load(): StorageLoad {
    return this.#queue.load
  }

  close(): Promise<void> {
    return this.#queue.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

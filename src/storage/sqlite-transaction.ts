import { StorageError } from '../core/storage.ts'
import {
  type Batch,
  COMMIT,
  INSIDE,
  pushStatement,
  ROLLBACK,
  type StatementReply,
} from './sqlite-protocol.ts'

interface Link {
  post(batch: Batch): Promise<StatementReply>
  /** The database is free for others. */
  ended(): void
}

/**
 * A transaction that has the database to itself. Since everybody waits for it, it is rolled back
 * when it stands idle for too long: a fault of one caller must not stop the server.
 */
export class SqliteTransaction {
  readonly #link: Link
  readonly #idle: NodeJS.Timeout
  #underWay = 0
  #over: StorageError | undefined

  constructor(link: Link, idleMs: number) {
    this.#link = link
    this.#idle = setTimeout(() => this.#expire(idleMs), idleMs)
  }

  async begin(operation: number): Promise<void> {
    try {
      await this.#post([operation])
    } catch (error) {
      this.abandon(error as StorageError)
      throw error
    }
  }

  run(sql: string, parameters: readonly unknown[]): Promise<StatementReply> {
    const batch: Batch = [INSIDE]
    pushStatement(batch, sql, parameters)
    return this.#post(batch)
  }

  async commit(): Promise<void> {
    const committed = this.#post([COMMIT])
    // Whatever others post from now on comes after the commit.
    this.abandon(OVER)
    await committed
  }

  async rollback(): Promise<void> {
    if (this.#over) return
    const rolledBack = this.#post([ROLLBACK])
    this.abandon(OVER)
    await rolledBack
  }

  /** Ends it without a word to the worker. Later statements fail with `why`. */
  abandon(why: StorageError): void {
    if (this.#over) return
    this.#over = why
    clearTimeout(this.#idle)
    this.#link.ended()
  }

  async #post(batch: Batch): Promise<StatementReply> {
    if (this.#over) throw this.#over
    this.#underWay++
    try {
      return await this.#link.post(batch)
    } finally {
      this.#underWay--
      if (!this.#over) this.#idle.refresh()
    }
  }

  #expire(idleMs: number): void {
    if (this.#underWay > 0) {
      this.#idle.refresh()
      return
    }
    // The rollback may fail only with the worker, and then there is nothing left to roll back.
    this.#link.post([ROLLBACK]).catch(() => {})
    const message = `The transaction stood idle for ${idleMs} ms and was rolled back`
    this.abandon(new StorageError('other', message))
  }
}

const OVER = new StorageError('other', 'The transaction has ended')

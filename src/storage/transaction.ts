import { StorageError } from '../core/storage.ts'
import type { StatementReply } from './statements.ts'

/** How a transaction speaks to its database. */
interface Link {
  begin(): Promise<unknown>
  run(sql: string, parameters: readonly unknown[]): Promise<StatementReply>
  commit(): Promise<unknown>
  rollback(): Promise<unknown>
  /** The database is free for others: what they ask for comes after what was said here. */
  ended(): void
}

/**
 * A transaction that has the database to itself. Since everybody waits for it, it is rolled back
 * when it stands idle for too long: a fault of one caller must not stop the server.
 */
export class Transaction {
  readonly #link: Link
  readonly #idle: NodeJS.Timeout
  #underWay = 0
  #over: StorageError | undefined

  constructor(link: Link, idleMs: number) {
    this.#link = link
    this.#idle = setTimeout(() => this.#expire(idleMs), idleMs)
  }

  async begin(): Promise<void> {
    try {
      await this.#tracked(() => this.#link.begin())
    } catch (error) {
      this.abandon(error as StorageError)
      throw error
    }
  }

  run(sql: string, parameters: readonly unknown[]): Promise<StatementReply> {
    return this.#tracked(() => this.#link.run(sql, parameters))
  }

  async commit(): Promise<void> {
    const committed = this.#tracked(() => this.#link.commit())
    // Whatever others post from now on comes after the commit.
    this.abandon(OVER)
    await committed
  }

  async rollback(): Promise<void> {
    if (this.#over) return
    const rolledBack = this.#tracked(() => this.#link.rollback())
    this.abandon(OVER)
    await rolledBack
  }

  /** Ends it without a word to the database. Later statements fail with `why`. */
  abandon(why: StorageError): void {
    if (this.#over) return
    this.#over = why
    clearTimeout(this.#idle)
    this.#link.ended()
  }

  async #tracked<T>(act: () => Promise<T>): Promise<T> {
    if (this.#over) throw this.#over
    this.#underWay++
    try {
      return await act()
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
    // The rollback may fail only with the connection, and then there is nothing left to roll back.
    this.#link.rollback().catch(() => {})
    const message = `The transaction stood idle for ${idleMs} ms and was rolled back`
    this.abandon(new StorageError('other', message))
  }
}

const OVER = new StorageError('other', 'The transaction has ended')

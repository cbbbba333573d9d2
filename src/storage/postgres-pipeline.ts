import type { Connection, Submittable } from 'pg'
import { type SqlRow, StorageError } from '../core/storage.ts'
import { PostgresFailure } from './postgres-errors.ts'
import { type Column, toColumns, toRow, type WireValue } from './postgres-values.ts'
import type { StatementReply } from './statements.ts'

/** One statement as it goes to the server. */
export type Command = {
  /** With `$1`, `$2` … for its parameters. */
  readonly text: string
  readonly values: readonly WireValue[]
}

/** Texts that one connection keeps prepared; any beyond these are read anew each time. */
const MAX_PREPARED = 512

type Prepared = {
  readonly name: string
  /** `unsure`: the server may have it or not, since something failed. */
  state: 'new' | 'ready' | 'unsure'
  /** What it yields; `undefined` for nothing. */
  columns: readonly Column[] | undefined
}

/** The statements that one connection has prepared. */
export class PreparedStatements {
  readonly #byText = new Map<string, Prepared>()

  of(text: string): Prepared {
    const known = this.#byText.get(text)
    if (known !== undefined) return known
    const isFull = this.#byText.size >= MAX_PREPARED
    const name = isFull ? '' : `m${this.#byText.size}`
    const prepared: Prepared = { name, state: 'new', columns: undefined }
    if (!isFull) this.#byText.set(text, prepared)
    return prepared
  }
}

/** An error where the statement was carried out, but what it yields cannot be read. */
export type PipelineReply = StatementReply | StorageError

export type Outcome =
  | { readonly replies: readonly PipelineReply[] }
  | { readonly failure: PostgresFailure; readonly failedAt: number }

type Listeners = {
  readonly done: (outcome: Outcome) => void
  /** The server has answered something. */
  readonly progressed: () => void
  /** Each statement sees what was committed by now, and nothing later. */
  readonly bound?: (() => void) | undefined
}

/**
 * Statements that go to the server in one write, and are one transaction: PostgreSQL begins one with
 * the first and commits it at the `Sync` behind the last ("Extended Query", "Pipelining" in the
 * chapter on its protocol). They are stored when it says that it is ready.
 *
 * Plugs into `pg` like its cursors do. Texts that the connection knows are neither sent nor described
 * again.
 */
export class Pipeline implements Submittable {
  readonly #commands: readonly Command[]
  readonly #statements: PreparedStatements
  readonly #listeners: Listeners
  readonly #prepared: Prepared[] = []
  /** In the order in which the server will describe them. */
  readonly #undescribed: Prepared[] = []
  readonly #replies: PipelineReply[] = []
  /** Of the statement that is being answered. */
  #rows: SqlRow[] = []
  #unreadable: StorageError | undefined
  #described = 0
  #bound = 0
  #isOver = false

  constructor(commands: readonly Command[], statements: PreparedStatements, listeners: Listeners) {
    this.#commands = commands
    this.#statements = statements
    this.#listeners = listeners
  }

  submit(connection: Connection): undefined {
    const { stream } = connection
    stream.cork()
    if (this.#listeners.bound === undefined) this.#submitInOrder(connection)
    else this.#submitBoundFirst(connection)
    connection.sync()
    stream.uncork()
  }

  #submitInOrder(connection: Connection): void {
    for (const { text, values } of this.#commands) {
      const statement = this.#prepare(connection, text)
      connection.bind({ statement, values: values as WireValue[] }, true)
      connection.execute({}, true)
    }
  }

  /** A query's snapshot is taken when it is bound; the answers to that do not wait for its rows. */
  #submitBoundFirst(connection: Connection): void {
    for (const [index, { text, values }] of this.#commands.entries()) {
      const statement = this.#prepare(connection, text)
      connection.bind({ portal: `p${index}`, statement, values: values as WireValue[] }, true)
    }
    connection.flush()
    for (const index of this.#commands.keys()) {
      connection.execute({ portal: `p${index}` }, true)
    }
  }

  /** Returns the name to bind. */
  #prepare(connection: Connection, text: string): string {
    const prepared = this.#statements.of(text)
    const { name } = prepared
    this.#prepared.push(prepared)
    if (prepared.state === 'ready' || this.#undescribed.includes(prepared)) return name
    if (prepared.state === 'unsure') connection.close({ type: 'S', name }, true)
    connection.parse({ name, text, types: [] }, true)
    connection.describe({ type: 'S', name }, true)
    this.#undescribed.push(prepared)
    return name
  }

  /** The server has described the next statement; without fields it yields no rows. */
  described(fields?: readonly { readonly name: string; readonly dataTypeID: number }[]): void {
    const prepared = this.#undescribed[this.#described++]
    if (prepared === undefined) return
    prepared.columns = fields === undefined ? undefined : toColumns(fields)
  }

  bindComplete(): void {
    if (++this.#bound === this.#commands.length) this.#listeners.bound?.()
  }

  handleRowDescription({
    fields,
  }: {
    readonly fields: readonly { readonly name: string; readonly dataTypeID: number }[]
  }): void {
    this.described(fields)
  }

  handleDataRow({ fields }: { readonly fields: readonly (string | null)[] }): void {
    const columns = this.#prepared[this.#replies.length]?.columns
    if (columns === undefined || this.#unreadable !== undefined) return
    try {
      this.#rows.push(toRow(columns, fields))
    } catch (error) {
      if (!(error instanceof StorageError)) throw error
      this.#unreadable = error
    }
  }

  handleCommandComplete({ text }: { readonly text: string }): void {
    this.#listeners.progressed()
    const prepared = this.#prepared[this.#replies.length]
    if (prepared === undefined) return
    prepared.state = 'ready'
    if (prepared.columns !== undefined) {
      this.#replies.push(this.#unreadable ?? this.#rows)
      this.#rows = []
      this.#unreadable = undefined
    } else if (text === 'ROLLBACK' && this.#commands[this.#replies.length]?.text === 'commit') {
      // PostgreSQL does not call it an error.
      this.#replies.push(new StorageError('other', 'A statement of the transaction had failed'))
    } else {
      // `INSERT 0 3`, `DELETE 2`, `CREATE TABLE`
      this.#replies.push(Number(text.slice(text.lastIndexOf(' ') + 1)) || 0)
    }
  }

  handleEmptyQuery(): void {
    this.#replies.push(0)
  }

  handleReadyForQuery(): void {
    this.#finish({ replies: this.#replies })
  }

  /** The server skips all that comes before the `Sync`, and has undone what it did. */
  handleError(cause: unknown): void {
    for (const prepared of this.#undescribed) {
      if (prepared.state !== 'ready') prepared.state = 'unsure'
    }
    this.#finish({ failure: new PostgresFailure(cause), failedAt: this.#replies.length })
  }

  handlePortalSuspended(): void {}
  handleCopyInResponse(connection: Connection): void {
    connection.stream.destroy(new Error('A statement asks for data to copy'))
  }
  handleCopyData(): void {}

  #finish(outcome: Outcome): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#listeners.done(outcome)
  }
}

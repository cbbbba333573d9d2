import { type Statement, StorageError, type StorageLoad } from '../core/storage.ts'
import type { StatementQueue } from './dialects.ts'
import type { PostgresFailure } from './postgres-errors.ts'
import { mayFindAnother, type PostgresLink } from './postgres-link.ts'
import type { Command, PipelineReply } from './postgres-pipeline.ts'
import type { PostgresSession } from './postgres-session.ts'
import { numbered, toWire, type WireValue } from './postgres-values.ts'
import {
  closedError,
  overloadedError,
  REQUEST_BYTES,
  type StatementReply,
  weigh,
} from './statements.ts'
import { Transaction } from './transaction.ts'

/** Constant texts whose spelling for PostgreSQL is remembered. */
const MAX_TRANSLATED = 1024
/** Statements of one transaction: beyond, others that wait for the same rows would wait too long. */
const MAX_GROUPED = 2000
/** How often a statement is tried that was in the way of another server's. */
const MAX_ATTEMPTS = 5

export interface QueueSettings {
  readonly idleTransactionMs: number
  readonly maxPendingBytes: number
}

/** What one caller asked for. */
type Unit = {
  readonly commands: readonly Command[]
  /** It changes nothing, so it may be asked again. */
  readonly isRead: boolean
  readonly bytes: number
  /** When it was asked for, in milliseconds of `performance.now()`. */
  readonly at: number
  readonly answer: (replies: readonly StatementReply[]) => void
  readonly fail: (error: StorageError) => void
  attempts: number
}

/** The turn of a transaction. */
type Gate = {
  readonly at: number
  readonly enter: (session: PostgresSession) => void
  readonly fail: (error: StorageError) => void
}

/**
 * Orders what all callers ask for. What gathers while one group is under way makes up the next: one
 * write to the server, one transaction, one flush of its disk. A group of queries alone goes to a
 * connection of its own, and the next need only wait until it has taken its snapshot.
 *
 * While there is no connection, everything waits, but not for ever, and not more than is allowed.
 */
export class PostgresQueue implements StatementQueue {
  readonly #link: PostgresLink
  readonly #settings: QueueSettings
  readonly #translated = new Map<string, string>()
  #waiting: (Unit | Gate)[] = []
  #pendingBytes = 0
  #requests = 0
  #batches = 0
  #milliseconds = 0
  /** Something runs that others have to wait for. */
  #isBusy = false
  /** Queries under way beside it. */
  #aside = 0
  #isScheduled = false
  #expiry: NodeJS.Timeout | undefined
  #closed: Promise<void> | undefined
  #idle: (() => void) | undefined

  constructor(link: PostgresLink, settings: QueueSettings) {
    this.#link = link
    this.#settings = settings
    link.onConnected = () => this.#pump()
  }

  get load(): StorageLoad {
    return {
      waiting: this.#requests,
      waitingBytes: this.#pendingBytes,
      batches: this.#batches,
      seconds: this.#milliseconds / 1000,
    }
  }

  /** `sql` is a constant of the program. Resolves to what `shape` makes of the reply. */
  read<T>(
    sql: string,
    parameters: readonly unknown[],
    shape: (reply: StatementReply) => T,
  ): Promise<T> {
    return this.#ask(this.#translate(sql), parameters, true, shape)
  }

  /** `sql` is a constant of the program. Resolves to what `shape` makes of the reply. */
  write<T>(
    sql: string,
    parameters: readonly unknown[],
    shape: (reply: StatementReply) => T,
  ): Promise<T> {
    return this.#ask(this.#translate(sql), parameters, false, shape)
  }

  writeAll(statements: readonly Statement[]): Promise<readonly StatementReply[]> {
    return new Promise((resolve, reject) => {
      let weight = 0
      for (const { parameters } of statements) weight += weigh(parameters)
      const commands = statements.map(({ sql, parameters }) => ({
        text: this.#translate(sql),
        values: toWire(parameters),
      }))
      this.#enqueue(commands, false, weight, resolve, reject)
    })
  }

  /** As `read` and `write`, for a text built at run time, in PostgreSQL's spelling. */
  query(text: string, parameters: readonly unknown[], isRead: boolean): Promise<StatementReply> {
    // Kysely has some of its own, which no column of ours holds.
    const plain = parameters.map((value) => (typeof value === 'boolean' ? String(value) : value))
    return this.#ask(text, plain, isRead, (reply) => reply)
  }

  begin(isReadOnly: boolean): Promise<Transaction> {
    if (this.#closed) return Promise.reject(closedError())
    return new Promise((resolve, reject) => {
      const enter = (session: PostgresSession) => {
        const transaction = this.#transaction(session, isReadOnly)
        transaction.begin().then(() => resolve(transaction), reject)
      }
      this.#put({ at: performance.now(), enter, fail: reject })
    })
  }

  /** Finishes what was asked for, as far as there is a server to do it. */
  close(): Promise<void> {
    this.#closed ??= new Promise<void>((resolve) => {
      this.#idle = resolve
      this.#pump()
    }).then(() => this.#link.close())
    return this.#closed
  }

  #ask<T>(
    text: string,
    parameters: readonly unknown[],
    isRead: boolean,
    shape: (reply: StatementReply) => T,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      const weight = weigh(parameters)
      const command = { text, values: toWire(parameters) }
      const answer = ([reply]: readonly StatementReply[]) => resolve(shape(reply ?? 0))
      this.#enqueue([command], isRead, weight, answer, reject)
    })
  }

  #enqueue(
    commands: readonly Command[],
    isRead: boolean,
    weight: number,
    answer: (replies: readonly StatementReply[]) => void,
    fail: (error: StorageError) => void,
  ): void {
    if (this.#closed) throw closedError()
    const bytes = REQUEST_BYTES + weight
    if (this.#pendingBytes + bytes > this.#settings.maxPendingBytes) throw overloadedError()
    this.#pendingBytes += bytes
    this.#requests++
    this.#put({ commands, isRead, bytes, at: performance.now(), answer, fail, attempts: 0 })
  }

  #put(item: Unit | Gate): void {
    this.#waiting.push(item)
    if (this.#isBusy || this.#isScheduled) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      this.#pump()
    })
  }

  #translate(sql: string): string {
    const known = this.#translated.get(sql)
    if (known !== undefined) return known
    const text = numbered(sql)
    if (this.#translated.size < MAX_TRANSLATED) this.#translated.set(sql, text)
    return text
  }

  /** Begins what is next, if nothing has to be waited for. */
  #pump(): void {
    if (this.#isBusy) return
    const [first] = this.#waiting
    if (first === undefined) {
      if (this.#aside === 0) this.#idle?.()
      return
    }
    const session = this.#link.session
    if (session === undefined) {
      this.#expiry ??= setInterval(() => this.#expire(), this.#link.patienceMs / 20)
      return
    }
    clearInterval(this.#expiry)
    this.#expiry = undefined
    this.#isBusy = true
    if ('enter' in first) {
      this.#waiting.shift()
      first.enter(session)
    } else {
      const group = this.#takeGroup()
      if (group.every(({ isRead }) => isRead)) this.#query(session, group)
      else void this.#carryOut(session, group)
    }
  }

  #free(): void {
    this.#isBusy = false
    this.#pump()
  }

  #takeGroup(): Unit[] {
    const group: Unit[] = []
    let count = 0
    for (const item of this.#waiting) {
      if ('enter' in item || count >= MAX_GROUPED) break
      group.push(item)
      count += item.commands.length
    }
    this.#waiting = group.length === this.#waiting.length ? [] : this.#waiting.slice(group.length)
    return group
  }

  /** Queries alone, beside all else where a connection is free. */
  #query(session: PostgresSession, group: readonly Unit[]): void {
    const reader = group.every(({ attempts }) => attempts === 0) && this.#link.takeReader()
    if (!reader) {
      void this.#carryOut(session, group)
      return
    }
    let isHolding = true
    const release = () => {
      if (!isHolding) return
      isHolding = false
      this.#free()
    }
    this.#aside++
    void reader.run(commandsOf(group), release).then((outcome) => {
      this.#aside--
      this.#link.giveBack(reader)
      if ('replies' in outcome) this.#answer(group, outcome.replies)
      // Once more, where failures are told apart.
      else this.#repeat(group)
      release()
      this.#pump()
    })
  }

  async #carryOut(session: PostgresSession, group: readonly Unit[]): Promise<void> {
    let left = group
    for (let failures = 0; left.length > 0; failures++) {
      // At first together; then without the one that spoilt it; then each by itself.
      const together = failures < 2 ? left : left.slice(0, 1)
      const outcome = await session.run(commandsOf(together))
      if ('replies' in outcome) {
        this.#answer(together, outcome.replies)
        left = left.slice(together.length)
        continue
      }
      const { failure, failedAt } = outcome
      if (failure.isOutdated) session.destroy()
      if (failure.isReadOnly) this.#link.search(session)
      if (failure.mayRepeat || failure.isOutdated || mayFindAnother(failure, session)) {
        this.#repeat(left, failure.error)
        break
      }
      // Nobody's fault in particular: the commit failed, or nobody would fare better.
      const failed = failure.isWide ? undefined : unitAt(together, failedAt)
      if (failed === undefined) this.#fail(together, outcome)
      else this.#reject(failed, failure.error)
      if (failure.isWide) {
        this.#fail(left.slice(together.length), outcome)
        break
      }
      left = left.filter((unit) => unit !== failed && (failed || !together.includes(unit)))
    }
    this.#free()
  }

  /** All that was written with them is undone, or nobody knows; queries are asked again. */
  #fail(
    group: readonly Unit[],
    { failure, failedAt }: { readonly failure: PostgresFailure; readonly failedAt: number },
  ): void {
    const culprit = failure.isLost ? undefined : unitAt(group, failedAt)
    for (const unit of group) {
      if (!unit.isRead || unit === culprit) this.#reject(unit, failure.error)
    }
    this.#repeat(
      group.filter((unit) => unit.isRead && unit !== culprit),
      failure.error,
    )
  }

  /** Before all that came later. */
  #repeat(group: readonly Unit[], error?: StorageError): void {
    const repeated: Unit[] = []
    for (const unit of group) {
      if (++unit.attempts < MAX_ATTEMPTS || error === undefined) repeated.push(unit)
      else this.#reject(unit, error)
    }
    this.#waiting.unshift(...repeated)
  }

  #answer(group: readonly Unit[], replies: readonly PipelineReply[]): void {
    let next = 0
    this.#batches++
    this.#milliseconds += performance.now() - (group[0]?.at ?? 0)
    this.#requests -= group.length
    for (const unit of group) {
      const own = replies.slice(next, next + unit.commands.length)
      next += unit.commands.length
      this.#pendingBytes -= unit.bytes
      const unreadable = own.find((reply) => reply instanceof StorageError)
      if (unreadable instanceof StorageError) unit.fail(unreadable)
      else unit.answer(own as StatementReply[])
    }
  }

  #reject(unit: Unit, error: StorageError): void {
    this.#requests--
    this.#pendingBytes -= unit.bytes
    unit.fail(error)
  }

  /** While there is no connection: what has waited long enough hears so. */
  #expire(): void {
    const latest = performance.now() - this.#link.patienceMs
    const error = this.#link.unreachable('busy')
    while (this.#waiting[0] !== undefined && this.#waiting[0].at < latest) {
      const item = this.#waiting.shift()
      if (item === undefined) break
      if ('enter' in item) item.fail(error)
      else this.#reject(item, error)
    }
    if (this.#waiting.length > 0) return
    clearInterval(this.#expiry)
    this.#expiry = undefined
    this.#pump()
  }

  #transaction(session: PostgresSession, isReadOnly: boolean): Transaction {
    let last: Promise<unknown> = Promise.resolve()
    const perform = async (text: string, values: readonly WireValue[]) => {
      const outcome = await session.run([{ text, values }])
      if ('failure' in outcome) throw outcome.failure.error
      const [reply] = outcome.replies
      if (reply instanceof StorageError) throw reply
      return reply ?? 0
    }
    // One after the other, as they were asked for.
    const run = (text: string, parameters: readonly unknown[] = []) => {
      const values = toWire(parameters)
      const performed = last.then(() => perform(text, values))
      last = performed.catch(() => {})
      return performed
    }
    return new Transaction(
      {
        // As in SQLite, all that it reads is of one moment.
        begin: () => run(isReadOnly ? 'begin isolation level repeatable read read only' : 'begin'),
        run,
        commit: () => run('commit'),
        rollback: () => run('rollback'),
        ended: () => void last.then(() => this.#free()),
      },
      this.#settings.idleTransactionMs,
    )
  }
}

function commandsOf(group: readonly Unit[]): readonly Command[] {
  const [only] = group
  return group.length === 1 && only ? only.commands : group.flatMap(({ commands }) => commands)
}

/** Whose command it is; none is the commit. */
function unitAt(group: readonly Unit[], command: number): Unit | undefined {
  let next = 0
  for (const unit of group) {
    next += unit.commands.length
    if (next > command) return unit
  }
  return undefined
}

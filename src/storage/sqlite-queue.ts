import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { NodeRun } from '../core/cluster.ts'
import { type Statement, StorageError, type StorageLoad } from '../core/storage.ts'
import {
  type Batch,
  BEGIN,
  BEGIN_READING,
  CLOSE,
  COMMIT,
  DEFINE,
  ENTER,
  type Failure,
  INSIDE,
  LEAVE,
  type Opened,
  pushStatement,
  READ,
  type Replies,
  type Reply,
  ROLLBACK,
  type SqliteSettings,
  type WorkerData,
  WRITE,
  WRITE_ALL,
} from './sqlite-protocol.ts'
import {
  closedError,
  overloadedError,
  REQUEST_BYTES,
  type StatementReply,
  weigh,
} from './statements.ts'
import { Transaction } from './transaction.ts'

/** Constant texts that the worker knows by number; any beyond these are sent in full. */
const MAX_DEFINED = 512
/** A worker that stopped is started anew by the next request; if it could not open the file, not sooner. */
const RETRY_AFTER_MS = 1000

export interface QueueSettings extends SqliteSettings {
  readonly idleTransactionMs: number
  readonly maxPendingBytes: number
}

interface Waiter {
  answer(reply: Reply): void
  fail(error: StorageError): void
}

/** One message that was posted and is not answered yet. */
interface Sent {
  readonly waiters: readonly Waiter[]
  readonly bytes: number
  /** When it left, milliseconds of `performance.now()`. */
  at: number
}

/**
 * The way to the worker and back. Requests of one turn of the event loop leave in one message, and
 * the worker runs all messages that have arrived in one transaction. So while one flush of the
 * disk is under way the next group gathers, and the load itself decides how many share a flush.
 */
export class SqliteQueue {
  readonly #settings: QueueSettings

  #worker: Worker | undefined
  /** Why the last worker stopped, and when another may be tried. */
  #stopped: { readonly error: StorageError; readonly retryAt: number } | undefined
  #defined = new Map<string, number>()
  #sent: Sent[] = []

  /** The next message, as it grows. */
  #batch: Batch = []
  #waiters: Waiter[] = []
  #batchBytes = 0
  #pendingBytes = 0
  /** Of those that were posted. */
  #requests = 0
  #batches = 0
  #milliseconds = 0

  /** The transaction that everything else waits for. */
  #transaction: Transaction | undefined
  /** Settles when the last transaction asked for so far has ended. */
  #turn: Promise<void> = Promise.resolve()
  #closed: Promise<void> | undefined
  /** Whose writes these are. */
  #run: NodeRun | undefined
  #onShutOut: () => void = () => {}

  constructor(settings: QueueSettings) {
    this.#settings = settings
  }

  get load(): StorageLoad {
    return {
      waiting: this.#requests + this.#waiters.length,
      waitingBytes: this.#pendingBytes,
      batches: this.#batches,
      seconds: this.#milliseconds / 1000,
    }
  }

  /** Starts the worker and waits until it has the file open. */
  open(): Promise<void> {
    return new Promise((resolve, reject) => this.#start(resolve, reject))
  }

  /** `sql` is a constant of the program. Resolves to what `shape` makes of the reply. */
  read<T>(
    sql: string,
    parameters: readonly unknown[],
    shape: (reply: StatementReply) => T,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      const bytes = this.#admit(weigh(parameters))
      this.#put(READ, this.#reference(sql), parameters)
      this.#enqueue(bytes, (reply) => resolve(shape(reply as StatementReply)), reject)
    })
  }

  /** `sql` is a constant of the program. Resolves to what `shape` makes of the reply. */
  write<T>(
    sql: string,
    parameters: readonly unknown[],
    shape: (reply: StatementReply) => T,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      const bytes = this.#admit(weigh(parameters))
      this.#put(WRITE, this.#reference(sql), parameters)
      this.#enqueue(bytes, (reply) => resolve(shape(reply as StatementReply)), reject)
    })
  }

  writeAll(statements: readonly Statement[]): Promise<readonly StatementReply[]> {
    return new Promise((resolve, reject) => {
      let weight = 0
      for (const { parameters } of statements) weight += weigh(parameters)
      const bytes = this.#admit(weight)
      // Definitions go before the request, not into it.
      const references = statements.map(({ sql }) => this.#reference(sql))
      this.#batch.push(WRITE_ALL, statements.length)
      for (const [index, { parameters }] of statements.entries()) {
        pushStatement(this.#batch, references[index] ?? '', parameters)
      }
      this.#enqueue(bytes, (reply) => resolve(reply as readonly StatementReply[]), reject)
    })
  }

  /** As `read` and `write`, for a text built at run time. */
  query(sql: string, parameters: readonly unknown[], isReadOnly: boolean): Promise<StatementReply> {
    return new Promise((resolve, reject) => {
      const bytes = this.#admit(weigh(parameters) + sql.length)
      this.#put(isReadOnly ? READ : WRITE, sql, parameters)
      this.#enqueue(bytes, (reply) => resolve(reply as StatementReply), reject)
    })
  }

  /** Waits for its turn; from then on nothing else runs until the transaction has ended. */
  async begin(isReadOnly: boolean): Promise<Transaction> {
    if (this.#closed) throw closedError()
    const previous = this.#turn
    const { promise: ended, resolve: end } = Promise.withResolvers<void>()
    this.#turn = ended
    await previous
    this.#flush()
    const link = {
      begin: () => this.#postOne([isReadOnly ? BEGIN_READING : BEGIN]),
      run: (sql: string, parameters: readonly unknown[]) => {
        const batch: Batch = [INSIDE]
        pushStatement(batch, sql, parameters)
        return this.#postOne(batch)
      },
      commit: () => this.#postOne([COMMIT]),
      rollback: () => this.#postOne([ROLLBACK]),
      ended: () => {
        this.#transaction = undefined
        this.#flush()
        end()
      },
    }
    const transaction = new Transaction(link, this.#settings.idleTransactionMs)
    this.#transaction = transaction
    await transaction.begin()
    return transaction
  }

  /**
   * What is written from here on is this run's, and refused once it is shut out: `onShutOut` is called for
   * each write that is.
   */
  enter(run: NodeRun, onShutOut: () => void): Promise<void> {
    return this.#betweenTransactions(() => {
      this.#run = run
      this.#onShutOut = onShutOut
      return this.#postOne([ENTER, run.node, run.epoch])
    })
  }

  /** Resolves when all that was written before is stored. */
  leave(): Promise<void> {
    return this.#betweenTransactions(() => {
      this.#run = undefined
      return this.#postOne([LEAVE])
    })
  }

  async #betweenTransactions(work: () => Promise<unknown>): Promise<void> {
    const previous = this.#turn
    const { promise: ended, resolve: end } = Promise.withResolvers<void>()
    this.#turn = ended
    await previous
    this.#flush()
    try {
      await work()
    } finally {
      end()
    }
  }

  /** Finishes what was asked for, transactions included. */
  close(): Promise<void> {
    this.#closed ??= this.#finish()
    return this.#closed
  }

  async #finish(): Promise<void> {
    await this.#turn
    this.#flush()
    const worker = this.#worker
    if (!worker) return
    const exited = new Promise((resolve) => worker.once('exit', resolve))
    await this.#postOne([CLOSE])
    await exited
  }

  /** Counts the request in, or refuses it. */
  #admit(weight: number): number {
    if (this.#closed) throw closedError()
    const bytes = REQUEST_BYTES + weight
    if (this.#pendingBytes + bytes > this.#settings.maxPendingBytes) {
      throw overloadedError()
    }
    return bytes
  }

  #put(operation: number, reference: string | number, parameters: readonly unknown[]): void {
    this.#batch.push(operation)
    pushStatement(this.#batch, reference, parameters)
  }

  /** A number for a constant text, after telling the worker what it stands for. */
  #reference(sql: string): string | number {
    const known = this.#defined.get(sql)
    if (known !== undefined) return known
    const id = this.#defined.size
    if (id >= MAX_DEFINED) return sql
    this.#defined.set(sql, id)
    this.#batch.push(DEFINE, id, sql)
    return id
  }

  #enqueue(bytes: number, answer: (reply: Reply) => void, fail: (error: StorageError) => void) {
    if (this.#waiters.push({ answer, fail }) === 1) setImmediate(this.#flush)
    this.#batchBytes += bytes
    this.#pendingBytes += bytes
  }

  /** Posts what has gathered, unless a transaction has the database to itself. */
  readonly #flush = (): void => {
    if (this.#waiters.length === 0 || this.#transaction) return
    const sent = { waiters: this.#waiters, bytes: this.#batchBytes, at: 0 }
    const batch = this.#batch
    this.#batch = []
    this.#waiters = []
    this.#batchBytes = 0
    this.#post(batch, sent)
  }

  #postOne(batch: Batch): Promise<StatementReply> {
    return new Promise((resolve, reject) => {
      const answer = (reply: Reply) => resolve(reply as StatementReply)
      this.#post(batch, { waiters: [{ answer, fail: reject }], bytes: 0, at: 0 })
    })
  }

  #post(batch: Batch, sent: Sent): void {
    const worker = this.#worker ?? this.#restart()
    if (!worker) {
      this.#reject(sent, this.#stopped?.error ?? closedError())
      // Nobody has heard the definitions in this batch.
      this.#defined.clear()
      return
    }
    sent.at = performance.now()
    this.#sent.push(sent)
    this.#requests += sent.waiters.length
    worker.postMessage(batch)
  }

  /** A worker in place of the one that stopped, unless it is too soon to try. */
  #restart(): Worker | undefined {
    if (this.#closed || this.#settings.file === ':memory:') return undefined
    if (this.#stopped && performance.now() < this.#stopped.retryAt) return undefined
    // Who posts next learns from the answer whether it could open the file.
    return this.#start(
      () => {},
      () => {},
    )
  }

  #start(opened: () => void, failed: (error: StorageError) => void): Worker {
    // Built, this file and the worker's both end in `.js`.
    const file = new URL(`./sqlite-worker${extname(import.meta.url)}`, import.meta.url)
    const workerData: WorkerData = { settings: this.#settings, run: this.#run }
    const worker = new Worker(file, { workerData, name: 'storage' })
    this.#worker = worker
    let isOpen = false
    let cause: StorageError | undefined
    worker.once('message', ({ failure }: Opened) => {
      if (failure) {
        cause = toError(failure)
        return // It exits.
      }
      isOpen = true
      worker.on('message', this.#answer)
      opened()
    })
    worker.once('error', (error: Error) => {
      cause = new StorageError('other', `The storage worker failed: ${error.message}`, {
        cause: error,
      })
    })
    worker.once('exit', () => {
      const error = cause ?? new StorageError('other', 'The storage worker stopped')
      this.#stop(error, isOpen)
      failed(error)
    })
    return worker
  }

  readonly #answer = (replies: Replies): void => {
    for (const ofBatch of replies) {
      const sent = this.#sent.shift()
      if (!sent) throw new Error('the storage worker answered what nobody asked')
      this.#pendingBytes -= sent.bytes
      this.#requests -= sent.waiters.length
      this.#batches++
      this.#milliseconds += performance.now() - sent.at
      for (let i = 0; i < sent.waiters.length; i++) {
        const waiter = sent.waiters[i] as Waiter
        const reply = ofBatch[i] as Reply
        if (isFailure(reply)) {
          if (reply.isShutOut) this.#onShutOut()
          waiter.fail(toError(reply))
        } else waiter.answer(reply)
      }
    }
  }

  /** Whether what was under way is stored nobody can say any more; what waits cannot be sent. */
  #stop(error: StorageError, wasOpen: boolean): void {
    this.#worker = undefined
    this.#stopped = { error, retryAt: performance.now() + (wasOpen ? 0 : RETRY_AFTER_MS) }
    this.#defined.clear()
    const lost = this.#sent
    lost.push({ waiters: this.#waiters, bytes: this.#batchBytes, at: 0 })
    this.#sent = []
    this.#requests = 0
    this.#batch = []
    this.#waiters = []
    this.#batchBytes = 0
    for (const sent of lost) this.#reject(sent, error)
    this.#transaction?.abandon(error)
  }

  #reject(sent: Sent, error: StorageError): void {
    this.#pendingBytes -= sent.bytes
    for (const waiter of sent.waiters) waiter.fail(error)
  }
}

function isFailure(reply: Reply): reply is Failure {
  return typeof reply === 'object' && 'kind' in reply
}

function toError({ kind, message }: Failure): StorageError {
  return new StorageError(kind, message)
}

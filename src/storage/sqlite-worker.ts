import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import type { NodeRun } from '../core/cluster.ts'
import { ShutOut } from '../core/fences.ts'
import type { SqlRow, SqlValue } from '../core/storage.ts'
import { failureOf, openDatabase, type Unusable } from './sqlite-file.ts'
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
  READ,
  type Replies,
  type Reply,
  ROLLBACK,
  type WorkerData,
  WRITE,
  WRITE_ALL,
} from './sqlite-protocol.ts'
import type { StatementReply } from './statements.ts'

/** Texts that queries built at run time may keep prepared. */
const MAX_PREPARED = 256

const IS_SHUT_OUT = 'select 1 from node_fence where node = ? and epoch >= ?'

const isFailure = (reply: Reply): reply is Failure => typeof reply === 'object' && 'kind' in reply

interface Prepared {
  readonly statement: StatementSync
  readonly yieldsRows: boolean
}

/** A request of the group transaction, remembered in case the commit fails. */
type Grouped =
  | { readonly at: number; readonly write: true }
  | { readonly at: number; readonly write: false; readonly again: () => Reply }

/**
 * Runs requests in order on one connection. Consecutive reads and writes share one transaction,
 * which begins with the first write and is committed before anything is answered. If the commit
 * fails, its writes are answered with the failure, and its reads are made again, since they may
 * have seen what is not there.
 */
class Connection {
  readonly #database: DatabaseSync
  /** Constant texts by id; prepared when first used. */
  readonly #defined: (Prepared | string)[] = []
  readonly #recent = new Map<string, Prepared>()

  #batch: Batch = []
  #cursor = 0
  #replies: Reply[] = []
  /** Empty unless the group transaction is open. */
  #group: Grouped[] = []
  #isGroupOpen = false
  /** The lock could not be had: the writes that arrived together do not each wait for it again. */
  #refusal: Failure | undefined
  /** Nothing is written once this is shut out. */
  #run: NodeRun | undefined
  /** What ended the transaction between `BEGIN` and `COMMIT`, if something did. */
  #undone: Failure | undefined

  constructor(database: DatabaseSync, run: NodeRun | undefined) {
    this.#database = database
    this.#run = run
  }

  /** Answers what has arrived together. */
  run(batches: readonly Batch[]): Replies {
    // One list for all batches, so that the group can reach back beyond the current one.
    const replies: Reply[] = []
    const ends: number[] = []
    this.#replies = replies
    this.#refusal = undefined
    for (const batch of batches) {
      this.#batch = batch
      this.#cursor = 0
      while (this.#cursor < batch.length) this.#request()
      ends.push(replies.length)
    }
    this.#commitGroup()
    return ends.map((end, index) => replies.slice(ends[index - 1] ?? 0, end))
  }

  #request(): void {
    const operation = this.#batch[this.#cursor++]
    switch (operation) {
      case DEFINE: {
        const id = this.#number()
        this.#defined[id] = this.#text()
        return
      }
      case READ:
        this.#read()
        return
      case WRITE:
        this.#write()
        return
      case WRITE_ALL:
        this.#writeAll()
        return
      case INSIDE: {
        const statement = this.#statement()
        const values = this.#values()
        this.#answer(() => this.#inside(statement, values))
        return
      }
      case BEGIN:
      case BEGIN_READING:
        this.#commitGroup()
        this.#undone = undefined
        this.#answer(() => {
          if (operation === BEGIN) this.#beginWriting()
          else this.#execute('begin')
          return 0
        })
        return
      case COMMIT:
        this.#answer(() => this.#commit())
        return
      case ROLLBACK:
        this.#answer(() => {
          this.#rollback()
          return 0
        })
        return
      case ENTER:
      case LEAVE:
        // What came before is not of the run, or still is.
        this.#commitGroup()
        this.#run = operation === ENTER ? { node: this.#text(), epoch: this.#number() } : undefined
        this.#replies.push(0)
        return
      case CLOSE:
        this.#commitGroup()
        this.#answer(() => {
          this.#database.close()
          return 0
        })
        return
      default:
        throw new Error(`unknown operation ${operation}`)
    }
  }

  #number(): number {
    return this.#batch[this.#cursor++] as number
  }

  #text(): string {
    return this.#batch[this.#cursor++] as string
  }

  #statement(): string | number {
    return this.#batch[this.#cursor++] as string | number
  }

  #values(): SqlValue[] {
    const count = this.#number()
    this.#cursor += count
    return this.#batch.slice(this.#cursor - count, this.#cursor)
  }

  #answer(act: () => Reply): void {
    this.#replies.push(attempt(act))
  }

  #read(): void {
    const statement = this.#statement()
    const values = this.#values()
    const act = () => this.#perform(statement, values)
    if (this.#isGroupOpen) {
      this.#group.push({ at: this.#replies.length, write: false, again: act })
    }
    this.#answer(act)
  }

  #write(): void {
    const statement = this.#statement()
    const values = this.#values()
    // A statement that fails leaves nothing behind, and the transaction as it was.
    this.#answerInGroup(() => this.#perform(statement, values))
  }

  #writeAll(): void {
    let count = this.#number()
    const statements: [string | number, SqlValue[]][] = []
    while (count-- > 0) statements.push([this.#statement(), this.#values()])
    this.#answerInGroup(() => {
      this.#execute('savepoint unit')
      try {
        const replies = statements.map(([text, values]) => this.#perform(text, values))
        this.#execute('release unit')
        return replies
      } catch (error) {
        if (this.#database.isTransaction) {
          this.#execute('rollback to unit')
          this.#execute('release unit')
        }
        throw error
      }
    })
  }

  #answerInGroup(act: () => Reply): void {
    if (!this.#isGroupOpen && !this.#refusal) this.#beginGroup()
    if (this.#refusal) {
      this.#replies.push(this.#refusal)
      return
    }
    const reply = attempt(act)
    this.#group.push({ at: this.#replies.length, write: true })
    this.#replies.push(reply)
    // Some failures (disk full, disk broken) take the whole transaction with them.
    if (isFailure(reply) && !this.#database.isTransaction) this.#failGroup(reply)
  }

  #beginGroup(): void {
    try {
      this.#beginWriting()
      this.#isGroupOpen = true
    } catch (error) {
      this.#refusal = failureOf(error)
    }
  }

  /** Nobody else writes from here on, so whoever is not shut out now is not before the end. */
  #beginWriting(): void {
    this.#execute('begin immediate')
    if (this.#run === undefined) return
    try {
      const { node, epoch } = this.#run
      const [found] = this.#prepare(IS_SHUT_OUT).statement.all(node, epoch)
      if (found !== undefined) throw new ShutOut(this.#run)
    } catch (error) {
      this.#rollback()
      throw error
    }
  }

  #commitGroup(): void {
    if (!this.#isGroupOpen) return
    try {
      this.#execute('commit')
      this.#isGroupOpen = false
      this.#group = []
    } catch (error) {
      this.#rollback()
      this.#failGroup(failureOf(error))
    }
  }

  #failGroup(failure: Failure): void {
    const group = this.#group
    this.#isGroupOpen = false
    this.#group = []
    for (const member of group) {
      if (!member.write) this.#replies[member.at] = attempt(member.again)
      else if (!isFailure(this.#replies[member.at] ?? 0)) this.#replies[member.at] = failure
    }
  }

  #inside(statement: string | number, values: SqlValue[]): Reply {
    // After a rollback of its own accord SQLite would carry on in autocommit.
    if (this.#undone) return this.#undone
    const reply = attempt(() => this.#perform(statement, values))
    if (isFailure(reply) && !this.#database.isTransaction) this.#undone = reply
    return reply
  }

  #commit(): Reply {
    if (this.#undone) return this.#undone
    try {
      this.#execute('commit')
      return 0
    } catch (error) {
      this.#rollback()
      throw error
    }
  }

  #rollback(): void {
    if (this.#database.isTransaction) this.#execute('rollback')
  }

  #execute(text: string): void {
    this.#prepare(text).statement.run()
  }

  #perform(text: string | number, values: SqlValue[]): StatementReply {
    const { statement, yieldsRows } =
      typeof text === 'string' ? this.#prepare(text) : this.#preparedFor(text)
    if (yieldsRows) return statement.all(...values) as SqlRow[]
    return Number(statement.run(...values).changes)
  }

  #preparedFor(id: number): Prepared {
    let prepared = this.#defined[id] ?? ''
    if (typeof prepared === 'string') {
      prepared = this.#compile(prepared)
      this.#defined[id] = prepared
    }
    return prepared
  }

  #prepare(text: string): Prepared {
    let prepared = this.#recent.get(text)
    if (prepared) {
      this.#recent.delete(text)
    } else {
      prepared = this.#compile(text)
      if (this.#recent.size >= MAX_PREPARED) {
        for (const oldest of this.#recent.keys()) {
          this.#recent.delete(oldest)
          break
        }
      }
    }
    this.#recent.set(text, prepared)
    return prepared
  }

  #compile(text: string): Prepared {
    const statement = this.#database.prepare(text)
    return { statement, yieldsRows: statement.columns().length > 0 }
  }
}

function attempt(act: () => Reply): Reply {
  try {
    return act()
  } catch (error) {
    return failureOf(error)
  }
}

function serve(): void {
  const port = parentPort
  if (!port) throw new Error('this file is a worker thread')
  const greet = (failure?: Failure) => port.postMessage({ failure } satisfies Opened)
  const { settings, run } = workerData as WorkerData
  let database: DatabaseSync
  try {
    database = openDatabase(settings)
  } catch (error) {
    const { kind, message } = error as Unusable
    greet({ kind, message })
    return
  }
  const connection = new Connection(database, run)
  greet()
  port.on('message', (first: Batch) => {
    const batches = [first]
    // Whatever has come meanwhile shares the same flush of the disk.
    for (let next = receiveMessageOnPort(port); next; next = receiveMessageOnPort(port)) {
      batches.push(next.message as Batch)
    }
    port.postMessage(connection.run(batches))
    if (!database.isOpen) port.close()
  })
}

serve()

import type { NodeRun } from '../core/cluster.ts'
import type { SqlValue, StorageErrorKind } from '../core/storage.ts'
import type { StatementReply } from './statements.ts'

/**
 * What the storage says to its worker: the requests of one turn of the event loop in one flat
 * array, since copying one array of plain values between threads costs far less than copying a
 * tree. Each request starts with its operation:
 *
 * - `DEFINE, id, text`: from now on `id` stands for this text; no reply;
 * - `READ, statement, n, …n values`;
 * - `WRITE, statement, n, …n values`: shares a transaction with the writes around it;
 * - `WRITE_ALL, m, …m times (statement, n, …n values)`;
 * - `BEGIN` or `BEGIN_READING`, any number of `INSIDE, statement, n, …n values`, then `COMMIT` or
 *   `ROLLBACK`: a transaction of its own. The sender lets no other request in between;
 * - `ENTER, node, epoch`: from now on nothing is written once this run is shut out (`node_fence`); `LEAVE`: no
 *   matter;
 * - `CLOSE`.
 *
 * A statement is the text itself, or the id of a defined one.
 */
export const DEFINE = 0
export const READ = 1
export const WRITE = 2
export const WRITE_ALL = 3
export const BEGIN = 4
export const BEGIN_READING = 5
export const INSIDE = 6
export const COMMIT = 7
export const ROLLBACK = 8
export const CLOSE = 9
export const ENTER = 10
export const LEAVE = 11

export type Batch = SqlValue[]

/** `WRITE_ALL` yields one reply per statement. */
export type Reply = StatementReply | readonly StatementReply[] | Failure

/** For each batch received, in order, the replies to its requests, in order. */
export type Replies = readonly (readonly Reply[])[]

/** An error on its way between threads, where classes do not survive. */
export interface Failure {
  readonly kind: StorageErrorKind
  readonly message: string
  /** The run that has entered was shut out. */
  readonly isShutOut?: boolean
}

/** The worker's first word: nothing, or why it cannot serve. */
export type Opened = { readonly failure: Failure | undefined }

export interface SqliteSettings {
  /** Path of the file, or `:memory:`. */
  readonly file: string
  /** `full`: durable when a write resolves. `off`: durable when the system pleases; for tests. */
  readonly synchronous: 'full' | 'normal' | 'off'
  /** How long to wait for a lock that another process holds. */
  readonly busyTimeoutMs: number
  /** No other process may have it open meanwhile. */
  readonly isExclusive: boolean
  /** The database grows no further than this many pages of 8192 bytes. */
  readonly maxPages: number | undefined
}

/** What a worker begins with. */
export type WorkerData = {
  readonly settings: SqliteSettings
  /** That has entered before the last worker stopped. */
  readonly run: NodeRun | undefined
}

/** Appends a statement with its values, which `weigh` has found to be fit. */
export function pushStatement(
  batch: Batch,
  statement: string | number,
  values: readonly unknown[],
): void {
  batch.push(statement, values.length)
  for (const value of values) {
    // Copied: a small Buffer is a view of a large one, all of which would cross between threads.
    batch.push(value instanceof Uint8Array ? new Uint8Array(value) : (value as SqlValue))
  }
}

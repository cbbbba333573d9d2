import { type SqlRow, StorageError, type WriteResult } from '../core/storage.ts'

/** What a statement yields: rows, or how many it changed. */
export type StatementReply = number | readonly SqlRow[]

const NO_ROWS: readonly never[] = []

/** The caller knows what its statement yields: `Row` is its word. */
export function toRows<Row>(reply: StatementReply): readonly Row[] {
  return typeof reply === 'number' ? NO_ROWS : (reply as readonly unknown[] as readonly Row[])
}

export function toWriteResult<Row>(reply: StatementReply): WriteResult<Row> {
  if (typeof reply === 'number') return { changes: reply, rows: NO_ROWS }
  return { changes: reply.length, rows: toRows<Row>(reply) }
}

/** Rough size of values in memory. Throws on what no column can hold. */
export function weigh(values: readonly unknown[]): number {
  let bytes = 0
  for (const value of values) {
    if (typeof value === 'string') bytes += value.length
    else if (value instanceof Uint8Array) bytes += value.byteLength
    else if (typeof value === 'number' || typeof value === 'bigint' || value === null) bytes += 8
    else throw new StorageError('other', `A parameter is of type ${typeof value}`)
  }
  return bytes
}

/** What a request weighs beside its values. */
export const REQUEST_BYTES = 200

export function closedError(): StorageError {
  return new StorageError('closed', 'The storage is closed')
}

export function overloadedError(): StorageError {
  return new StorageError('busy', 'More waits for the database than is kept in memory')
}

import pg from 'pg'
import { StorageError, type StorageErrorKind } from '../core/storage.ts'

/**
 * Codes (https://www.postgresql.org/docs/current/errcodes-appendix.html) by what they mean to us;
 * whole classes by their first two characters.
 */
const kindOfCode: Readonly<Record<string, StorageErrorKind>> = {
  '23': 'constraint',
  '25006': 'io', // read_only_sql_transaction
  '40': 'busy', // serialization failure, deadlock
  '53': 'full', // disk full
  '53200': 'busy', // out of memory
  '53300': 'busy', // too many connections
  '54': 'full', // a limit of PostgreSQL, such as the longest key of an index
  '55P03': 'busy', // lock not available
  '57': 'io', // shutting down, starting
  '57014': 'busy', // took too long
  '58': 'io', // the system below failed
  '08': 'io',
  XX001: 'corrupt',
  XX002: 'corrupt',
}

/** What holds for all statements alike, not only for the one that met it. */
const WIDE = /^(25006|53|55P03|57P|58|08)/
const AGAIN = /^40(001|P01)$/
const READ_ONLY = '25006'
/** What was prepared no longer fits its tables. */
const OUTDATED = /cached plan must not change result type/

export class PostgresFailure {
  readonly error: StorageError
  /** The connection is of no more use. What was under way may have been stored, or not. */
  readonly isLost: boolean
  /** Others that shared the transaction would fare no better. */
  readonly isWide: boolean
  /** Nothing is wrong with the statement: another transaction was in its way. */
  readonly mayRepeat: boolean
  /** The server takes no writes; another one may. */
  readonly isReadOnly: boolean
  /** Nothing was done; a new connection will do it. */
  readonly isOutdated: boolean

  constructor(cause: unknown) {
    const code = codeOf(cause)
    const fromServer = cause instanceof pg.DatabaseError
    const severity = fromServer ? cause.severity : undefined
    const message = cause instanceof Error ? cause.message : String(cause)
    this.isLost = !fromServer || severity === 'FATAL' || severity === 'PANIC'
    this.isWide = this.isLost || WIDE.test(code)
    this.mayRepeat = fromServer && AGAIN.test(code)
    this.isReadOnly = code === READ_ONLY
    this.isOutdated = fromServer && OUTDATED.test(message)
    const kind = this.isLost ? 'io' : (kindOfCode[code] ?? kindOfCode[code.slice(0, 2)] ?? 'other')
    this.error = cause instanceof StorageError ? cause : new StorageError(kind, message, { cause })
  }
}

function codeOf(cause: unknown): string {
  const isCoded = cause instanceof Error && 'code' in cause && typeof cause.code === 'string'
  return isCoded ? (cause.code as string) : ''
}

/** Why there is no connection, without what is secret. */
export function reasonOf(cause: unknown): string {
  if (cause instanceof AggregateError && cause.errors.length > 0) return reasonOf(cause.errors[0])
  return cause instanceof Error ? cause.message : String(cause)
}

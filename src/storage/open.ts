import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Logger } from '../core/log.ts'
import { type Storage, StorageError } from '../core/storage.ts'
import { openPostgres } from './postgres.ts'
import { parsePostgresUrl } from './postgres-url.ts'
import { openSqlite } from './sqlite.ts'

export interface OpenOptions {
  /** PostgreSQL: connections at most. */
  readonly connections?: number
  /** PostgreSQL: how long requests wait for a server that is away, in milliseconds. */
  readonly patience?: number
  /** Nobody else may use it meanwhile. */
  readonly isExclusive?: boolean
  /** A file that is not there is not created. */
  readonly mustExist?: boolean
  /** How long a transaction may stand idle before it is rolled back, in milliseconds. */
  readonly idleTransactionMs?: number
  /** PostgreSQL: how long a statement may take, in milliseconds; 0 for any time. */
  readonly statementTimeoutMs?: number
  readonly log?: Logger
}

/**
 * Opens the database that a URL of the configuration names: `sqlite:/path/meerkat.db`,
 * `sqlite:path/from/the/working/directory.db`, `sqlite::memory:` (gone at the end), or
 * `postgres://user@host/database`.
 */
export async function openStorage(url: string, options: OpenOptions = {}): Promise<Storage> {
  const { connections, patience, mustExist, log } = options
  const { isExclusive, idleTransactionMs, statementTimeoutMs } = options
  const ofBoth = {
    ...(isExclusive !== undefined && { isExclusive }),
    ...(idleTransactionMs !== undefined && { idleTransactionMs }),
  }
  const colon = url.indexOf(':')
  const scheme = url.slice(0, colon)
  const rest = url.slice(colon + 1)
  if (scheme === 'sqlite' && rest !== '') {
    if (mustExist && !existsSync(rest)) throw new StorageError('io', `There is no ${rest}`)
    return await openSqlite(rest, ofBoth)
  }
  if (scheme === 'postgres' || scheme === 'postgresql') {
    return await openPostgres(url, {
      ...ofBoth,
      ...(statementTimeoutMs !== undefined && { statementTimeoutMs }),
      ...(connections !== undefined && { connections }),
      ...(patience !== undefined && { patienceMs: patience }),
      ...(log !== undefined && { log }),
    })
  }
  throw new StorageError(
    'other',
    'A storage URL reads sqlite:/path/meerkat.db, sqlite::memory: or postgres://user@host/database',
  )
}

/** What to call the database of a URL: the same for the same one, and without a password. */
export function nameOf(url: string): string {
  if (url.startsWith('sqlite:')) return resolve(url.slice('sqlite:'.length))
  return parsePostgresUrl(url).name
}

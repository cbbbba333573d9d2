import type { Logger } from '../core/log.ts'
import { type Storage, StorageError } from '../core/storage.ts'
import { openPostgres } from './postgres.ts'
import { openSqlite } from './sqlite.ts'

export interface OpenOptions {
  /** PostgreSQL: connections at most. */
  readonly connections?: number
  /** PostgreSQL: how long requests wait for a server that is away, in milliseconds. */
  readonly patience?: number
  readonly log?: Logger
}

/**
 * Opens the database that a URL of the configuration names: `sqlite:/path/meerkat.db`,
 * `sqlite:path/from/the/working/directory.db`, `sqlite::memory:` (gone at the end), or
 * `postgres://user@host/database`.
 */
export async function openStorage(url: string, options: OpenOptions = {}): Promise<Storage> {
  const colon = url.indexOf(':')
  const scheme = url.slice(0, colon)
  const rest = url.slice(colon + 1)
  if (scheme === 'sqlite' && rest !== '') return await openSqlite(rest)
  if (scheme === 'postgres' || scheme === 'postgresql') {
    const { connections, patience, log } = options
    return await openPostgres(url, {
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

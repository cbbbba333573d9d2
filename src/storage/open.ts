import { type Storage, StorageError } from '../core/storage.ts'
import { openSqlite } from './sqlite.ts'

/**
 * Opens the database that a URL of the configuration names: `sqlite:/path/meerkat.db`,
 * `sqlite:path/from/the/working/directory.db`, or `sqlite::memory:` (gone at the end).
 */
export async function openStorage(url: string): Promise<Storage> {
  const colon = url.indexOf(':')
  const rest = url.slice(colon + 1)
  if (url.slice(0, colon) === 'sqlite' && rest !== '') return await openSqlite(rest)
  throw new StorageError('other', 'A storage URL reads sqlite:/path/meerkat.db or sqlite::memory:')
}

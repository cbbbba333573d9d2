import { closeSync, mkdirSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { ShutOut } from '../core/fences.ts'
import type { StorageErrorKind } from '../core/storage.ts'
import type { Failure, SqliteSettings } from './sqlite-protocol.ts'

/** Marks our databases in their header (`PRAGMA application_id`): "Mrkt". */
const APPLICATION_ID = 0x4d726b74

/** SQLite's primary result codes (https://www.sqlite.org/rescode.html) by what they mean to us. */
const kindOfCode: Readonly<Record<number, StorageErrorKind>> = {
  3: 'io', // PERM
  5: 'busy', // BUSY
  6: 'busy', // LOCKED
  8: 'io', // READONLY
  10: 'io', // IOERR
  11: 'corrupt', // CORRUPT
  13: 'full', // FULL
  14: 'io', // CANTOPEN
  19: 'constraint', // CONSTRAINT
  26: 'corrupt', // NOTADB
}

/** What went wrong, in our terms. */
export function failureOf(error: unknown): Failure {
  if (!(error instanceof Error)) return { kind: 'other', message: String(error) }
  if (error instanceof ShutOut) return { kind: 'busy', message: error.message, isShutOut: true }
  const code = 'errcode' in error && typeof error.errcode === 'number' ? error.errcode & 0xff : 0
  return { kind: kindOfCode[code] ?? 'other', message: error.message }
}

export class Unusable extends Error {
  readonly kind: StorageErrorKind

  constructor(kind: StorageErrorKind, message: string) {
    super(message)
    this.kind = kind
  }
}

/**
 * Opens the file, or creates it. Throws an `Unusable` that names the file and the remedy; then
 * nothing was written to a file that existed.
 */
export function openDatabase(settings: SqliteSettings): DatabaseSync {
  const { file } = settings
  try {
    if (file !== ':memory:') createPrivately(file)
    const database = new DatabaseSync(file, { timeout: settings.busyTimeoutMs })
    try {
      if (settings.isExclusive) database.exec('pragma locking_mode = exclusive')
      // Before anything is written: a file that is not ours stays as it is.
      const claimed = checkOwner(database, file)
      configure(database, settings)
      if (!claimed) database.exec(`pragma application_id = ${APPLICATION_ID}`)
      return database
    } catch (error) {
      database.close()
      throw error
    }
  } catch (error) {
    throw explained(error, file)
  }
}

/** Octets. */
const PAGE_SIZE = 8192

/** The file holds credentials: only its owner reads it. SQLite gives `-wal` and `-shm` its mode. */
function createPrivately(file: string): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
  closeSync(openSync(file, 'a', 0o600))
}

/** Is the database marked as ours (true), or new and empty (false)? */
function checkOwner(database: DatabaseSync, file: string): boolean {
  const id = firstColumn(database, 'pragma application_id')
  const tables = firstColumn(database, 'select count(*) from sqlite_schema')
  if (id === APPLICATION_ID) return true
  if (id === 0 && tables === 0) return false
  throw new Unusable(
    'incompatible',
    `${file} is a database of another program. Name another file; this one was left as it is.`,
  )
}

function firstColumn(database: DatabaseSync, text: string): unknown {
  return Object.values(database.prepare(text).get() ?? {})[0]
}

function configure(database: DatabaseSync, settings: SqliteSettings): void {
  // Of a new database. Each page that a commit changes is written twice, with two calls: so half as many cost less.
  database.exec(`pragma page_size = ${PAGE_SIZE}`)
  database.exec('pragma journal_mode = wal')
  database.exec(`pragma synchronous = ${settings.synchronous}`)
  database.exec('pragma foreign_keys = on')
  database.exec('pragma cache_size = -16384') // 16 MiB
  database.exec('pragma journal_size_limit = 67108864') // what stays of a log that grew beyond
  database.exec('pragma temp_store = memory')
  if (settings.maxPages !== undefined) {
    database.exec(`pragma max_page_count = ${settings.maxPages}`)
  }
}

/** The same error, naming the file and what the operator can do. */
function explained(error: unknown, file: string): Unusable {
  if (error instanceof Unusable) return error
  const { kind, message } = failureOf(error)
  const isOfFileSystem = error instanceof Error && 'syscall' in error
  if (isOfFileSystem) {
    const kindOfFileSystem = 'code' in error && error.code === 'ENOSPC' ? 'full' : 'io'
    return new Unusable(
      kindOfFileSystem,
      `The database ${file} cannot be opened (${message}). Check that the path exists on a writable disk and belongs to the user the server runs as.`,
    )
  }
  const remedies: Partial<Record<StorageErrorKind, string>> = {
    corrupt: `The database ${file} is damaged, or not a database (${message}). Nothing was written to it. Restore a backup, or move the file away and recover what it holds with "sqlite3 ${file} .recover".`,
    busy: `The database ${file} is locked by another process (${message}). Stop what holds it, then start again.`,
    full: `There is no room for the database ${file} (${message}). Free space on its disk.`,
    io: `The database ${file} cannot be read or written (${message}). Check the disk and the permissions of the file and its directory.`,
  }
  return new Unusable(kind, remedies[kind] ?? `The database ${file} cannot be opened: ${message}.`)
}

/** `meerkat backup` and `meerkat restore`: all that a server keeps, to a file and back. */
import { closeSync, existsSync, fsyncSync, openSync, renameSync, rmSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import type { LoadedConfig } from './config.ts'
import type { Progress } from './core/command.ts'
import { StorageError } from './core/storage.ts'
import { allMigrations } from './server/migrations.ts'
import { type Copied, copyStorage } from './storage/copy.ts'
import { nameOf, openStorage } from './storage/open.ts'
import { withPicture } from './storage/picture.ts'
import { moveStorage } from './storage-copy.ts'

type Options = {
  readonly loaded: LoadedConfig
  readonly onProgress: (progress: Progress) => void
  /** Aborted when nobody wants it any more. */
  readonly signal?: AbortSignal
  readonly now?: () => number
}

/** There is such a file already. */
export class BackupExistsError extends StorageError {
  constructor(file: string) {
    super('other', `${file} is there already`)
  }
}

/** Where the backup is, or what it was restored from, and what is in it. */
export type Saved = { readonly file: string; readonly tables: readonly Copied[] }

/**
 * Writes all of one moment into a new file, a database of SQLite whatever the server uses, which may
 * run meanwhile. `target` is the file or a directory for it. The file is there once it is complete, on
 * the disk and counted. Throws errors that say what is in the way.
 */
export async function backUp(target: string, options: Options): Promise<Saved> {
  const { loaded, signal, now = Date.now } = options
  const onProgress = (progress: Progress) => {
    signal?.throwIfAborted()
    options.onProgress(progress)
  }
  const { url } = loaded.config.storage
  if (url === 'sqlite::memory:') {
    throw new StorageError('other', 'What is kept in memory alone cannot be backed up')
  }
  const file = fileFor(target, now())
  if (existsSync(file)) throw new BackupExistsError(file)
  const migrations = await allMigrations(loaded)
  const partial = `${file}.${process.pid}.partial`
  removeDatabase(partial)
  try {
    const tables = await withPicture(url, async (from) => {
      await using to = await openStorage(`sqlite:${partial}`, { isExclusive: true })
      return await copyStorage({ from, to, source: nameOf(url), migrations, onProgress })
    })
    sync(partial)
    // Another may have come meanwhile.
    if (existsSync(file)) throw new BackupExistsError(file)
    renameSync(partial, file)
    sync(dirname(file))
    return { file, tables }
  } catch (error) {
    removeDatabase(partial)
    throw error
  }
}

/**
 * Brings a backup into the empty database of the configuration, which no server may use. Interrupted,
 * it goes on where it was, and no server starts before it has ended.
 */
export async function restore(file: string, { loaded, onProgress }: Options): Promise<Saved> {
  const { url } = loaded.config.storage
  if (url === 'sqlite::memory:') {
    throw new StorageError('other', 'What is restored into memory would be gone at once')
  }
  const from = `sqlite:${resolve(file)}`
  if (nameOf(url) === nameOf(from))
    throw new StorageError('other', `The server itself uses ${file}`)
  const tables = await moveStorage({ from, to: url, loaded, onProgress })
  return { file: resolve(file), tables }
}

/** Names in one directory sort by time. */
function fileFor(target: string, at: number): string {
  const path = resolve(target)
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() !== true) return path
  const stamp = new Date(at).toISOString().replace(/\.\d+/, '').replaceAll(':', '')
  return join(path, `meerkat-${stamp}.db`)
}

function sync(path: string): void {
  const descriptor = openSync(path, 'r')
  try {
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}

function removeDatabase(file: string): void {
  for (const suffix of ['', '-wal', '-shm', '-journal']) rmSync(file + suffix, { force: true })
}

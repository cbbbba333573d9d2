import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Storage } from '../../src/core/storage.ts'
import { openSqlite, type SqliteOptions } from '../../src/storage/sqlite.ts'

/** One database, as long as it is in use; gone afterwards. */
export interface Backend extends AsyncDisposable {
  /** Every call opens the same database, like another process would. */
  open(): Promise<Storage>
}

/** Short, so that a test which waits for it does not wait long. */
const sqliteOptions: SqliteOptions = { synchronous: 'off', idleTransactionMs: 200 }

/** What the contracts of storage hold for. */
export const backends: Readonly<Record<string, () => Promise<Backend>>> = {
  async sqlite() {
    const directory = await mkdtemp(join(tmpdir(), 'meerkat-storage-'))
    return {
      open: () => openSqlite(join(directory, 'test.db'), sqliteOptions),
      [Symbol.asyncDispose]: () => rm(directory, { recursive: true }),
    }
  },
}

/** A directory of its own, gone when the test is. */
export async function temporaryDirectory() {
  const path = await mkdtemp(join(tmpdir(), 'meerkat-storage-'))
  return {
    path,
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  }
}

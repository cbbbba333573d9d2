import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import type { Storage } from '../../src/core/storage.ts'
import { openPostgres } from '../../src/storage/postgres.ts'
import { openSqlite } from '../../src/storage/sqlite.ts'
import { PostgresServer, skipWithoutPostgres } from './postgres.ts'

/** One database, as long as it is in use; gone afterwards. */
export interface Backend extends AsyncDisposable {
  /** For the configuration of a server. */
  readonly url: string
  /** Every call opens the same database, like another process would. */
  open(): Promise<Storage>
}

/** Short, so that a test which waits for it does not wait long. */
const IDLE_MS = 200

async function sqlite(): Promise<Backend> {
  const directory = await mkdtemp(join(tmpdir(), 'meerkat-storage-'))
  const file = join(directory, 'test.db')
  return {
    url: `sqlite:${file}`,
    open: () => openSqlite(file, { synchronous: 'off', idleTransactionMs: IDLE_MS }),
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true }),
  }
}

/** One for all tests of a file, begun by the first that needs it. */
let server: Promise<PostgresServer> | undefined
let databases = 0

async function postgresql(): Promise<Backend> {
  server ??= PostgresServer.start()
  const started = await server
  const name = `test_${databases++}`
  const url = await started.createSchema(name)
  return {
    url,
    open: () => openPostgres(url, { idleTransactionMs: IDLE_MS }),
    [Symbol.asyncDispose]: () => started.dropSchema(name),
  }
}

/** What the contracts of storage hold for, as far as it is installed. */
export const backends: Readonly<Record<string, () => Promise<Backend>>> = skipWithoutPostgres
  ? { sqlite }
  : { sqlite, postgresql }

if (!skipWithoutPostgres) after(async () => (await server)?.[Symbol.asyncDispose]())

/** Tests that are content with any storage use PostgreSQL if this says `postgresql`. */
export const isOnPostgres = () => process.env.MEERKAT_TEST_STORAGE === 'postgresql'

/** The URL of an empty database for a server; nobody has to remove it. */
export async function emptyDatabase(): Promise<string> {
  return isOnPostgres() ? (await postgresql()).url : 'sqlite::memory:'
}

/** An empty database, in the process of the test alone; gone when it is closed. */
export async function openEmpty(): Promise<Storage> {
  if (!isOnPostgres()) return await openSqlite(':memory:', { synchronous: 'off' })
  return await (await postgresql()).open()
}

import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { open, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import process from 'node:process'
import { createInterface } from 'node:readline'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import type { Worker } from 'node:worker_threads'
import { sql } from 'kysely'
import { type Storage, StorageError, type StorageErrorKind } from '../../src/core/storage.ts'
import { openSqlite, type SqliteOptions } from '../../src/storage/sqlite.ts'
import { emptyDirectory } from '../support/directory.ts'
import { INSERT, tables } from './storage-writer.ts'

const script = (name: string) => new URL(name, import.meta.url).pathname

const numbersIn = async (storage: Storage) =>
  (await storage.read<{ number: number }>('select number from row order by number', [])).map(
    ({ number }) => number,
  )

const ofKind = (kind: StorageErrorKind) => ({ name: 'StorageError', kind })

/** An error that tells the operator which file it is about. */
const about = (file: string, kind: StorageErrorKind) => (error: unknown) =>
  error instanceof StorageError && error.kind === kind && error.message.includes(file)

/** A child that ends with the test at the latest. */
async function start(command: string, args: string[]) {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const exited = once(child, 'exit')
  return {
    child,
    lines: createInterface({ input: child.stdout }),
    async kill() {
      child.kill('SIGKILL')
      await exited
    },
    async finish() {
      child.stdin.end()
      await exited
    },
    async [Symbol.asyncDispose]() {
      await this.kill()
    },
  }
}

async function openMigrated(file: string, options: SqliteOptions = {}): Promise<Storage> {
  const storage = await openSqlite(file, options)
  await storage.migrate([tables])
  return storage
}

for (const acknowledged of [1, 40, 400, 3000]) {
  test(`kill -9 after ${acknowledged} rows: what was acknowledged is there`, async () => {
    await using directory = await emptyDirectory()
    const file = join(directory.path, 'killed.db')
    const heard: number[] = []
    {
      await using writer = await start(process.execPath, [script('storage-writer.ts'), file])
      for await (const line of writer.lines) {
        heard.push(Number(line))
        if (heard.length === acknowledged) writer.child.kill('SIGKILL')
      }
    }
    assert.ok(heard.length >= acknowledged)
    await using storage = await openMigrated(file)
    const stored = new Set(await numbersIn(storage))
    assert.deepEqual(
      heard.filter((number) => !stored.has(number)),
      [],
    )
    assert.deepEqual(await storage.read('pragma integrity_check', []), [{ integrity_check: 'ok' }])
  })
}

test('a full database refuses rows, keeps what it acknowledged, and goes on with room', async () => {
  await using directory = await emptyDirectory()
  const file = join(directory.path, 'full.db')
  await using storage = await openMigrated(file, { maxPages: 60 })
  const filling = 'x'.repeat(1000)
  const stored: number[] = []
  const refused: unknown[] = []
  for (let number = 0; refused.length === 0; ) {
    const turn = Array.from({ length: 20 }, async () => {
      const own = number++
      try {
        await storage.write(INSERT, [own, filling])
        stored.push(own)
      } catch (error) {
        refused.push(error)
      }
    })
    await Promise.all(turn)
  }
  for (const error of refused) assert.ok(error instanceof StorageError && error.kind === 'full')
  assert.deepEqual(await numbersIn(storage), stored)
  await storage.write('delete from row where number < 100', [])
  await storage.write(INSERT, [-1, filling])
  assert.deepEqual(await numbersIn(storage), [-1, ...stored.filter((number) => number >= 100)])
})

const hasPrlimit = (() => {
  try {
    execFileSync('prlimit', ['--version'])
    return true
  } catch {
    return false
  }
})()

test('a disk that takes no more does not stop the server for good', {
  skip: !hasPrlimit,
}, async () => {
  await using directory = await emptyDirectory()
  const file = join(directory.path, 'limited.db')
  await (await openMigrated(file)).close()
  const heard: number[] = []
  const failures = new Set<string>()
  {
    // Ignored, the signal turns into an error of the write that passes the limit (512 KiB).
    const command = `trap '' XFSZ; ulimit -S -f 512; exec "$0" "$@"`
    const args = [process.execPath, script('storage-writer.ts'), file]
    await using writer = await start('bash', ['-c', command, ...args])
    let isFree = false
    let afterwards = 0
    for await (const line of writer.lines) {
      if (!/^\d+$/.test(line)) {
        failures.add(line)
        if (!isFree) {
          execFileSync('prlimit', ['--pid', `${writer.child.pid}`, '--fsize=unlimited'])
          isFree = true
        }
        continue
      }
      heard.push(Number(line))
      if (isFree && ++afterwards === 500) writer.child.kill('SIGKILL')
    }
  }
  assert.ok(failures.size > 0)
  for (const kind of failures) assert.match(kind, /^(full|io)$/)
  await using storage = await openMigrated(file)
  const stored = new Set(await numbersIn(storage))
  assert.deepEqual(
    heard.filter((number) => !stored.has(number)),
    [],
  )
})

/** Results in order: the kind of error, or what it resolved to. */
const outcomes = async (asked: Promise<unknown>[]) =>
  (await Promise.allSettled(asked)).map((result) =>
    result.status === 'rejected' ? result.reason.kind : result.value,
  )

test('what a failure takes with it is not acknowledged, nor read by anybody', async () => {
  await using storage = await openMigrated(':memory:')
  const stored = { changes: 1, rows: [] }
  assert.deepEqual(await storage.write(INSERT, [1, null]), stored)
  const results = await outcomes([
    storage.write(INSERT, [2, null]),
    numbersIn(storage),
    // SQLite undoes the whole transaction, as it does when the disk fails half-way.
    storage.write('insert or rollback into row (number) values (1)', []),
    storage.write(INSERT, [3, null]),
    numbersIn(storage),
  ])
  assert.deepEqual(results, ['constraint', [1], 'constraint', stored, [1, 3]])
})

test('after a failure that undid a transaction, its other statements do nothing', async () => {
  await using storage = await openMigrated(':memory:')
  await storage.write(INSERT, [1, null])
  const trx = await storage.db.startTransaction().execute()
  const failing = sql`insert or rollback into row (number) values (1)`.execute(trx)
  await assert.rejects(failing, ofKind('constraint'))
  const following = sql`insert into row (number) values (2)`.execute(trx)
  await assert.rejects(following, ofKind('constraint'))
  await assert.rejects(trx.commit().execute(), ofKind('constraint'))
  await storage.write(INSERT, [3, null])
  assert.deepEqual(await numbersIn(storage), [1, 3])
})

test('when the commit fails, nobody who shared it is told otherwise', async () => {
  await using storage = await openMigrated(':memory:')
  await storage.write(
    'create table part (of_row bigint references row (number) deferrable initially deferred)',
    [],
  )
  const results = await outcomes([
    storage.write(INSERT, [1, null]),
    numbersIn(storage),
    storage.write('insert into part (of_row) values (7)', []),
  ])
  assert.deepEqual(results, ['constraint', [], 'constraint'])
  await storage.write(INSERT, [2, null])
  assert.deepEqual(await numbersIn(storage), [2])
})

test('while another process holds the lock, writes are refused and reads answered', async () => {
  await using directory = await emptyDirectory()
  const file = join(directory.path, 'locked.db')
  await using storage = await openMigrated(file, { busyTimeoutMs: 10 })
  await storage.write(INSERT, [1, null])
  await using holder = await start(process.execPath, [script('storage-lock.ts'), file])
  await once(holder.lines, 'line')

  const results = await outcomes([
    storage.write(INSERT, [2, null]),
    numbersIn(storage),
    storage.write(INSERT, [3, null]),
  ])
  assert.deepEqual(results, ['busy', [1], 'busy'])
  const transaction = storage.db.transaction().execute(async () => {})
  await assert.rejects(transaction, ofKind('busy'))

  await holder.finish()
  await storage.write(INSERT, [4, null])
  assert.deepEqual(await numbersIn(storage), [1, 4])
})

test('a write waits for another process that lets go in time', async () => {
  await using directory = await emptyDirectory()
  const file = join(directory.path, 'locked.db')
  await using storage = await openMigrated(file)
  await using holder = await start(process.execPath, [script('storage-lock.ts'), file])
  await once(holder.lines, 'line')
  const writing = storage.write(INSERT, [1, null])
  await holder.finish()
  await writing
})

test('two processes write to one file', async () => {
  await using directory = await emptyDirectory()
  const file = join(directory.path, 'shared.db')
  await using storage = await openMigrated(file)
  await using writer = await start(process.execPath, [script('storage-writer.ts'), file])
  const heard: number[] = []
  for await (const line of writer.lines) {
    heard.push(Number(line))
    await storage.write(INSERT, [-heard.length, null])
    if (heard.length === 100) break
  }
  await writer.kill()
  const numbers = await numbersIn(storage)
  const stored = new Set(numbers)
  assert.deepEqual(
    heard.filter((number) => !stored.has(number)),
    [],
  )
  assert.equal(numbers.filter((number) => number < 0).length, 100)
})

test('a file that is no database is named, and left as it is', async () => {
  await using directory = await emptyDirectory()
  const file = join(directory.path, 'meerkat.db')
  const content = Buffer.from('This is not a database. '.repeat(400))
  await writeFile(file, content)
  await assert.rejects(openSqlite(file), about(file, 'corrupt'))
  assert.deepEqual(await readFile(file), content)
  assert.deepEqual(await readdir(directory.path), ['meerkat.db'])
})

test('a damaged page is told apart from what can still be read', async () => {
  await using directory = await emptyDirectory()
  const file = join(directory.path, 'meerkat.db')
  {
    await using storage = await openMigrated(file)
    const filling = 'x'.repeat(1000)
    await Promise.all(
      Array.from({ length: 100 }, (_, number) => storage.write(INSERT, [number, filling])),
    )
  }
  const { size } = await stat(file)
  {
    await using handle = await open(file, 'r+')
    const [{ page } = { page: 0 }] = rootPages(file, 'row')
    // Octets of a page (https://www.sqlite.org/fileformat.html §1.3.2).
    const header = await handle.read(Buffer.alloc(18), 0, 18, 0)
    const pageSize = header.buffer.readUInt16BE(16)
    await handle.write(Buffer.alloc(pageSize, 0xee), 0, pageSize, (page - 1) * pageSize)
  }
  assert.equal((await stat(file)).size, size)
  await using storage = await openMigrated(file)
  await assert.rejects(storage.read('select filling from row', []), ofKind('corrupt'))
  await assert.rejects(storage.write(INSERT, [-1, null]), ofKind('corrupt'))
  assert.equal((await storage.db.selectFrom('migration').selectAll().execute()).length, 1)
})

function rootPages(file: string, table: string): { page: number }[] {
  const database = new DatabaseSync(file, { readOnly: true })
  const statement = 'select rootpage as page from sqlite_schema where name = ?'
  const pages = database.prepare(statement).all(table) as { page: number }[]
  database.close()
  return pages
}

test('the database of another program is refused, and left as it is', async () => {
  await using directory = await emptyDirectory()
  const file = join(directory.path, 'places.db')
  const other = new DatabaseSync(file)
  other.exec('create table bookmark (url text)')
  other.close()
  const content = await readFile(file)
  await assert.rejects(openSqlite(file), about(file, 'incompatible'))
  assert.deepEqual(await readFile(file), content)
})

test('a database of a newer release is named, and left as it is', async () => {
  await using directory = await emptyDirectory()
  const file = join(directory.path, 'meerkat.db')
  {
    await using storage = await openMigrated(file)
    await storage.migrate([tables, { name: 'faults/0002-newer', async up() {} }])
  }
  const content = await readFile(file)
  {
    await using storage = await openSqlite(file)
    await assert.rejects(storage.migrate([tables]), about(file, 'incompatible'))
  }
  assert.deepEqual(await readFile(file), content)
})

test('a write is flushed to the disk unless it was agreed otherwise', async () => {
  await using directory = await emptyDirectory()
  await using storage = await openSqlite(join(directory.path, 'meerkat.db'))
  assert.deepEqual(await storage.read('pragma journal_mode', []), [{ journal_mode: 'wal' }])
  assert.deepEqual(await storage.read('pragma synchronous', []), [{ synchronous: 2 }])
  assert.deepEqual(await storage.read('pragma foreign_keys', []), [{ foreign_keys: 1 }])
})

test('a path that cannot be a database is named', async () => {
  await using directory = await emptyDirectory()
  await assert.rejects(openSqlite(directory.path), about(directory.path, 'io'))
})

test('a new database is for its owner only, in a directory made for it', async () => {
  await using directory = await emptyDirectory()
  const file = join(directory.path, 'data', 'meerkat.db')
  await using storage = await openMigrated(file)
  await storage.write(INSERT, [1, null])
  for (const name of await readdir(join(directory.path, 'data'))) {
    const { mode } = await stat(join(directory.path, 'data', name))
    assert.equal(mode & 0o777, 0o600, name)
  }
})

/** Opens a database and lays hands on its worker. */
async function openWithWorker(file: string): Promise<{ storage: Storage; worker: Worker }> {
  const started = once(process, 'worker') as Promise<[Worker]>
  const storage = await openMigrated(file)
  const [worker] = await started
  return { storage, worker }
}

test('when the worker stops, its callers hear of it and the next finds another', async () => {
  await using directory = await emptyDirectory()
  const { storage, worker } = await openWithWorker(join(directory.path, 'meerkat.db'))
  await storage.write(INSERT, [1, null])
  const stopped = worker.terminate()
  const lost = storage.write(INSERT, [2, null])
  const transaction = storage.db.transaction().execute(async (trx) => {
    await trx.selectFrom('migration').selectAll().execute()
  })
  await assert.rejects(lost, ofKind('other'))
  await assert.rejects(transaction, ofKind('other'))
  await stopped
  await storage.write(INSERT, [3, null])
  assert.deepEqual(await numbersIn(storage), [1, 3])
  await storage.close()
})

test('a database in memory that is lost stays lost', async () => {
  const { storage, worker } = await openWithWorker(':memory:')
  await worker.terminate()
  await assert.rejects(storage.write(INSERT, [1, null]), ofKind('other'))
  await storage.close()
})

test('more than fits into memory is refused at once', async () => {
  await using storage = await openMigrated(':memory:', { maxPendingBytes: 1000 })
  const first = storage.write(INSERT, [1, 'x'.repeat(500)])
  await assert.rejects(storage.write(INSERT, [2, 'x'.repeat(500)]), ofKind('busy'))
  await first
  await storage.write(INSERT, [3, 'x'.repeat(500)])
  assert.deepEqual(await numbersIn(storage), [1, 3])
})

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { checkConfig, developmentSettings } from '../../src/config.ts'
import type { Progress } from '../../src/core/command.ts'
import type { SqlValue, Storage } from '../../src/core/storage.ts'
import { ALL_IDS, ArchiveIds } from '../../src/modules/archive/ids.ts'
import { ArchiveStore } from '../../src/modules/archive/store.ts'
import { modules } from '../../src/modules.ts'
import { allMigrations } from '../../src/server/migrations.ts'
import { accountMigrations } from '../../src/storage/account-store.ts'
import { copyStorage } from '../../src/storage/copy.ts'
import { openStorage } from '../../src/storage/open.ts'
import { openPostgres } from '../../src/storage/postgres.ts'
import { openSqlite } from '../../src/storage/sqlite.ts'
import { columnsOf, countedKeys, giveAfter, tableNames } from '../../src/storage/tables.ts'
import { jid } from '../../src/xmpp/jid.ts'
import { emptyDirectory } from '../support/directory.ts'
import { type Backend, backends } from '../support/storage-backends.ts'

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url))
const ROWS = 250

const migrations = await allMigrations(
  checkConfig(developmentSettings, { modules, directory: process.cwd() }),
)

/** What a server makes anew of the rest. */
const isDerived = (table: string) => table === 'archive_index' || table === 'archive_indexed'

/** Something in each column of each table; several pages of each. */
async function fill(storage: Storage, rows = ROWS): Promise<void> {
  const counted = await countedKeys(storage)
  const tables = await storage.db.introspection.getTables()
  for (const name of await tableNames(storage)) {
    if (name === 'migration' || isDerived(name)) continue
    const columns = tables.find((table) => table.name === name)?.columns ?? []
    const names = columns.map((column) => column.name)
    const { key } = await columnsOf(storage, name)
    const sql = `insert into ${name} (${names.join()}) values (${names.map(() => '?').join()})`
    const inserts = Array.from({ length: rows }, (_, row) => {
      const value = (type: string, column: string): SqlValue => {
        if (/int/.test(type)) return counted.get(name) === column ? row * 3 + 1 : 2 ** 50 + row
        if (/blob|bytea/.test(type)) return new Uint8Array([0, 255, row % 256])
        return `Ünï ${String(row).padStart(6, '0')} 'q"\\ ${'x'.repeat(row % 50)}`
      }
      return {
        sql,
        parameters: columns.map(({ name: column, dataType, isNullable }) => {
          const isSmall = column.startsWith('is_')
          if (isNullable && !key.includes(column) && row % 2 === 0) return null
          return isSmall ? row % 2 : value(dataType.toLowerCase(), column)
        }),
      }
    })
    await storage.writeAll(inserts)
    const countedKey = counted.get(name)
    if (countedKey) await giveAfter(storage, name, countedKey, rows * 3)
  }
}

/** All rows of all tables that servers fill. */
async function contents(storage: Storage) {
  const all: Record<string, readonly unknown[]> = {}
  for (const table of await tableNames(storage)) {
    if (table === 'migration' || isDerived(table)) continue
    const { key } = await columnsOf(storage, table)
    all[table] = await storage.read(`select * from ${table} order by ${key.join()}`, [])
  }
  return all
}

async function started(context: TestContext, name: string): Promise<Backend> {
  const backend = await backends[name]?.()
  assert.ok(backend)
  context.after(() => backend[Symbol.asyncDispose]())
  return backend
}

const copy = (from: Storage, to: Storage, onProgress: (progress: Progress) => void = () => {}) =>
  copyStorage({ from, to, source: 'the first', migrations, onProgress })

const directions = Object.keys(backends).flatMap((from) =>
  Object.keys(backends).map((to) => [from, to] as const),
)

for (const [from, to] of directions) {
  test(`from ${from} to ${to}: all tables, and numbers that were given stay given`, async (context) => {
    await using source = await (await started(context, from)).open()
    await using target = await (await started(context, to)).open()
    await source.migrate(migrations)
    await fill(source)
    // The newest is gone, and yet its number is not given twice.
    await source.write('delete from offline_message where seq = ?', [(ROWS - 1) * 3 + 1])
    await source.write(
      "insert into offline_message (account, stored_at, stanza, notes, size) values ('a', 1, 'b', '', 1)",
      [],
    )
    await source.write("delete from offline_message where account = 'a'", [])
    const [last] = await source.read<{ seq: number }>(
      'select max(seq) as seq from offline_message',
      [],
    )
    let progress: Progress | undefined
    const copied = await copy(source, target, (next) => {
      progress = next
    })
    assert.deepEqual(await contents(target), await contents(source))
    assert.ok(copied.length > 10 && copied.every(({ rows }) => rows >= ROWS - 1))
    assert.equal(progress?.done, progress?.total)
    const { rows } = await target.write<{ seq: number }>(
      "insert into offline_message (account, stored_at, stanza, notes, size) values ('a', 1, 'b', '', 1) returning seq",
      [],
    )
    assert.ok((rows[0]?.seq ?? 0) > (last?.seq ?? 0) + 3)
    // A server starts on it.
    await target.migrate(migrations)
  })

  test(`from ${from} to ${to}: archives can be read, whatever the target had before`, async (context) => {
    await using source = await (await started(context, from)).open()
    await using target = await (await started(context, to)).open()
    const owner = jid('romeo', 'example.com').toBare()
    const ids = new ArchiveIds(() => Date.UTC(2026, 1, 1))
    const messages = Array.from({ length: 30 }, (_, n) => ({
      owner: owner.bare,
      id: ids.next(),
      peer: jid('juliet', 'example.com', 'balcony'),
      isGroupchat: false,
      xml: String(n),
    }))
    for (const storage of [source, target]) {
      await storage.migrate(migrations)
      await new ArchiveStore(storage).insert(messages)
    }
    assert.equal(await new ArchiveStore(target).removeOf(owner), 30)
    await copy(source, target)
    const found = await new ArchiveStore(target).window(
      { owner: owner.bare, ...ALL_IDS, withGroupchat: false },
      { from: 'newest', limit: 100, maxBytes: 10_000 },
    )
    assert.deepEqual(
      found.map(({ xml }) => xml),
      messages.map(({ xml }) => xml).reverse(),
    )
  })

  test(`from ${from} to ${to}: interrupted anywhere, it goes on; no server starts on a half`, async (context) => {
    await using source = await (await started(context, from)).open()
    await using target = await (await started(context, to)).open()
    await source.migrate(migrations)
    await fill(source, 150)
    for (let attempt = 0; attempt < 3; attempt++) {
      let pages = 0
      const interrupted = new Proxy(target, {
        get(whole, name) {
          const value = Reflect.get(whole, name)
          if (typeof value !== 'function') return value
          if (name !== 'writeAll' || ++pages < 4 + attempt * 5) return value.bind(whole)
          return () => Promise.reject(new Error('the lights went out'))
        },
      })
      await assert.rejects(copy(source, interrupted), /lights/)
      await assert.rejects(target.migrate(migrations), /copy into .* was interrupted/)
    }
    const other = { from: source, to: target, source: 'another', migrations, onProgress() {} }
    await assert.rejects(copyStorage(other), /unfinished copy of the first/)
    await copy(source, target)
    assert.deepEqual(await contents(target), await contents(source))
  })
}

for (const name of Object.keys(backends)) {
  test(`${name}: what is in the way is said, and nothing is changed`, async (context) => {
    await using source = await (await started(context, 'sqlite')).open()
    await using target = await (await started(context, name)).open()
    await assert.rejects(copy(source, target), /source has no data of a server/)
    await source.migrate(migrations.slice(0, accountMigrations.length))
    await assert.rejects(
      copyStorage({ from: source, to: target, source: 'x', migrations: [], onProgress() {} }),
      /no module core is known here/,
    )
    await target.write('create table foreigner (id integer primary key)', [])
    await assert.rejects(copy(source, target), /tables of another program \(foreigner\)/)
    await target.write('drop table foreigner', [])
    await target.migrate(migrations)
    await target.write(
      "insert into account (domain, localpart, created_at, is_disabled) values ('a', 'b', 1, 0)",
      [],
    )
    await assert.rejects(copy(source, target), /holds data already \(account: 1 rows\)/)
  })

  test(`${name}: neither is copied while a server uses it, nor used while it is copied`, async (context) => {
    const { url } = await started(context, name)
    const open = (isExclusive: boolean) =>
      name === 'sqlite'
        ? openSqlite(url.slice('sqlite:'.length), { isExclusive, busyTimeoutMs: 50 })
        : openPostgres(url, { isExclusive })
    {
      await using server = await open(false)
      await server.migrate(migrations)
      await assert.rejects(open(true), /a server is using it|is locked by another process/)
    }
    await using copier = await open(true)
    await copier.read('select name from migration', [])
    await assert.rejects(open(false), /is being copied|is locked by another process/)
  })

  test(`${name}: the command survives kill -9`, async (context) => {
    await using directory = await emptyDirectory()
    const from = `sqlite:${join(directory.path, 'from.db')}`
    const target = await started(context, name)
    {
      await using source = await openStorage(from)
      await source.migrate(migrations)
      await fill(source, 1500)
    }
    const start = () => {
      const args = [MAIN, 'storage', 'copy', from, target.url]
      return spawn(process.execPath, args, {
        cwd: directory.path,
        stdio: ['ignore', 'pipe', 'pipe'],
      })
    }
    const killed = start()
    // The first line is of the first page.
    await once(killed.stderr, 'data')
    killed.kill('SIGKILL')
    await once(killed, 'exit')
    const finished = start()
    const [stdout, stderr, [code]] = await Promise.all([
      text(finished.stdout),
      text(finished.stderr),
      once(finished, 'exit'),
    ])
    assert.equal(code, 0, stderr)
    assert.match(stdout, /^account +1500\n[\s\S]*counted on both sides\.\n$/m)
    await using source = await openStorage(from)
    await using copied = await target.open()
    assert.deepEqual(await contents(copied), await contents(source))
  })
}

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { chmod, readdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { checkConfig, type LoadedConfig } from '../../src/config.ts'
import type { Progress } from '../../src/core/command.ts'
import { modules } from '../../src/modules.ts'
import { allMigrations } from '../../src/server/migrations.ts'
import { openStorage } from '../../src/storage/open.ts'
import { countRows, tableNames } from '../../src/storage/tables.ts'
import { backUp, restore } from '../../src/storage-backup.ts'
import { emptyDirectory } from '../support/directory.ts'
import { backends } from '../support/storage-backends.ts'

const run = promisify(execFile)
const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url))
const NOW = Date.UTC(2026, 10, 29, 12)

function configured(url: string, directory: string): LoadedConfig {
  return checkConfig({ domains: ['localhost'], storage: { url } }, { modules, directory })
}

for (const [name, begin] of Object.entries(backends)) {
  test(`${name}: a backup is of one moment, though everything is written to meanwhile`, async () => {
    await using backend = await begin()
    await using directory = await emptyDirectory()
    const loaded = configured(backend.url, directory.path)
    await using server = await backend.open()
    await server.migrate(await allMigrations(loaded))
    // One message for each account, always together.
    const pair = (number: number) =>
      server.writeAll([
        {
          sql: 'insert into account (domain, localpart, created_at, is_disabled) values (?, ?, 1, 0)',
          parameters: ['localhost', `user-${String(number).padStart(6, '0')}`],
        },
        {
          sql: "insert into offline_message (account, stored_at, stanza, notes, size) values (?, 1, ?, '', 1)",
          parameters: [`user-${number}`, 'x'.repeat(2000)],
        },
      ])
    let written = 0
    while (written < 3000) {
      await Promise.all(Array.from({ length: 500 }, () => pair(written++)))
    }
    let isDone = false
    let meanwhile = 0
    const writing = (async () => {
      for (; !isDone && meanwhile < 20_000; meanwhile++) await pair(written++)
    })()
    const shown: Progress[] = []
    const target = join(directory.path, 'saved.db')
    const saving = backUp(target, { loaded, onProgress: (progress) => shown.push(progress) })
    const { tables, file } = await saving.finally(() => {
      isDone = true
    })
    await writing
    assert.ok(meanwhile > 5, `only ${meanwhile} writes meanwhile`)
    assert.equal(file, target)
    const rows = (table: string) => tables.find((each) => each.table === table)?.rows
    assert.equal(rows('account'), rows('offline_message'))
    const saved = rows('account') ?? 0
    assert.ok(saved >= 3000 && saved <= written, `${saved} of ${written}`)
    assert.equal(shown.at(-1)?.done, shown.at(-1)?.total)
    assert.deepEqual(await readdir(directory.path), ['saved.db'])
    assert.equal((await stat(target)).mode & 0o777, 0o600)

    await using empty = await begin()
    const restored = await restore(target, {
      loaded: configured(empty.url, directory.path),
      onProgress() {},
    })
    assert.deepEqual(restored.tables, tables)
    await using again = await empty.open()
    assert.equal(await countRows(again, 'account'), saved)
    assert.deepEqual(await tableNames(again), await tableNames(server))
  })

  test(`${name}: nothing is overwritten, and nothing restored where a server is`, async () => {
    await using backend = await begin()
    await using directory = await emptyDirectory()
    const loaded = configured(backend.url, directory.path)
    const options = { loaded, onProgress() {}, now: () => NOW }
    {
      await using server = await backend.open()
      await server.migrate(await allMigrations(loaded))
    }
    const { file } = await backUp(directory.path, options)
    assert.equal(file, join(directory.path, 'meerkat-2026-11-29T120000Z.db'))
    await assert.rejects(backUp(directory.path, options), /12000.* is there already/)
    {
      await using server = await backend.open()
      await server.read('select name from migration', [])
      await assert.rejects(restore(file, options), /is using it|locked by another process/)
      await server.write(
        "insert into account (domain, localpart, created_at, is_disabled) values ('a', 'b', 1, 0)",
        [],
      )
    }
    await assert.rejects(restore(file, options), /holds data already \(account: 1 rows\)/)
    await assert.rejects(restore(join(directory.path, 'none.db'), options), /There is no/)
    await writeFile(join(directory.path, 'text.db'), 'no database at all, '.repeat(100))
    await chmod(join(directory.path, 'text.db'), 0o600)
    await assert.rejects(restore(join(directory.path, 'text.db'), options), /not a database/)
  })
}

test('on the command line: to a file and back into another server', async () => {
  await using directory = await emptyDirectory()
  const cwd = directory.path
  const meerkat = (...args: string[]) => run(process.execPath, [MAIN, ...args], { cwd })
  await writeFile(join(cwd, 'meerkat.toml'), 'domains = ["localhost"]\ndata_dir = "one"\n')
  await writeFile(join(cwd, 'other.toml'), 'domains = ["localhost"]\ndata_dir = "two"\n')
  await meerkat('account', 'register', 'juliet@localhost', '--password', 'Capulet')
  const { stdout } = await meerkat('backup', 'saved.db')
  assert.match(
    stdout,
    /^account +1\n[\s\S]*saved\.db is complete: \d+ rows, counted on both sides\.\n$/m,
  )
  await meerkat('restore', 'saved.db', '--config', 'other.toml')
  const info = await meerkat('account', 'info', 'juliet@localhost', '--config', 'other.toml')
  assert.match(info.stdout, /juliet@localhost/)
  await assert.rejects(
    meerkat('restore', 'saved.db', '--config', 'other.toml'),
    /holds data already/,
  )
  await using saved = await openStorage(`sqlite:${join(cwd, 'saved.db')}`, { mustExist: true })
  assert.equal(await countRows(saved, 'account'), 1)
})

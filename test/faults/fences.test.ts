import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sql } from 'kysely'
import type { NodeRun } from '../../src/core/cluster.ts'
import type { Fences } from '../../src/core/fences.ts'
import { type Migration, type Storage, StorageError } from '../../src/core/storage.ts'
import { fenceMigrations } from '../../src/storage/fences.ts'
import { openPostgres } from '../../src/storage/postgres.ts'
import { openSqlite } from '../../src/storage/sqlite.ts'
import { emptyDirectory } from '../support/directory.ts'
import { PostgresServer, skipWithoutPostgres } from '../support/postgres.ts'

const options = { skip: skipWithoutPostgres }

const tables: Migration = {
  name: 'faults/0001-create',
  async up(db) {
    await db.schema.createTable('row').addColumn('number', 'bigint').execute()
  },
}

/** What nodes share: each opens the same database. */
interface Database extends AsyncDisposable {
  open(): Promise<Storage>
}

class Postgres implements Database {
  readonly server: PostgresServer

  private constructor(server: PostgresServer) {
    this.server = server
  }

  /** Its role has no more rights than `docs/postgresql.md` asks for. */
  static async start(): Promise<Postgres> {
    const server = await PostgresServer.start()
    await server.run('create role plain login')
    await server.run('create database chat owner plain')
    return new Postgres(server)
  }

  open(): Promise<Storage> {
    const url = this.server.url('chat').replace('meerkat@', 'plain@')
    return openPostgres(url, { patienceMs: 1_000, silenceMs: 300 })
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.server[Symbol.asyncDispose]()
  }
}

/** Of the workers of one server. */
async function startSqlite(): Promise<Database> {
  const directory = await emptyDirectory()
  return {
    open: () => openSqlite(`${directory.path}/chat.db`, { synchronous: 'off' }),
    [Symbol.asyncDispose]: () => directory[Symbol.asyncDispose](),
  }
}

/** The storage of a node, and what it hears. */
class Node implements AsyncDisposable {
  readonly storage: Storage
  readonly run: NodeRun
  readonly stored: number[] = []
  readonly shutOut = Promise.withResolvers<void>()
  isShutOut = false

  private constructor(storage: Storage, run: NodeRun) {
    this.storage = storage
    this.run = run
  }

  static async open(database: Database, run: NodeRun): Promise<Node> {
    const node = new Node(await database.open(), run)
    await node.storage.migrate([tables, ...fenceMigrations])
    await node.fences.enter(run, () => {
      node.isShutOut = true
      node.shutOut.resolve()
    })
    return node
  }

  get fences(): Fences {
    return this.storage.fences
  }

  async write(number: number): Promise<void> {
    await this.storage.write('insert into row (number) values (?)', [number])
    this.stored.push(number)
  }

  /** In a transaction of its own. */
  async writeAtOnce(number: number): Promise<void> {
    await this.storage.db
      .transaction()
      .execute((transaction) =>
        sql`insert into row (number) values (${number})`.execute(transaction),
      )
  }

  async numbers(): Promise<readonly number[]> {
    const rows = await this.storage.read<{ number: number }>('select number from row', [])
    return rows.map(({ number }) => number)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.storage.close()
  }
}

const databases = [
  { name: 'PostgreSQL', start: () => Postgres.start(), skipped: options },
  { name: 'SQLite', start: startSqlite, skipped: {} },
]

for (const { name, start, skipped } of databases) {
  test(
    `${name}: a run that is shut out stores nothing any more, and hears so`,
    skipped,
    async () => {
      await using database = await start()
      await using one = await Node.open(database, { node: 'one', epoch: 5 })
      await using two = await Node.open(database, { node: 'two', epoch: 7 })
      let next = 0
      const writing = Array.from({ length: 10 }, async () => {
        while (!one.isShutOut) {
          await one.write(next++).catch((error) => assert.ok(error instanceof StorageError))
        }
      })
      while (one.stored.length < 100) await new Promise((resolve) => setImmediate(resolve))
      await two.fences.shutOut(one.run)
      const left = new Set(await two.numbers())
      for (const number of one.stored) assert.ok(left.has(number))
      await one.shutOut.promise
      await Promise.all(writing)
      await assert.rejects(one.write(-1), StorageError)
      await assert.rejects(one.writeAtOnce(-1), StorageError)
      assert.deepEqual(new Set(await two.numbers()), left)
      // Who was not shut out goes on, and it may be done twice.
      await two.fences.shutOut(one.run)
      await two.write(-2)
      assert.equal(two.isShutOut, false)
    },
  )

  test(`${name}: a new run of the same node is not meant`, skipped, async () => {
    await using database = await start()
    await using first = await Node.open(database, { node: 'one', epoch: 5 })
    await using second = await Node.open(database, { node: 'one', epoch: 6 })
    await second.fences.shutOut(first.run)
    await assert.rejects(first.write(0), StorageError)
    await first.shutOut.promise
    await second.write(1)
    assert.equal(second.isShutOut, false)
    assert.equal(await second.fences.lastOf('one'), 5)
    assert.equal(await second.fences.lastOf('two'), 0)
    // What is over is so for good.
    await second.fences.shutOut({ node: 'one', epoch: 3 })
    assert.equal(await second.fences.lastOf('one'), 5)
  })

  test(`${name}: earlier runs of the node are meant as well`, skipped, async () => {
    await using database = await start()
    await using first = await Node.open(database, { node: 'one', epoch: 5 })
    await using second = await Node.open(database, { node: 'one', epoch: 6 })
    await using other = await Node.open(database, { node: 'one-more', epoch: 5 })
    await using two = await Node.open(database, { node: 'two', epoch: 1 })
    await two.fences.shutOut(second.run)
    for (const node of [first, second]) await assert.rejects(node.write(1), StorageError)
    await Promise.all([first.shutOut.promise, second.shutOut.promise])
    await other.write(2)
    await two.write(3)
    assert.deepEqual([other.isShutOut, two.isShutOut], [false, false])
    const runs = await two.storage.read('select node from node_run where node = ?', ['one'])
    assert.deepEqual(runs, [])
  })

  test(`${name}: a run that comes too late hears so`, skipped, async () => {
    await using database = await start()
    await using two = await Node.open(database, { node: 'two', epoch: 1 })
    await two.fences.shutOut({ node: 'one', epoch: 5 })
    await using late = await Node.open(database, { node: 'one', epoch: 5 })
    assert.ok(late.isShutOut)
    await assert.rejects(late.write(1), StorageError)
  })

  test(`${name}: who leaves has stored all, and is not disturbed any more`, skipped, async () => {
    await using database = await start()
    await using one = await Node.open(database, { node: 'one', epoch: 5 })
    await using two = await Node.open(database, { node: 'two', epoch: 1 })
    const last = Promise.all([1, 2, 3].map((number) => one.write(number)))
    await one.fences.leave()
    assert.deepEqual(await two.numbers(), [1, 2, 3])
    await last
    await two.fences.shutOut(one.run)
    await one.write(4)
    assert.equal(one.isShutOut, false)
  })
}

test('a run hears that it was shut out when it connects anew', options, async () => {
  await using database = await Postgres.start()
  await using two = await Node.open(database, { node: 'two', epoch: 1 })
  await using away = await Node.open(database, { node: 'three', epoch: 5 })
  await database.server.stop()
  await database.server.begin()
  await two.fences.shutOut(away.run)
  await away.shutOut.promise
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { NodeRun } from '../../src/core/cluster.ts'
import type { Fences } from '../../src/core/fences.ts'
import { type Migration, type Storage, StorageError } from '../../src/core/storage.ts'
import { openPostgres } from '../../src/storage/postgres.ts'
import { fenceMigrations } from '../../src/storage/postgres-fences.ts'
import { PostgresServer, skipWithoutPostgres } from '../support/postgres.ts'

const options = { skip: skipWithoutPostgres }

const tables: Migration = {
  name: 'faults/0001-create',
  async up(db) {
    await db.schema.createTable('row').addColumn('number', 'bigint').execute()
  },
}

/** Whose role has no more rights than `docs/postgresql.md` asks for. */
async function startServer(): Promise<PostgresServer> {
  const server = await PostgresServer.start()
  await server.run('create role plain login')
  await server.run('create database chat owner plain')
  return server
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

  static async open(server: PostgresServer, run: NodeRun): Promise<Node> {
    const url = server.url('chat').replace('meerkat@', 'plain@')
    const settings = { patienceMs: 1_000, silenceMs: 300 }
    const node = new Node(await openPostgres(url, settings), run)
    await node.storage.migrate([tables, ...fenceMigrations])
    await node.fences.enter(run, () => {
      node.isShutOut = true
      node.shutOut.resolve()
    })
    return node
  }

  get fences(): Fences {
    assert.ok(this.storage.fences)
    return this.storage.fences
  }

  async write(number: number): Promise<void> {
    await this.storage.write('insert into row (number) values (?)', [number])
    this.stored.push(number)
  }

  async numbers(): Promise<readonly number[]> {
    const rows = await this.storage.read<{ number: number }>('select number from row', [])
    return rows.map(({ number }) => number)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.storage.close()
  }
}

test('a run that is shut out stores nothing any more, and hears so', options, async () => {
  await using server = await startServer()
  await using one = await Node.open(server, { node: 'one', epoch: 5 })
  await using two = await Node.open(server, { node: 'two', epoch: 7 })
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
  assert.deepEqual(new Set(await two.numbers()), left)
  // Who was not shut out goes on, and it may be done twice.
  await two.fences.shutOut(one.run)
  await two.write(-2)
  assert.equal(two.isShutOut, false)
})

test('a new run of the same node is not meant', options, async () => {
  await using server = await startServer()
  await using first = await Node.open(server, { node: 'one', epoch: 5 })
  await using second = await Node.open(server, { node: 'one', epoch: 6 })
  await second.fences.shutOut(first.run)
  await first.shutOut.promise
  await second.write(1)
  assert.equal(second.isShutOut, false)
  assert.equal(await second.fences.lastOf('one'), 5)
  assert.equal(await second.fences.lastOf('two'), 0)
  // What is over is so for good.
  await second.fences.shutOut({ node: 'one', epoch: 3 })
  assert.equal(await second.fences.lastOf('one'), 5)
})

test('earlier runs of the node are meant as well', options, async () => {
  await using server = await startServer()
  await using first = await Node.open(server, { node: 'one', epoch: 5 })
  await using second = await Node.open(server, { node: 'one', epoch: 6 })
  await using other = await Node.open(server, { node: 'one-more', epoch: 5 })
  await using two = await Node.open(server, { node: 'two', epoch: 1 })
  await two.fences.shutOut(second.run)
  await assert.rejects(first.write(1), StorageError)
  await Promise.all([first.shutOut.promise, second.shutOut.promise])
  await other.write(2)
  await two.write(3)
  assert.deepEqual([other.isShutOut, two.isShutOut], [false, false])
  assert.deepEqual(await two.storage.read('select node from node_run where node = ?', ['one']), [])
})

test('a run that comes too late hears so, also when it connects anew', options, async () => {
  await using server = await startServer()
  await using two = await Node.open(server, { node: 'two', epoch: 1 })
  await two.fences.shutOut({ node: 'one', epoch: 5 })
  await using late = await Node.open(server, { node: 'one', epoch: 5 })
  assert.ok(late.isShutOut)
  await using away = await Node.open(server, { node: 'three', epoch: 5 })
  await server.stop()
  await server.begin()
  await two.fences.shutOut(away.run)
  await away.shutOut.promise
})

test('who leaves has stored all, and is not disturbed any more', options, async () => {
  await using server = await startServer()
  await using one = await Node.open(server, { node: 'one', epoch: 5 })
  await using two = await Node.open(server, { node: 'two', epoch: 1 })
  const last = Promise.all([1, 2, 3].map((number) => one.write(number)))
  await one.fences.leave()
  assert.deepEqual(await two.numbers(), [1, 2, 3])
  await last
  await two.fences.shutOut(one.run)
  await one.write(4)
  assert.equal(one.isShutOut, false)
})

import assert from 'node:assert/strict'
import dns from 'node:dns'
import { type TestContext, test } from 'node:test'
import { sql } from 'kysely'
import pg from 'pg'
import {
  type Migration,
  type Storage,
  StorageError,
  type StorageErrorKind,
} from '../../src/core/storage.ts'
import { openPostgres, type PostgresOptions } from '../../src/storage/postgres.ts'
import { PostgresServer, skipWithoutPostgres, skipWithoutSmallDisk } from '../support/postgres.ts'
import { Relay } from '../support/relay.ts'

const options = { skip: skipWithoutPostgres }
const PATIENCE = { patienceMs: 20_000, silenceMs: 300 }

/** Without a key: what is written twice is there twice. */
const tables: Migration = {
  name: 'faults/0001-create',
  async up(db) {
    await db.schema.createTable('row').addColumn('number', 'bigint').execute()
  },
}
const INSERT = 'insert into row (number) values (?)'
const SELECT = 'select number from row order by number'

const ofKind = (kind: StorageErrorKind) => ({ name: 'StorageError', kind })

const numbersIn = async (storage: Storage) =>
  (await storage.read<{ number: number }>(SELECT, [])).map(({ number }) => number)

/** A server, and a storage that a test may break. */
async function given({ settings = {}, ...opened }: PostgresOptions & { settings?: object } = {}) {
  const server = await PostgresServer.start(settings as Record<string, string>)
  const relay = await Relay.start({ host: '127.0.0.1', port: server.port })
  const url = `postgres://meerkat@127.0.0.1:${relay.address.port}/postgres`
  const storage = await openPostgres(url, { ...PATIENCE, ...opened })
  await storage.migrate([tables])
  return {
    server,
    relay,
    url,
    storage,
    async [Symbol.asyncDispose]() {
      await storage.close()
      await relay[Symbol.asyncDispose]()
      await server[Symbol.asyncDispose]()
    },
  }
}

/** Writes numbers, seven in a turn, until it is stopped. */
function startWriting(storage: Storage) {
  const stored: number[] = []
  const refused = new Map<number, unknown>()
  let next = 0
  let isStopped = false
  let heard = Promise.withResolvers<void>()
  const turn = () =>
    Promise.all(
      Array.from({ length: 7 }, async () => {
        const number = next++
        try {
          await storage.write(INSERT, [number])
          stored.push(number)
          heard.resolve()
        } catch (error) {
          refused.set(number, error)
        }
      }),
    )
  const done = (async () => {
    while (!isStopped) await turn()
  })()
  return {
    stored,
    refused,
    /** More is stored than was. */
    async goesOn() {
      heard = Promise.withResolvers()
      await heard.promise
    },
    async stop() {
      isStopped = true
      await done
    },
  }
}

/** What was acknowledged is there, once; what was refused is not there twice. */
async function settles(storage: Storage, writing: ReturnType<typeof startWriting>) {
  await writing.stop()
  const numbers = await numbersIn(storage)
  assert.deepEqual(numbers, [...new Set(numbers)])
  const there = new Set(numbers)
  assert.deepEqual(
    writing.stored.filter((number) => !there.has(number)),
    [],
  )
  for (const error of writing.refused.values()) {
    assert.ok(error instanceof StorageError && error.kind === 'io', String(error))
  }
}

test('killed and begun again, it has all that it acknowledged', options, async () => {
  await using set = await given({ settings: { fsync: 'on' } })
  const { server, storage } = set
  const writing = startWriting(storage)
  await writing.goesOn()
  // The whole server; then one of its processes, after which it begins all others anew; then in order.
  await server.stop('SIGKILL')
  await server.begin()
  await writing.goesOn()
  const [backend] = await server.run(
    "select pid from pg_stat_activity where application_name = 'meerkat' order by pid limit 1",
  )
  process.kill(Number(backend?.pid), 'SIGKILL')
  await writing.goesOn()
  await server.stop('SIGINT')
  await server.begin()
  await writing.goesOn()
  await settles(storage, writing)
})

test(
  'over connections that are cut, all that was acknowledged arrived, once',
  options,
  async () => {
    await using set = await given()
    const { relay, storage } = set
    const writing = startWriting(storage)
    for (let cut = 0; cut < 5; cut++) {
      await writing.goesOn()
      relay.cut()
    }
    await writing.goesOn()
    await settles(storage, writing)
  },
)

test('a connection over which nothing comes any more is given up', options, async () => {
  await using set = await given()
  const { relay, storage } = set
  await storage.write(INSERT, [1])
  relay.hang()
  // Nobody knows whether it arrived; those that come later do.
  await assert.rejects(storage.write(INSERT, [2]), ofKind('io'))
  await storage.write(INSERT, [3])
  assert.ok((await numbersIn(storage)).includes(3))
})

test('a slow statement is no silence; one that takes too long fails alone', options, async () => {
  await using set = await given({ silenceMs: 100, statementTimeoutMs: 1000 })
  const { storage } = set
  const slow = storage.read('select 1 as one, pg_sleep(0.5)::text as slept', [])
  assert.deepEqual(await slow, [{ one: 1, slept: '' }])
  const endless = storage.read('select pg_sleep(60)::text as slept', [])
  await Promise.all([assert.rejects(endless, ofKind('busy')), storage.write(INSERT, [1])])
  assert.deepEqual(await numbersIn(storage), [1])
})

test('while it is away, requests wait, within bounds of time and memory', options, async () => {
  // Longer than the server needs to start: the last request has to outlast that.
  await using set = await given({ patienceMs: 5000, maxPendingBytes: 10_000 })
  const { server, storage } = set
  await storage.write(INSERT, [1])
  await server.stop('SIGINT')
  const waiting = storage.write(INSERT, [2])
  const tooLong = assert.rejects(waiting, (error) => {
    assert.ok(error instanceof StorageError && error.kind === 'busy')
    return /^The PostgreSQL database postgres at 127\.0\.0\.1:\d+ cannot be used: /.test(
      error.message,
    )
  })
  await assert.rejects(storage.write(INSERT, [10n ** 10_000n].map(String)), ofKind('busy'))
  const full = await Promise.allSettled(
    Array.from({ length: 100 }, (_, index) => storage.write(INSERT, [100 + index])),
  )
  assert.ok(full.every((result) => result.status === 'rejected' && result.reason.kind === 'busy'))
  await tooLong
  const late = storage.write(INSERT, [3])
  await server.begin()
  await late
  assert.deepEqual(await numbersIn(storage), [1, 3])
})

test('what a lost connection was to do never comes after newer things', options, async () => {
  await using set = await given()
  const { server, relay, storage, url } = set
  await server.run('create table gate (number bigint)')
  const other = new pg.Client(url.replace(String(relay.address.port), String(server.port)))
  await other.connect()
  await other.query('begin')
  await other.query('lock table gate')
  const written = storage.writeAll([
    { sql: 'insert into gate (number) values (?)', parameters: [1] },
    { sql: INSERT, parameters: [1] },
  ])
  const backends = (state: string) =>
    server.run(`select 1 from pg_stat_activity where application_name = 'meerkat' and ${state}`)
  while ((await backends("wait_event_type = 'Lock'")).length === 0);
  const refused = assert.rejects(written, ofKind('io'))
  relay.cut()
  await refused
  await storage.write('delete from row', [])
  await other.query('commit')
  await other.end()
  while ((await backends("state = 'active'")).length > 0);
  assert.deepEqual(await numbersIn(storage), [])
})

test('a transaction that is cut off leaves nothing, and others go on', options, async () => {
  await using set = await given()
  const { relay, storage } = set
  const broken = storage.db.transaction().execute(async (trx) => {
    await sql`insert into row (number) values (1)`.execute(trx)
    relay.cut()
    await sql`insert into row (number) values (2)`.execute(trx)
  })
  await Promise.all([assert.rejects(broken, ofKind('io')), storage.write(INSERT, [3])])
  assert.deepEqual(await numbersIn(storage), [3])
})

test('what another connection has locked is busy after a while, then works', options, async () => {
  await using set = await given({ lockTimeoutMs: 200 })
  const { server, storage } = set
  const other = new pg.Client({ connectionString: server.url('postgres') })
  await other.connect()
  await other.query('begin')
  await other.query('lock table row in exclusive mode')
  const writes = await Promise.allSettled([1, 2, 3].map((n) => storage.write(INSERT, [n])))
  assert.ok(writes.every(({ status }) => status === 'rejected'))
  for (const write of writes) {
    if (write.status === 'rejected') assert.equal(write.reason.kind, 'busy')
  }
  // Queries need no lock.
  assert.deepEqual(await numbersIn(storage), [])
  await other.query('commit')
  await other.end()
  await storage.write(INSERT, [4])
  assert.deepEqual(await numbersIn(storage), [4])
})

test('of two servers that lock each other out, both go on', options, async () => {
  await using set = await given()
  const { storage, server } = set
  await using second = await openPostgres(server.url('postgres'), PATIENCE)
  await storage.writeAll([1, 2].map((number) => ({ sql: INSERT, parameters: [number] })))
  const update = (number: number) => ({
    sql: 'update row set number = number where number = ?',
    parameters: [number],
  })
  for (let round = 0; round < 20; round++) {
    await Promise.all([
      storage.writeAll([update(1), update(2)]),
      second.writeAll([update(2), update(1)]),
    ])
  }
})

test('a full disk refuses rows, keeps what was acknowledged, and goes on with room', {
  skip: skipWithoutSmallDisk,
}, async () => {
  await using server = await PostgresServer.startOnSmallDisk()
  await using storage = await openPostgres(server.url('small'), PATIENCE)
  await server.run('create table filling (text text)', 'small')
  await server.run(
    "insert into filling select repeat('x', 1000) from generate_series(1, 500)",
    'small',
  )
  await storage.migrate([tables])
  const stored: number[] = []
  const refused: unknown[] = []
  for (let number = 0; refused.length === 0; ) {
    const turn = Array.from({ length: 500 }, async () => {
      const own = number++
      try {
        await storage.write(INSERT, [own])
        stored.push(own)
      } catch (error) {
        refused.push(error)
      }
    })
    await Promise.all(turn)
  }
  for (const error of refused) assert.ok(error instanceof StorageError && error.kind === 'full')
  assert.deepEqual(await numbersIn(storage), stored)
  await server.run('drop table filling', 'small')
  await storage.write(INSERT, [-1])
  assert.deepEqual(await numbersIn(storage), [-1, ...stored])
})

test('a database that may only be read says so, and is read', options, async () => {
  await using set = await given()
  const { server, storage, url } = set
  await storage.write(INSERT, [1])
  await server.run('alter database postgres set default_transaction_read_only = on')
  await using again = await openPostgres(url, PATIENCE)
  await assert.rejects(again.write(INSERT, [2]), {
    ...ofKind('io'),
    message: /read-only transaction/,
  })
  assert.deepEqual(await numbersIn(again), [1])
})

test(
  'of several hosts the one that takes writes is used, and another when it fails',
  options,
  async () => {
    await using first = await PostgresServer.start()
    await using second = await PostgresServer.start()
    for (const server of [first, second]) await server.run('create table row (number bigint)')
    await first.run('alter database postgres set default_transaction_read_only = on')
    const hosts = [first, second].map(({ port }) => `127.0.0.1:${port}`).join()
    await using storage = await openPostgres(`postgres://meerkat@${hosts}/postgres`, PATIENCE)
    await storage.write(INSERT, [1])
    assert.deepEqual(await second.run('select number from row'), [{ number: '1' }])
    // What was the standby takes over.
    await first.run('begin read write; alter database postgres reset all; commit')
    await second.stop()
    await storage.write(INSERT, [2])
    assert.deepEqual(await first.run('select number from row'), [{ number: '2' }])
  },
)

test('a host whose address changes is looked up anew', options, async (context: TestContext) => {
  await using set = await given()
  const { server } = set
  const { port } = server
  const host = '127.0.0.1'
  await using first = await Relay.start({ host, port }, '127.0.0.1')
  await using second = await Relay.start({ host, port }, '127.0.0.2', first.address.port)
  let address = '127.0.0.1'
  const { lookup } = dns
  context.mock.method(dns, 'lookup', (name: string, given: dns.LookupAllOptions, done: never) =>
    lookup(name === 'db.example.com' ? address : name, given, done),
  )
  const url = `postgres://meerkat@db.example.com:${first.address.port}/postgres`
  await using storage = await openPostgres(url, PATIENCE)
  const writing = startWriting(storage)
  await writing.goesOn()
  assert.equal(second.count, 0)
  address = '127.0.0.2'
  first.goDown()
  await writing.goesOn()
  assert.ok(second.count > 0)
  await settles(storage, writing)
})

test('what cannot be opened says what and why, without the password', options, async () => {
  await using server = await PostgresServer.start()
  const cases = {
    [`postgres://nobody:s3cret@127.0.0.1:${server.port}/postgres`]: /role "nobody" does not exist/,
    [`postgres://meerkat:s3cret@127.0.0.1:${server.port}/none`]: /database "none" does not exist/,
    'postgres://meerkat:s3cret@127.0.0.1:1/chat': /database chat at 127.0.0.1:1 .*ECONNREFUSED/,
  }
  for (const [url, message] of Object.entries(cases)) {
    await assert.rejects(openPostgres(url), (error: Error) => {
      assert.match(error.message, message)
      return error instanceof StorageError && !/s3cret/.test(String(error.stack))
    })
  }
  await server.run("create database latin encoding 'LATIN1' template template0")
  await assert.rejects(openPostgres(server.url('latin')), { message: /its encoding is LATIN1/ })
})

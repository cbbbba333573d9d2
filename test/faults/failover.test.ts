import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { callCommand } from '../../src/admin/control-client.ts'
import { type Logger, silentLogger } from '../../src/core/log.ts'
import { type Migration, StorageError } from '../../src/core/storage.ts'
import { openPostgres } from '../../src/storage/postgres.ts'
import { emptyDirectory } from '../support/directory.ts'
import { PostgresServer, skipWithoutPostgres } from '../support/postgres.ts'
import { Relay } from '../support/relay.ts'
import { PASSWORD } from '../support/server.ts'
import { ServerProcess } from '../support/server-process.ts'
import { chat } from '../support/stanzas.ts'
import { enable, handles } from '../support/stream-management.ts'

const options = { skip: skipWithoutPostgres }

const tables: Migration = {
  name: 'faults/0001-create',
  async up(db) {
    await db.schema.createTable('row').addColumn('number', 'bigint').execute()
  },
}
const INSERT = 'insert into row (number) values (?)'

/** A primary, and a standby that has all that it has committed. */
async function pair() {
  const stack = new AsyncDisposableStack()
  const primary = stack.use(await PostgresServer.start({ fsync: 'on' }))
  const standby = stack.use(await PostgresServer.startStandby(primary))
  await primary.waitForStandbys()
  const hosts = [primary, standby].map(({ port }) => `127.0.0.1:${port}`).join()
  const url = `postgres://meerkat@${hosts}/postgres?target_session_attrs=read-write`
  return { primary, standby, url, [Symbol.asyncDispose]: () => stack.disposeAsync() }
}

/** What is told, and when that says that the server is away. */
function listening() {
  const { promise, resolve } = Promise.withResolvers<void>()
  const warn = (what: string) => {
    if (what === 'storage_away') resolve()
  }
  const log: Logger = { ...silentLogger, warn }
  return { log, away: promise }
}

const numbersOf = (rows: readonly Record<string, unknown>[]) =>
  rows.map(({ number }) => Number(number)).sort((a, b) => a - b)

test(
  'the standby that is promoted has all that was acknowledged, and goes on',
  options,
  async () => {
    await using set = await pair()
    const { primary, standby, url } = set
    const { log, away } = listening()
    await using storage = await openPostgres(url, { patienceMs: 20_000, silenceMs: 300, log })
    await storage.migrate([tables])
    const stored: number[] = []
    const refused: number[] = []
    const write = async (number: number) => {
      try {
        await storage.write(INSERT, [number])
        stored.push(number)
      } catch (error) {
        // It was under way: nobody knows.
        assert.ok(error instanceof StorageError && error.kind === 'io', String(error))
        refused.push(number)
      }
    }
    let next = 0
    const writing = Array.from({ length: 7 }, async () => {
      while (stored.length < 500) await write(next++)
    })
    while (stored.length < 100) await new Promise((resolve) => setImmediate(resolve))
    await primary.stop('SIGKILL')
    await away
    // As long as nobody takes writes they wait, though the standby could be read.
    const late = write(-1)
    const seen = storage.read('select number from row', [])
    await standby.promote()
    await Promise.all([late, seen, ...writing])
    assert.ok(stored.includes(-1))
    const left = numbersOf(await standby.run('select number from row'))
    assert.deepEqual(left, [...new Set(left)])
    const there = new Set(left)
    for (const number of stored) assert.ok(there.has(number), `${number}`)
    for (const number of left) assert.ok(stored.includes(number) || refused.includes(number))
  },
)

test(
  'as long as nobody is promoted, what is there is read, and writes are refused',
  options,
  async () => {
    await using set = await pair()
    const { primary, standby, url } = set
    await using storage = await openPostgres(url, { patienceMs: 600, silenceMs: 300 })
    await storage.migrate([tables])
    await storage.write(INSERT, [1])
    await primary.stop('SIGKILL')
    await assert.rejects(storage.write(INSERT, [2]), (error) => error instanceof StorageError)
    let read: readonly unknown[] = []
    for (let attempt = 0; read.length === 0 && attempt < 20; attempt++) {
      read = await storage.read('select number from row', []).catch(() => [])
    }
    assert.deepEqual(read, [{ number: 1 }])
    await assert.rejects(storage.write(INSERT, [3]), {
      kind: 'io',
      message: /read-only transaction/,
    })
    await standby.promote()
    let isStored = false
    for (let attempt = 0; !isStored && attempt < 400; attempt++) {
      isStored = await storage.write(INSERT, [4]).then(
        () => true,
        () => false,
      )
      if (!isStored) await new Promise((resolve) => setTimeout(resolve, 50))
    }
    assert.deepEqual(numbersOf(await standby.run('select number from row')), [1, 4])
  },
)

test('a server whose database fails over loses nothing that it acknowledged', options, async () => {
  await using set = await pair()
  const { primary, standby, url } = set
  await using directory = await emptyDirectory()
  await using server = await ServerProcess.start(directory.path, '', '', url)
  const socket = join(directory.path, 'meerkat.sock')
  for (const localpart of ['romeo', 'juliet']) {
    const jid = `${localpart}@im.example.com`
    await callCommand(socket, 'account register', { jid, password: PASSWORD })
  }
  const romeo = await server.connect('romeo', 'orchard')
  await enable(romeo)
  const lines = Array.from({ length: 60 }, (_, index) => `line ${index}`)
  for (const line of lines.slice(0, 30)) romeo.send(chat('juliet@im.example.com', line))
  await handles(romeo, 30)
  await primary.stop('SIGKILL')
  for (const line of lines.slice(30)) romeo.send(chat('juliet@im.example.com', line))
  await standby.promote()
  try {
    await handles(romeo, 60)
  } catch {
    // Something was being committed, of which nobody knows: so it is sent once more.
    const again = await server.connect('romeo', 'garden')
    await enable(again)
    for (const line of lines.slice(30)) again.send(chat('juliet@im.example.com', line))
    await handles(again, 30)
  }
  const juliet = await server.connect('juliet', 'balcony')
  await juliet.becomesAvailable()
  const missing = new Set(lines)
  while (missing.size > 0) {
    missing.delete((await juliet.receives({ name: 'message' })).child('body')?.text ?? '')
  }
})

test('a proxy that leads to the standby once that is promoted is followed', options, async () => {
  await using set = await pair()
  const { primary, standby } = set
  const host = '127.0.0.1'
  await using before = await Relay.start({ host, port: primary.port })
  const { port } = before.address
  const url = `postgres://meerkat@127.0.0.1:${port}/postgres`
  const { log, away } = listening()
  await using storage = await openPostgres(url, { patienceMs: 20_000, silenceMs: 300, log })
  await storage.migrate([tables])
  await storage.write(INSERT, [1])
  await primary.stop('SIGKILL')
  await away
  const late = storage.write(INSERT, [2])
  await before[Symbol.asyncDispose]()
  await standby.promote()
  await using _after = await Relay.start({ host, port: standby.port }, host, port)
  await late
  assert.deepEqual(numbersOf(await standby.run('select number from row')), [1, 2])
})

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { askArchive } from '../support/archive.ts'
import type { Client } from '../support/client.ts'
import { emptyDirectory } from '../support/directory.ts'
import { PostgresServer, skipWithoutPostgres } from '../support/postgres.ts'
import { startServer } from '../support/server.ts'
import { ServerProcess } from '../support/server-process.ts'
import { chat, presence } from '../support/stanzas.ts'
import { backends } from '../support/storage-backends.ts'
import { enable, handled, handledLater, handles } from '../support/stream-management.ts'

const SETTINGS = '[modules.archive]\nmax_page_size = 1000\n'

async function wholeArchive(client: Client): Promise<readonly string[]> {
  const bodies: string[] = []
  for (let after = ''; ; ) {
    const page = { max: '1000', ...(after !== '' && { after }) }
    const answer = await askArchive(client, { page })
    bodies.push(...answer.bodies)
    if (answer.isComplete) return bodies
    after = answer.last ?? ''
  }
}

async function createAccounts(url: string): Promise<void> {
  await using server = await startServer({ storage: { url } })
  await server.createAccount('romeo')
  await server.createAccount('juliet')
}

for (const [name, start] of Object.entries(backends)) {
  test(`${name}: what was acknowledged is in both archives, once and in order, whenever the server is killed`, async () => {
    const rounds = 3
    const perRound = 300
    await using directory = await emptyDirectory()
    await using backend = await start()
    await createAccounts(backend.url)
    const acknowledged: string[] = []
    for (let round = 0; round < rounds; round++) {
      await using server = await ServerProcess.start(directory.path, SETTINGS, '', backend.url)
      const juliet = await server.connect('juliet')
      const romeo = await server.connect('romeo')
      romeo.send(presence())
      await romeo.roundTrip()
      await enable(juliet)
      const lines = Array.from({ length: perRound }, (_, n) => `${round}: line ${n}`)
      for (const line of lines) juliet.send(chat('romeo@im.example.com', line))
      // In the midst of it, at another place each time.
      const until = (perRound * (round + 1)) / (rounds + 1)
      let h = await handled(juliet)
      while (h < until) h = await handledLater(juliet)
      await server.kill()
      acknowledged.push(...lines.slice(0, h))
    }
    await using server = await ServerProcess.start(directory.path, SETTINGS, '', backend.url)
    for (const localpart of ['romeo', 'juliet']) {
      const kept = await wholeArchive(await server.connect(localpart))
      assert.equal(new Set(kept).size, kept.length)
      const inTheOrderOfTheArchive = kept.filter((line) => acknowledged.includes(line))
      assert.deepEqual(inTheOrderOfTheArchive, acknowledged, localpart)
    }
  })
}

test('PostgreSQL killed and begun again: all is acknowledged, and in both archives once', {
  skip: skipWithoutPostgres,
}, async () => {
  await using directory = await emptyDirectory()
  await using postgres = await PostgresServer.start({ fsync: 'on' })
  const url = postgres.url('postgres')
  await createAccounts(url)
  await using server = await ServerProcess.start(directory.path, SETTINGS, '', url)
  const juliet = await server.connect('juliet')
  const romeo = await server.connect('romeo')
  romeo.send(presence())
  await romeo.roundTrip()
  await enable(juliet)
  const lines: string[] = []
  for (let round = 0; round < 3; round++) {
    const more = Array.from({ length: 100 }, (_, n) => `${round}: line ${n}`)
    for (const line of more) juliet.send(chat('romeo@im.example.com', line))
    lines.push(...more)
    // In the midst of it, at another place each time.
    let h = await handled(juliet)
    while (h < lines.length - 100 + 30 * round) h = await handledLater(juliet)
    await postgres.stop('SIGKILL')
    await postgres.begin()
  }
  let h = await handled(juliet)
  while (h < lines.length) h = await handledLater(juliet)
  for (const localpart of ['romeo', 'juliet']) {
    assert.deepEqual(await wholeArchive(await server.connect(localpart)), lines, localpart)
  }
})

test('senders that are faster than the disk are slowed down, and not disconnected', async () => {
  const senders = ['juliet', 'mercutio', 'benvolio', 'tybalt']
  const lines = Array.from({ length: 600 }, (_, n) => `${n} ${'x'.repeat(1_000)}`)
  await using directory = await emptyDirectory()
  const file = join(directory.path, 'meerkat.db')
  const url = `sqlite:${file}`
  {
    await using server = await startServer({ storage: { url } })
    for (const localpart of ['romeo', ...senders]) await server.createAccount(localpart)
  }
  // All that is sent comes to more than four times of it, in two archives each.
  const settings = '[modules.archive]\nmax_page_size = 1000\nmax_pending = "1MiB"\n'
  await using server = await ServerProcess.start(directory.path, settings, '', url)
  const romeo = await server.connect('romeo')
  romeo.send(presence())
  await romeo.roundTrip()
  const clients = await Promise.all(senders.map((localpart) => server.connect(localpart)))
  for (const client of clients) await enable(client)

  const disk = new DatabaseSync(file)
  disk.exec('begin immediate')
  for (const client of clients) {
    for (const line of lines) client.send(chat('romeo@im.example.com', line))
  }
  await setTimeout(1_500)
  disk.exec('rollback')
  disk.close()

  for (const client of clients) await handles(client, lines.length)
  assert.equal((await wholeArchive(romeo)).length, senders.length * lines.length)
  for (const client of clients) assert.deepEqual(await wholeArchive(client), lines)
})

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { open, truncate, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import type { Element } from '../../src/xmpp/xml.ts'
import { type Client, conditionOf } from '../support/client.ts'
import { emptyDirectory } from '../support/directory.ts'
import { startServer } from '../support/server.ts'
import { ServerProcess } from '../support/server-process.ts'
import { chat } from '../support/stanzas.ts'
import { enable, handled } from '../support/stream-management.ts'

/** A directory with the accounts of romeo, juliet and nurse. */
async function stage() {
  const directory = await emptyDirectory()
  await using server = await startServer({
    data_dir: directory.path,
    storage: { url: `sqlite:${directory.path}/meerkat.db` },
  })
  for (const name of ['romeo', 'juliet', 'nurse']) await server.createAccount(name)
  return directory
}

const numberOf = (message: Element) => Number.parseInt(message.child('body')?.text ?? '', 10)

const bodiesOf = (client: Client) => client.inbox({ name: 'message' }).map(numberOf)

function checkDatabase(directory: string): void {
  const database = new DatabaseSync(join(directory, 'meerkat.db'))
  try {
    const [row] = database.prepare('pragma integrity_check').all()
    assert.equal(row?.integrity_check, 'ok')
  } finally {
    database.close()
  }
}

/** What a server that cannot start says, without its stack. */
async function refusal(directory: string, settings = ''): Promise<string> {
  const failure = await ServerProcess.start(directory, settings).then(
    () => assert.fail('it started'),
    (error: Error) => error.message,
  )
  return failure
    .replace('the server ended: ', '')
    .split('\n')
    .filter((line) => line !== '')
    .at(-1) as string
}

for (const settings of ['', '[modules.archive]\nenabled = false\n']) {
  const what = settings === '' ? 'with the archive' : 'without an archive'
  test(`kill -9 with messages on their way to who is offline loses none, ${what}`, async () => {
    const rounds = 3
    await using directory = await stage()
    let sent = 0
    let acknowledged = 0
    for (let round = 0; round < rounds; round++) {
      await using server = await ServerProcess.start(directory.path, settings)
      const romeo = await server.connect('romeo')
      await enable(romeo)
      const before = acknowledged
      const first = sent
      for (let i = 0; i < 300; i++) romeo.send(chat('juliet@im.example.com', String(sent++)))
      // In the midst of it, further on in each round.
      while (acknowledged < before + 40 * (round + 1)) {
        acknowledged = Math.max(acknowledged, first + (await handled(romeo)))
        await setImmediate()
      }
      await server.kill()
      checkDatabase(directory.path)
      // What was not acknowledged is the sender's to repeat.
      sent = acknowledged
    }

    await using server = await ServerProcess.start(directory.path, settings)
    const juliet = await server.connect('juliet')
    juliet.send('<presence/>')
    await juliet.roundTrip()
    while (!bodiesOf(juliet).includes(acknowledged - 1)) await juliet.receivesMore()
    const got = bodiesOf(juliet)
    const wanted = Array.from({ length: acknowledged }, (_, index) => index)
    const missing = wanted.filter((number) => !got.includes(number))
    assert.deepEqual(missing, [])
  })
}

test('a server that stops has nothing left to do when it starts again', async () => {
  await using directory = await stage()
  {
    await using server = await ServerProcess.start(directory.path)
    const romeo = await server.connect('romeo')
    for (let i = 0; i < 50; i++) romeo.send(chat('juliet@im.example.com', String(i)))
    await romeo.roundTrip()
    await server.stop()
    await romeo.receivesStreamError('system-shutdown')
  }
  checkDatabase(directory.path)
  await using server = await ServerProcess.start(directory.path)
  const juliet = await server.connect('juliet')
  juliet.send('<presence/>')
  await juliet.receives({ body: '49' })
  assert.deepEqual(
    bodiesOf(juliet),
    Array.from({ length: 49 }, (_, index) => index),
  )
})

test('a port that is taken is told in a line', async () => {
  await using directory = await stage()
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  const address = other.address()
  assert(address !== null && typeof address === 'object')
  const place = `127.0.0.1:${address.port}`
  const listener = `[[listen.c2s]]\naddress = "127.0.0.1"\nport = ${address.port}\ntls = "none"\n`

  const said = await refusal(directory.path, listener)

  other.close()
  assert.equal(said, `cannot start: ${place} is in use by another process`)
})

test('every mistake of a configuration is told in a line of its own', async () => {
  await using directory = await emptyDirectory()
  const file = join(directory.path, 'meerkat.toml')
  const settings = '[limits]\nmax_sessions = 5\n\n[auth]\nscram_iterations = "many"\n'

  const failure = await ServerProcess.start(directory.path, settings).then(
    () => assert.fail('it started'),
    (error: Error) => error.message,
  )

  const lines = failure.replace('the server ended: ', '').trimEnd().split('\n')
  const wanted = [
    `${file}:5:1: limits.max_sessions: unknown key`,
    `${file}:8:1: auth.scram_iterations: found "many"`,
  ]
  assert.deepEqual(
    lines.map((line, index) => line.slice(0, wanted[index]?.length)),
    wanted,
  )
})

test('a configuration that is no TOML is told in a line', async () => {
  await using directory = await emptyDirectory()

  const said = await refusal(directory.path, 'domains == 3')

  assert.match(said, /meerkat\.toml:4:\d+: not TOML: /)
})

test('a database that is none is told in a line, and left as it is', async () => {
  await using directory = await emptyDirectory()
  const file = join(directory.path, 'meerkat.db')
  await writeFile(file, 'Two households, both alike in dignity'.repeat(100))

  const said = await refusal(directory.path)

  assert.ok(said.startsWith('cannot start: '), said)
  assert.ok(said.includes(file), said)
})

test('a database that lost half of its pages is told in a line, or served as far as it goes', async () => {
  await using directory = await stage()
  const file = join(directory.path, 'meerkat.db')
  const handle = await open(file)
  const { size } = await handle.stat()
  await handle.close()
  await truncate(file, Math.floor(size / 2))

  const said = await refusal(directory.path)

  assert.ok(said.startsWith('cannot start: '), said)
  assert.ok(said.includes(file), said)
})

test('on a full disk the server goes on, and refuses what it cannot keep', async () => {
  await using directory = await stage()
  // Of each file, in KiB.
  const limit = "trap '' XFSZ; ulimit -S -f 700"
  await using server = await ServerProcess.start(directory.path, '', limit)
  const romeo = await server.connect('romeo')
  const juliet = await server.connect('juliet')
  await juliet.becomesAvailable()
  const nurse = 'nurse@im.example.com'
  const heavy = (index: number) => chat(nurse, `${index} ${'x'.repeat(20_000)}`)

  let stored = 0
  while (romeo.inbox({ name: 'message', type: 'error' }).length === 0) {
    assert.ok(stored < 500, 'the disk is never full')
    romeo.send(heavy(stored++))
    await romeo.roundTrip()
  }
  for (const error of romeo.inbox({ name: 'message', type: 'error' })) {
    assert.match(conditionOf(error) ?? '', /resource-constraint|internal-server-error/)
    assert.equal(error.child('error')?.attr('type'), 'wait')
  }

  // Who is there gets everything.
  romeo.send(chat(juliet.fullJid, 'art thou there?'))
  await juliet.receives({ body: 'art thou there?' })

  execFileSync('prlimit', ['--pid', String(server.pid), '--fsize=unlimited'])
  romeo.send(chat(nurse, 'room again'))
  await romeo.receivesNothing({ body: 'room again' })
  const refused = romeo.inbox({ name: 'message', type: 'error' }).map(numberOf)
  await server.stop()
  checkDatabase(directory.path)

  await using next = await ServerProcess.start(directory.path)
  const late = await next.connect('nurse')
  late.send('<presence/>')
  await late.receives({ body: 'room again' })
  const kept = late.inbox({ name: 'message' }).map(numberOf)
  assert.deepEqual(
    [...kept, ...refused].toSorted((a, b) => a - b),
    Array.from({ length: stored }, (_, index) => index),
  )
})

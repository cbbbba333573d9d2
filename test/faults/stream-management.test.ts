import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Client } from '../support/client.ts'
import { emptyDirectory } from '../support/directory.ts'
import { canFill, fillDisk } from '../support/disk.ts'
import { startServer } from '../support/server.ts'
import { ServerProcess } from '../support/server-process.ts'
import { chat, presence } from '../support/stanzas.ts'
import {
  acknowledge,
  enable,
  handled,
  handledLater,
  handles,
  SM_NS,
  tryToResume,
} from '../support/stream-management.ts'

/** Nothing but the clients' hands and stream management keeps a message. */
const WITHOUT_ARCHIVE = '[modules.archive]\nenabled = false\n'

/** A directory with the accounts of romeo and juliet. */
async function stage() {
  const directory = await emptyDirectory()
  await using server = await startServer({
    data_dir: directory.path,
    storage: { url: `sqlite:${directory.path}/meerkat.db` },
  })
  await server.createAccount('romeo')
  await server.createAccount('juliet')
  return directory
}

const bodies = (client: Client) =>
  client.inbox({ name: 'message' }).map((message) => message.child('body')?.text ?? '')

const lines = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, index) => `line ${from + index}`)

/** The client becomes available, and acknowledges what it has whenever it is asked. */
async function acknowledgeAll(client: Client): Promise<void> {
  await enable(client)
  client.send(presence())
  while (!client.isClosed) {
    await client.receives({ name: 'r', ns: SM_NS }).catch(() => {})
    acknowledge(client, client.inbox(({ name }) => name !== 'r').length)
  }
}

test('what a client had not acknowledged when the server was killed waits offline for the next', async () => {
  await using directory = await stage()
  await using first = await ServerProcess.start(directory.path, WITHOUT_ARCHIVE)
  const juliet = await first.connect('juliet')
  await enable(juliet)
  const romeo = await first.connect('romeo', 'orchard')
  await enable(romeo)
  await romeo.becomesAvailable()
  // Its own presence, a pong.
  const before = 2
  for (const line of lines(0, 100)) juliet.send(chat(romeo.fullJid, line))
  await romeo.receives({ body: 'line 99' })
  acknowledge(romeo, before + 60)
  await handles(juliet, 100)
  await romeo.roundTrip()
  await first.kill()

  await using second = await ServerProcess.start(directory.path, WITHOUT_ARCHIVE)
  const next = await second.connect('romeo', 'mantua')
  await next.becomesAvailable()
  await next.receives({ body: 'line 99' })
  assert.deepEqual(bodies(next), lines(60, 99))
})

test('a session without a connection is resumed after the server was killed', async () => {
  await using directory = await stage()
  await using first = await ServerProcess.start(directory.path, WITHOUT_ARCHIVE)
  const juliet = await first.connect('juliet')
  await enable(juliet)
  const romeo = await first.connect('romeo', 'orchard')
  const id = (await enable(romeo)).attr('id') ?? ''
  await romeo.becomesAvailable()
  await romeo.vanishes()
  for (const line of lines(0, 100)) juliet.send(chat(romeo.bareJid, line))
  await handles(juliet, 100)
  await first.kill()

  await using second = await ServerProcess.start(directory.path, WITHOUT_ARCHIVE)
  const back = await second.authenticate('romeo')
  const answer = await tryToResume(back, id, 2)
  assert.equal(answer.name, 'resumed')
  assert.equal(answer.attr('h'), '2')
  await back.receives({ body: 'line 99' })
  assert.deepEqual(bodies(back), lines(0, 99))
})

test('what waits for a session comes once, though the server is killed again before it is resumed', async () => {
  await using directory = await stage()
  await using first = await ServerProcess.start(directory.path, WITHOUT_ARCHIVE)
  const juliet = await first.connect('juliet')
  await enable(juliet)
  const romeo = await first.connect('romeo', 'orchard')
  const id = (await enable(romeo)).attr('id') ?? ''
  await romeo.becomesAvailable()
  await romeo.vanishes()
  for (const line of lines(0, 20)) juliet.send(chat(romeo.bareJid, line))
  await handles(juliet, 20)
  await first.kill()
  await using second = await ServerProcess.start(directory.path, WITHOUT_ARCHIVE)
  await second.kill()

  await using third = await ServerProcess.start(directory.path, WITHOUT_ARCHIVE)
  const back = await third.authenticate('romeo')
  const answer = await tryToResume(back, id, 2)
  assert.equal(answer.name, 'resumed')
  await back.receives({ body: 'line 19' })
  await back.roundTrip()
  assert.deepEqual(bodies(back), lines(0, 19))
})

test('a session that had a connection when the server was killed is not resumed', async () => {
  await using directory = await stage()
  await using first = await ServerProcess.start(directory.path)
  const romeo = await first.connect('romeo', 'orchard')
  const id = (await enable(romeo)).attr('id') ?? ''
  await romeo.vanishes()
  const back = await first.authenticate('romeo')
  assert.equal((await tryToResume(back, id, 0)).name, 'resumed')
  await first.kill()

  await using second = await ServerProcess.start(directory.path)
  const again = await second.authenticate('romeo')
  assert.equal((await tryToResume(again, id, 0)).name, 'failed')
})

test('no message that was acknowledged is lost, whenever the server is killed', async () => {
  const rounds = 4
  const perRound = 150
  await using directory = await stage()
  const got: string[] = []
  let sent = 0
  /** As juliet's client knows. */
  let acknowledged = 0
  for (let round = 0; round < rounds; round++) {
    await using server = await ServerProcess.start(directory.path, WITHOUT_ARCHIVE)
    const romeo = await server.connect('romeo', `r${round}`)
    const acknowledging = acknowledgeAll(romeo)
    const juliet = await server.connect('juliet')
    await enable(juliet)
    // As clients do, what was not acknowledged goes out again.
    const offset = acknowledged
    sent = acknowledged + perRound
    for (const line of lines(offset, sent)) juliet.send(chat('romeo@im.example.com', line))
    const until = (perRound * (round + 1)) / (rounds + 1)
    let h = await handled(juliet)
    while (h < until) h = await handledLater(juliet)
    acknowledged = offset + h
    await server.kill()
    await acknowledging
    got.push(...bodies(romeo))
  }
  await using server = await ServerProcess.start(directory.path, WITHOUT_ARCHIVE)
  const romeo = await server.connect('romeo')
  const acknowledging = acknowledgeAll(romeo)
  // His stream is managed by then.
  await romeo.roundTrip()
  const missing = () => {
    const all = new Set([...got, ...bodies(romeo)])
    return lines(0, acknowledged).filter((line) => !all.has(line))
  }
  // What waits for him is read from the disk while his requests are answered.
  const lost = () => assert.deepEqual(missing(), [])
  while (missing().length > 0) await romeo.receivesMore().catch(lost)
  await server.kill()
  await acknowledging
})

test('what was delivered after a kill does not come again after the next', async () => {
  await using directory = await stage()
  await using first = await ServerProcess.start(directory.path, WITHOUT_ARCHIVE)
  const juliet = await first.connect('juliet')
  await enable(juliet)
  const romeo = await first.connect('romeo', 'orchard')
  const id = (await enable(romeo)).attr('id') ?? ''
  await romeo.becomesAvailable()
  await romeo.vanishes()
  for (const line of lines(0, 20)) juliet.send(chat(romeo.bareJid, line))
  await handles(juliet, 20)
  await first.kill()

  await using second = await ServerProcess.start(directory.path, WITHOUT_ARCHIVE)
  const back = await second.authenticate('romeo')
  await tryToResume(back, id, 2)
  await back.receives({ body: 'line 19' })
  acknowledge(back, 22)
  await back.leaves()
  await second.stop()

  await using third = await ServerProcess.start(directory.path, WITHOUT_ARCHIVE)
  const next = await third.connect('romeo', 'orchard')
  await next.becomesAvailable()
  await next.receivesNothing({ name: 'message' })
})

const skip = canFill ? false : 'prlimit is not installed'
for (const [how, settings] of [
  ['with', ''],
  ['without', WITHOUT_ARCHIVE],
] as const) {
  test(`what a session gives back to a full disk stays, ${how} an archive`, { skip }, async () => {
    await using directory = await stage()
    await using first = await ServerProcess.start(directory.path, settings)
    const juliet = await first.connect('juliet')
    await enable(juliet)
    const romeo = await first.connect('romeo', 'orchard')
    await enable(romeo)
    await romeo.becomesAvailable()
    await romeo.vanishes()
    for (const line of lines(0, 30)) juliet.send(chat(romeo.bareJid, line))
    await handles(juliet, 30)
    const makeRoom = fillDisk(first.pid)
    const next = await first.connect('romeo', 'orchard')
    await enable(next)
    // What could not be stored is in memory.
    await next.becomesAvailable()
    await next.receives({ body: 'line 29' })
    assert.deepEqual(bodies(next), lines(0, 29))
    // It has acknowledged none of them, so they come again, and once.
    makeRoom()
    await first.kill()

    await using second = await ServerProcess.start(directory.path, settings)
    const again = await second.connect('romeo', 'orchard')
    await again.becomesAvailable()
    await again.receives({ body: 'line 29' })
    assert.deepEqual(bodies(again), lines(0, 29))
  })

  test(`it is stored once there is room, ${how} an archive`, { skip }, async () => {
    await using directory = await stage()
    await using server = await ServerProcess.start(directory.path, settings)
    const juliet = await server.connect('juliet')
    await enable(juliet)
    const romeo = await server.connect('romeo', 'orchard')
    await enable(romeo)
    await romeo.becomesAvailable()
    await romeo.vanishes()
    for (const line of lines(0, 30)) juliet.send(chat(romeo.bareJid, line))
    await handles(juliet, 30)
    const makeRoom = fillDisk(server.pid)
    const unavailable = await server.connect('romeo', 'orchard')
    makeRoom()
    for (const line of lines(30, 40)) juliet.send(chat(romeo.bareJid, line))
    await handles(juliet, 40)
    await unavailable.leaves()
    const next = await server.connect('romeo', 'orchard')
    await next.becomesAvailable()
    await next.receives({ body: 'line 39' })
    assert.deepEqual(bodies(next), lines(0, 39))
  })
}

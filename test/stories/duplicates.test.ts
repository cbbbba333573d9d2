import assert from 'node:assert/strict'
import { test } from 'node:test'
import { askArchive } from '../support/archive.ts'
import { CARBONS, enableCarbons } from '../support/carbons.ts'
import type { Client } from '../support/client.ts'
import { DOMAIN, type Settings, startServer, type TestServer } from '../support/server.ts'
import { chat } from '../support/stanzas.ts'
import { acknowledge, connectResumable } from '../support/stream-management.ts'

const JULIET = `juliet@${DOMAIN}`

/** Juliet was away when romeo wrote so many messages to her. */
async function withWaiting(count: number, settings: Settings = {}): Promise<TestServer> {
  const server = await startServer(settings)
  await server.createAccount('juliet')
  const romeo = await server.connect('romeo')
  for (let i = 1; i <= count; i++) romeo.send(chat(JULIET, `${i}`))
  await romeo.roundTrip()
  return server
}

/** What comes when a client becomes available. */
async function bodiesAfterPresence(client: Client): Promise<string[]> {
  await client.becomesAvailable()
  await client.roundTrip()
  return client.inbox({ name: 'message' }).map((message) => message.child('body')?.text ?? '')
}

test('what a client has read from its archive does not come again when it becomes available', async () => {
  await using server = await withWaiting(5)
  const phone = await server.connect('juliet', 'phone', { priority: undefined })
  const { bodies } = await askArchive(phone, { page: { max: '3' } })
  assert.deepEqual(bodies, ['1', '2', '3'])
  assert.deepEqual(await bodiesAfterPresence(phone), ['4', '5'])
  const desk = await server.connect('juliet', 'desk', { priority: undefined })
  assert.deepEqual(await bodiesAfterPresence(desk), [])
})

test('who only reads the archive leaves to others what waits for the account', async () => {
  await using server = await withWaiting(2)
  const reader = await server.connect('juliet', 'reader', { priority: undefined })
  assert.deepEqual((await askArchive(reader)).bodies, ['1', '2'])
  const phone = await server.connect('juliet', 'phone', { priority: undefined })
  assert.deepEqual(await bodiesAfterPresence(phone), ['1', '2'])
})

test('what was read and not acknowledged comes again', async () => {
  await using server = await withWaiting(3)
  const { client: phone } = await connectResumable(server, 'juliet', 'phone')
  await askArchive(phone)
  // Two of the three.
  acknowledge(phone, 2)
  await phone.roundTrip()
  assert.deepEqual(await bodiesAfterPresence(phone), ['3'])
})

test('the archive need not replace what waits', async () => {
  await using server = await withWaiting(2, { modules: { archive: { replaces_offline: false } } })
  const phone = await server.connect('juliet', 'phone', { priority: undefined })
  await askArchive(phone)
  assert.deepEqual(await bodiesAfterPresence(phone), ['1', '2'])
})

for (const isArchived of [true, false]) {
  const settings = isArchived ? {} : { modules: { archive: false as const } }
  const name = isArchived ? 'with an archive' : 'without one'

  test(`who has had a copy is not shown the message when it comes back, ${name}`, async () => {
    await using server = await startServer(settings)
    const { client: nurse } = await connectResumable(server, 'nurse')
    const { client: phone } = await connectResumable(server, 'juliet', 'phone', { priority: 1 })
    const { client: desk } = await connectResumable(server, 'juliet', 'desk', { priority: -1 })
    await enableCarbons(desk)
    nurse.send(chat(phone.bareJid, 'one'), chat(phone.fullJid, 'two'))
    await phone.receives({ body: 'two' })
    await desk.receives({ child: CARBONS })
    await desk.receives({ child: CARBONS })
    // The answer to its request, and the first copy.
    acknowledge(desk, 2)
    await desk.roundTrip()
    desk.forgets()
    const session = server.sessionOf(phone)
    await phone.vanishes()
    await session.close()
    await desk.becomesAvailable(0)
    await desk.roundTrip()
    assert.deepEqual(
      desk.inbox({ name: 'message' }).map((message) => message.child('body')?.text),
      ['two'],
    )
  })
}

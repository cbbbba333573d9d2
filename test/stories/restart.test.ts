import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseJid } from '../../src/xmpp/jid.ts'
import type { Client } from '../support/client.ts'
import { DOMAIN, startServer, type TestServer } from '../support/server.ts'
import { chat } from '../support/stanzas.ts'
import { acknowledge, connectResumable, resume } from '../support/stream-management.ts'

const STORAGE = { url: 'sqlite:meerkat.db' }

function start(before?: TestServer): Promise<TestServer> {
  return startServer({ storage: STORAGE, ...(before && { data_dir: before.directory }) })
}

/** Nobody waits any longer for a client that was there before the restart. */
async function expires(server: TestServer, { fullJid }: Client): Promise<void> {
  await server.server.sessionManager.sessions.get(parseJid(fullJid))?.close()
}

async function bodies(client: Client): Promise<string[]> {
  await client.roundTrip()
  return client.inbox({ name: 'message' }).map((message) => message.child('body')?.text ?? '')
}

test('what two resources had and none acknowledged goes back once', async () => {
  await using first = await start()
  const { client: nurse } = await connectResumable(first, 'nurse')
  const { client: phone } = await connectResumable(first, 'juliet', 'phone', { priority: 0 })
  const { client: desk } = await connectResumable(first, 'juliet', 'desk', { priority: 0 })
  nurse.send(chat(phone.bareJid, 'Madam!'))
  await phone.receives({ body: 'Madam!' })
  await desk.receives({ body: 'Madam!' })
  await first.stop()

  await using second = await start(first)
  await expires(second, phone)
  await expires(second, desk)
  const next = await second.connect('juliet', 'chamber')
  assert.deepEqual(await bodies(next), ['Madam!'])
})

test('what one of two resources acknowledged does not go back', async () => {
  await using first = await start()
  const { client: nurse } = await connectResumable(first, 'nurse')
  const { client: phone } = await connectResumable(first, 'juliet', 'phone', { priority: 0 })
  const { client: desk, id } = await connectResumable(first, 'juliet', 'desk', { priority: 0 })
  nurse.send(chat(phone.bareJid, 'Madam!'))
  await phone.receives({ body: 'Madam!' })
  await desk.receives({ body: 'Madam!' })
  acknowledge(desk, 1)
  await desk.roundTrip()
  await first.stop()

  await using second = await start(first)
  const { client: back } = await resume(second, { id, h: 2, fullJid: desk.fullJid })
  await expires(second, phone)
  assert.deepEqual(await bodies(back), [])
})

test('what waited offline and is in the hands of one resource is not given to another', async () => {
  for (const keeper of ['phone', 'desk']) {
    await using first = await start()
    await first.createAccount('juliet')
    const nurse = await first.connect('nurse')
    nurse.send(chat(`juliet@${DOMAIN}`, 'Madam!'))
    await nurse.roundTrip()
    const ids = new Map<string, string>()
    const clients = new Map<string, Client>()
    for (const name of [keeper, keeper === 'phone' ? 'desk' : 'phone']) {
      const { client, id } = await connectResumable(first, 'juliet', name, { priority: undefined })
      await client.becomesAvailable()
      ids.set(name, id)
      clients.set(name, client)
    }
    const holder = clients.get(keeper) as Client
    assert.deepEqual(await bodies(holder), ['Madam!'])
    await first.stop()

    await using second = await start(first)
    for (const [name, client] of clients) {
      const id = ids.get(name) as string
      const { client: back } = await resume(second, { id, h: 0, fullJid: client.fullJid })
      assert.deepEqual(
        await bodies(back),
        name === keeper ? ['Madam!'] : [],
        `${name} of ${keeper}`,
      )
    }
  }
})

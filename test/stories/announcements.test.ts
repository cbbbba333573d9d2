import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseBare } from '../../src/xmpp/jid.ts'
import type { Client } from '../support/client.ts'
import { until } from '../support/cluster.ts'
import { giveAsOperator as give } from '../support/operator.ts'
import { DOMAIN, startServer } from '../support/server.ts'

const OTHER = 'other.example.com'
/** What the server says to somebody who comes online comes before what is asked then. */
async function gets(client: Client, body: string, type: string): Promise<void> {
  const message = await client.receives({ name: 'message', body })
  assert.deepEqual([message.attr('from'), message.attr('type')], [client.domain, type])
}

test('each account gets the message of the day once: now, or when it comes', async () => {
  await using server = await startServer()
  const juliet = await server.connect('juliet', 'balcony')
  const window = await server.connect('juliet', 'window')
  const silent = await server.connect('nurse', 'hall', { priority: undefined })

  assert.deepEqual(await give(server, 'motd set', { body: 'Curtain at eight' }), {
    domains: [DOMAIN],
    sent: 1,
  })

  await gets(juliet, 'Curtain at eight', 'headline')
  await gets(window, 'Curtain at eight', 'headline')
  await silent.receivesNothing({ name: 'message' })
  await silent.becomesAvailable(0)
  await gets(silent, 'Curtain at eight', 'headline')
  const romeo = await server.connect('romeo', 'orchard')
  await gets(romeo, 'Curtain at eight', 'headline')
  const again = await server.connect('romeo', 'street')
  await again.receivesNothing({ name: 'message' })
  await romeo.receivesNothing({ name: 'message' })
})

test('who has it is not sent what it is changed to; another one is for all', async () => {
  await using server = await startServer()
  const juliet = await server.connect('juliet', 'balcony')
  await give(server, 'motd set', { body: 'Curtain at eight' })
  await gets(juliet, 'Curtain at eight', 'headline')

  await give(server, 'motd edit', { body: 'Curtain at nine' })

  const romeo = await server.connect('romeo', 'orchard')
  await gets(romeo, 'Curtain at nine', 'headline')
  await juliet.receivesNothing({ name: 'message' })
  await give(server, 'motd set', { body: 'No play today' })
  await gets(juliet, 'No play today', 'headline')
  await gets(romeo, 'No play today', 'headline')
  await give(server, 'motd delete')
  const nurse = await server.connect('nurse', 'hall')
  await nurse.receivesNothing({ name: 'message' })
  await assert.rejects(give(server, 'motd edit', { body: 'x' }), { code: 'not-found' })
})

test('many clients of an account that come at the same time get one', async () => {
  await using server = await startServer()
  await server.createAccount('romeo')
  await give(server, 'motd set', { body: 'Curtain at eight' })
  const clients: Client[] = []
  for (let i = 0; i < 5; i++) {
    clients.push(await server.connect('romeo', `r${i}`, { priority: undefined }))
  }

  await Promise.all(clients.map((client) => client.becomesAvailable(0)))

  const got = () =>
    clients.flatMap((client) => client.inbox({ name: 'message', body: 'Curtain at eight' })).length
  // Whether an account has it is asked of the storage; the presence and what follows it go on meanwhile.
  await until(() => got() > 0)
  // What the others asked for is behind this, and would be on its way.
  await give(server, 'motd edit', { body: 'Curtain at nine' })
  for (const client of clients) await client.roundTrip()
  assert.equal(got(), 1)
})

test('it is kept, by domain, and goes with its domain', async () => {
  await using server = await startServer({ domains: [DOMAIN, OTHER] })
  await give(server, 'motd set', { body: 'Only there', domain: OTHER })

  const romeo = await server.connect('romeo', 'orchard')
  await romeo.receivesNothing({ name: 'message' })
  const dora = await server.connect('dora', 'desk', { domain: OTHER })
  await gets(dora, 'Only there', 'headline')
  await server.reload({ domains: [DOMAIN, OTHER], modules: { announcements: false } })
  await server.reload({ domains: [DOMAIN, OTHER] })
  const shown = (await give(server, 'motd show')) as { messages: { domain: string }[] }
  assert.deepEqual(
    shown.messages.map(({ domain }) => domain),
    [OTHER],
  )
  const { storage, lifecycle } = server.server
  await lifecycle.remove(parseBare(dora.bareJid))
  assert.deepEqual(await storage.read('select * from announcement_seen', []), [])
})

test('who registers is welcomed after the first login, and never again', async () => {
  await using server = await startServer()
  await server.createAccount('nurse')
  await give(server, 'welcome set', { body: 'Welcome to the Globe' })
  await server.createAccount('romeo')

  const romeo = await server.connect('romeo', 'orchard')
  await gets(romeo, 'Welcome to the Globe', 'chat')
  const again = await server.connect('romeo', 'street')
  await again.receivesNothing({ name: 'message' })
  const nurse = await server.connect('nurse', 'hall')
  await nurse.receivesNothing({ name: 'message' })

  await give(server, 'welcome delete')
  const juliet = await server.connect('juliet', 'balcony')
  await juliet.receivesNothing({ name: 'message' })
})

import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { conditionOf } from '../support/client.ts'
import { DOMAIN, startServer } from '../support/server.ts'
import { chat } from '../support/stanzas.ts'

const JULIET = `juliet@${DOMAIN}`

test('messages wait for their recipient, in order, with the time they came', async () => {
  await using server = await startServer()
  await server.createAccount('juliet')
  const romeo = await server.connect('romeo', 'orchard')
  const bodies = Array.from({ length: 250 }, (_, index) => `line ${index}`)
  for (const body of bodies) romeo.send(chat(JULIET, body))
  await romeo.roundTrip()

  const juliet = await server.connect('juliet', 'balcony', { priority: undefined })
  juliet.send('<presence/>')
  for (const body of bodies) {
    const message = await juliet.receives({ name: 'message' })
    assert.equal(message.child('body')?.text, body)
    assert.equal(message.attr('from'), romeo.fullJid)
    assert.equal(message.child('delay', 'urn:xmpp:delay')?.attr('from'), DOMAIN)
  }
  await juliet.leaves()

  const again = await server.connect('juliet', 'balcony')
  await again.receivesNothing({ name: 'message' })
})

test('who has a negative priority does not get them', async () => {
  await using server = await startServer()
  await server.createAccount('juliet')
  const romeo = await server.connect('romeo', 'orchard')
  await romeo.sends(chat(JULIET, 'Art thou not Romeo?'))
  await romeo.roundTrip()
  const bot = await server.connect('juliet', 'bot', { priority: -1 })
  await bot.receivesNothing({ name: 'message' })
  bot.send('<presence/>')
  await bot.receives({ name: 'message', body: 'Art thou not Romeo?' })
})

test('over the limit the sender is told', async () => {
  await using server = await startServer({ modules: { offline: { max_messages: 2 } } })
  await server.createAccount('juliet')
  const romeo = await server.connect('romeo', 'orchard')
  for (const body of ['1', '2', '3']) romeo.send(chat(JULIET, body))
  const error = await romeo.receives({ name: 'message', type: 'error', body: '3' })
  assert.equal(conditionOf(error), 'service-unavailable')
  await romeo.receivesNothing()
})

test('they outlive the server', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'meerkat-'))
  const settings = { data_dir: directory, storage: { url: 'sqlite:meerkat.db' } }
  try {
    {
      await using server = await startServer(settings)
      await server.createAccount('juliet')
      const romeo = await server.connect('romeo', 'orchard')
      await romeo.sends(chat(JULIET, 'Good night, good night!'))
      await romeo.roundTrip()
    }
    await using server = await startServer(settings)
    const juliet = await server.connect('juliet', 'balcony', { priority: undefined })
    juliet.send('<presence/>')
    await juliet.receives({ name: 'message', body: 'Good night, good night!' })
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
})

test('what is stored under other settings than before is found by who comes', async () => {
  await using server = await startServer()
  await server.createAccount('juliet')
  const nothing = await server.connect('juliet', 'balcony')
  await nothing.receivesNothing({ name: 'message' })
  await nothing.leaves()

  const { storage } = server.server.config
  await server.reload({ storage, modules: { offline: { max_messages: 2 } } })
  const romeo = await server.connect('romeo', 'orchard')
  await romeo.sends(chat(JULIET, 'Art thou not Romeo?'))
  await romeo.roundTrip()

  const juliet = await server.connect('juliet', 'balcony', { priority: undefined })
  juliet.send('<presence/>')
  await juliet.receives({ name: 'message', body: 'Art thou not Romeo?' })
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startServer } from '../support/server.ts'
import { chat } from '../support/stanzas.ts'

test('a chat to a bare JID reaches the available resource', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo')
  const balcony = await server.connect('juliet', 'balcony')

  await romeo.sends(chat('juliet@im.example.com', 'Art thou not Romeo?'))

  await balcony.receives({ from: romeo.fullJid, body: 'Art thou not Romeo?' })
  await romeo.receivesNothing()
  await balcony.receivesNothing()
})

test('messages between two clients arrive in the order in which they were sent', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo')
  const juliet = await server.connect('juliet', 'balcony')
  const bodies = Array.from({ length: 200 }, (_, index) => `line ${index}`)

  for (const body of bodies) romeo.send(chat(juliet.fullJid, body))
  for (const body of bodies) await juliet.receivesNext({ from: romeo.fullJid, body })

  assert.equal(juliet.inbox().length, 0)
})

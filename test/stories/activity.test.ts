import assert from 'node:assert/strict'
import { test } from 'node:test'
import { el } from '../../src/xmpp/xml.ts'
import { giveAsOperator as give } from '../support/operator.ts'
import { startServer } from '../support/server.ts'
import { chat } from '../support/stanzas.ts'

type Online = { readonly accounts: readonly string[]; readonly total: number }

test('who sends messages or presence is active; what clients send by themselves does not count', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo', 'orchard')
  const juliet = await server.connect('juliet', 'balcony')
  const window = await server.connect('juliet', 'window')
  const which = async (state: string) =>
    (await give<Online>(server, 'account online', { state, idle_after: '5m' })).accounts
  const hour = 3_600_000
  const goesIdle = (client: typeof romeo) => {
    const session = server.sessionOf(client) as { lastActivity?: number; lastAction?: number }
    session.lastActivity = Date.now() - hour
    session.lastAction = Date.now() - hour
  }
  assert.deepEqual((await which('active')).toSorted(), [juliet.bareJid, romeo.bareJid])

  for (const client of [romeo, juliet]) goesIdle(client)
  assert.deepEqual(await which('active'), [juliet.bareJid])
  assert.deepEqual(await which('idle'), [romeo.bareJid])
  goesIdle(window)
  assert.deepEqual(await which('active'), [])

  await romeo.ask('get', server.domain, el('ping', { xmlns: 'urn:xmpp:ping' }))
  assert.deepEqual(await which('active'), [])
  await romeo.sends(chat(juliet.bareJid, 'Art thou there?'))
  await juliet.receives({ body: 'Art thou there?' })
  assert.deepEqual(await which('active'), [romeo.bareJid])
  assert.deepEqual(await which('idle'), [juliet.bareJid])
  assert.equal((await give<Online>(server, 'account online', { limit: 1 })).total, 2)
})

/** What administrators of one node say holds at all of them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseJid } from '../../src/xmpp/jid.ts'
import { conditionOf } from '../support/client.ts'
import { skipWithoutCluster, TestCluster, until } from '../support/cluster.ts'
import { giveAsOperator as give } from '../support/operator.ts'
import type { TestServer } from '../support/server.ts'
import { chat } from '../support/stanzas.ts'

const options = { skip: skipWithoutCluster }

const knows = (server: TestServer, jid: string) => () =>
  server.server.sessionManager.sessions.get(parseJid(jid))?.priority !== undefined

test('lists, standing messages and activity are those of all nodes', options, async () => {
  await using cluster = await TestCluster.start({ component: {} })
  const [one, two] = [await cluster.node('one'), await cluster.node('two')]
  const romeo = await one.connect('romeo', 'orchard')
  const juliet = await two.connect('juliet', 'balcony')
  await until(knows(one, juliet.fullJid))

  const online = async (args: object) => (await give(one, 'account online', { ...args })).accounts
  assert.deepEqual((await online({ state: 'active' })).toSorted(), [juliet.bareJid, romeo.bareJid])
  assert.deepEqual(await online({ state: 'idle' }), [])

  const { sent } = await give(one, 'motd set', { body: 'Curtain at eight' })
  assert.equal(sent, 2)
  await juliet.receives({ body: 'Curtain at eight' })
  const nurse = await two.connect('nurse', 'hall')
  await nurse.receives({ body: 'Curtain at eight' })
  const again = await one.connect('nurse', 'garden')
  await again.receivesNothing({ name: 'message' })

  const gateway = await two.connectComponent('gateway.example.net')
  await give(one, 'blacklist add', { address: 'tybalt@gateway.example.net' })
  juliet.send(chat('tybalt@gateway.example.net', 'Go away'))
  const refused = await juliet.receives({ name: 'message', type: 'error' })
  assert.equal(conditionOf(refused), 'not-allowed')
  await gateway.roundTrip()
  await gateway.receivesNothing({ body: 'Go away' })
})

/** What administrators of one node say holds at all of them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { conditionOf } from '../support/client.ts'
import { skipWithoutCluster } from '../support/cluster.ts'
import { apart } from '../support/cluster-pair.ts'
import { giveAsOperator as give } from '../support/operator.ts'
import { chat } from '../support/stanzas.ts'

const options = { skip: skipWithoutCluster }

test('lists, standing messages and activity are those of all nodes', options, async () => {
  await using scene = await apart({ component: {} })
  const { one, two, romeo, juliet } = scene

  const online = async (args: object) =>
    (await give<{ accounts: string[] }>(one, 'account online', args)).accounts
  assert.deepEqual((await online({ state: 'active' })).toSorted(), [juliet.bareJid, romeo.bareJid])
  assert.deepEqual(await online({ state: 'idle' }), [])

  const { sent } = await give<{ sent: number }>(one, 'motd set', { body: 'Curtain at eight' })
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

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PROTOCOL } from '../../src/cluster/message.ts'
import { skipWithoutCluster } from '../support/cluster.ts'
import { arrives, ClusterStage, meet } from '../support/cluster-stage.ts'
import type { ServerProcess } from '../support/server-process.ts'
import { chat } from '../support/stanzas.ts'
import { enable, handles, tryToResume } from '../support/stream-management.ts'

const options = { skip: skipWithoutCluster }

test('nodes are upgraded one after the other, and clients miss nothing', options, async () => {
  await using stage = await ClusterStage.open()
  let one = await stage.node('one')
  let two = await stage.node('two')
  const { romeo, juliet } = await meet(one, two)
  const romeoId = (await enable(romeo)).attr('id') ?? ''
  const julietId = (await enable(juliet)).attr('id') ?? ''

  const later = { protocol: PROTOCOL + 1 }
  await juliet.roundTrip()
  await one.stop()
  // Each goes on where the other is, while its own node is away.
  const romeoOnTwo = await resumes(two, 'romeo', romeoId)
  romeoOnTwo.send(chat(juliet.fullJid, 'while one is upgraded'))
  await juliet.receives({ body: 'while one is upgraded' })
  one = await stage.node('one', later)
  const nurse = await one.connect('romeo', 'street')
  await nurse.becomesAvailable()
  // Two releases at the same time.
  await arrives(nurse, juliet)
  juliet.send(chat(nurse.fullJid, 'from the older to the newer'))
  await nurse.receives({ body: 'from the older to the newer' })

  await two.stop()
  const julietOnOne = await resumes(one, 'juliet', julietId)
  nurse.send(chat(juliet.fullJid, 'while two is upgraded'))
  await julietOnOne.receives({ body: 'while two is upgraded' })
  two = await stage.node('two', later)
  const last = await two.connect('romeo', 'last')
  await last.becomesAvailable()
  await enable(last)
  for (let i = 0; i < 20; i++) last.send(chat(juliet.fullJid, `line ${i}`))
  for (let i = 0; i < 20; i++) await julietOnOne.receives({ body: `line ${i}` })
  await handles(last, 20)
})

test('a release that is not understood does not start, and says why', options, async () => {
  await using stage = await ClusterStage.open()
  const one = await stage.node('one')
  const romeo = await one.connect('romeo', 'orchard')
  await romeo.becomesAvailable()
  await assert.rejects(
    stage.node('two', { protocol: PROTOCOL + 2 }),
    /The node one runs .* upgrade from one release to the next/,
  )
  // Who was there is not disturbed.
  const juliet = await one.connect('juliet', 'balcony')
  await juliet.becomesAvailable()
  romeo.send(chat(juliet.fullJid, 'still here'))
  await juliet.receives({ body: 'still here' })
  await romeo.roundTrip()
})

async function resumes(node: ServerProcess, localpart: string, id: string) {
  const client = await node.authenticate(localpart)
  assert.equal((await tryToResume(client, id, 0)).name, 'resumed')
  return client
}

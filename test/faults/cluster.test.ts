import assert from 'node:assert/strict'
import { test } from 'node:test'
import { skipWithoutCluster } from '../support/cluster.ts'
import { arrives, ClusterStage, meet } from '../support/cluster-stage.ts'
import { Relay } from '../support/relay.ts'
import { chat, presence } from '../support/stanzas.ts'
import { acknowledge, enable, handles } from '../support/stream-management.ts'

const options = { skip: skipWithoutCluster }

const lines = (count: number) => Array.from({ length: count }, (_, index) => `line ${index}`)

test(
  'a killed node loses nothing that was acknowledged, and contacts are told',
  options,
  async () => {
    await using stage = await ClusterStage.open()
    const one = await stage.node('one')
    const two = await stage.node('two')
    const { romeo, juliet } = await meet(one, two)
    romeo.send(presence('subscribe', juliet.bareJid))
    await juliet.receives({ name: 'presence', type: 'subscribe' })
    juliet.send(presence('subscribed', romeo.bareJid))
    await romeo.receives({ name: 'presence', from: juliet.fullJid })
    await enable(romeo)
    await enable(juliet)
    await juliet.roundTrip()

    for (const line of lines(50)) romeo.send(chat(juliet.fullJid, line))
    // She has them, and says nothing: they are on the disk of her node before they count.
    await handles(romeo, 50)
    await two.kill()
    await romeo.receives({ name: 'presence', from: juliet.fullJid, type: 'unavailable' })

    const later = await one.connect('juliet', 'chamber')
    await later.becomesAvailable()
    const got: string[] = []
    for (const _ of lines(50)) {
      got.push((await later.receives({ name: 'message' })).child('body')?.text ?? '')
    }
    assert.deepEqual(got, lines(50))
  },
)

test('a node that slept is given up, and comes back as another run', options, async () => {
  await using stage = await ClusterStage.open()
  const one = await stage.node('one')
  const two = await stage.node('two')
  const { romeo, juliet } = await meet(one, two)
  await enable(romeo)
  await two.pause()
  for (const line of lines(20)) romeo.send(chat('juliet@im.example.com', line))
  // Who has them is given up, so they are stored.
  await handles(romeo, 20)
  two.resume()
  await juliet.closes()
  const later = await one.connect('juliet', 'chamber')
  await later.becomesAvailable()
  for (const line of lines(20)) await later.receives({ body: line })
})

test('messages go on where NATS is not needed, and wait where it is', options, async () => {
  await using stage = await ClusterStage.open()
  const one = await stage.node('one')
  const two = await stage.node('two')
  const romeo = await one.connect('romeo', 'orchard')
  const nurse = await one.connect('romeo', 'street')
  for (const client of [romeo, nurse]) await client.becomesAvailable()
  const juliet = await two.connect('juliet', 'balcony')
  await juliet.becomesAvailable()
  await arrives(romeo, juliet)
  await stage.nats.stop()
  for (const line of lines(20)) romeo.send(chat(juliet.fullJid, line))
  romeo.send(chat(nurse.fullJid, 'next door'))
  await nurse.receives({ body: 'next door' })
  await stage.nats.begin()
  for (const line of lines(20)) await juliet.receives({ body: line })
  juliet.send(chat(romeo.fullJid, 'there they are'))
  await romeo.receives({ body: 'there they are' })
})

test(
  'what PostgreSQL has not taken is not acknowledged, and is when it is back',
  options,
  async () => {
    await using stage = await ClusterStage.open()
    const one = await stage.node('one')
    const two = await stage.node('two')
    const romeo = await one.connect('romeo', 'orchard')
    await romeo.becomesAvailable()
    await enable(romeo)
    const juliet = await two.connect('juliet', 'balcony')
    await juliet.becomesAvailable()
    await arrives(romeo, juliet)
    await enable(juliet)
    await stage.postgres.stop()
    const before = romeo.inbox().length
    assert.equal(before, 0)
    for (const line of lines(20)) romeo.send(chat(juliet.fullJid, line))
    for (const line of lines(20)) await juliet.receives({ body: line })
    await stage.postgres.begin()
    acknowledge(juliet, 20)
    await juliet.roundTrip()
  },
)

test(
  'a node that is cut off from the others, but not from the database, ends',
  options,
  async () => {
    await using stage = await ClusterStage.open()
    await using cable = await Relay.start({ host: '127.0.0.1', port: stage.nats.port })
    const one = await stage.node('one')
    const two = await stage.node('two', { nats: `nats://127.0.0.1:${cable.address.port}` })
    const romeo = await one.connect('romeo', 'orchard')
    await romeo.becomesAvailable()
    const nurse = await two.connect('romeo', 'street')
    const juliet = await two.connect('juliet', 'balcony')
    for (const client of [nurse, juliet]) await client.becomesAvailable()
    await arrives(romeo, juliet)
    await enable(romeo)
    cable.silence()
    // Given up by the other node, it hears so from the database alone.
    await juliet.closes()
    await nurse.closes()
    for (const line of lines(20)) romeo.send(chat('juliet@im.example.com', line))
    await handles(romeo, 20)
    cable.comeBack()
    const later = await one.connect('juliet', 'chamber')
    await later.becomesAvailable()
    for (const line of lines(20)) {
      const message = await later.receives({ body: /^line/ })
      assert.equal(message.child('body')?.text, line)
    }
  },
)

test('a node that is cut off for less than a lease misses nothing', options, async () => {
  await using stage = await ClusterStage.open()
  await using cable = await Relay.start({ host: '127.0.0.1', port: stage.nats.port })
  const one = await stage.node('one')
  const two = await stage.node('two', { nats: `nats://127.0.0.1:${cable.address.port}` })
  const romeo = await one.connect('romeo', 'orchard')
  const juliet = await two.connect('juliet', 'balcony')
  for (const client of [romeo, juliet]) await client.becomesAvailable()
  await arrives(romeo, juliet)
  for (const round of [1, 2, 3]) {
    cable.silence()
    for (const line of lines(20)) romeo.send(chat(juliet.fullJid, `${round} ${line}`))
    await romeo.roundTrip()
    cable.comeBack()
    for (const line of lines(20)) await juliet.receivesNext({ body: `${round} ${line}` })
    juliet.send(chat(romeo.fullJid, `${round} it was`))
    await romeo.receives({ body: `${round} it was` })
  }
})

test('clocks that differ by minutes decide nothing', options, async () => {
  await using stage = await ClusterStage.open()
  const one = await stage.node('one', { clock: -7 })
  const two = await stage.node('two', { clock: 11 })
  const { romeo, juliet } = await meet(one, two)
  // Whoever comes last has the resource, whatever the time is there.
  const again = await one.connect('juliet', 'balcony')
  await juliet.receivesStreamError('conflict')
  await again.becomesAvailable()
  await arrives(romeo, again)
  await again.leaves()
  // What both nodes store has the time of the database.
  const street = await two.connect('romeo', 'street')
  const senders = [romeo, street]
  for (const sender of senders) await enable(sender)
  const before = Date.now()
  for (const [index, sender] of senders.entries()) {
    for (const line of lines(10)) sender.send(chat('juliet@im.example.com', `${index} ${line}`))
  }
  for (const sender of senders) await handles(sender, 10)
  // The same node once more, with a clock that was set back by more than its last run lasted.
  await two.kill()
  const second = await stage.node('two', { clock: -30 })
  const later = await second.connect('juliet', 'chamber')
  await later.becomesAvailable()
  const got = []
  for (const _ of lines(20)) got.push(await later.receives({ body: /^[01] line/ }))
  const bodies = got.map((message) => message.child('body')?.text ?? '')
  for (const index of senders.keys()) {
    const own = bodies.filter((body) => body.startsWith(`${index} `))
    assert.deepEqual(
      own,
      lines(10).map((line) => `${index} ${line}`),
    )
  }
  for (const message of got) {
    const stamp = Date.parse(message.child('delay', 'urn:xmpp:delay')?.attr('stamp') ?? '')
    assert.ok(stamp >= before - 5_000 && stamp <= Date.now() + 5_000, `${new Date(stamp)}`)
  }
  await arrives(later, romeo)
})

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { callCommand } from '../../src/admin/control.ts'
import type { Client } from '../support/client.ts'
import { skipWithoutCluster } from '../support/cluster.ts'
import { NatsServer } from '../support/nats.ts'
import { PostgresServer } from '../support/postgres.ts'
import { PASSWORD } from '../support/server.ts'
import { ServerProcess } from '../support/server-process.ts'
import { chat, presence } from '../support/stanzas.ts'
import { temporaryDirectory } from '../support/storage-backends.ts'
import { acknowledge, enable, handles } from '../support/stream-management.ts'

const options = { skip: skipWithoutCluster }

/** Nodes in processes of their own, with the accounts of romeo and juliet. */
class Stage implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack()
  readonly nats: NatsServer
  readonly postgres: PostgresServer
  readonly #storage: string

  private constructor(nats: NatsServer, postgres: PostgresServer, storage: string) {
    this.nats = this.#stack.use(nats)
    this.postgres = this.#stack.use(postgres)
    this.#storage = storage
  }

  static async open(): Promise<Stage> {
    const [nats, postgres] = await Promise.all([NatsServer.start(), PostgresServer.start()])
    return new Stage(nats, postgres, await postgres.createSchema('cluster'))
  }

  async node(name: string): Promise<ServerProcess> {
    const directory = this.#stack.use(await temporaryDirectory())
    const settings = `[cluster]\nnats = ["${this.nats.url}"]\nnode = "${name}"\nlease = "2s"\n`
    const started = ServerProcess.start(directory.path, settings, '', this.#storage)
    const node = this.#stack.use(await started)
    const socket = join(directory.path, 'meerkat.sock')
    for (const localpart of ['romeo', 'juliet']) {
      const jid = `${localpart}@im.example.com`
      await callCommand(socket, 'account register', { jid, password: PASSWORD }).catch(() => {})
    }
    return node
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack[Symbol.asyncDispose]()
  }
}

/** Sends until an answer shows that the other node knows the recipient. */
async function arrives(from: Client, to: Client): Promise<void> {
  for (let attempt = 0; to.inbox({ body: 'anybody there?' }).length === 0; attempt++) {
    assert.ok(attempt < 200, 'nothing arrives')
    from.send(chat(to.fullJid, 'anybody there?'))
    await from.roundTrip()
    await to.roundTrip()
  }
  await from.roundTrip()
  await to.roundTrip()
  for (const client of [from, to]) client.forgets(() => true)
}

const lines = (count: number) => Array.from({ length: count }, (_, index) => `line ${index}`)

test(
  'a killed node loses nothing that was acknowledged, and contacts are told',
  options,
  async () => {
    await using stage = await Stage.open()
    const one = await stage.node('one')
    const two = await stage.node('two')
    const romeo = await one.connect('romeo', 'orchard')
    await romeo.becomesAvailable()
    const juliet = await two.connect('juliet', 'balcony')
    await juliet.becomesAvailable()
    await arrives(romeo, juliet)
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
  await using stage = await Stage.open()
  const one = await stage.node('one')
  const two = await stage.node('two')
  const romeo = await one.connect('romeo', 'orchard')
  await romeo.becomesAvailable()
  const juliet = await two.connect('juliet', 'balcony')
  await juliet.becomesAvailable()
  await arrives(romeo, juliet)
  await enable(romeo)
  two.pause()
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
  await using stage = await Stage.open()
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
    await using stage = await Stage.open()
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

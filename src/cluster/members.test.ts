import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Random } from '../../test/loss/random.ts'
import { Network } from '../../test/simulation/network.ts'
import { SimulatedRegistry } from '../../test/simulation/registry.ts'
import { Process, Scheduler } from '../../test/simulation/scheduler.ts'
import type { NodeRun } from '../core/cluster.ts'
import { silentLogger } from '../core/log.ts'
import { Members, NODE_PREFIX } from './members.ts'

const LEASE = 3_000
const SESSIONS = 7
const KEY = `${NODE_PREFIX}one`

/** Nodes that hear each other, and the registry. */
class Nodes {
  readonly scheduler = new Scheduler()
  readonly #network = new Network(this.scheduler, new Random(1))
  readonly registry = new SimulatedRegistry(this.scheduler, new Random(1), this.#network)
  readonly fenced: NodeRun[] = []
  readonly #members: Members[] = []

  async open(node: string): Promise<Members> {
    const process = new Process(this.scheduler)
    const registry = this.registry.open(this.#network.open(node, process))
    const members: Members = new Members({
      node,
      version: 'test',
      registry,
      clock: process.clock,
      log: silentLogger,
      listener: {
        onAlive: () => {},
        onLost: () => {},
        onCleaned: () => {},
        onFenced: () => {
          this.fenced.push(members.self)
          process.isDead = true
        },
      },
      isConnected: () => true,
      lastShutOut: async () => 0,
      sendHeartbeat: () => {
        const { node, epoch } = members.self
        for (const other of this.#members) other.onHeartbeat(node, epoch, SESSIONS)
      },
      lease: LEASE,
    })
    this.#members.push(members)
    const joined = members.join().then(() => registry.watch((change) => members.onChange(change)))
    await this.run(100)
    await joined
    members.announce()
    members.start()
    return members
  }

  run(ms: number): Promise<void> {
    return this.scheduler.run(this.scheduler.now + ms)
  }

  get row(): { readonly epoch: number; readonly state: string; readonly dead: number } {
    return JSON.parse(this.registry.rows.get(KEY) as string)
  }
}

test('a registry that has lost everything hears again who is alive', async () => {
  const nodes = new Nodes()
  const one = await nodes.open('one')
  const two = await nodes.open('two')
  await nodes.run(1_000)
  nodes.registry.reset()
  await nodes.run(5_000)
  assert.deepEqual(two.aliveRun('one'), one.self)
  assert.equal(nodes.row.epoch, one.self.epoch)
  assert.deepEqual(nodes.fenced, [])
})

test('an earlier run that writes itself into an empty registry does not take the place of the newer', async () => {
  const nodes = new Nodes()
  const first = (await nodes.open('one')).self
  const written = nodes.registry.rows.get(KEY) as string
  const two = await nodes.open('two')
  const second = await nodes.open('one')
  await nodes.run(100)
  assert.deepEqual(nodes.fenced, [first])
  nodes.registry.reset()
  nodes.registry.change(KEY, written, 0)
  await nodes.run(5_000)
  assert.deepEqual(two.aliveRun('one'), second.self)
  const { epoch, state, dead } = nodes.row
  assert.deepEqual([epoch, state, dead], [second.self.epoch, 'alive', first.epoch])
})

test('what is over is said again until it is written', async () => {
  const nodes = new Nodes()
  const { self } = await nodes.open('one')
  const written = nodes.registry.rows.get(KEY) as string
  const two = await nodes.open('two')
  await nodes.run(100)
  const row = nodes.registry.get(KEY)
  nodes.registry.change(
    KEY,
    JSON.stringify({ ...JSON.parse(written), state: 'gone', dead: self.epoch }),
    row?.revision ?? 0,
  )
  await nodes.run(100)
  assert.equal(two.aliveRun('one'), undefined)
  // Its old row comes back, and the first answer to that is lost.
  const original = nodes.registry.change.bind(nodes.registry)
  original(KEY, written, nodes.registry.get(KEY)?.revision ?? 0)
  let failures = 0
  nodes.registry.change = (key, value, expected) => {
    nodes.registry.change = original
    failures++
    throw new Error(`not written: ${key} ${value} ${expected}`)
  }
  await nodes.run(5_000)
  assert.equal(failures, 1)
  assert.equal(nodes.row.state, 'gone')
})

test('a run that has left no record is over, and somebody takes care of what else it left', async () => {
  const nodes = new Nodes()
  const two = await nodes.open('two')
  const given = [two.giveUpUnknown({ node: 'one', epoch: 5 })]
  await nodes.run(100)
  assert.equal(two.isOver({ node: 'one', epoch: 5 }), true)
  assert.equal(two.aliveRun('one'), undefined)
  const left = two.remains.filter(({ node }) => node === 'one')
  assert.deepEqual(left, [{ node: 'one', epoch: 5 }])
  // One that comes after all has its own, and keeps it.
  const one = await nodes.open('one')
  given.push(two.giveUpUnknown(one.self))
  await nodes.run(100)
  await Promise.all(given)
  assert.deepEqual(two.aliveRun('one'), one.self)
})

test('a record that is lost before its node has seen it is written again', async () => {
  const nodes = new Nodes()
  await nodes.open('two')
  const original = nodes.registry.change.bind(nodes.registry)
  nodes.registry.change = (key, value, expected) => {
    nodes.registry.change = original
    const revision = original(key, value, expected)
    nodes.registry.reset()
    return revision
  }
  const one = await nodes.open('one')
  await nodes.run(5_000)
  assert.equal(nodes.row.epoch, one.self.epoch)
  assert.equal(nodes.row.state, 'alive')
})

test('a node that is gone has no sessions', async () => {
  const nodes = new Nodes()
  const one = await nodes.open('one')
  const two = await nodes.open('two')
  await nodes.run(1_000)
  const seen = () => two.all.find(({ node }) => node === 'one')
  assert.equal(seen()?.sessions, SESSIONS)
  await Promise.all([one.leave(), nodes.run(1_000)])
  assert.deepEqual([seen()?.record.state, seen()?.sessions], ['gone', 0])
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Random } from '../../test/loss/random.ts'
import { Network } from '../../test/simulation/network.ts'
import { SimulatedRegistry } from '../../test/simulation/registry.ts'
import { Process, Scheduler } from '../../test/simulation/scheduler.ts'
import type { NodeRun } from '../core/cluster.ts'
import { silentLogger } from '../core/log.ts'
import { LOCK_PREFIX, Locks } from './locks.ts'

class Nodes {
  readonly scheduler = new Scheduler()
  readonly network = new Network(this.scheduler, new Random(1))
  readonly registry = new SimulatedRegistry(this.scheduler, new Random(1), this.network)
  readonly over = new Set<string>()

  async open(node: string): Promise<Locks> {
    const process = new Process(this.scheduler)
    const line = this.network.open(node, process)
    const registry = this.registry.open(line)
    const self: NodeRun = { node, epoch: 1 }
    const isOver = (run: NodeRun) => this.over.has(run.node)
    const { clock } = process
    const locks = new Locks({ self: () => self, registry, clock, log: silentLogger, isOver })
    const watched = registry.watch((change) => {
      if (change.key.startsWith(LOCK_PREFIX)) locks.onChange(change)
    })
    await this.run(100)
    await watched
    return locks
  }

  run(ms: number): Promise<void> {
    return this.scheduler.run(this.scheduler.now + ms)
  }
}

/** Two nodes, and works that tell of themselves in one log. */
async function open() {
  const nodes = new Nodes()
  const [one, two] = [await nodes.open('one'), await nodes.open('two')]
  const log: string[] = []
  const [first, second] = [work(log, 'first'), work(log, 'second')]
  return { nodes, one, two, log, first, second }
}

/** The second work began when the first had ended, and the registry has nothing of them left. */
function oneAfterTheOther(log: readonly string[], { registry }: Nodes): void {
  assert.deepEqual(log, ['first begins', 'first ends', 'second begins', 'second ends'])
  assert.deepEqual([...registry.rows.keys()], [])
}

/** What is begun and ended, in order. */
function work(log: string[], name: string) {
  const { promise, resolve } = Promise.withResolvers<void>()
  const begin = async () => {
    log.push(`${name} begins`)
    await promise
    log.push(`${name} ends`)
  }
  return { begin, end: resolve }
}

test('what is done under one name is done by one node at a time', async () => {
  const { nodes, one, two, log, first, second } = await open()
  const done = [one.exclusively('name', first.begin)]
  await nodes.run(50)
  done.push(two.exclusively('name', second.begin))
  await nodes.run(1_000)
  assert.deepEqual(log, ['first begins'])
  first.end()
  await nodes.run(1_000)
  second.end()
  await nodes.run(1_000)
  await Promise.all(done)
  oneAfterTheOther(log, nodes)
})

test('the lock of a lost node counts for nothing', async () => {
  const { nodes, one, two, log, first, second } = await open()
  void one.exclusively('name', first.begin)
  await nodes.run(50)
  second.end()
  const done = two.exclusively('name', second.begin)
  await nodes.run(1_000)
  nodes.over.add('one')
  two.onLost()
  await nodes.run(1_000)
  await done
  assert.deepEqual(log, ['first begins', 'second begins', 'second ends'])
})

test('a lock that the registry has lost is taken again while the work goes on', async () => {
  const { nodes, one, two, log, first, second } = await open()
  const done = [one.exclusively('name', first.begin)]
  await nodes.run(50)
  nodes.registry.reset()
  await nodes.run(2_000)
  done.push(two.exclusively('name', second.begin))
  await nodes.run(2_000)
  assert.deepEqual(log, ['first begins'])
  first.end()
  second.end()
  await nodes.run(2_000)
  await Promise.all(done)
  oneAfterTheOther(log, nodes)
})

test('who waits for too long is refused', async () => {
  const { nodes, one, two, first } = await open()
  void one.exclusively('name', first.begin)
  await nodes.run(50)
  const refused = assert.rejects(
    two.exclusively('name', async () => {}),
    { kind: 'failed' },
  )
  await nodes.run(11_000)
  await refused
})

/** Asks for the lock and gets no answer; the request arrives, after so many milliseconds. */
async function asksInVain(nodes: Nodes, locks: Locks, arrivesIn: number): Promise<void> {
  const rejected = assert.rejects(
    locks.exclusively('name', async () => {}),
    /no answer/,
  )
  const { registry, scheduler } = nodes
  const original = registry.change.bind(registry)
  registry.change = (...asked) => {
    registry.change = original
    if (arrivesIn === 0) original(...asked)
    else scheduler.in(arrivesIn, () => void original(...asked))
    throw new Error('no answer')
  }
  await nodes.run(1_000)
  await rejected
}

test('a lock that was taken without an answer is given back', async () => {
  const { nodes, one, two } = await open()
  await asksInVain(nodes, one, 0)
  assert.equal(nodes.registry.rows.size, 0)
  const done = [one, two].map((locks) => locks.exclusively('name', async () => {}))
  await nodes.run(1_000)
  await Promise.all(done)
})

test('so is one that was taken when nobody waited for it any more', async () => {
  const { nodes, one, two } = await open()
  await asksInVain(nodes, one, 10_000)
  await nodes.run(11_000)
  assert.equal(nodes.registry.rows.size, 0)
  const done = two.exclusively('name', async () => {})
  await nodes.run(1_000)
  await done
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { jetstream, jetstreamManager } from '@nats-io/jetstream'
import { connect } from '@nats-io/transport-node'
import { openNats } from '../../src/cluster/nats.ts'
import { moveLeader, openBucket } from '../../src/cluster/nats-bucket.ts'
import { NatsRegistry } from '../../src/cluster/nats-registry.ts'
import { StreamWriter } from '../../src/cluster/stream-writer.ts'
import { type Change, type Registry, RegistryConflict } from '../../src/cluster/transport.ts'
import { silentLogger } from '../../src/core/log.ts'
import { until } from '../support/cluster.ts'
import { NatsServer, skipWithoutNats } from '../support/nats.ts'

const options = { skip: skipWithoutNats }

/** A registry as a node has it, and what it is told. */
async function open(servers: readonly NatsServer[], node: string, replicas = servers.length) {
  const settings = { servers: servers.map(({ url }) => url), name: 'test', node }
  const { registry, transport } = await openNats({ ...settings, replicas }, silentLogger)
  const changes: Change[] = []
  const values = new Map<string, string>()
  await registry.watch((change) => {
    if (change.key.startsWith('sync.')) return
    changes.push(change)
    if (change.value === undefined) values.delete(change.key)
    else values.set(change.key, change.value)
  })
  return {
    registry,
    changes,
    values,
    newest: () => Math.max(...changes.map(({ revision }) => revision)),
    async [Symbol.asyncDispose]() {
      await registry.close()
      await transport.close()
    },
  }
}

/** As a node does that writes what is not to be missed. */
async function insist(registry: Registry, key: string, value: string): Promise<number> {
  for (const end = Date.now() + 30_000; ; ) {
    try {
      const current = await registry.get(key)
      return await registry.put(key, value, current?.revision ?? 0)
    } catch (error) {
      if (Date.now() > end) throw error
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
}

test(
  'NATS begun again without its files: all is told as lost, and revisions go on',
  options,
  async () => {
    await using nats = await NatsServer.start()
    await using one = await open([nats], 'one')
    await using two = await open([nats], 'two')
    const old = await one.registry.put('row.a', 'of one', 0)
    await two.registry.put('row.b', 'of two', 0)
    await until(() => one.values.size === 2 && two.values.size === 2)
    await nats.stop()
    await nats.begin({ isEmpty: true })
    await until(() => one.values.size === 0 && two.values.size === 0, 'the loss')
    const before = Math.max(one.newest(), two.newest())
    // What was known of the row is known of none that there is.
    await assert.rejects(one.registry.put('row.a', 'as if nothing were', old), RegistryConflict)
    assert.ok((await insist(one.registry, 'row.a', 'again')) > before)
    assert.ok((await insist(two.registry, 'row.b', 'again')) > before)
    await until(() => one.values.size === 2 && two.values.size === 2, 'what is written again')
    await using three = await open([nats], 'three')
    assert.deepEqual([...three.values.keys()].sort(), ['row.a', 'row.b'])
    assert.equal(three.newest(), Math.max(one.newest(), two.newest()))
  },
)

test('what was acknowledged and not seen when NATS lost it is told as lost', options, async () => {
  await using nats = await NatsServer.start()
  await using one = await open([nats], 'one')
  for (let round = 0; round < 3; round++) {
    const key = `row.${round}`
    await one.registry.put(key, 'of one', 0)
    // Whether the watch has shown it by then or not.
    await nats.stop()
    await nats.begin({ isEmpty: true })
    await until(() => one.changes.some((change) => change.key === key && change.isLost), key)
  }
  assert.deepEqual([...one.values], [])
})

test('what somebody has removed is not told as lost', options, async () => {
  await using nats = await NatsServer.start()
  await using one = await open([nats], 'one')
  await using two = await open([nats], 'two')
  const revision = await one.registry.put('row.a', 'of one', 0)
  await until(() => two.values.size === 1)
  await one.registry.remove('row.a', revision)
  await until(() => one.values.size === 0 && two.values.size === 0)
  const removals = [...one.changes, ...two.changes].filter(({ value }) => value === undefined)
  assert.deepEqual(
    removals.map(({ key, isLost }) => ({ key, isLost })),
    Array.from({ length: 2 }, () => ({ key: 'row.a', isLost: undefined })),
  )
})

test('a bucket that is removed while all are connected is made anew', options, async () => {
  await using nats = await NatsServer.start()
  await using one = await open([nats], 'one')
  await one.registry.put('row.a', 'of one', 0)
  await until(() => one.values.size === 1)
  await removeBucket(nats)
  await until(() => one.values.size === 0, 'the loss')
  await one.registry.put('row.a', 'again', 0)
  await until(() => one.values.get('row.a') === 'again')
})

test('one that is closed while it begins to watch leaves nothing behind', options, async () => {
  await using nats = await NatsServer.start()
  const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
  const before = timers()
  const settings = { servers: [nats.url], name: 'test', node: 'one', replicas: 1 }
  // A watch takes some requests to begin, of which each may be the one under way.
  for (let round = 0; round < 150; round++) {
    const { registry, transport } = await openNats(settings, silentLogger)
    await registry.watch(() => {})
    if (registry instanceof NatsRegistry) registry.onReconnected()
    await new Promise((resolve) => setTimeout(resolve, 1 + (round % 4)))
    await registry.close()
    await transport.close()
  }
  await until(() => timers() <= before, 'its timers')
})

test('a write that was answered when its bucket was gone has failed', options, async () => {
  await using nats = await NatsServer.start()
  const connection = await connect({ servers: nats.url })
  const manager = await jetstreamManager(connection)
  const place = {
    connection,
    manager,
    js: jetstream(connection),
    name: 'meerkat-test',
    replicas: 1,
  }
  const writer = new StreamWriter(connection)
  const { promise: isTime, resolve: answer } = Promise.withResolvers<void>()
  const write: StreamWriter['write'] = async (...message) => {
    const sequence = await writer.write(...message)
    if (message[0].endsWith('row.a')) await isTime
    return sequence
  }
  const late = { write, close: () => writer.close() } as StreamWriter
  const bucket = await openBucket(place, 0)
  const parts = { ...place, node: 'one', writer: late, log: silentLogger }
  const registry = new NatsRegistry(bucket, parts)
  const values = new Map<string, string | undefined>()
  await registry.watch(({ key, value }) => void values.set(key, value))
  const written = registry.put('row.a', 'of one', 0)
  await until(() => values.get('row.a') === 'of one')
  await removeBucket(nats)
  await until(() => values.get('row.a') === undefined, 'the loss')
  answer()
  await assert.rejects(written)
  await registry.close()
  await connection.close()
})

test('NATS that has lost only its newest does not give revisions twice', options, async () => {
  await using nats = await NatsServer.start()
  await using one = await open([nats], 'one')
  await one.registry.put('row.a', 'old', 0)
  await nats.stop('SIGTERM')
  using copy = nats.copyFiles()
  await nats.begin()
  const revisions = [await insist(one.registry, 'row.b', 'newer')]
  for (let i = 0; i < 20; i++) {
    revisions.push(await one.registry.put('row.b', `newer ${i}`, revisions.at(-1) ?? 0))
  }
  await until(() => one.newest() === revisions.at(-1))
  await nats.stop('SIGTERM')
  copy.restore()
  await nats.begin()
  await until(() => one.values.size === 0, 'the loss')
  assert.ok((await insist(one.registry, 'row.b', 'again')) > (revisions.at(-1) ?? 0))
})

test('of three NATS servers one may be lost, whichever it is', options, async () => {
  const servers = await NatsServer.startCluster(3)
  await using stack = new AsyncDisposableStack()
  for (const server of servers) stack.use(server)
  const one = stack.use(await open(servers, 'one'))
  const two = stack.use(await open([...servers].reverse(), 'two'))
  let revision = await insist(one.registry, 'row', 'all')
  for (const [index, server] of servers.entries()) {
    await server.stop()
    const value = `without ${index}`
    const next = await insist(one.registry, 'row', value)
    assert.ok(next > revision)
    revision = next
    // A request to a server that leads no more is given up after 5 s, and made again elsewhere.
    await until(() => two.values.get('row') === value, value, 90_000)
    await server.begin()
    await until(() => one.values.get('row') === value, value, 90_000)
    await isWhole(server)
  }
  assert.ok(![...one.changes, ...two.changes].some(({ value }) => value === undefined))
})

test('a watch whose consumer is gone is noticed, and begun anew', options, async () => {
  await using nats = await NatsServer.start()
  await using one = await open([nats], 'one')
  await using two = await open([nats], 'two')
  await two.registry.put('row', 'before', 0)
  await until(() => one.values.get('row') === 'before')
  await using manager = await manage(nats)
  for (const { name } of await manager.consumers()) await manager.remove(name)
  await insist(two.registry, 'row', 'after')
  await until(() => one.values.get('row') === 'after', 'what is written then')
})

test(
  'a watch fed by another server than it is connected to outlives that one',
  options,
  async () => {
    const servers = await NatsServer.startCluster(3)
    await using stack = new AsyncDisposableStack()
    for (const server of servers) stack.use(server)
    // Which server feeds a watch is left to NATS: as many nodes begin as it takes.
    const known = new Set<string>()
    let node: Awaited<ReturnType<typeof open>>
    let at = -1
    let fedBy: number
    do {
      at++
      const server = servers[at % servers.length] as NatsServer
      node = stack.use(await open([server], `node-${at}`, servers.length))
      await using manager = await manage(server)
      const consumer = (await manager.consumers()).find(({ name }) => !known.has(name))
      assert.ok(consumer?.server !== undefined)
      known.add(consumer.name)
      fedBy = Number(consumer.server.slice(1))
    } while (at % servers.length === fedBy)
    await servers[fedBy]?.stop()
    await insist(node.registry, 'row', 'without it')
    await until(() => node.values.get('row') === 'without it', 'what is written then')
  },
)

test('another server leads when it is asked to', options, async () => {
  const servers = await NatsServer.startCluster(3)
  await using stack = new AsyncDisposableStack()
  for (const server of servers) stack.use(server)
  const one = stack.use(await open(servers, 'one'))
  const manager = stack.use(await manage(servers[0] as NatsServer))
  const before = await manager.leader()
  await moveLeader({ connection: manager.connection, name: 'meerkat-test' })
  const revision = await insist(one.registry, 'row', 'under another')
  assert.notEqual(await manager.leader(), before)
  await until(() => one.newest() === revision)
})

/** Resolves when all have the stream again: before that, one more that stops leaves too few. */
async function isWhole(server: NatsServer): Promise<void> {
  for (const end = Date.now() + 60_000; ; ) {
    try {
      await using manager = await manage(server)
      if (await manager.isWhole()) return
    } catch (error) {
      if (Date.now() > end) throw error
    }
    if (Date.now() > end) throw new Error('the stream is not whole again')
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** What the server says of the registry's stream. */
async function manage(nats: NatsServer) {
  const connection = await connect({ servers: nats.url })
  const { streams, consumers } = await jetstreamManager(connection)
  const stream = 'KV_meerkat-test'
  return {
    connection,
    leader: async () => (await streams.info(stream)).cluster?.leader,
    isWhole: async () => {
      const replicas = (await streams.info(stream)).cluster?.replicas ?? []
      return replicas.every(({ current, offline }) => current && offline !== true)
    },
    async consumers() {
      const found: { readonly name: string; readonly server: string | undefined }[] = []
      for await (const { name, cluster } of consumers.list(stream)) {
        found.push({ name, server: cluster?.leader })
      }
      return found
    },
    remove: (name: string) => consumers.delete(stream, name),
    [Symbol.asyncDispose]: () => connection.close(),
  }
}

async function removeBucket(nats: NatsServer): Promise<void> {
  const connection = await connect({ servers: nats.url })
  const manager = await jetstreamManager(connection)
  await manager.streams.delete('KV_meerkat-test')
  await connection.close()
}

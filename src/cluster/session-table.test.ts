import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Random } from '../../test/loss/random.ts'
import { Network } from '../../test/simulation/network.ts'
import { SimulatedRegistry } from '../../test/simulation/registry.ts'
import { Process, Scheduler } from '../../test/simulation/scheduler.ts'
import { startCore } from '../../test/support/core.ts'
import { silentLogger } from '../core/log.ts'
import type { HandOff } from './hand-off.ts'
import { keyOf, SESSION_PREFIX, SessionTable } from './session-table.ts'
import type { Change } from './transport.ts'

type OfLostRuns = Partial<
  Pick<ConstructorParameters<typeof SessionTable>[0], 'isCleaned' | 'remains'>
>

/** A node on its own that juliet connects to; `handOffTo` if it comes to know of another. */
async function start(
  handOffTo: () => HandOff,
  { isCleaned = () => false, remains = () => undefined }: OfLostRuns = {},
) {
  const scheduler = new Scheduler()
  const network = new Network(scheduler, new Random(1))
  const registry = new SimulatedRegistry(scheduler, new Random(1), network)
  const process = new Process(scheduler)
  const client = registry.open(network.open('one', process))
  const run = (ms: number) => scheduler.run(scheduler.now + ms)
  const core = await startCore({ accounts: ['juliet'] })
  const { sessions } = core.sessionManager
  const table = new SessionTable({
    self: () => ({ node: 'one', epoch: 1 }),
    registry: client,
    clock: process.clock,
    log: silentLogger,
    sessions,
    handOffTo,
    closeRemote: nobody,
    remains,
    isCleaned,
    isCleaner: () => false,
    holdBack: () => {},
    onSeenLate: () => {},
    onLess: () => {},
    wrote: () => {},
  })
  const session = await core.connect('juliet')
  return { core, registry, table, session, run }
}

const nobody = () => assert.fail('there is no other node')

/** And has its row. */
async function open() {
  const scene = await start(nobody)
  const opened = scene.table.opened(scene.session)
  await scene.run(100)
  await opened
  return scene
}

test('a row that was written without hearing so goes with its session', async () => {
  const { core, registry, table, session, run } = await open()
  await using _ = core
  const key = [...registry.rows.keys()].find((one) => one.startsWith(SESSION_PREFIX)) as string

  // The request arrives, the answer does not.
  const original = registry.change.bind(registry)
  registry.change = (...change) => {
    registry.change = original
    original(...change)
    throw new Error('no answer')
  }
  session.setPresence(5, session.presence)
  table.changed(session)
  await run(100)

  // It is shown when the removal of what was known before is under way.
  const closed = table.closed(session)
  await new Promise((resolve) => void setImmediate(resolve))
  const row = registry.get(key)
  assert.ok(row !== undefined)
  table.onChange(row)
  await run(1_000)
  await closed
  assert.deepEqual([...registry.rows.keys()], [])
})

test('a session that ends is not written once more before its row goes', async () => {
  const { core, registry, table, session, run } = await open()
  await using _ = core
  const before = [...registry.rows]
  void session.end('closed')
  session.setPresence(undefined, undefined)
  table.changed(session)
  await run(100)
  assert.deepEqual([...registry.rows], before)
  const closed = table.closed(session)
  await run(100)
  await closed
  assert.equal(registry.rows.size, 0)
})

test('an answer of the registry does not bring back what was there before', async () => {
  const { core, registry, table, session, run } = await start(() => ({}) as HandOff)
  await using _ = core
  const key = keyOf(session.jid)
  const { jid, info } = session
  /** Another node has a session of the same address. */
  const write = (id: string) => {
    const row = { jid: jid.full, id, node: 'two', epoch: 1, shared: {}, info }
    registry.change(key, JSON.stringify(row), registry.get(key)?.revision ?? 0)
  }
  write('older')
  // While the answer is under way the row is another, and that is shown; and the session here ends.
  const original = registry.get.bind(registry)
  let closed: Promise<void> | undefined
  registry.get = (asked) => {
    registry.get = original
    const answer = original(asked)
    write('newer')
    table.onChange(original(key) as Change)
    closed = table.closed(session)
    return answer
  }
  const opened = table.opened(session)
  await run(100)
  await Promise.all([opened, closed])
  assert.equal(core.sessionManager.sessions.get(jid)?.id, 'newer')
})

/** As `start`, and knows of another session of juliet's, at another node. */
async function startWithRemote(ofLostRuns: OfLostRuns = {}) {
  const handOff = { decided: () => undefined } as unknown as HandOff
  const scene = await start(() => handOff, ofLostRuns)
  const { core, registry, table, session, run } = scene
  const jid = session.jid.toBare().withResource('elsewhere')
  const key = keyOf(jid)
  const { info } = session
  const row = { jid: jid.full, id: 'remote', node: 'two', epoch: 1, priority: 3, shared: {}, info }
  registry.change(key, JSON.stringify(row), 0)
  table.onChange(registry.get(key) as Change)
  const known = () => core.sessionManager.sessions.get(jid)
  /** The registry has nothing any more; this node sees that. */
  const lose = () => {
    const { newest } = registry.all()
    registry.reset()
    table.onChange({ key, value: undefined, revision: newest, isLost: true })
  }
  /** One second after the other, as a node does. */
  const restore = async (seconds: number) => {
    for (let i = 0; i < seconds; i++) {
      await run(1_000)
      const restored = table.restoreLost()
      await run(100)
      await restored
    }
  }
  return { ...scene, key, row, known, lose, restore }
}

test('a session whose row the registry has lost stays, and has its row again', async () => {
  const { core, registry, key, row, known, lose, restore } = await startWithRemote()
  await using _ = core
  const before = known()
  assert.equal(before?.id, 'remote')
  lose()
  assert.equal(known(), before)
  // Its node comes first.
  await restore(1)
  assert.equal(registry.get(key), undefined)
  await restore(1)
  assert.deepEqual(JSON.parse(registry.get(key)?.value as string), row)
  assert.equal(known(), before)
  const revision = registry.get(key)?.revision
  await restore(3)
  assert.equal(registry.get(key)?.revision, revision)
})

test('a session whose row is lost goes when its node has removed it', async () => {
  const { core, registry, table, key, row, known, lose, restore } = await startWithRemote()
  await using _ = core
  lose()
  const written = registry.change(key, JSON.stringify(row), 0)
  const removed = registry.change(key, undefined, written)
  table.onChange({ key, value: undefined, revision: removed })
  assert.equal(known(), undefined)
  await restore(3)
  assert.equal(registry.get(key)?.value, undefined)
})

test('a session of a run that is taken care of goes with its row', async () => {
  let isCleaned = false
  const { core, registry, key, known, lose, restore } = await startWithRemote({
    isCleaned: () => isCleaned,
  })
  await using _ = core
  isCleaned = true
  lose()
  assert.equal(known(), undefined)
  await restore(3)
  assert.equal(registry.get(key), undefined)
})

test('what a lost run left is not written again', async () => {
  const remains = () => Promise.resolve()
  const { core, registry, key, known, lose, restore } = await startWithRemote({ remains })
  await using _ = core
  lose()
  await restore(3)
  assert.equal(registry.get(key), undefined)
  // Until it is taken care of.
  assert.equal(known()?.id, 'remote')
})

test('what another node has written again of a session is made what it is', async () => {
  const { core, registry, table, session, run } = await open()
  await using _ = core
  const key = keyOf(session.jid)
  const older = registry.get(key)?.value as string
  session.setPresence(5, session.presence)
  table.changed(session)
  await run(100)
  registry.reset()
  registry.change(key, older, 0)
  table.onChange(registry.get(key) as Change)
  await run(100)
  assert.equal(JSON.parse(registry.get(key)?.value as string).priority, 5)

  const closed = table.closed(session)
  await run(100)
  await closed
  assert.equal(registry.rows.size, 0)
  // It comes once more, behind the end of the session.
  registry.reset()
  registry.change(key, older, 0)
  table.onChange(registry.get(key) as Change)
  const gone = table.removeStray()
  await run(100)
  await gone
  assert.equal(registry.rows.size, 0)
})

test('the answer to a write that the registry has lost since is not taken for what is there', async () => {
  const { core, registry, table, session, run } = await open()
  await using _ = core
  const key = keyOf(session.jid)
  const older = registry.get(key)?.value as string
  const original = registry.change.bind(registry)
  registry.change = (...change) => {
    registry.change = original
    const revision = original(...change)
    registry.reset()
    original(key, older, 0)
    table.onChange(registry.get(key) as Change)
    return revision
  }
  session.setPresence(5, session.presence)
  table.changed(session)
  await run(100)
  assert.equal(JSON.parse(registry.get(key)?.value as string).priority, 5)
})

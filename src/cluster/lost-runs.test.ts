import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Process, Scheduler } from '../../test/simulation/scheduler.ts'
import type { NodeRun, Topic, TopicHandler } from '../core/cluster.ts'
import { Hooks } from '../core/hooks.ts'
import { LocalRoutes } from '../core/local-routes.ts'
import { silentLogger } from '../core/log.ts'
import { LostRuns } from './lost-runs.ts'
import { Revisions } from './revisions.ts'

const SELF = { node: 'one', epoch: 1 }
const LOST = { node: 'lost', epoch: 2 }
/** What this node, and another, handed to the run that is lost. */
const [OWN, OTHERS] = ['one:1 lost:2 7', 'two:3 lost:2 8']

/** A node on its own, with what it says to others. */
class Node {
  readonly scheduler = new Scheduler()
  readonly hooks: Hooks
  readonly handlers = new Map<string, TopicHandler<Topic>>()
  readonly told: unknown[] = []
  readonly cleaned: NodeRun[] = []
  readonly givenUp: NodeRun[] = []
  remains: NodeRun[] = []
  isCleaned = false
  /** What fails when a run is taken care of. */
  failures = 0
  readonly lostRuns: LostRuns

  constructor(hooks = new Hooks(silentLogger)) {
    this.hooks = hooks
    const { clock } = new Process(this.scheduler)
    const node = this
    this.lostRuns = new LostRuns({
      self: () => SELF,
      clock,
      log: silentLogger,
      hooks: this.hooks,
      routes: new LocalRoutes(),
      fences: { shutOut: async () => {} },
      nodes: {
        on: (topic, handler) => {
          this.handlers.set(topic, handler as unknown as TopicHandler<Topic>)
          return () => {}
        },
        ask: () => Promise.reject(new Error('nobody is there')),
        tell: async (_, question) => {
          this.told.push(question)
          return []
        },
      },
      members: {
        get remains() {
          return node.remains
        },
        others: [],
        isKnown: (node) => node !== 'stray',
        giveUpUnknown: async (run) => {
          this.givenUp.push(run)
        },
        isCleaned: () => this.isCleaned,
        cleaned: async (run) => {
          this.cleaned.push(run)
          this.remains = []
        },
      },
      sessions: {
        owners: [{ node: 'stray', epoch: 3 }, LOST],
        of: () => [],
        removeLost: async () => true,
      },
      components: {
        owners: [{ node: 'stray', epoch: 5 }],
        removeLost: async () => {
          if (this.failures-- > 0) throw new Error('the registry does not answer')
        },
      },
      locks: { exclusively: (_, work) => work() },
      revisions: new Revisions(clock),
      lease: 1_000,
    })
  }
}

/** Stanzas between this node and the lost run; the numbers of those that were found there. */
function handOff() {
  const found: number[][] = []
  return {
    found,
    settleRemains: (numbers: ReadonlySet<number>) => void found.push([...numbers]),
    returned: async () => {},
  }
}

test('what was found before something failed is told when that succeeds', async () => {
  const node = new Node()
  const mine = handOff()
  node.lostRuns.onLost(LOST, mine)
  node.remains = [LOST]
  node.failures = 1
  // What is taken over is not there any more when it is looked for again.
  const there = [OWN, OTHERS]
  node.hooks.on('node_remains', (remains) => {
    for (const handed of there.splice(0)) remains.found(handed)
    return remains
  })
  const started = node.lostRuns.start()
  await node.scheduler.run(100)
  await started
  assert.deepEqual(node.told, [])
  await node.scheduler.run(2_000)
  assert.deepEqual(node.told, [[OWN, OTHERS]])
  assert.deepEqual(node.cleaned, [LOST])
  node.isCleaned = true
  node.lostRuns.onCleaned(LOST)
  assert.deepEqual(mine.found, [[7]])
})

test('what nodes without a record have left is that of nodes that are given up', async () => {
  const node = new Node()
  node.hooks.on('nodes_with_remains', (runs) => [...runs, { node: 'stray', epoch: 4 }, LOST])
  const started = node.lostRuns.start()
  await node.scheduler.run(900)
  await started
  // It may be alive, and say so.
  assert.deepEqual(node.givenUp, [])
  await node.scheduler.run(1_100)
  assert.deepEqual(node.givenUp, [{ node: 'stray', epoch: 5 }])
  node.hooks.on('nodes_with_remains', (runs) => [...runs, { node: 'stray', epoch: 6 }])
  const again = new Node(node.hooks)
  await again.lostRuns.start()
  await again.scheduler.run(2_000)
  assert.deepEqual(again.givenUp, [{ node: 'stray', epoch: 6 }])
})

test('what others have found counts, though they say so before the end of that run is seen', () => {
  const node = new Node()
  const mine = handOff()
  node.handlers.get('remains_found')?.([OWN, OTHERS] as never, 'two')
  // A watch that was away shows the end of the run, and that it is taken care of, at once.
  node.isCleaned = true
  assert.equal(node.lostRuns.onLost(LOST, mine), false)
  assert.deepEqual(mine.found, [[7]])
})

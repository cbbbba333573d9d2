import assert from 'node:assert/strict'
import { test } from 'node:test'
import { skipWithoutCluster } from '../support/cluster.ts'
import { makeClusterPlan } from './cluster-plan.ts'
import { runTrial } from './trial.ts'

const SHORT = { messages: 300, faults: 3, senders: 3, recipients: 3, seconds: 4 }
const options = { timeout: 180_000, skip: skipWithoutCluster }

/**
 * Order, and once only, are held against the long run alone: while a session goes from one node to another,
 * they depend on the machine's timing still.
 */
const PROMISES = ['lost', 'unarchived', 'disowned', 'misbehaved'] as const

test('nothing acknowledged is lost by three nodes', options, async () => {
  const plan = makeClusterPlan({ ...SHORT, seed: 7, archive: true, nodes: 3, hasSkew: false })
  const report = await runTrial(plan)
  const { breaches, failures, history, directory } = report
  const story = [...failures.map(({ breach, text }) => `${breach}: ${text}`), ...history]
  const broken = PROMISES.filter((breach) => breaches.has(breach))
  assert.deepEqual(broken, [], [...story, directory].join('\n'))
  assert.equal(report.figures.messages, SHORT.messages)
})

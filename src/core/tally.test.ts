import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Cluster, NodeStatus } from './cluster.ts'
import { askEverywhere } from './everywhere.ts'
import { type HandlerTally, type Tally, total } from './tally.ts'

const handler = (by: string, runs: number, order = 50): HandlerTally => {
  return { hook: 'filter_local_packet', by, order, onError: 'stop', runs, failures: 0 }
}

const tally = (changes: Partial<Tally>): Tally => ({
  sessions: 0,
  components: 0,
  servers: 0,
  received: {},
  sent: {},
  stages: [],
  handlers: [],
  outcomes: {},
  ...changes,
})

const none = { delivered: 0, stored: 0, forwarded: 0, answered: 0, bounced: 0, dropped: 0 }

test('what nodes have counted is added up, and what only one of them has stays', () => {
  const stage = (name: string, stanzas: number) => ({ name, stanzas, timed: 1, milliseconds: 0.5 })
  const all = total([
    tally({
      sessions: 2,
      servers: 1,
      received: { c2s: { message: 3, iq: 1 } },
      stages: [stage('router', 4)],
      handlers: [handler('privacy', 4), handler('privacy', 1), handler('archive', 2)],
      outcomes: { sm: { ...none, delivered: 3 } },
    }),
    tally({
      sessions: 1,
      received: { c2s: { message: 2 }, s2s: { message: 5 } },
      stages: [stage('router', 6), stage('own', 1)],
      handlers: [handler('privacy', 10), handler('own', 7)],
      outcomes: { sm: { ...none, delivered: 1 }, offline: { ...none, stored: 2 } },
    }),
  ])
  assert.deepEqual([all.sessions, all.servers], [3, 1])
  assert.deepEqual(all.received, { c2s: { message: 5, iq: 1 }, s2s: { message: 5 } })
  assert.deepEqual(
    all.stages.map(({ name, stanzas, timed }) => [name, stanzas, timed]),
    [
      ['router', 10, 2],
      ['own', 1, 1],
    ],
  )
  assert.deepEqual(
    all.handlers.map(({ by, runs }) => [by, runs]),
    [
      ['privacy', 14],
      ['privacy', 1],
      ['archive', 2],
      ['own', 7],
    ],
  )
  assert.equal(all.outcomes.sm?.delivered, 4)
  assert.equal(all.outcomes.offline?.stored, 2)
})

test('whoever does not answer is named, and nobody waits for long', async () => {
  const status = (node: string, state: NodeStatus['state'] = 'alive'): NodeStatus => {
    const numbers = { silentFor: 0, sessions: 0, waiting: 0 }
    return { node, epoch: 1, state, isSelf: node === 'own', version: '1', ...numbers }
  }
  const ask = async (node: string) => {
    if (node === 'older') throw new Error('nobody answers that')
    if (node === 'hangs') await new Promise(() => {})
    return null
  }
  const nodes = [status('other'), status('own'), status('hangs'), status('older')]
  const cluster = { nodes: [...nodes, status('lost', 'gone')], ask: ask as Cluster['ask'] }
  const { answers, silent } = await askEverywhere(cluster, 'ping', null)
  assert.deepEqual(
    answers.map(({ node }) => node),
    ['own', 'other'],
  )
  assert.deepEqual(silent, ['hangs', 'older'])
  const one = await askEverywhere(cluster, 'ping', null, (node) => node === 'other')
  assert.deepEqual([one.answers.length, one.silent], [1, []])
})

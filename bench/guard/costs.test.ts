import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'
import { type Baseline, changes, described } from './costs.ts'
import { callsIn, countedIn, systemCalls, writesOf } from './counters.ts'

const baseline: Baseline = {
  'pairs-w1': { allocated: 10_000, promises: 0, writes: 1, syscalls: 3 },
}
const now = (costs: Partial<Baseline[string]>): Baseline => ({
  'pairs-w1': { allocated: 10_000, promises: 0, writes: 1, syscalls: 3, ...costs },
})

test('what is within the tolerance is no change', () => {
  const costs = { allocated: 10_199, promises: 0.1, writes: 1.03, syscalls: 2.85 }
  assert.deepEqual(changes(baseline, now(costs)), [])
})

test('a promise or a write more is a regression, and told as one', () => {
  const found = changes(baseline, now({ promises: 1, writes: 2 }))
  assert.deepEqual(found.map(described), [
    'pairs-w1: promises 0 -> 1, worse (tolerance 2 % or 0.1)',
    'pairs-w1: writes 1 -> 2, worse, 100.0 % (tolerance 6 % or 0.02)',
  ])
})

test('what has become cheaper is told, too', () => {
  const [change, ...others] = changes(baseline, now({ allocated: 8000 }))
  assert.equal(change?.verdict, 'better')
  assert.deepEqual(others, [])
})

test('without strace the system calls are not compared', () => {
  const { syscalls: _, ...rest } = now({})['pairs-w1'] ?? {}
  assert.deepEqual(changes(baseline, { 'pairs-w1': rest as Baseline[string] }), [])
})

test('the writes of a process are counted, with strace its other calls too', async (t) => {
  const child = spawn('sh', ['-c', 'while read line; do echo $line; done'])
  t.after(() => child.kill())
  const say = async () => {
    for (let i = 0; i < 20; i++) {
      const answer = once(child.stdout, 'data')
      child.stdin.write('line\n')
      await answer
    }
  }
  await say()
  const before = writesOf(child.pid as number)
  await say()
  assert.equal(writesOf(child.pid as number) - before, 20)

  const calls = await systemCalls(child.pid as number, say)
  if (calls === undefined) return t.diagnostic('strace cannot be used here')
  assert.equal(calls.get('write'), 20)
})

test('of the table that strace writes, threads that wait for one another do not count', () => {
  const table = `
syscall          calls
---------------- ---------
write                  10
epoll_pwait            20
futex                 300
total                 330
`
  const calls = callsIn(table)
  assert.equal(calls.get('epoll_pwait'), 20)
  assert.equal(countedIn(calls), 30)
})

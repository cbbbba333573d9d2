import assert from 'node:assert/strict'
import { test } from 'node:test'
import { advantage, type Results, report, spreadOf, together, withSection } from './report.ts'
import { SCENARIOS } from './scenarios.ts'

const pairs = SCENARIOS.filter(({ name }) => name === 'pairs-w1')
const [throughput, cpu] = pairs[0]?.kind.measures ?? []
assert.ok(throughput && cpu)

test('the median of an even number of values lies between the two in the middle', () => {
  assert.deepEqual(spreadOf([4, 1, 3, 10]), { median: 3.5, min: 1, max: 10 })
  assert.deepEqual(spreadOf([7]), { median: 7, min: 7, max: 7 })
  assert.equal(spreadOf([]), undefined)
})

test('more throughput and less CPU are both better', () => {
  assert.equal(advantage(throughput, 300, 100), 3)
  assert.equal(advantage(cpu, 300, 100), 1 / 3)
  assert.equal(advantage(cpu, 300, 0), undefined)
})

test('a server that failed is reported in its row, the others with their figures', () => {
  const figures = (msgs_per_s: number) => ({ msgs_per_s, server_cpu_s_per_1000: 0.02 })
  const results: Results = {
    at: '2026-01-01T00:00:00.000Z',
    command: 'npm run bench',
    machine: { cpu: 'a CPU', cores: 2, memoryGib: 4, kernel: 'Linux' },
    variant: 'bare',
    rounds: 3,
    pinned: false,
    versions: { ours: '1', theirs: '2', broken: '3' },
    runs: [
      { round: 1, scenario: 'pairs-w1', target: 'ours', figures: figures(1000) },
      { round: 2, scenario: 'pairs-w1', target: 'ours', figures: figures(4000) },
      { round: 3, scenario: 'pairs-w1', target: 'ours', figures: figures(2000) },
      { round: 1, scenario: 'pairs-w1', target: 'theirs', figures: figures(500) },
      { round: 1, scenario: 'pairs-w1', target: 'broken', error: 'ended | at once' },
    ],
  }

  const lines = report(results, pairs).split('\n')
  const rows = lines.map((line) => line.replaceAll(/ +/g, ' '))
  const rowOf = (start: string) => rows.find((row) => row.startsWith(start)) ?? ''

  assert.match(rowOf('| pairs-w1 | ours'), /2,000 \(1,000–4,000\) \| 20\.0 \|/)
  assert.match(rowOf('| pairs-w1 | theirs'), /\| 500 \| 20\.0 \|/)
  assert.match(rowOf('| pairs-w1 | broken'), /\| ended \\\| at once \|$/)
  assert.match(rowOf('| pairs-w1 | messages/s'), /\| 4\.00× \| – \|$/)
})

test('what is to be reached is compared with the best of the peers, the relay aside', () => {
  const run = (target: string, microseconds: number) => ({
    round: 1,
    scenario: 'pairs-w1',
    target,
    figures: { server_cpu_s_per_1000: microseconds / 1000 },
  })
  const results: Results = {
    at: '2026-01-01T00:00:00.000Z',
    command: 'npm run bench -- --targets ours,slow',
    machine: { cpu: 'a CPU', cores: 2, memoryGib: 4, kernel: 'Linux' },
    rounds: 1,
    pinned: false,
    versions: { ours: '1', slow: '2', relay: '4' },
    runs: [run('ours', 16), run('slow', 90), run('relay', 7)],
  }
  const other = { ...results, versions: { fast: '3' }, runs: [run('fast', 40)] }

  const lines = report(together([results, other]), pairs).split('\n')

  const goals = lines.filter((line) => /^\| pairs-w1 +\| CPU µs\/message/.test(line))
  assert.match(
    goals[0]?.replaceAll(/ +/g, ' ') ?? '',
    /^\| pairs-w1 \| CPU µs\/message \| 16\.0 \| 18 ✓ \| 15 \| fast 40\.0 \| 2\.50× \|$/,
  )
})

test('writing a section leaves the others, and the text around it, alone', () => {
  const bare = withSection('# Results\n', 'bare', 'one')
  const both = withSection(bare, 'archive', 'two')
  assert.ok(both.includes('one') && both.includes('two'))
  const after = withSection(`${both}after\n`, 'bare', 'three')
  assert.equal(after, both.replace('one', 'three').concat('after\n'))
})

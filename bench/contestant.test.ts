import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Contestant } from './contestant.ts'
import { parsePlan } from './plan.ts'
import { failures } from './report.ts'
import { SCENARIOS } from './scenarios.ts'
import type { Target } from './targets/target.ts'

test('of a server that does not start, the end of its log is told', async (t) => {
  const directory = mkdtempSync(join(os.tmpdir(), 'meerkat-bench-'))
  t.after(() => rmSync(directory, { recursive: true }))
  const broken: Target = {
    name: 'broken',
    protocol: 'xmpp',
    variants: ['bare'],
    version: () => '1',
    launch: () => ({ command: ['/bin/sh', '-c', 'echo no licence >&2; echo bye; exit 1'] }),
  }
  const scenario = SCENARIOS.find(({ name }) => name === 'pairs-w1')
  assert.ok(scenario)
  const plan = parsePlan(['--quick'])
  const contestant = new Contestant(broken, [scenario], plan, join(directory, 'broken'))

  const run = await contestant.run(scenario, 1)

  assert.equal(run.error, 'ended at once')
  assert.equal(run.serverLog, 'no licence\nbye')
  assert.equal(failures([run]), 'round 1  pairs-w1  broken: ended at once\n  | no licence\n  | bye')
})

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Contestant } from './contestant.ts'
import { buildGenerator } from './generator.ts'
import { parsePlan } from './plan.ts'
import { SCENARIOS } from './scenarios.ts'
import { killEverything } from './server.ts'
import { meerkat } from './targets/meerkat.ts'

const skip = spawnSync(process.env.CC ?? 'cc', ['--version']).status !== 0 && 'no C compiler here'
const plan = parsePlan(['--quick', '--seconds', '0.3', '--connections', '20'])
const scale = { ...plan.scale, warmUpSeconds: 0.1, logins: 20, contacts: 20 }

/** What the generator has to do in a way of its own, and what must come of it. */
const expected = {
  'tls-w1': { clients: 200 },
  'room-100': { copies_per_message: 100 },
  // Its own resource sees it as well (RFC 6121 §4.4.2).
  presence: { copies_per_message: 21 },
  // The run that warms up has them.
  'login-scram': { clients: 20, keys_derived: 0 },
}

test('TLS, a component, subscriptions and SCRAM work with Meerkat', { skip }, async (t) => {
  const { hasOpenssl } = buildGenerator()
  const directory = mkdtempSync(join(os.tmpdir(), 'meerkat-bench-'))
  t.after(() => {
    killEverything()
    rmSync(directory, { recursive: true, force: true, maxRetries: 3 })
  })
  for (const [name, figures] of Object.entries(expected)) {
    const scenario = SCENARIOS.find((candidate) => candidate.name === name)
    assert.ok(scenario, name)
    const needed = scenario.setting.tls || scenario.setting.scram || scenario.setting.component
    if (needed && !hasOpenssl) continue
    await t.test(name, async () => {
      const own = join(directory, name)
      const contestant = new Contestant(meerkat, [scenario], { ...plan, scale }, own)
      const run = await contestant.run(scenario, 1)
      await contestant.stop()
      assert.equal(run.error, undefined)
      for (const [field, value] of Object.entries(figures)) {
        assert.equal(run.figures?.[field], value, field)
      }
      if (scenario.goal) assert.ok(scenario.goal.measure.field in (run.figures ?? {}))
    })
  }
})

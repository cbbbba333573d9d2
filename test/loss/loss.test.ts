import assert from 'node:assert/strict'
import { test } from 'node:test'
import { makePlan } from './plan.ts'
import { runTrial } from './trial.ts'

const SHORT = { messages: 1_500, kills: 3, senders: 3, recipients: 3, seconds: 3 }

for (const { seed, archive } of [
  { seed: 1, archive: true },
  { seed: 2, archive: false },
]) {
  const how = archive ? 'with' : 'without'
  test(`nothing acknowledged is lost, ${how} an archive`, { timeout: 120_000 }, async () => {
    const report = await runTrial(makePlan({ ...SHORT, seed, archive }))
    const { breaches, failures, history, directory } = report
    const story = [...failures.map(({ breach, text }) => `${breach}: ${text}`), ...history]
    assert.deepEqual([...breaches], [], [...story, directory].join('\n'))
    assert.equal(report.figures.messages, SHORT.messages)
  })
}

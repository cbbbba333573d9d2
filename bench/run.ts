/**
 * Measures Meerkat and other servers side by side; `bench/README.md` tells what and how.
 *
 *   node bench/run.ts [options]      (or `npm run bench -- [options]`)
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import { Contestant } from './contestant.ts'
import { buildGenerator } from './generator.ts'
import { describeMachine } from './machine.ts'
import { type Plan, parsePlan, RESULTS_FOLDER, USAGE, UsageError } from './plan.ts'
import { failures, type Results, type Run, report, withSection } from './report.ts'
import { killEverything } from './server.ts'

async function measure(plan: Plan, directory: string): Promise<Run[]> {
  const runs: Run[] = []
  const groups = Map.groupBy(plan.scenarios, ({ group }) => group)
  for (const [group, scenarios] of groups) {
    const contestants = plan.targets
      .filter(({ protocol }) => protocol === 'xmpp' || scenarios.some(({ kind }) => kind.isRaw))
      .map((target) => {
        const own = join(directory, `${group}-${target.name}`)
        return new Contestant(target, scenarios, plan, own)
      })
    for (let round = 1; round <= plan.rounds; round++) {
      // Each round begins with another server.
      contestants.push(...contestants.splice(0, round === 1 ? 0 : 1))
      for (const scenario of scenarios) {
        for (const contestant of contestants) {
          if (contestant.target.protocol === 'raw' && !scenario.kind.isRaw) continue
          process.stderr.write(`round ${round}  ${scenario.name}  ${contestant.target.name}\n`)
          const run = await contestant.run(scenario, round)
          if (run.error) process.stderr.write(`failed: ${failures([run])}\n`)
          runs.push(run)
        }
      }
      for (const contestant of contestants) await contestant.stop()
    }
  }
  return runs
}

async function main(): Promise<void> {
  const plan = parsePlan(process.argv.slice(2))
  buildGenerator()
  const directory = mkdtempSync(join(os.tmpdir(), 'meerkat-bench-'))
  process.on('exit', () => {
    killEverything()
    rmSync(directory, { recursive: true, force: true, maxRetries: 3 })
  })
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => process.exit(130))
  }
  const runs = await measure(plan, directory)
  const versions = plan.targets.map((target) => [target.name, target.version() ?? 'not installed'])
  const results: Results = {
    at: new Date().toISOString(),
    command: ['npm run bench --', ...process.argv.slice(2)].join(' '),
    machine: describeMachine(),
    variant: plan.variant,
    rounds: plan.rounds,
    pinned: plan.isPinned,
    versions: Object.fromEntries(versions),
    runs,
  }
  mkdirSync(RESULTS_FOLDER, { recursive: true })
  writeFileSync(plan.json, `${JSON.stringify(results, undefined, 2)}\n`)
  const markdown = report(results, plan.scenarios)
  process.stdout.write(`${markdown}\n`)
  if (plan.isWritten) {
    const file = join(import.meta.dirname, 'RESULTS.md')
    writeFileSync(
      file,
      withSection(
        readFileSync(file, 'utf8'),
        plan.variant,
        `## Variant \`${plan.variant}\`\n\n${markdown}`,
      ),
    )
  }
  const failed = runs.filter(({ error }) => error !== undefined)
  if (failed.length === 0) return
  process.stderr.write(`\n${failed.length} of ${runs.length} runs failed:\n${failures(failed)}\n`)
  process.exitCode = 1
}

try {
  await main()
} catch (error) {
  const isUsage =
    error instanceof UsageError || (error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS')
  if (!isUsage) throw error
  process.stderr.write(`${(error as Error).message}\n\n${USAGE}`)
  process.exitCode = 1
}

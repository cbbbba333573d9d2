/**
 * Measures Meerkat and other servers side by side; `bench/README.md` tells what and how.
 *
 *   node bench/run.ts [options]      (or `npm run bench -- [options]`)
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Contestant } from './contestant.ts'
import { buildGenerator } from './generator.ts'
import { describeMachine } from './machine.ts'
import { type Plan, parsePlan, RESULTS_FOLDER, USAGE, UsageError } from './plan.ts'
import { failures, type Results, type Run, report, together, withSection } from './report.ts'
import { isRaw, needsOpenssl, type Scenario } from './scenarios.ts'
import { scratchDirectory } from './scratch.ts'
import type { Target } from './targets/target.ts'

const mayTakePart = (target: Target, scenario: Scenario) =>
  target.protocol === 'raw' ? isRaw(scenario) : target.variants.includes(scenario.setting.variant)

async function* measure(
  plan: Plan,
  all: readonly Scenario[],
  directory: string,
): AsyncGenerator<Run, void> {
  for (const [group, some] of Map.groupBy(all, (scenario) => scenario.group)) {
    const scenarios = some as [Scenario, ...Scenario[]]
    const contestants = plan.targets
      .filter((target) => scenarios.some((scenario) => mayTakePart(target, scenario)))
      .map((target) => {
        const own = join(directory, `${group}-${target.name}`)
        return new Contestant(target, scenarios, plan, own)
      })
    for (let round = 1; round <= plan.rounds; round++) {
      // Each round begins with another server.
      contestants.push(...contestants.splice(0, round === 1 ? 0 : 1))
      for (const scenario of scenarios) {
        for (const contestant of contestants) {
          if (!mayTakePart(contestant.target, scenario)) continue
          process.stderr.write(`round ${round}  ${scenario.name}  ${contestant.target.name}\n`)
          const run = await contestant.run(scenario, round)
          if (run.error) process.stderr.write(`failed: ${failures([run])}\n`)
          yield run
        }
      }
      for (const contestant of contestants) await contestant.stop()
    }
  }
}

async function main(): Promise<void> {
  const plan = parsePlan(process.argv.slice(2))
  const results = plan.from.length > 0 ? merged(plan.from) : await measured(plan)
  const shown = plan.scenarios.filter(({ name }) =>
    results.runs.some((run) => run.scenario === name),
  )
  const markdown = report(results, shown)
  process.stdout.write(`${markdown}\n`)
  if (plan.isWritten) writeSection(plan.variant ?? 'comparison', markdown)
  const failed = results.runs.filter(({ error }) => error !== undefined)
  if (failed.length === 0) return
  const count = `${failed.length} of ${results.runs.length} runs failed`
  process.stderr.write(`\n${count}:\n${failures(failed)}\n`)
  process.exitCode = 1
}

function writeSection(name: string, markdown: string): void {
  const title = name === 'comparison' ? 'Comparison' : `Variant \`${name}\``
  const file = join(import.meta.dirname, 'RESULTS.md')
  const before = readFileSync(file, 'utf8')
  writeFileSync(file, withSection(before, name, `## ${title}\n\n${markdown}`))
}

function merged(files: readonly string[]): Results {
  return together(files.map((file) => JSON.parse(readFileSync(file, 'utf8')) as Results))
}

async function measured(plan: Plan): Promise<Results> {
  const { hasOpenssl } = buildGenerator()
  const scenarios = plan.scenarios.filter((scenario) => hasOpenssl || !needsOpenssl(scenario))
  const directory = scratchDirectory()
  const versions = plan.targets.map((target) => [target.name, target.version() ?? 'not installed'])
  const results: Results = {
    at: new Date().toISOString(),
    command: ['npm run bench --', ...process.argv.slice(2)].join(' '),
    machine: describeMachine(),
    ...(plan.variant && { variant: plan.variant }),
    rounds: plan.rounds,
    pinned: plan.isPinned,
    versions: Object.fromEntries(versions),
    runs: [],
  }
  mkdirSync(RESULTS_FOLDER, { recursive: true })
  const runs: Run[] = []
  for await (const run of measure(plan, scenarios, directory)) {
    runs.push(run)
    // Each time, so that one that is stopped has not measured for nothing.
    writeFileSync(plan.json, `${JSON.stringify({ ...results, runs }, undefined, 2)}\n`)
  }
  return { ...results, runs }
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

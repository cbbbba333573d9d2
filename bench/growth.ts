/**
 * How the cost of one thing grows with how many there are. `bench/README.md` tells what is measured.
 *
 *   node bench/growth.ts [options]      (or `npm run bench:growth -- [options]`)
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { buildGenerator } from './generator.ts'
import { DIMENSIONS, type Dimension, type Figures } from './growth/dimensions.ts'
import { lineChart } from './line-chart.ts'
import { describeMachine, gitCommit } from './machine.ts'
import { type Spread, spreadOf, table, withSection } from './report.ts'
import { scratchDirectory } from './scratch.ts'

const USAGE = `usage: node bench/growth.ts [options]
  --only LIST     of ${DIMENSIONS.map(({ name }) => name).join()}; default all
  --steps LIST    how many, instead of those the dimension has
  --rounds N      default 3; of the archive always 1
  --write         into bench/RESULTS.md, the charts and figures beside it
`

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    steps: { type: 'string' },
    rounds: { type: 'string', default: '3' },
    write: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
})
if (values.help) {
  process.stdout.write(USAGE)
  process.exit()
}
const names = values.only?.split(',') ?? DIMENSIONS.map(({ name }) => name)
const chosen = names.map((name) => {
  const dimension = DIMENSIONS.find((candidate) => candidate.name === name)
  if (dimension === undefined) throw new Error(`there is no ${name}\n\n${USAGE}`)
  return dimension
})

/** Committed, so that the charts are where RESULTS.md shows them. */
const folder = join(import.meta.dirname, 'growth')
const directory = scratchDirectory()

interface Row {
  readonly step: number
  readonly rounds: readonly Figures[]
}

/** Rounds take turns over the steps, so that a busy minute does not hit one step alone. */
async function measure(dimension: Dimension): Promise<Row[]> {
  const steps = values.steps?.split(',').map(Number) ?? dimension.steps
  const rows = steps.map((step) => ({ step, rounds: [] as Figures[] }))
  const rounds = dimension.isSlow ? 1 : Number(values.rounds)
  for (let round = 1; round <= rounds; round++) {
    for (const { step, rounds } of rows) {
      process.stderr.write(`round ${round}  ${dimension.name}  ${step.toLocaleString('en')}\n`)
      const own = join(directory, `${dimension.name}-${step}-${round}`)
      mkdirSync(own)
      try {
        rounds.push(await dimension.measure(step, own))
      } catch (error) {
        process.stderr.write(`failed: ${(error as Error).message}\n`)
        process.exitCode = 1
      }
    }
  }
  return rows.filter(({ rounds }) => rounds.length > 0)
}

/** Steps that were measured before and not now stay, so that one can measure in parts. */
function withKept(file: string, rows: readonly Row[]): Row[] {
  if (!existsSync(file)) return [...rows]
  const { rows: kept } = JSON.parse(readFileSync(file, 'utf8')) as { readonly rows: readonly Row[] }
  const others = kept.filter(({ step }) => rows.every((row) => row.step !== step))
  return [...others, ...rows].sort((a, b) => a.step - b.step)
}

function cell(spread: Spread | undefined, digits: number): string {
  if (spread === undefined) return '–'
  const shown = (value: number) =>
    value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })
  const [median, min, max] = [spread.median, spread.min, spread.max].map(shown)
  return min === max ? `${median}` : `${median} (${min}–${max})`
}

function section(dimension: Dimension, rows: readonly Row[]): string {
  const { title, about, counted, measures } = dimension
  const spread = (row: Row, field: string) =>
    spreadOf(row.rounds.flatMap((figures) => figures[field] ?? []))
  const cells = rows.map((row) => [
    row.step.toLocaleString('en'),
    ...measures.map(({ field, digits }) => cell(spread(row, field), digits)),
  ])
  const { cpu, cores, memoryGib, kernel } = describeMachine()
  const command = ['npm run bench:growth --', ...process.argv.slice(2)].join(' ')
  const charts = measures
    .filter(({ isCharted }) => isCharted)
    .map((measure) => {
      const points = rows.flatMap((row) => {
        const median = spread(row, measure.field)?.median
        return median !== undefined && median > 0 ? [{ x: row.step, y: median }] : []
      })
      const name = `${dimension.name}-${measure.field.replaceAll('_', '-')}.svg`
      if (points.length > 0 && values.write) {
        const options = { title, xTitle: counted, yTitle: measure.title }
        writeFileSync(join(folder, name), lineChart([{ title: measure.title, points }], options))
      }
      return `![${measure.title} by ${counted}](growth/${name})`
    })
  return [
    `### ${title}`,
    about,
    `Measured ${new Date().toISOString().slice(0, 16).replace('T', ' ')} UTC with \`${command}\` at ${gitCommit()}; ${cpu}, ${cores} cores, ${memoryGib} GiB, ${kernel}.`,
    table([counted, ...measures.map((measure) => measure.title)], cells, 0),
    ...charts,
  ].join('\n\n')
}

buildGenerator()
for (const dimension of chosen) {
  const rows = await measure(dimension)
  if (rows.length === 0) continue
  const kept = join(folder, `${dimension.name}.json`)
  const all = values.write ? withKept(kept, rows) : rows
  const markdown = section(dimension, all)
  process.stdout.write(`${markdown}\n\n`)
  if (!values.write) continue
  const about = { at: new Date().toISOString(), commit: gitCommit(), machine: describeMachine() }
  writeFileSync(kept, `${JSON.stringify({ ...about, rows: all }, undefined, 2)}\n`)
  const file = join(import.meta.dirname, 'RESULTS.md')
  writeFileSync(file, withSection(readFileSync(file, 'utf8'), `growth-${dimension.name}`, markdown))
}

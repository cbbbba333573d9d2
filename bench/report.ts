import type { Figures } from './generator.ts'
import type { Machine } from './machine.ts'
import type { Kind, Measure, Scenario } from './scenarios.ts'
import type { Variant } from './targets/target.ts'

/** One attempt at one scenario with one server. */
export interface Run {
  readonly round: number
  readonly scenario: string
  readonly target: string
  readonly figures?: Figures
  readonly error?: string
  /** With an error: the end of the server's log. */
  readonly serverLog?: string
}

export interface Results {
  readonly at: string
  readonly command: string
  readonly machine: Machine
  /** If all scenarios ran in this one, whatever they say themselves. */
  readonly variant?: Variant
  readonly rounds: number
  /** Whether servers and generator had one core each. */
  readonly pinned: boolean
  readonly versions: Readonly<Record<string, string>>
  readonly runs: readonly Run[]
}

export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
}

export function spreadOf(values: readonly number[]): Spread | undefined {
  const sorted = values.toSorted((a, b) => a - b)
  const [min, max] = [sorted[0], sorted.at(-1)]
  const below = sorted[Math.floor((sorted.length - 1) / 2)]
  const above = sorted[Math.ceil((sorted.length - 1) / 2)]
  if (min === undefined || max === undefined || below === undefined || above === undefined) {
    return undefined
  }
  return { median: (below + above) / 2, min, max }
}

/** How many times better `ours` is than `theirs`; undefined if either is no positive number. */
export function advantage(measure: Measure, ours: number, theirs: number): number | undefined {
  if (!(ours > 0 && theirs > 0)) return undefined
  return measure.better === 'more' ? ours / theirs : theirs / ours
}

/** What failed, each with the end of the server's log; empty if nothing did. */
export function failures(runs: readonly Run[]): string {
  return runs
    .filter(({ error }) => error !== undefined)
    .map(({ round, scenario, target, error, serverLog = '' }) => {
      const log = serverLog.trim() === '' ? ['(the server wrote nothing)'] : serverLog.split('\n')
      const title = `round ${round}  ${scenario}  ${target}: ${error}`
      return [title, ...log.map((line) => `  | ${line}`)].join('\n')
    })
    .join('\n')
}

/** The results as Markdown: what was measured, a table for each kind, and the comparison. */
export function report(results: Results, scenarios: readonly Scenario[]): string {
  const kinds = [...new Set(scenarios.map(({ kind }) => kind))]
  const tables = kinds.map((kind) => {
    const rows = scenarios.filter((scenario) => scenario.kind === kind)
    return `### ${kind.title}\n\n${kindTable(results, kind, rows)}`
  })
  const compared = comparison(results, scenarios)
  const parts = [heading(results), goals(results, scenarios), ...tables, compared]
  return parts.filter((part) => part !== '').join('\n\n')
}

function heading({ at, command, machine, variant, rounds, pinned, versions }: Results): string {
  const { cpu, cores, memoryGib, kernel } = machine
  const servers = Object.entries(versions).map(([name, version]) => `${name} ${version}`)
  return [
    `Measured ${at.slice(0, 16).replace('T', ' ')} UTC with \`${command}\`.`,
    '',
    `- Machine: ${cpu}, ${cores} cores, ${memoryGib} GiB, ${kernel}`,
    `- Versions: ${servers.join(', ')}`,
    ...(variant === undefined ? [] : [`- All in the variant \`${variant}\``]),
    `- Rounds: ${rounds}, each with servers started afresh, taking turns`,
    pinned
      ? '- Servers on one core, the generator on another'
      : '- Servers and generator share all cores',
    '- Cells: median (lowest–highest); “other cores” is what the rest of the machine used meanwhile',
  ].join('\n')
}

/** What the first server is to reach, and how it does against the best of the others. */
function goals(results: Results, scenarios: readonly Scenario[]): string {
  const [ours, ...others] = Object.keys(results.versions)
  // In another variant, the goals do not hold.
  if (ours === undefined || results.variant !== undefined) return ''
  const rows = scenarios.flatMap((scenario) => {
    const { name, goal } = scenario
    const spreadFor = (target: string) =>
      goal && spreadOf(valuesOf(runsOf(results, scenario, target), goal.measure))
    const own = spreadFor(ours)
    if (goal === undefined || own === undefined) return []
    const peers = others
      .filter((other) => other !== 'relay')
      .flatMap((other) => {
        const median = spreadFor(other)?.median
        return median === undefined ? [] : [{ other, median }]
      })
      .sort((a, b) => a.median - b.median)
    const [best] = peers
    const times = best && advantage(goal.measure, own.median, best.median)
    const number = (value: number) => value.toFixed(goal.measure.digits)
    return [
      [
        name,
        goal.measure.title,
        number(own.median),
        `${goal.first}${own.median <= goal.first ? ' ✓' : ''}`,
        `${goal.later}${own.median <= goal.later ? ' ✓' : ''}`,
        best === undefined ? '–' : `${best.other} ${number(best.median)}`,
        times === undefined ? '–' : `${times.toFixed(2)}×`,
      ],
    ]
  })
  if (rows.length === 0) return ''
  const titles = ['scenario', 'measure', ours, 'first', 'later', 'best peer', 'against it']
  return `### Goals\n\n${table(titles, rows)}`
}

/** Runs that were kept apart, as those of one; of the machine and so on what the last says. */
export function together(parts: readonly Results[]): Results {
  const last = parts.at(-1)
  if (last === undefined) throw new Error('nothing to show')
  const versions = parts.map((part) => Object.entries(part.versions))
  return {
    ...last,
    command: parts.map(({ command }) => command).join('`, `'),
    rounds: Math.max(...parts.map(({ rounds }) => rounds)),
    versions: Object.fromEntries(versions.flat()),
    runs: parts.flatMap(({ runs }) => runs),
  }
}

function kindTable(results: Results, kind: Kind, scenarios: readonly Scenario[]): string {
  const rows = scenarios.flatMap((scenario) =>
    targetsOf(results, scenario).map((target) => {
      const runs = runsOf(results, scenario, target)
      const failure = runs.find(({ error }) => error !== undefined)?.error
      const cells = kind.measures.map((measure) => spreadCell(measure, valuesOf(runs, measure)))
      return [scenario.name, target, ...cells, failure === undefined ? '' : inline(failure)]
    }),
  )
  const hasFailures = rows.some((row) => row.at(-1) !== '')
  const titles = ['scenario', 'server', ...kind.measures.map(({ title }) => title)]
  if (hasFailures) return table([...titles, 'failure'], rows)
  return table(
    titles,
    rows.map((row) => row.slice(0, -1)),
  )
}

/** The first server against each of the others. */
function comparison(results: Results, scenarios: readonly Scenario[]): string {
  const [ours, ...others] = Object.keys(results.versions)
  if (ours === undefined || others.length === 0) return ''
  const rows = scenarios.flatMap((scenario) =>
    scenario.kind.measures
      .filter(({ compared }) => compared)
      .map((measure) => {
        const median = (target: string) =>
          spreadOf(valuesOf(runsOf(results, scenario, target), measure))?.median ?? 0
        const cells = others.map((other) => {
          const times = advantage(measure, median(ours), median(other))
          return times === undefined ? '–' : `${times.toFixed(2)}×`
        })
        return [scenario.name, measure.title, ...cells]
      }),
  )
  const text = `How many times better the median of ${ours} is; below 1, the other is better.`
  const titles = ['scenario', 'measure', ...others.map((other) => `against ${other}`)]
  return `### ${ours} against the others\n\n${text}\n\n${table(titles, rows)}`
}

function targetsOf(results: Results, scenario: Scenario): string[] {
  return Object.keys(results.versions).filter(
    (target) => runsOf(results, scenario, target).length > 0,
  )
}

function runsOf(results: Results, scenario: Scenario, target: string): Run[] {
  return results.runs.filter((run) => run.scenario === scenario.name && run.target === target)
}

function valuesOf(runs: readonly Run[], measure: Measure): number[] {
  return runs
    .map(({ figures }) => figures?.[measure.field])
    .filter((value) => typeof value === 'number')
    .map((value) => value * measure.factor)
}

function spreadCell(measure: Measure, values: readonly number[]): string {
  const spread = spreadOf(values)
  if (spread === undefined) return '–'
  const [median, min, max] = [spread.median, spread.min, spread.max].map((value) =>
    value.toLocaleString('en', {
      minimumFractionDigits: measure.digits,
      maximumFractionDigits: measure.digits,
    }),
  )
  return min === max ? `${median}` : `${median} (${min}–${max})`
}

function inline(text: string): string {
  return text.replaceAll(/\s+/g, ' ').replaceAll('|', '\\|').slice(0, 60)
}

/** Padded as the formatter wants it. The first columns hold text, the others numbers. */
export function table(
  titles: readonly string[],
  rows: readonly (readonly string[])[],
  textColumns = 2,
): string {
  const widths = titles.map((title, column) =>
    Math.max(3, title.length, ...rows.map((row) => row[column]?.length ?? 0)),
  )
  const isText = (column: number) => column < textColumns
  const pad = (cell: string, column: number) => {
    const width = widths[column] ?? 0
    return isText(column) ? cell.padEnd(width) : cell.padStart(width)
  }
  const rule = widths.map((width, column) =>
    isText(column) ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`,
  )
  return [titles.map(pad), rule, ...rows.map((row) => row.map(pad))]
    .map((cells) => `| ${cells.join(' | ')} |`)
    .join('\n')
}

/** `document` with the section of that name, between its marks, replaced; added if missing. */
export function withSection(document: string, name: string, section: string): string {
  const [first, last] = [`<!-- ${name}: begin -->`, `<!-- ${name}: end -->`]
  const begin = document.indexOf(first)
  const end = document.indexOf(last)
  const marked = `${first}\n\n${section}\n\n${last}`
  if (begin < 0 || end < begin) return `${document.trimEnd()}\n\n${marked}\n`
  return document.slice(0, begin) + marked + document.slice(end + last.length)
}

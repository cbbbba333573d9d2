import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { FULL, QUICK, SCENARIOS, type Scale, type Scenario } from './scenarios.ts'
import { ejabberd } from './targets/ejabberd.ts'
import { meerkat } from './targets/meerkat.ts'
import { meerkatPostgresql } from './targets/meerkat-postgresql.ts'
import { prosody } from './targets/prosody.ts'
import { relay } from './targets/relay.ts'
import { type Target, VARIANTS, type Variant } from './targets/target.ts'

/** The first is compared with the others. */
const TARGETS: readonly Target[] = [meerkat, meerkatPostgresql, prosody, ejabberd, relay]

const EXTRA = TARGETS.filter(({ isExtra }) => isExtra).map(({ name }) => name)

export const USAGE = `usage: node bench/run.ts [options]
  --targets LIST     of ${TARGETS.map(({ name }) => name).join()}; default: those installed,
                     without ${EXTRA.join()}
  --scenarios LIST   of ${SCENARIOS.map(({ name }) => name).join()}
  --variant NAME     the servers as in ${VARIANTS.join(', ')} in all scenarios, not as each of them says
  --rounds N         default 5
  --seconds S        measured time of one run, default ${FULL.seconds}
  --connections N    of the scenario idle, default ${FULL.connections}
  --quick            one short round with fewer clients: whether it works, not how fast
  --pin              servers on the first core, the generator on the last
  --json FILE        default bench/results/TIME.json
  --from LIST        show what was kept in these files together, without measuring
  --write            also write the tables into bench/RESULTS.md
`

export const RESULTS_FOLDER = join(import.meta.dirname, 'results')

export interface Plan {
  readonly targets: readonly Target[]
  readonly scenarios: readonly Scenario[]
  /** In which all scenarios run, whatever they say themselves. */
  readonly variant: Variant | undefined
  /** Files with results to show; empty: to measure. */
  readonly from: readonly string[]
  readonly rounds: number
  readonly scale: Scale
  readonly isPinned: boolean
  readonly json: string
  readonly isWritten: boolean
}

export class UsageError extends Error {}

export function parsePlan(args: readonly string[]): Plan {
  const { values } = parseArgs({
    args: [...args],
    options: {
      targets: { type: 'string' },
      scenarios: { type: 'string' },
      variant: { type: 'string' },
      from: { type: 'string' },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      connections: { type: 'string' },
      quick: { type: 'boolean', default: false },
      pin: { type: 'boolean', default: false },
      json: { type: 'string' },
      write: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) {
    process.stdout.write(USAGE)
    process.exit()
  }
  const base = values.quick ? QUICK : FULL
  const variants = VARIANTS.map((name) => ({ name }))
  const variant = values.variant ? named(variants, values.variant)[0]?.name : undefined
  const installed = TARGETS.filter((target) => !target.isExtra && target.version() !== undefined)
  const time = new Date().toISOString().slice(0, 19).replaceAll(':', '-')
  return {
    targets: values.targets ? named(TARGETS, values.targets) : installed,
    scenarios: (values.scenarios ? named(SCENARIOS, values.scenarios) : SCENARIOS).map(
      (scenario) => (variant === undefined ? scenario : inVariant(scenario, variant)),
    ),
    variant,
    from: values.from?.split(',') ?? [],
    rounds: positive(values.rounds, values.quick ? 1 : 5),
    scale: {
      ...base,
      seconds: positive(values.seconds, base.seconds),
      connections: positive(values.connections, base.connections),
    },
    isPinned: values.pin,
    json: values.json ?? join(RESULTS_FOLDER, `${time}.json`),
    isWritten: values.write,
  }
}

function inVariant(scenario: Scenario, variant: Variant): Scenario {
  const group = `${scenario.group}-${variant}`
  return { ...scenario, group, setting: { ...scenario.setting, variant } }
}

/** Those of `choices` that a comma-separated list names, in its order. */
function named<T extends { readonly name: string }>(choices: readonly T[], list: string): T[] {
  return list.split(',').map((name) => {
    const choice = choices.find((candidate) => candidate.name === name)
    if (choice === undefined) throw new UsageError(`there is no ${name}`)
    return choice
  })
}

function positive(text: string | undefined, standard: number): number {
  const value = text === undefined ? standard : Number(text)
  if (!(value > 0)) throw new UsageError(`${text} is no positive number`)
  return value
}

import { setTimeout as wait } from 'node:timers/promises'
import { z } from 'zod'
import { counted, table } from '../../core/command-text.ts'
import type { Everywhere } from '../../core/everywhere.ts'
import { type HandlerTally, type Tally, total } from '../../core/tally.ts'
import type { AdminContext } from '../context.ts'
import { Followers } from '../followers.ts'
import { defineStream } from '../stream-command.ts'
import { onlyNode, silentNodes, talliesOf } from '../tallies.ts'

/** How many may watch at once. */
const MAX_WATCHERS = 64

const counts = {
  stanzas: z.int().describe('Since the start.'),
  per_second: z.number().nullable().describe('Since the item before; null in the first.'),
}

const item = z.strictObject({
  at: z.iso.datetime(),
  nodes: z.array(z.string()).describe('Whose numbers these are, together.'),
  silent: silentNodes,
  sessions: z.int(),
  components: z.int().describe('Connections of components.'),
  servers: z.int().describe('Other servers there is a connection with.'),
  received: z.array(z.strictObject({ from: z.string(), ...counts })),
  stages: z
    .array(
      z.strictObject({
        name: z.string(),
        ...counts,
        mean_ms: z
          .number()
          .nullable()
          .describe(
            'What those that somebody followed took since the item before, with all that came ' +
              'behind this stage; null where nobody followed any.',
          ),
      }),
    )
    .describe('In the order in which a message passes them.'),
  hooks: z.array(
    z.strictObject({
      hook: z.string(),
      by: z.string(),
      runs: z.int().describe('Since the start.'),
      per_second: counts.per_second,
      failures: z.int().describe('Since the start.'),
    }),
  ),
  outcomes: z.array(z.strictObject({ by: z.string(), fate: z.string(), ...counts })),
  sent: z.array(z.strictObject({ to: z.string(), ...counts })),
})

export type RouteItem = z.output<typeof item>

const followers = new Followers(MAX_WATCHERS)

export const watchRoute = defineStream({
  name: 'route watch',
  description: 'Follow how many stanzas pass each stage of the route, and what becomes of them',
  permission: 'server:read',
  args: z.strictObject({
    every: z.coerce
      .number()
      .int()
      .min(1)
      .max(60)
      .optional()
      .describe('Seconds from item to item; 1 unless told.'),
    node: onlyNode,
  }),
  positional: [],
  examples: ['', '--every 10 --json', '--node a'],
  item,
  text: ({ at, nodes, silent, sessions, stages, outcomes }, paint) =>
    [
      `${at.slice(11, 19)}  ${counted(sessions, 'session')}${whose(nodes, silent)}`,
      table(
        [
          ...stages.map((stage) => ({ ...stage, what: stage.name })),
          ...outcomes.map((each) => ({
            ...each,
            what: `${each.fate} by ${each.by}`,
            mean_ms: null,
          })),
        ].map(({ what, stanzas, per_second, mean_ms }) => [
          `  ${what}`,
          counted(stanzas, 'stanza'),
          per_second === null ? '' : `${per_second}/s`,
          mean_ms === null ? '' : paint('dim', `${mean_ms} ms`),
        ]),
      ),
    ].join('\n'),
  async open(context, { every = 1, node }, signal) {
    const first = await talliesOf(context, node)
    followers.join(context.tallies, signal)
    return watch(context, first, { everyMs: every * 1_000, node, signal })
  },
})

/** A server alone need not be named. */
function whose(nodes: readonly string[], silent: readonly string[]): string {
  const missing = silent.length === 0 ? '' : `, without ${silent.join(', ')}`
  return nodes.length + silent.length > 1 ? ` on ${nodes.join(', ')}${missing}` : ''
}

type Watching = {
  readonly everyMs: number
  readonly node: string | undefined
  readonly signal: AbortSignal
}

async function* watch(
  { tallies }: AdminContext,
  first: Everywhere<Tally>,
  { everyMs, node, signal }: Watching,
): AsyncGenerator<RouteItem> {
  let found = first
  let before: { readonly cells: ByRun; readonly at: number } | undefined
  while (!signal.aborted) {
    const at = performance.now()
    const cells = byRun(found)
    const seconds = before === undefined ? 0 : (at - before.at) / 1_000
    yield itemOf(found, before && new Growth(cells, before.cells, seconds))
    before = { cells, at }
    try {
      await wait(everyMs, undefined, { signal })
    } catch {
      return
    }
    found = await tallies.of(node)
  }
}

/** What only grows, by a name for each cell. */
type Cells = ReadonlyMap<string, number>
/** That of each run of a node: each begins at 0. */
type ByRun = ReadonlyMap<string, Cells>

function byRun({ answers }: Everywhere<Tally>): ByRun {
  return new Map(answers.map(({ node, epoch, answer }) => [`${epoch} ${node}`, cellsOf(answer)]))
}

function cellsOf({ received, sent, stages, handlers, outcomes }: Tally): Cells {
  const cells = new Map<string, number>()
  const add = (name: string, value: number) => cells.set(name, (cells.get(name) ?? 0) + value)
  for (const [from, kinds] of Object.entries(received)) add(`received ${from}`, sum(kinds))
  for (const [to, kinds] of Object.entries(sent)) add(`sent ${to}`, sum(kinds))
  for (const { name, stanzas, timed, milliseconds } of stages) {
    add(`stage ${name}`, stanzas)
    add(`timed ${name}`, timed)
    add(`took ${name}`, milliseconds)
  }
  for (const { hook, by, runs } of handlers) add(`hook ${hook} ${by}`, runs)
  for (const [by, fates] of Object.entries(outcomes)) {
    for (const [fate, stanzas] of Object.entries(fates)) add(`outcome ${by} ${fate}`, stanzas)
  }
  return cells
}

/** How fast cells have grown, of all nodes that could be looked at twice. */
class Growth {
  readonly #grown = new Map<string, number>()
  readonly #seconds: number

  constructor(now: ByRun, before: ByRun, seconds: number) {
    this.#seconds = seconds
    for (const [run, cells] of now) {
      const earlier = before.get(run)
      if (earlier === undefined) continue
      // A cell that was not there before had nothing.
      for (const [name, value] of cells) {
        this.#grown.set(name, this.of(name) + value - (earlier.get(name) ?? 0))
      }
    }
  }

  /** What came since. */
  of(name: string): number {
    return this.#grown.get(name) ?? 0
  }

  perSecond(name: string): number {
    return rounded(this.of(name) / this.#seconds, 10)
  }
}

function itemOf({ answers, silent }: Everywhere<Tally>, growth: Growth | undefined): RouteItem {
  const all = total(answers.map(({ answer }) => answer))
  const { sessions, components, servers, received, sent, stages, handlers, outcomes } = all
  const perSecond = (name: string) => growth?.perSecond(name) ?? null
  return {
    at: new Date().toISOString(),
    nodes: answers.map(({ node }) => node),
    silent: [...silent],
    sessions,
    components,
    servers,
    received: Object.entries(received).map(([from, kinds]) => {
      return { from, stanzas: sum(kinds), per_second: perSecond(`received ${from}`) }
    }),
    stages: stages.map(({ name, stanzas }) => {
      const timed = growth?.of(`timed ${name}`) ?? 0
      const took = growth?.of(`took ${name}`) ?? 0
      return {
        name,
        stanzas,
        per_second: perSecond(`stage ${name}`),
        mean_ms: timed === 0 ? null : rounded(took / timed, 1_000),
      }
    }),
    hooks: byModule(handlers).map((handler) => {
      const { hook, by } = handler
      return { ...handler, per_second: perSecond(`hook ${hook} ${by}`) }
    }),
    outcomes: Object.entries(outcomes).flatMap(([by, fates]) =>
      Object.entries(fates)
        .filter(([, stanzas]) => stanzas > 0)
        .map(([fate, stanzas]) => {
          return { by, fate, stanzas, per_second: perSecond(`outcome ${by} ${fate}`) }
        }),
    ),
    sent: Object.entries(sent).map(([to, kinds]) => {
      return { to, stanzas: sum(kinds), per_second: perSecond(`sent ${to}`) }
    }),
  }
}

/** In the order in which they run; those of one module together, where its first one is. */
function byModule(all: readonly HandlerTally[]) {
  const found = new Map<string, { hook: string; by: string; runs: number; failures: number }>()
  for (const { hook, by, runs, failures } of all) {
    const key = `${hook} ${by}`
    const same = found.get(key) ?? { hook, by, runs: 0, failures: 0 }
    same.runs += runs
    same.failures += failures
    found.set(key, same)
  }
  return [...found.values()]
}

function sum(kinds: Readonly<Record<string, number>>): number {
  return Object.values(kinds).reduce((total, each) => total + each, 0)
}

function rounded(value: number, parts: number): number {
  return Math.round(value * parts) / parts
}

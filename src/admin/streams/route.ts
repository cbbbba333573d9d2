import { setTimeout as wait } from 'node:timers/promises'
import { z } from 'zod'
import { counted, table } from '../../core/command-text.ts'
import type { StanzaCounts } from '../../core/stanza-counts.ts'
import type { AdminContext } from '../context.ts'
import { Followers } from '../followers.ts'
import { defineStream } from '../stream-command.ts'

/** Stanzas by where they came from and where they were written to. */
export type AdminCounts = StanzaCounts

/** How many may watch at once. */
const MAX_WATCHERS = 64

const counts = {
  stanzas: z.int().describe('Since the start.'),
  per_second: z.number().nullable().describe('Since the item before; null in the first.'),
}

const item = z.strictObject({
  at: z.iso.datetime(),
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
  }),
  positional: [],
  examples: ['', '--every 10 --json'],
  item,
  text: ({ at, sessions, stages, outcomes }, paint) =>
    [
      `${at.slice(11, 19)}  ${counted(sessions, 'session')}`,
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
  async open(context, { every = 1 }, signal) {
    followers.join(context.stages, signal)
    return watch(context, every * 1_000, signal)
  },
})

/** What only grows, by a name for each cell. */
type Cells = ReadonlyMap<string, number>

async function* watch(
  context: AdminContext,
  everyMs: number,
  signal: AbortSignal,
): AsyncGenerator<RouteItem> {
  let before: { readonly cells: Cells; readonly at: number } | undefined
  while (!signal.aborted) {
    const at = performance.now()
    const cells = new Map<string, number>()
    yield itemOf(context, new Growth(cells, before?.cells, at - (before?.at ?? at)))
    before = { cells, at }
    try {
      await wait(everyMs, undefined, { signal })
    } catch {
      return
    }
  }
}

/** Notes cells, and tells how fast they have grown since they were noted before. */
class Growth {
  readonly #now: Map<string, number>
  readonly #before: Cells | undefined
  readonly #seconds: number

  constructor(now: Map<string, number>, before: Cells | undefined, ms: number) {
    this.#now = now
    this.#before = before
    this.#seconds = ms / 1_000
  }

  /** What came since; a cell that was not there before had nothing. */
  of(name: string, value: number): number {
    this.#now.set(name, value)
    return value - (this.#before?.get(name) ?? 0)
  }

  perSecond(name: string, value: number): number | null {
    const growth = this.of(name, value)
    return this.#before === undefined ? null : rounded(growth / this.#seconds, 10)
  }
}

function itemOf(context: AdminContext, growth: Growth): RouteItem {
  const { stages, hooks, outcomes, counts, sessions, components, federation } = context
  const isOpen = ({ status }: { readonly status: { readonly state: string } }) =>
    status.state === 'open'
  return {
    at: new Date().toISOString(),
    sessions: sessions.size,
    components: [...components.connections].length,
    servers: [...(federation?.links ?? [])].filter(isOpen).length,
    received: Object.entries(counts.received).map(([from, kinds]) => {
      const stanzas = sum(kinds)
      return { from, stanzas, per_second: growth.perSecond(`received ${from}`, stanzas) }
    }),
    stages: stages.all.map(({ name, stanzas, timed, milliseconds }) => {
      const newlyTimed = growth.of(`timed ${name}`, timed)
      const took = growth.of(`took ${name}`, milliseconds)
      return {
        name,
        stanzas,
        per_second: growth.perSecond(`stage ${name}`, stanzas),
        mean_ms: newlyTimed === 0 ? null : rounded(took / newlyTimed, 1_000),
      }
    }),
    hooks: byModule(hooks.all).map((handler) => {
      const { hook, by, runs } = handler
      return { ...handler, per_second: growth.perSecond(`hook ${hook} ${by}`, runs) }
    }),
    outcomes: [...outcomes].flatMap(([by, fates]) =>
      Object.entries(fates)
        .filter(([, stanzas]) => stanzas > 0)
        .map(([fate, stanzas]) => {
          const per_second = growth.perSecond(`outcome ${by} ${fate}`, stanzas)
          return { by, fate, stanzas, per_second }
        }),
    ),
    sent: Object.entries(counts.sent).map(([to, kinds]) => {
      const stanzas = sum(kinds)
      return { to, stanzas, per_second: growth.perSecond(`sent ${to}`, stanzas) }
    }),
  }
}

/** In the order in which they run; those of one module together, where its first one is. */
function byModule(all: AdminContext['hooks']['all']) {
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

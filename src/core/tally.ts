import type { Fate } from './outcome.ts'
import type { Stage } from './stages.ts'

type ByKind = Readonly<Record<string, number>>

/** A handler of a hook, and what it has done. */
export type HandlerTally = {
  readonly hook: string
  readonly by: string
  readonly order: number
  readonly onError: 'stop' | 'skip'
  readonly runs: number
  readonly failures: number
}

/** What is counted on the route of a node, or of several together. Counts are since the start. */
export type Tally = {
  readonly sessions: number
  /** Connections of components. */
  readonly components: number
  /** Other servers there is a connection with. */
  readonly servers: number
  /** Stanzas by where they came from, and their kind. */
  readonly received: Readonly<Record<string, ByKind>>
  /** Stanzas by who they were written to, and their kind. */
  readonly sent: Readonly<Record<string, ByKind>>
  /** In the order in which a message passes them. */
  readonly stages: readonly Readonly<Stage>[]
  /** Those of one hook in the order in which they run. */
  readonly handlers: readonly HandlerTally[]
  /** Stanzas by who decided what became of them. */
  readonly outcomes: Readonly<Record<string, Readonly<Record<Fate, number>>>>
}

/** What several nodes have counted together. What only later ones have comes behind. */
export function total(tallies: readonly Tally[]): Tally {
  const sum = (of: (tally: Tally) => number) => tallies.reduce((all, each) => all + of(each), 0)
  return {
    sessions: sum(({ sessions }) => sessions),
    components: sum(({ components }) => components),
    servers: sum(({ servers }) => servers),
    received: tables(tallies.map(({ received }) => received)),
    sent: tables(tallies.map(({ sent }) => sent)),
    outcomes: tables(tallies.map(({ outcomes }) => outcomes)) as Tally['outcomes'],
    stages: merged(
      tallies.flatMap(({ stages }) => stages),
      ({ name }) => name,
      (a, b) => ({
        name: a.name,
        stanzas: a.stanzas + b.stanzas,
        timed: a.timed + b.timed,
        milliseconds: a.milliseconds + b.milliseconds,
      }),
    ),
    handlers: merged(
      tallies.flatMap(({ handlers }) => ranked(handlers)),
      ({ key }) => key,
      (a, b) => ({ ...a, runs: a.runs + b.runs, failures: a.failures + b.failures }),
    ).map(({ key: _, ...handler }) => handler),
  }
}

/** A module may have several handlers of one hook with one order. */
function ranked(handlers: readonly HandlerTally[]): (HandlerTally & { readonly key: string })[] {
  const seen = new Map<string, number>()
  return handlers.map((handler) => {
    const name = `${handler.hook} ${handler.by} ${handler.order}`
    const rank = seen.get(name) ?? 0
    seen.set(name, rank + 1)
    return { ...handler, key: `${name} ${rank}` }
  })
}

function merged<T>(all: readonly T[], key: (one: T) => string, add: (a: T, b: T) => T): T[] {
  const found = new Map<string, T>()
  for (const one of all) {
    const same = found.get(key(one))
    found.set(key(one), same === undefined ? one : add(same, one))
  }
  return [...found.values()]
}

function tables(all: readonly Readonly<Record<string, ByKind>>[]): Record<string, ByKind> {
  const sums: Record<string, Record<string, number>> = {}
  for (const [row, cells] of all.flatMap((table) => Object.entries(table))) {
    sums[row] ??= {}
    const into = sums[row]
    for (const [cell, value] of Object.entries(cells)) into[cell] = (into[cell] ?? 0) + value
  }
  return sums
}

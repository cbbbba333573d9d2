/** What one message, or one login, costs. Nothing of it is time. */
export interface Costs {
  /** Octets of the main thread's heap. */
  readonly allocated: number
  readonly promises: number
  /** Calls that write to sockets and files, those that wake another thread included. */
  readonly writes: number
  /** All system calls but those for memory and for waiting on other threads; needs strace. */
  readonly syscalls?: number
}

export type Cost = keyof Costs

/** By the names of the acts. */
export type Baseline = Readonly<Record<string, Costs>>

/**
 * How much more than the baseline is not yet a regression: the part of it, and an amount below which
 * nothing counts. Several times what runs on an idle and on a busy machine differ by (README).
 */
export const TOLERANCE: Readonly<Record<Cost, { readonly part: number; readonly least: number }>> =
  {
    allocated: { part: 0.02, least: 100 },
    promises: { part: 0.02, least: 0.1 },
    writes: { part: 0.06, least: 0.02 },
    syscalls: { part: 0.08, least: 0.05 },
  }

const COSTS = Object.keys(TOLERANCE) as Cost[]

export interface Change {
  readonly act: string
  readonly cost: Cost
  readonly before: number
  readonly now: number
  readonly verdict: 'worse' | 'better'
}

/** What is beyond the tolerance, in either direction. What was not measured now is not compared. */
export function changes(baseline: Baseline, now: Baseline): Change[] {
  return Object.entries(now).flatMap(([act, costs]) => {
    const known = baseline[act]
    if (known === undefined) throw new Error(`the baseline has no ${act}`)
    return COSTS.flatMap((cost) => {
      const [before, value] = [known[cost], costs[cost]]
      if (before === undefined || value === undefined) return []
      const { part, least } = TOLERANCE[cost]
      const difference = value - before
      if (Math.abs(difference) <= Math.max(before * part, least)) return []
      const verdict = difference > 0 ? 'worse' : 'better'
      return [{ act, cost, before, now: value, verdict } as const]
    })
  })
}

/** One line, for people. */
export function described({ act, cost, before, now, verdict }: Change): string {
  const { part, least } = TOLERANCE[cost]
  const by = before === 0 ? '' : `, ${Math.abs((now / before - 1) * 100).toFixed(1)} %`
  const allowed = `${part * 100} % or ${least}`
  return `${act}: ${cost} ${before} -> ${now}, ${verdict}${by} (tolerance ${allowed})`
}

/** All figures, with those of the baseline where there are any. */
export function listed(now: Baseline, baseline: Baseline): string {
  const rows = Object.entries(now).map(([act, costs]) => {
    const cells = COSTS.map((cost) => {
      const value = costs[cost]
      const before = baseline[act]?.[cost]
      const known = before === undefined ? '' : ` (${before})`
      return `${value ?? '–'}${known}`.padStart(18)
    })
    return act.padEnd(12) + cells.join('')
  })
  const titles = ''.padEnd(12) + COSTS.map((cost) => cost.padStart(18)).join('')
  return [titles, ...rows].join('\n')
}

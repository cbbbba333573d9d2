/** What happens in a trial: in the order of time. */
type Happenings = { readonly happenings: readonly unknown[] }

export type ShrinkOptions<Plan> = {
  /** How often a plan is tried, for its timing is not the same each time. */
  readonly tries: number
  /** When to be content with what was found, milliseconds since the epoch. */
  readonly until: number
  readonly onFound: (plan: Plan) => void
  /** One that ends earlier; `undefined`: there is none. */
  readonly shorten?: (plan: Plan) => Plan | undefined
}

/**
 * Looks for a shorter plan that fails in one of the same ways: without some of the happenings, and
 * ending earlier (delta debugging: halves first, then ever smaller parts).
 */
export async function shrink<Plan extends Happenings, Breach>(
  plan: Plan,
  wanted: ReadonlySet<Breach>,
  probe: (plan: Plan) => Promise<ReadonlySet<Breach>>,
  { tries, until, onFound, shorten }: ShrinkOptions<Plan>,
): Promise<Plan> {
  let best = plan
  const isFailing = async (candidate: Plan): Promise<boolean> => {
    for (let i = 0; i < tries && Date.now() < until; i++) {
      const breaches = await probe(candidate)
      if ([...breaches].some((breach) => wanted.has(breach))) return true
    }
    return false
  }
  const accept = async (candidate: Plan): Promise<boolean> => {
    if (!(await isFailing(candidate))) return false
    best = candidate
    onFound(best)
    return true
  }
  while (Date.now() < until) {
    const shorter = shorten?.(best)
    if (shorter === undefined || !(await accept(shorter))) break
  }
  for (let parts = 2; Date.now() < until && best.happenings.length > 0; ) {
    const size = Math.ceil(best.happenings.length / parts)
    let isShorter = false
    for (let start = 0; start < best.happenings.length && Date.now() < until; ) {
      const happenings = best.happenings.toSpliced(start, size)
      if (await accept({ ...best, happenings })) isShorter = true
      else start += size
    }
    if (size === 1 && !isShorter) break
    parts = isShorter ? Math.max(2, parts - 1) : Math.min(parts * 2, best.happenings.length)
  }
  return best
}

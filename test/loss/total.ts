import type { Breach, Failure } from './ledger.ts'
import type { Report } from './trial.ts'

/** What is told of a trial. */
export type Told = Pick<Report, 'figures' | 'breaches' | 'failures' | 'directory'>

/** What several trials came to. */
export class Total implements Told {
  readonly figures: Record<string, number> = {}
  readonly breaches = new Map<Breach, number>()
  /** Those have been told. */
  readonly failures: readonly Failure[] = []
  readonly directory = undefined

  add({ figures, breaches }: Told): void {
    for (const [name, value] of Object.entries(figures)) {
      this.figures[name] = (this.figures[name] ?? 0) + value
    }
    for (const [breach, count] of breaches) {
      this.breaches.set(breach, (this.breaches.get(breach) ?? 0) + count)
    }
  }
}

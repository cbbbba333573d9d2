import type { Clock } from './transport.ts'

/** How long a message waits for the registry to show what its sender had written, milliseconds. */
const SEEN_TIMEOUT = 3_000

/**
 * How much of the registry this node has written, and how much it has seen. Messages between nodes tell the
 * first, and wait for the second: so none overtakes what it builds upon.
 */
export class Revisions {
  readonly #clock: Clock
  /** In ascending order. */
  readonly #watchers: { readonly revision: number; readonly resolve: () => void }[] = []
  #written = 0
  #seen = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Of the newest change that this node made. */
  get written(): number {
    return this.#written
  }

  wrote(revision: number): void {
    if (revision > this.#written) this.#written = revision
  }

  saw(revision: number): void {
    if (revision <= this.#seen) return
    this.#seen = revision
    while (this.#watchers.length > 0 && (this.#watchers[0]?.revision as number) <= revision) {
      this.#watchers.shift()?.resolve()
    }
  }

  /** Resolves when this node has seen that revision, or it takes too long; `undefined` if it has. */
  seen(revision: number): Promise<void> | undefined {
    if (revision <= this.#seen) return undefined
    return new Promise((resolve) => {
      const cancel = this.#clock.after(SEEN_TIMEOUT, () => resolve())
      const watcher = {
        revision,
        resolve: () => {
          cancel()
          resolve()
        },
      }
      const index = this.#watchers.findLastIndex((other) => other.revision <= revision)
      this.#watchers.splice(index + 1, 0, watcher)
    })
  }
}

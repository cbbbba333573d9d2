/** How long a write waits at most, if whoever puts it here flushes as often, milliseconds. */
export const BEHIND = 1_000
/** More than so many do not wait. */
const MAX_WAITING = 1_000

type Options = {
  /** Other nodes read what is written: nothing waits. */
  readonly isShared: boolean
}

/**
 * Writes that nobody waits for and that may be lost in a crash: made together now and then, so that they cost
 * one transaction instead of one each. Whoever reads what they write flushes first.
 */
export class WrittenBehind {
  #waiting: (() => Promise<unknown>)[] = []
  readonly #underWay = new Set<Promise<unknown>>()
  readonly #isShared: boolean

  constructor({ isShared }: Options) {
    this.#isShared = isShared
  }

  /** `write` does not reject. */
  put(write: () => Promise<unknown>): void {
    this.#waiting.push(write)
    if (this.#isShared || this.#waiting.length >= MAX_WAITING) this.flush()
  }

  /** All are asked for, in their order, before this returns. */
  flush(): void {
    const waiting = this.#waiting
    if (waiting.length === 0) return
    this.#waiting = []
    for (const write of waiting) {
      const written = write()
      this.#underWay.add(written)
      void written.finally(() => this.#underWay.delete(written))
    }
  }

  /** Resolves when all are made. */
  async stop(): Promise<void> {
    this.flush()
    await Promise.all(this.#underWay)
  }
}

/**
 * One part of a change of the server, ready to be made. Each part makes ready what it will need, so
 * that nothing has changed when one of them cannot; then all are committed in one step.
 */
export type Step = {
  /** The last moment of what was in force. Nothing should fail from here on. */
  leave?(): Promise<void>
  /** Puts it in force. Should not fail. */
  commit?(): void
  /** What could not be done in one step. Rejects if it cannot be had; then all is taken back. */
  settle?(): Promise<void>
  /** Takes `commit` back. */
  revert?(): void
  /** Lets go of what is no longer needed. */
  finish?(): Promise<void>
  /** Lets go of what was made ready in vain; after `revert`, or in place of `commit`. */
  abandon?(): Promise<void>
}

/** Steps made ready so far. */
export class Steps {
  readonly #steps: Step[] = []

  async prepare<S extends Step>(prepare: () => S | Promise<S>): Promise<S> {
    const step = await prepare()
    this.#steps.push(step)
    return step
  }

  async abandon(): Promise<void> {
    for (const step of this.#steps.toReversed()) await step.abandon?.()
  }

  /** All of them, or none: rejects with why. */
  async commit(): Promise<void> {
    const committed: Step[] = []
    for (const step of this.#steps) await step.leave?.()
    try {
      for (const step of this.#steps) {
        committed.push(step)
        step.commit?.()
      }
      for (const step of this.#steps) await step.settle?.()
    } catch (error) {
      for (const step of committed.toReversed()) step.revert?.()
      await this.abandon()
      throw error
    }
  }

  async finish(): Promise<void> {
    for (const step of this.#steps) await step.finish?.()
  }
}

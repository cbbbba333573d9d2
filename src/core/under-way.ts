/**
 * What is under way with handlers that may be replaced meanwhile: whoever replaces them lets go of
 * what the old ones use when nothing that began before is under way any more.
 */
export class UnderWay {
  #current = new Generation()
  #earlier: Promise<unknown> = Promise.resolve()

  add(work: Promise<unknown>): void {
    const { leave } = this.#current
    this.#current.count++
    work.then(leave, leave)
  }

  /** Resolves when all that was added before is done. What is added meanwhile is not waited for. */
  async ended(): Promise<void> {
    const generation = this.#current
    this.#current = new Generation()
    this.#earlier = Promise.all([this.#earlier, generation.end()])
    await this.#earlier
  }
}

class Generation {
  count = 0
  readonly #done = Promise.withResolvers<void>()
  #isOver = false

  readonly leave = (): void => {
    this.count--
    if (this.#isOver && this.count === 0) this.#done.resolve()
  }

  end(): Promise<void> {
    this.#isOver = true
    if (this.count === 0) this.#done.resolve()
    return this.#done.promise
  }
}

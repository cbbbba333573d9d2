/** A number of things that may be going on at the same time; more wait for their turn. */
export class Slots {
  #free: number
  readonly #waiting: (() => void)[] = []

  constructor(count: number) {
    this.#free = count
  }

  /** So many more, or less: those that are taken stay taken. */
  add(count: number): void {
    this.#free += count
    while (this.#free > 0 && this.#waiting.length > 0) {
      this.#free--
      this.#waiting.shift()?.()
    }
  }

  /** Resolves when there is one, which is free again when disposed. */
  async take(): Promise<Disposable> {
    if (this.#free > 0) this.#free--
    else await new Promise<void>((resolve) => this.#waiting.push(resolve))
    return { [Symbol.dispose]: () => this.#release() }
  }

  #release(): void {
    this.add(1)
  }
}

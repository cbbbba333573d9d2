/** Milliseconds. */
type Delays = {
  readonly retryDelay: number
  readonly maxRetryDelay: number
}

/** When something that failed is tried again: each time later, and never at the same time as all others. */
export class BackOff {
  #failures = 0
  /** Milliseconds since the epoch. */
  #until = 0
  #timer: NodeJS.Timeout | undefined

  /** Milliseconds until the next attempt; 0 or less: now. */
  get wait(): number {
    return this.#until - Date.now()
  }

  get isScheduled(): boolean {
    return this.#timer !== undefined
  }

  failed({ retryDelay, maxRetryDelay }: Delays): void {
    const delay = Math.min(maxRetryDelay, retryDelay * 2 ** this.#failures)
    this.#failures++
    this.#until = Date.now() + delay * (0.5 + Math.random() / 2)
  }

  /** The next failure is the first one again. */
  forget(): void {
    this.#failures = 0
  }

  succeeded(): void {
    this.forget()
    this.#until = 0
  }

  /** Not sooner than in so many milliseconds. */
  postpone(ms: number): void {
    this.#until = Math.max(this.#until, Date.now() + ms)
  }

  /** Calls back, once, when it is time. */
  schedule(onTime: () => void): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      onTime()
    }, this.wait).unref()
  }

  cancel(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }
}

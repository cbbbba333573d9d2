type Options = {
  /** How often, */
  readonly limit: number
  /** and in how many milliseconds. */
  readonly window: number
  /** Keys remembered; beyond that the oldest are forgotten. */
  readonly maxKeys: number
  /** Milliseconds. */
  readonly now: () => number
}

/** Counts by key how often something was done; a key's window begins with its first time. */
export class RateLimit {
  readonly #options: Options
  readonly #windows = new Map<string, { count: number; readonly until: number }>()

  constructor(options: Options) {
    this.#options = options
  }

  /** Whether one more time would be more often than allowed. */
  isSpent(key: string): boolean {
    const current = this.#windows.get(key)
    const { limit, now } = this.#options
    return current !== undefined && now() < current.until && current.count >= limit
  }

  /** It does not count after all. */
  giveBack(key: string): void {
    const current = this.#windows.get(key)
    if (current !== undefined && --current.count <= 0) this.#windows.delete(key)
  }

  /** Counts one more time. False: that is more often than allowed. */
  take(key: string): boolean {
    const { limit, window, maxKeys, now } = this.#options
    const current = this.#windows.get(key)
    if (current !== undefined && now() < current.until) return ++current.count <= limit
    this.#windows.delete(key)
    if (this.#windows.size >= maxKeys) {
      for (const oldest of this.#windows.keys()) {
        this.#windows.delete(oldest)
        break
      }
    }
    this.#windows.set(key, { count: 1, until: now() + window })
    return true
  }
}

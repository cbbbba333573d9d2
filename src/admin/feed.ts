/**
 * Items on their way to one reader, who may be slow: so many wait, further ones are left out. How many
 * these were is told where they would have been.
 */
export class Feed<T> implements AsyncIterable<T> {
  readonly #limit: number
  readonly #missed: (count: number) => T
  #items: T[] = []
  #left = 0
  #isEnded = false
  #wake: (() => void) | undefined

  /** `missed` makes the item that tells how many were left out. */
  constructor(limit: number, missed: (count: number) => T) {
    this.#limit = limit
    this.#missed = missed
  }

  push(item: T): void {
    if (this.#isEnded) return
    if (this.#items.length >= this.#limit) {
      this.#left++
      return
    }
    // What comes after a gap comes after the word of it.
    if (this.#left > 0) this.#tellMissed()
    this.#items.push(item)
    this.#wake?.()
  }

  /** What waits is still read. */
  end(): void {
    this.#isEnded = true
    this.#wake?.()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T> {
    for (;;) {
      const items = this.#items
      this.#items = []
      yield* items
      if (this.#items.length > 0) continue
      if (this.#left > 0) this.#tellMissed()
      else if (this.#isEnded) return
      else await this.#news()
    }
  }

  #tellMissed(): void {
    this.#items.push(this.#missed(this.#left))
    this.#left = 0
  }

  #news(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }
}

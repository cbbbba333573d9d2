/** Numbers that have a place in the ring. */
const SIZE = 4_096

/**
 * What is under way, by ascending numbers: most of it is done with soon, about in the order it came.
 *
 * A map would do, but every table that it grows out of has been there long enough for the collector to leave
 * it, and all that was in it, until it looks at everything. In a ring nothing stays behind. What is not done
 * with when `SIZE` more have come moves into a map.
 */
export class Window<T> implements Iterable<readonly [number, T]> {
  readonly #ring: (T | undefined)[] = Array.from({ length: SIZE }, () => undefined)
  readonly #late = new Map<number, T>()
  #newest = 0
  #size = 0

  get size(): number {
    return this.#size
  }

  /** `number`: greater than all before. */
  set(number: number, item: T): void {
    const lastToLeave = Math.min(this.#newest, number - SIZE)
    for (let old = Math.max(1, this.#newest - SIZE + 1); old <= lastToLeave; old++) {
      const item = this.#ring[old % SIZE]
      if (item === undefined) continue
      this.#ring[old % SIZE] = undefined
      this.#late.set(old, item)
    }
    this.#newest = number
    this.#ring[number % SIZE] = item
    this.#size++
  }

  get(number: number): T | undefined {
    return this.#isInRing(number) ? this.#ring[number % SIZE] : this.#late.get(number)
  }

  delete(number: number): void {
    if (this.get(number) === undefined) return
    this.#size--
    if (this.#isInRing(number)) this.#ring[number % SIZE] = undefined
    else this.#late.delete(number)
  }

  clear(): void {
    this.#ring.fill(undefined)
    this.#late.clear()
    this.#size = 0
  }

  #isInRing(number: number): boolean {
    return number > this.#newest - SIZE && number <= this.#newest
  }

  /** By ascending numbers. What is taken away meanwhile is left out. */
  *[Symbol.iterator](): Generator<readonly [number, T]> {
    yield* this.#late
    for (let number = Math.max(1, this.#newest - SIZE + 1); number <= this.#newest; number++) {
      const item = this.#ring[number % SIZE]
      if (item !== undefined) yield [number, item]
    }
  }
}

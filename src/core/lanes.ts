import type { Maybe } from './maybe.ts'

/**
 * Work in lanes: in each one thing is done after the other, while other lanes go on. What need not
 * wait is done at once, without a promise.
 */
export class Lanes {
  readonly #tails = new Map<string, Promise<unknown>>()

  /** How many lanes have something going on. */
  get size(): number {
    return this.#tails.size
  }

  /** Does `work` when all that was given to the same lane before is done, whatever became of it. */
  run<T>(lane: string, work: () => Maybe<T>): Maybe<T> {
    const before = this.#tails.get(lane)
    const result = before === undefined ? work() : before.then(work, work)
    if (result instanceof Promise) this.follow(lane, result)
    return result
  }

  /** Does `work` behind what the lane is busy with; what comes later does not wait for it. */
  runAside<T>(lane: string, work: () => Maybe<T>): Maybe<T> {
    const before = this.#tails.get(lane)
    return before === undefined ? work() : before.then(work, work)
  }

  /** What comes later waits for this work, which is going on already. */
  follow(lane: string, work: Promise<unknown>): void {
    this.#tails.set(lane, work)
    const leave = () => {
      if (this.#tails.get(lane) === work) this.#tails.delete(lane)
    }
    work.then(leave, leave)
  }
}

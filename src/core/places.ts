/**
 * Says in which order messages came, however they go on from there: one that two queues held in turn
 * comes out where it belongs. Places ascend, over restarts too, as long as the clock does.
 */
export class Places {
  readonly #now: () => number
  #last = 0

  /** `now` in milliseconds since the epoch. */
  constructor(now: () => number) {
    this.#now = now
  }

  /** Behind all that were given. */
  next(): number {
    // Microseconds: nobody gets more than a thousand messages in each millisecond for long.
    this.#last = Math.max(this.#last + 1, this.#now() * 1_000)
    return this.#last
  }

  /** What an earlier run has given stays before what is given now. */
  startBehind(place: number): void {
    if (place > this.#last) this.#last = place
  }
}

/**
 * A token bucket over the octets that one connection sends. It starts full: after a silence
 * `burst` octets pass at once, in the long run `rate` per second.
 */
export class Shaper {
  readonly #rate: number
  readonly #burst: number
  readonly #now: () => number
  #tokens: number
  #at: number

  /** `rate` in octets per second, `burst` in octets; `now` in milliseconds. */
  constructor(rate: number, burst: number, now: () => number = () => performance.now()) {
    this.#rate = rate
    this.#burst = burst
    this.#now = now
    this.#tokens = burst
    this.#at = now()
  }

  /** Accounts for octets that came in. Returns the milliseconds to wait before reading on. */
  take(octets: number): number {
    const now = this.#now()
    const earned = ((now - this.#at) / 1000) * this.#rate
    this.#at = now
    this.#tokens = Math.min(this.#burst, this.#tokens + earned) - octets
    return this.#tokens >= 0 ? 0 : Math.ceil((-this.#tokens / this.#rate) * 1000)
  }
}

import { CommandError } from './command.ts'

/** How many follow something at once: each costs time while it does. */
export class Followers {
  readonly #limit: number
  readonly #counts = new WeakMap<object, number>()

  constructor(limit: number) {
    this.#limit = limit
  }

  /** One more, of what belongs to `owner`, until `signal` is aborted. Throws CommandError `unavailable`. */
  join(owner: object, signal: AbortSignal): void {
    const others = this.#counts.get(owner) ?? 0
    if (others >= this.#limit) {
      throw new CommandError('unavailable', `${others} others follow this already`)
    }
    if (signal.aborted) return
    this.#counts.set(owner, others + 1)
    const leave = () => this.#counts.set(owner, (this.#counts.get(owner) ?? 1) - 1)
    signal.addEventListener('abort', leave, { once: true })
  }
}

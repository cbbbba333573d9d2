import type { Maybe } from './maybe.ts'
import type { Timers } from './timers.ts'

type Waiting = {
  readonly work: () => Promise<unknown> | undefined
  /** It waits for this node's own reasons only. */
  readonly isOfHere: boolean
}

type Account = {
  /** Reasons to wait, and how many of them are other nodes'. */
  holds: number
  elsewhere: number
  waiting: Waiting[]
  isDraining: boolean
  readonly released: PromiseWithResolvers<void>
  /** Resolved when no reason of this node's own is left. */
  releasedHere: PromiseWithResolvers<void> | undefined
}

/** How long anything is a reason to wait, of this node's own and of other nodes', milliseconds. */
type Patience = { readonly here: number; readonly elsewhere: number }

/**
 * What has to wait for something older of the same account, in the order in which it came: also when
 * there is another reason to wait before all of it has gone on.
 */
export class HeldBack {
  readonly #timers: Timers
  readonly #patience: Patience
  readonly #accounts = new Map<string, Account>()

  constructor(timers: Timers, patience: Patience) {
    this.#timers = timers
    this.#patience = patience
  }

  /** The cheap question before asking for an account. */
  get isEmpty(): boolean {
    return this.#accounts.size === 0
  }

  /** What comes for the account from now on waits until then. `isElsewhere`: until another node says so. */
  hold(account: string, until: Promise<unknown>, isElsewhere = false): void {
    let held = this.#accounts.get(account)
    if (held === undefined) {
      held = {
        holds: 0,
        elsewhere: 0,
        waiting: [],
        isDraining: false,
        released: Promise.withResolvers(),
        releasedHere: undefined,
      }
      this.#accounts.set(account, held)
    }
    held.holds++
    if (isElsewhere) held.elsewhere++
    const reason = held
    let isOver = false
    const release = () => {
      if (isOver) return
      isOver = true
      cancel()
      reason.holds--
      if (isElsewhere) reason.elsewhere--
      this.#goOn(account, reason)
    }
    const { here, elsewhere } = this.#patience
    const cancel = this.#timers.after(isElsewhere ? elsewhere : here, release)
    until.then(release, release)
    // What goes on just now may be what waits for another node.
    if (isReleasedHere(held)) releaseHere(held)
  }

  /** Resolves when nothing of the account waits any more; `undefined` if nothing does. */
  released(account: string): Promise<void> | undefined {
    return this.#accounts.get(account)?.released.promise
  }

  /**
   * Likewise, or when all that is left to wait for is at other nodes: for whoever is asked by one of them, which may
   * be what is waited for.
   */
  releasedHere(account: string): Promise<void> | undefined {
    const held = this.#accounts.get(account)
    if (held === undefined || isReleasedHere(held)) return undefined
    held.releasedHere ??= Promise.withResolvers()
    return held.releasedHere.promise
  }

  /** Resolves when nothing waits for anything. */
  async allReleased(): Promise<void> {
    while (this.#accounts.size > 0) {
      await Promise.all([...this.#accounts.values()].map(({ released }) => released.promise))
    }
  }

  /** Does `work` when it is its turn: at once, if nothing of the account waits. */
  run<T>(account: string, work: () => Maybe<T>): Maybe<T> {
    const held = this.#accounts.get(account)
    return held === undefined ? work() : this.#later(held, work, false)
  }

  /** Likewise, but other nodes are not waited for: `work` may be what they wait for. */
  runHere<T>(account: string, work: () => Maybe<T>): Maybe<T> {
    const held = this.#accounts.get(account)
    return held === undefined || isReleasedHere(held) ? work() : this.#later(held, work, true)
  }

  #later<T>(held: Account, work: () => Maybe<T>, isOfHere: boolean): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const begin = () => {
        try {
          const done = work()
          resolve(done)
          return done instanceof Promise ? done : undefined
        } catch (error) {
          reject(error)
          return undefined
        }
      }
      held.waiting.push({ work: begin, isOfHere })
    })
  }

  #goOn(account: string, held: Account): void {
    if (isReleasedHere(held)) releaseHere(held)
    if (held.isDraining) return
    while (held.holds === 0) {
      const next = held.waiting.shift()
      if (next === undefined) {
        this.#accounts.delete(account)
        held.released.resolve()
        tellReleasedHere(held)
        return
      }
      const pending = next.work()
      if (pending === undefined) continue
      held.isDraining = true
      const over = () => {
        if (!held.isDraining) return
        held.isDraining = false
        cancel()
        this.#goOn(account, held)
      }
      // Whatever it waits for itself, the others do not for ever.
      const cancel = this.#timers.after(this.#patience.here, over)
      pending.then(over, over)
      return
    }
  }
}

function isReleasedHere({ holds, elsewhere }: Account): boolean {
  return elsewhere > 0 && holds === elsewhere
}

function releaseHere(held: Account): void {
  const ready = held.waiting.filter(({ isOfHere }) => isOfHere)
  if (ready.length > 0) held.waiting = held.waiting.filter(({ isOfHere }) => !isOfHere)
  for (const { work } of ready) work()
  tellReleasedHere(held)
}

function tellReleasedHere(held: Account): void {
  held.releasedHere?.resolve()
  held.releasedHere = undefined
}

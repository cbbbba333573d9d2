import type { BareJid } from '../xmpp/jid.ts'
import type { Maybe } from './maybe.ts'
import { networkOf } from './network.ts'
import { RateLimit } from './rate-limit.ts'

/** Read whenever they are needed: a reload changes them. */
export type GuessLimits = {
  /** Wrong passwords of one account in a window, whoever tried them. */
  readonly perAccount: number
  /** Wrong passwords from one network in a window, whatever account they were for. */
  readonly perAddress: number
  /** Milliseconds. */
  readonly window: number
}

type Options = {
  readonly limits: GuessLimits
  /** That many accounts, networks, and pairs of both are remembered. */
  readonly maxRemembered?: number
  /** Milliseconds. */
  readonly now: () => number
}

/** One password that is about to be compared. Exactly one of these is called, once that is done. */
export interface Guess {
  right(): void
  wrong(): void
  /** It could not be compared. */
  undecided(): void
}

const MAX_REMEMBERED = 50_000
/** Of one account. */
const MAX_NETWORKS = 16

/**
 * Bounds how many passwords can be tried over all connections to this node.
 *
 * Whoever tries passwords of somebody else's account must not lock its owner out. So networks from
 * which an account has logged in are remembered: from each of them it has wrong passwords of its own,
 * and may log in though others have used up those of the network. The bounds are the same for accounts
 * that do not exist, which therefore cannot be told from others.
 */
export class PasswordGuesses {
  readonly #perAccount: Bound
  readonly #perAddress: Bound
  /**
   * Networks from which accounts have logged in, joined with NUL, latest first; by account, least recently
   * first. Nearly always one, whose text is there already.
   */
  readonly #known = new Map<string, string>()
  readonly #maxRemembered: number

  constructor({ limits, maxRemembered = MAX_REMEMBERED, now }: Options) {
    this.#maxRemembered = maxRemembered
    const bound = (which: 'perAccount' | 'perAddress') =>
      new Bound({
        get limit() {
          return limits[which]
        },
        get window() {
          return limits.window
        },
        maxKeys: maxRemembered,
        now,
      })
    this.#perAccount = bound('perAccount')
    this.#perAddress = bound('perAddress')
  }

  /**
   * `undefined`: there were too many, and this one is not to be compared. While those that are being
   * compared could make it too many, it waits for them: all may be right.
   */
  begin(account: BareJid, address: string): Maybe<Guess | undefined> {
    const network = networkOf(address)
    const isKnown = this.#isKnown(account, network)
    // No address contains NUL.
    const key = isKnown ? `${account.full}\0${network}` : account.full
    const isSpent = !isKnown && this.#perAddress.isSpent(network)
    if (isSpent || this.#perAccount.isSpent(key)) {
      const decided = isSpent ? this.#perAddress.decided(network) : this.#perAccount.decided(key)
      return decided?.then(() => this.begin(account, address))
    }
    this.#perAccount.begin(key)
    if (!isKnown) this.#perAddress.begin(network)
    const undecided = () => {
      this.#perAccount.giveBack(key)
      if (!isKnown) this.#perAddress.giveBack(network)
    }
    return {
      right: () => {
        this.#remember(account, network)
        undecided()
      },
      wrong: () => {
        this.#perAccount.spent(key)
        if (isKnown) this.#perAddress.spend(network)
        else this.#perAddress.spent(network)
      },
      undecided,
    }
  }

  #isKnown({ full }: BareJid, network: string): boolean {
    const known = this.#known.get(full)
    return known === network || known?.split('\0').includes(network) === true
  }

  #remember({ full }: BareJid, network: string): void {
    const known = this.#known.get(full)
    this.#known.delete(full)
    const others = known?.split('\0').filter((other) => other !== network) ?? []
    const networks = [network, ...others.slice(0, MAX_NETWORKS - 1)]
    this.#known.set(full, networks.length === 1 ? network : networks.join('\0'))
    if (this.#known.size <= this.#maxRemembered) return
    for (const oldest of this.#known.keys()) {
      this.#known.delete(oldest)
      break
    }
  }
}

type Comparing = { count: number; readonly waiting: PromiseWithResolvers<void>[] }

/**
 * Wrong passwords by what they count towards. One that is being compared counts until it turns out not to be
 * wrong: else many could be compared at the same time.
 */
class Bound {
  readonly #wrong: RateLimit
  /** How many are being compared, and who waits for that. */
  readonly #comparing = new Map<string, Comparing>()

  constructor(options: ConstructorParameters<typeof RateLimit>[0]) {
    this.#wrong = new RateLimit(options)
  }

  isSpent(key: string): boolean {
    return this.#wrong.isSpent(key)
  }

  /** Counts a wrong one. */
  spend(key: string): void {
    this.#wrong.take(key)
  }

  /** One is about to be compared: `spent` or `giveBack` follows. */
  begin(key: string): void {
    this.spend(key)
    const comparing = this.#comparing.get(key)
    if (comparing === undefined) this.#comparing.set(key, { count: 1, waiting: [] })
    else comparing.count++
  }

  /** It was wrong. */
  spent(key: string): void {
    this.#end(key)
  }

  /** It was not, or nobody knows. */
  giveBack(key: string): void {
    this.#wrong.giveBack(key)
    this.#comparing.get(key)?.waiting.shift()?.resolve()
    this.#end(key)
  }

  /** Resolves when another one may be compared, or none is any more; `undefined` if none is. */
  decided(key: string): Promise<void> | undefined {
    const comparing = this.#comparing.get(key)
    if (comparing === undefined) return undefined
    const turn = Promise.withResolvers<void>()
    comparing.waiting.push(turn)
    return turn.promise
  }

  #end(key: string): void {
    const comparing = this.#comparing.get(key)
    if (comparing === undefined || --comparing.count > 0) return
    this.#comparing.delete(key)
    for (const turn of comparing.waiting) turn.resolve()
  }
}

import type { BareJid } from '../xmpp/jid.ts'
import type { Maybe } from './maybe.ts'
import { domainOf } from './owned-data.ts'

type Options<T> = {
  readonly ask: (account: BareJid) => Promise<T>
  /** How many answers are remembered; beyond that the oldest are forgotten. */
  readonly max: number
  /** For how long, milliseconds. */
  readonly forMs: number
  /** Milliseconds, never going back. */
  readonly now: () => number
}

type Remembered<T> = { answer: Maybe<T>; readonly until: number }

/**
 * What a store answered about accounts a short while ago. Those who ask while it is being asked share
 * the question; what is forgotten meanwhile stays forgotten.
 */
export class RecentAnswers<T> {
  readonly #options: Options<T>
  /** By bare JID, oldest first. */
  readonly #remembered = new Map<string, Remembered<T>>()

  constructor(options: Options<T>) {
    this.#options = options
  }

  /** A promise only if the store is asked. */
  get(account: BareJid): Maybe<T> {
    const remembered = this.#remembered.get(account.full)
    if (remembered !== undefined && this.#options.now() < remembered.until) return remembered.answer
    return this.#ask(account)
  }

  /** It may be another answer by now. */
  forget({ full }: BareJid): void {
    this.#remembered.delete(full)
  }

  forgetDomain(domain: string): void {
    for (const account of this.#remembered.keys()) {
      if (domainOf(account) === domain) this.#remembered.delete(account)
    }
  }

  #ask(account: BareJid): Promise<T> {
    const { ask, forMs, now } = this.#options
    const asked = ask(account)
    const entry: Remembered<T> = { answer: asked, until: now() + forMs }
    this.#remember(account.full, entry)
    asked.then(
      (answer) => {
        entry.answer = answer
      },
      () => {
        if (this.#remembered.get(account.full) === entry) this.forget(account)
      },
    )
    return asked
  }

  #remember(account: string, entry: Remembered<T>): void {
    this.#remembered.delete(account)
    if (this.#remembered.size >= this.#options.max) {
      for (const oldest of this.#remembered.keys()) {
        this.#remembered.delete(oldest)
        break
      }
    }
    this.#remembered.set(account, entry)
  }
}

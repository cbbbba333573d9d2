import type { BareJid } from '../xmpp/jid.ts'
import { StanzaError } from '../xmpp/stanza-error.ts'
import type { Coherence } from './coherence.ts'
import type { Maybe } from './maybe.ts'
import { domainOf } from './owned-data.ts'

type Options<T> = {
  readonly load: (owner: BareJid) => Promise<T>
  /** What one value counts for. */
  readonly weigh: (value: T) => number
  /** How much of all accounts together is kept in memory. */
  readonly maxWeight: number
  /** For what other nodes have at hand, too. */
  readonly coherence?: Coherence
}

type Change<T> = {
  /** What is to be instead of `before`; the same if nothing changes. Throws to refuse. */
  readonly make: (before: T) => T
  /** Resolves once it is durable. */
  readonly save: (after: T, before: T) => Promise<void>
  /** Runs in the same step in which readers begin to see it, so that what it tells is in order. */
  readonly committed?: (after: T, before: T) => void
}

/** How many changes of one account may wait for each other. */
const MAX_WAITING = 100

/**
 * What a module knows of each account, an immutable value: loaded when first asked for, at hand from
 * then on. Those most recently asked for stay: when the young generation is full it becomes the old
 * one, and what was only there is forgotten.
 *
 * Changes of one account are made one after the other; readers see only what is durable.
 */
export class AccountCache<T extends object> {
  readonly #options: Options<T>
  #young = new Map<string, T>()
  #old = new Map<string, T>()
  /** Of the young generation. */
  #weight = 0
  readonly #loading = new Map<string, Promise<T>>()
  readonly #changing = new Map<string, { tail: Promise<unknown>; count: number }>()

  constructor(options: Options<T>) {
    this.#options = options
  }

  /** A promise only if it has to be loaded. */
  get(owner: BareJid): Maybe<T> {
    return this.#young.get(owner.full) ?? this.#find(owner)
  }

  /** Resolves with what was and what is. */
  change(owner: BareJid, change: Change<T>): Promise<{ readonly before: T; readonly after: T }> {
    return this.#inTurn(owner, async () => {
      const { make, save, committed } = change
      const before = await this.get(owner)
      const after = make(before)
      if (after === before) return { before, after }
      try {
        await save(after, before)
      } catch (error) {
        // It may have been stored all the same: the disk decides what we know.
        this.forget(owner.full)
        throw error
      }
      await this.#options.coherence?.changed(owner.full)
      this.forget(owner.full)
      this.#remember(owner.full, after)
      committed?.(after, before)
      return { before, after }
    })
  }

  /** The account is gone, when `remove` resolves. */
  remove(owner: BareJid, remove: () => Promise<void>): Promise<void> {
    return this.#inTurn(owner, async () => {
      await remove()
      await this.#options.coherence?.changed(owner.full)
      this.forget(owner.full)
    })
  }

  #find(owner: BareJid): Maybe<T> {
    const key = owner.full
    const older = this.#old.get(key)
    if (older === undefined) return this.#load(owner)
    this.#remember(key, older)
    return older
  }

  #load(owner: BareJid): Promise<T> {
    const key = owner.full
    const underway = this.#loading.get(key)
    if (underway !== undefined) return underway
    const loading = this.#options.load(owner).then(
      (value) => {
        // A change meanwhile knows better.
        if (this.#endLoading(key, loading)) this.#remember(key, value)
        return value
      },
      (error) => {
        this.#endLoading(key, loading)
        throw error
      },
    )
    this.#loading.set(key, loading)
    return loading
  }

  #endLoading(key: string, loading: Promise<T>): boolean {
    return this.#loading.get(key) === loading && this.#loading.delete(key)
  }

  #remember(key: string, value: T): void {
    this.#young.set(key, value)
    this.#weight += this.#options.weigh(value)
    if (this.#weight <= this.#options.maxWeight / 2) return
    this.#old = this.#young
    this.#young = new Map()
    this.#weight = 0
  }

  /** All accounts of a domain are gone. */
  forgetDomain(domain: string): void {
    for (const key of [...this.#young.keys(), ...this.#old.keys(), ...this.#loading.keys()]) {
      if (domainOf(key) === domain) this.forget(key)
    }
  }

  /** What is at hand of an account may be old. */
  forget(key: string): void {
    this.#loading.delete(key)
    this.#old.delete(key)
    const value = this.#young.get(key)
    if (value === undefined) return
    this.#young.delete(key)
    this.#weight -= this.#options.weigh(value)
  }

  async #inTurn<R>({ full: key }: BareJid, work: () => Promise<R>): Promise<R> {
    const queue = this.#changing.get(key) ?? { tail: Promise.resolve(), count: 0 }
    if (queue.count >= MAX_WAITING) throw new StanzaError('resource-constraint')
    queue.count++
    this.#changing.set(key, queue)
    const { coherence } = this.#options
    const turn = queue.tail.then(() =>
      coherence === undefined ? work() : coherence.change(key, work),
    )
    queue.tail = turn.catch(() => {})
    try {
      return await turn
    } finally {
      queue.count--
      if (queue.count === 0) this.#changing.delete(key)
    }
  }
}

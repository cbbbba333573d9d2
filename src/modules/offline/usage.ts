import { domainOf } from '../../core/owned-data.ts'
import type { OfflineStore } from './store.ts'

export type Limits = { readonly maxMessages: number; readonly maxBytes: number }

type Counted = {
  count: number
  bytes: number
  /** Until what the table holds is added. */
  loading: Promise<void> | undefined
  /** When that was, milliseconds. */
  at: number
}

/** Accounts whose usage is remembered. */
const MAX_REMEMBERED = 10_000
/** Before somebody is refused, it is counted anew if that is so long ago, milliseconds. */
const COUNTED_FOR = 5_000

/**
 * How much is kept for whom, so that storing a message need not ask the table each time. What is
 * remembered of an account is forgotten whenever it might be wrong, and then counted anew.
 */
export class UsageCache {
  readonly #store: OfflineStore
  readonly #limitsFor: (domain: string) => Limits
  /** Least recently used first. */
  readonly #accounts = new Map<string, Counted>()

  constructor(store: OfflineStore, limitsFor: (domain: string) => Limits) {
    this.#store = store
    this.#limitsFor = limitsFor
  }

  /** Counts one more message, if there is room for it. A promise only if the table is asked. */
  reserve(account: string, size: number): boolean | Promise<boolean> {
    const counted = this.#of(account)
    if (counted.loading !== undefined) {
      return counted.loading.then(() => this.#add(account, counted, size))
    }
    if (this.#add(account, counted, size)) return true
    // Another node may have delivered what was kept.
    if (Date.now() - counted.at < COUNTED_FOR) return false
    this.forget(account)
    return this.reserve(account, size)
  }

  /** Whether `reserve` would find room. */
  hasRoom(account: string, size: number): boolean | Promise<boolean> {
    const counted = this.#of(account)
    if (counted.loading === undefined) return this.#hasRoom(account, counted, size)
    return counted.loading.then(() => this.#hasRoom(account, counted, size))
  }

  /** One message of this size is no longer kept. */
  release(account: string, size: number): void {
    const counted = this.#accounts.get(account)
    if (counted === undefined) return
    counted.count--
    counted.bytes -= size
  }

  /** All accounts of a domain are gone. */
  forgetDomain(domain: string): void {
    for (const key of this.#accounts.keys()) if (domainOf(key) === domain) this.forget(key)
  }

  forget(account: string): void {
    this.#accounts.delete(account)
  }

  #add(account: string, counted: Counted, size: number): boolean {
    if (!this.#hasRoom(account, counted, size)) return false
    counted.count++
    counted.bytes += size
    return true
  }

  #hasRoom(account: string, { count, bytes }: Counted, size: number): boolean {
    const { maxMessages, maxBytes } = this.#limitsFor(domainOf(account))
    return count < maxMessages && bytes + size <= maxBytes
  }

  #of(account: string): Counted {
    const known = this.#accounts.get(account)
    if (known !== undefined) {
      this.#accounts.delete(account)
      this.#accounts.set(account, known)
      return known
    }
    if (this.#accounts.size >= MAX_REMEMBERED) {
      for (const oldest of this.#accounts.keys()) {
        this.#accounts.delete(oldest)
        break
      }
    }
    const counted: Counted = { count: 0, bytes: 0, loading: undefined, at: Date.now() }
    counted.loading = this.#load(account, counted)
    this.#accounts.set(account, counted)
    return counted
  }

  /**
   * The table answers with all that was submitted before the question, and nothing later: what
   * changes meanwhile is counted beside it.
   */
  async #load(account: string, counted: Counted): Promise<void> {
    try {
      const { count, bytes } = await this.#store.usage(account)
      counted.count += count
      counted.bytes += bytes
      counted.loading = undefined
    } catch (error) {
      if (this.#accounts.get(account) === counted) this.forget(account)
      throw error
    }
  }
}

import { scopesOf } from '../../core/privacy.ts'
import type { Jid } from '../../xmpp/jid.ts'

/** The addresses that an account has blocked: domains, accounts, single resources. Immutable. */
export class Blocklist {
  readonly #jids: ReadonlyMap<string, Jid>

  constructor(jids: readonly Jid[]) {
    this.#jids = new Map(jids.map((jid) => [jid.full, jid]))
  }

  /** Whether `peer` is blocked: itself, its account or its domain (XEP-0191 §6). */
  covers(peer: Jid): boolean {
    if (this.#jids.size === 0) return false
    for (const scope of scopesOf(peer)) if (this.#jids.has(scope)) return true
    return false
  }

  has(jid: Jid): boolean {
    return this.#jids.has(jid.full)
  }

  get jids(): Jid[] {
    return [...this.#jids.values()]
  }

  get size(): number {
    return this.#jids.size
  }

  /** Itself if there is nothing to add. */
  with(jids: readonly Jid[]): Blocklist {
    return jids.every((jid) => this.has(jid)) ? this : new Blocklist([...this.jids, ...jids])
  }

  /** Without these, or without any if `undefined`. */
  without(jids: readonly Jid[] | undefined): Blocklist {
    if (jids === undefined) return NOBODY
    const removed = new Set(jids.map(({ full }) => full))
    const left = this.jids.filter(({ full }) => !removed.has(full))
    if (left.length === this.size) return this
    return left.length === 0 ? NOBODY : new Blocklist(left)
  }
}

/** Of all accounts that have blocked nobody: recognised without a look inside. */
export const NOBODY = new Blocklist([])

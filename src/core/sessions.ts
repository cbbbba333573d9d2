import type { FullJid, Jid } from '../xmpp/jid.ts'
import type { Resource } from './session.ts'

const NONE: readonly Resource[] = []

/**
 * Who is connected: every session of the cluster as this node knows it, by account and by full JID.
 * Reads are local and synchronous. Lists are replaced, never changed, so a caller may keep one.
 */
export class Sessions {
  readonly #byAccount = new Map<string, readonly Resource[]>()
  readonly #byJid = new Map<string, Resource>()

  /** Adds a session and returns the one it displaced, if any. */
  add(resource: Resource): Resource | undefined {
    const { bare, full } = resource.jid
    const old = this.#byJid.get(full)
    this.#byJid.set(full, resource)
    const others = this.of(bare).filter((other) => other !== old)
    // Spreading leaves room for sixteen more, and most accounts have one.
    this.#byAccount.set(bare, others.length === 0 ? [resource] : [...others, resource])
    return old
  }

  /** False if the session was not there, or was displaced meanwhile. */
  remove(resource: Resource): boolean {
    const { bare, full } = resource.jid
    if (this.#byJid.get(full) !== resource) return false
    this.#byJid.delete(full)
    const others = this.of(bare).filter((other) => other !== resource)
    if (others.length === 0) this.#byAccount.delete(bare)
    else this.#byAccount.set(bare, others)
    return true
  }

  get(jid: FullJid | Jid): Resource | undefined {
    return this.#byJid.get(jid.full)
  }

  /** As `get`, by the full JID's text. */
  at(full: string): Resource | undefined {
    return this.#byJid.get(full)
  }

  /** Connected resources of an account (its bare JID as text), oldest first. */
  of(account: string): readonly Resource[] {
    return this.#byAccount.get(account) ?? NONE
  }

  /** Those that sent presence. */
  available(account: string): readonly Resource[] {
    return this.of(account).filter(({ priority }) => priority !== undefined)
  }

  get size(): number {
    return this.#byJid.size
  }

  /** All of them, for administration. */
  values(): IterableIterator<Resource> {
    return this.#byJid.values()
  }
}

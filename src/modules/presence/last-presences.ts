import type { Coherence } from '../../core/coherence.ts'
import type { Maybe } from '../../core/maybe.ts'
import { domainOf } from '../../core/owned-data.ts'
import type { WrittenBehind } from '../../core/written-behind.ts'
import type { BareJid } from '../../xmpp/jid.ts'
import type { Stanza } from '../../xmpp/stanza.ts'
import { UNAVAILABLE } from './stanzas.ts'
import type { LastPresence, LastPresenceStore } from './store.ts'

type Options = {
  readonly store: LastPresenceStore
  /** How many accounts are remembered. */
  readonly maxCached: number
  /** Octets of a presence; of a longer one only the fact is kept. */
  readonly maxSizeFor: (domain: string) => number
  /** For what other nodes have at hand, too. */
  readonly coherence?: Coherence
  /** For what may be stored a moment later. */
  readonly behind: WrittenBehind
}

type Read = {
  readonly wanted: Set<string>
  /** Changed elsewhere since it began: what it finds of these may be old. */
  readonly outdated: Set<string>
  readonly found: Promise<ReadonlyMap<string, LastPresence>>
}

/**
 * How accounts were last seen. A client that comes online asks about hundreds of contacts at once:
 * what is asked in one turn of the event loop is read in one query.
 */
export class LastPresences {
  readonly #store: LastPresenceStore
  readonly #options: Options
  /** `undefined`: never seen. The least recently asked for first. */
  readonly #cached = new Map<string, LastPresence | undefined>()
  /** The read that is about to begin. */
  #next: Read | undefined
  /** What is outdated of the reads that have begun. */
  readonly #underWay = new Set<Set<string>>()

  constructor(options: Options) {
    this.#store = options.store
    this.#options = options
  }

  get(owner: BareJid): LastPresence | undefined | Promise<LastPresence | undefined> {
    const key = owner.full
    if (!this.#cached.has(key)) return this.#read(key)
    const last = this.#cached.get(key)
    this.#remember(key, last)
    return last
  }

  /** Nobody waits for the disk, which may fail to keep it: `onFailure` is told. */
  saveBehind(
    owner: BareJid,
    stanza: Stanza,
    at: number,
    onFailure: (error: unknown) => void,
  ): void {
    const last = this.#lastOf(owner, stanza, at)
    this.#options.behind.put(() =>
      this.#store
        .save(owner, last)
        .then(() => this.#changed(owner))
        .catch(onFailure),
    )
  }

  async save(owner: BareJid, stanza: Stanza, at: number): Promise<void> {
    const last = this.#lastOf(owner, stanza, at)
    this.#options.behind.flush()
    await this.#store.save(owner, last)
    await this.#changed(owner)
  }

  #changed(owner: BareJid): Maybe<unknown> {
    return this.#options.coherence?.changed(owner.full)
  }

  #lastOf(owner: BareJid, stanza: Stanza, at: number): LastPresence {
    const most = this.#options.maxSizeFor(owner.domain)
    const isShort = stanza.head.length + stanza.payload.length <= most
    const last = { stanza: isShort ? stanza : UNAVAILABLE, at }
    this.#remember(owner.full, last)
    return last
  }

  /** All accounts of a domain are gone. */
  forgetDomain(domain: string): void {
    for (const key of this.#cached.keys()) if (domainOf(key) === domain) this.forget(key)
  }

  /** What is at hand of an account may be old. */
  forget(account: string): void {
    this.#cached.delete(account)
    for (const outdated of this.#underWay) outdated.add(account)
  }

  async remove(owner: BareJid): Promise<void> {
    this.forget(owner.full)
    this.#options.behind.flush()
    await this.#store.remove(owner)
    this.forget(owner.full)
    await this.#options.coherence?.changed(owner.full)
  }

  async #read(key: string): Promise<LastPresence | undefined> {
    this.#next ??= this.#readSoon()
    const { wanted, outdated, found: reading } = this.#next
    wanted.add(key)
    const found = await reading
    // It may have been seen since, here or elsewhere.
    if (!this.#cached.has(key) && !outdated.has(key)) this.#remember(key, found.get(key))
    return this.#cached.get(key) ?? found.get(key)
  }

  #readSoon(): Read {
    const wanted = new Set<string>()
    const outdated = new Set<string>()
    const found = new Promise<void>((resolve) => setImmediate(resolve)).then(async () => {
      this.#next = undefined
      this.#underWay.add(outdated)
      this.#options.behind.flush()
      try {
        return await this.#store.find([...wanted])
      } finally {
        this.#underWay.delete(outdated)
      }
    })
    return { wanted, outdated, found }
  }

  #remember(key: string, last: LastPresence | undefined): void {
    this.#cached.delete(key)
    this.#cached.set(key, last)
    if (this.#cached.size <= this.#options.maxCached) return
    const [oldest] = this.#cached.keys()
    if (oldest !== undefined) this.#cached.delete(oldest)
  }
}

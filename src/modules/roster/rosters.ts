import type { Coherence } from '../../core/coherence.ts'
import { domainOf } from '../../core/owned-data.ts'
import type { BareJid } from '../../xmpp/jid.ts'
import { StanzaError } from '../../xmpp/stanza-error.ts'
import {
  isBlank,
  isSame,
  newItem,
  type Roster,
  type RosterEdit,
  type RosterItem,
} from './roster.ts'
import type { RosterStore } from './store.ts'

type Options = {
  readonly store: RosterStore
  /** Milliseconds since the epoch. */
  readonly now: () => number
  /** How many items of all rosters together are kept in memory. */
  readonly maxCached: number
  /** For what other nodes have at hand, too. */
  readonly coherence?: Coherence
}

/** What a change comes to: the contact before and after (`undefined`: nothing is kept of it). */
export type Changed = {
  readonly roster: Roster
  readonly before: RosterItem
  readonly after: RosterItem | undefined
  readonly isChanged: boolean
}

/** What a change is to make of a contact; `undefined` to forget it. Throws to refuse. */
export type Edit = (before: RosterItem, roster: Roster) => RosterItem | undefined

/** How many changes of one account may wait for each other. */
const MAX_WAITING = 1000

/**
 * Rosters by account, cached as long as there is room. Changes of one account are made one after
 * the other, each durable before the next is decided. Readers see only what is durable, and wait for
 * the changes that were asked for before: what somebody has revoked is not shown any more.
 */
export class Rosters {
  readonly #store: RosterStore
  readonly #now: () => number
  readonly #options: Options
  /** Least recently used first. */
  readonly #cached = new Map<string, Roster>()
  #weight = 0
  readonly #loading = new Map<string, Promise<Roster>>()
  /** The last change asked for, and how many wait for it; only while there are any. */
  readonly #changing = new Map<string, { tail: Promise<void>; count: number }>()

  constructor(options: Options) {
    const { store, now } = options
    this.#options = options
    this.#store = store
    this.#now = now
  }

  get(owner: BareJid): Roster | Promise<Roster> {
    const changing = this.#changing.get(owner.full)
    if (changing === undefined) return this.#current(owner)
    return changing.tail.then(() => this.#current(owner))
  }

  #current(owner: BareJid): Roster | Promise<Roster> {
    const cached = this.#cached.get(owner.full)
    if (cached === undefined) return this.#load(owner)
    this.#cached.delete(owner.full)
    this.#cached.set(owner.full, cached)
    return cached
  }

  /**
   * Changes what is kept of one contact. `committed` runs in the same step in which readers begin
   * to see the change, so that what it sends is in the order of the changes.
   */
  change(
    owner: BareJid,
    contact: BareJid,
    edit: Edit,
    committed?: (changed: Changed) => void,
  ): Promise<Changed> {
    return this.#inTurn(owner, async () => {
      const loaded = this.#current(owner)
      const roster = loaded instanceof Promise ? await loaded : loaded
      const before = roster.get(contact) ?? newItem(contact)
      const wanted = edit(before, roster)
      const after = wanted === undefined || isBlank(wanted) ? undefined : wanted
      const isKnown = roster.get(contact) !== undefined
      if (after === undefined ? !isKnown : isKnown && isSame(before, after)) {
        return { roster, before, after: isKnown ? before : undefined, isChanged: false }
      }
      const made = this.#editOf(roster, before, after)
      await this.#save(owner, roster, made)
      const changed = { roster, before, after: made.put, isChanged: true }
      committed?.(changed)
      return changed
    })
  }

  /** Forgets an account. Resolves with what it had. */
  remove(owner: BareJid): Promise<Roster> {
    return this.#inTurn(owner, async () => {
      const loaded = this.#current(owner)
      const roster = loaded instanceof Promise ? await loaded : loaded
      await this.#store.removeAll(owner)
      await this.#options.coherence?.changed(owner.full)
      this.forget(owner.full)
      return roster
    })
  }

  #editOf(roster: Roster, before: RosterItem, after: RosterItem | undefined): RosterEdit {
    const isSeen = before.isListed || after?.isListed === true
    // Starting with the time makes versions of an account that was removed and made anew differ.
    const next = roster.version === 0 ? this.#now() : roster.version + 1
    const version = isSeen ? next : roster.version
    const losesItem = before.isListed && after?.isListed !== true
    const removedAt = losesItem || roster.version === 0 ? version : roster.removedAt
    if (after === undefined) return { version, removedAt, remove: before.contact }
    return { version, removedAt, put: { ...after, version } }
  }

  async #save(owner: BareJid, roster: Roster, edit: RosterEdit): Promise<void> {
    try {
      await this.#store.save(owner, edit)
    } catch (error) {
      // It may have been stored all the same: the disk decides what we know.
      this.forget(owner.full)
      throw error
    }
    await this.#options.coherence?.changed(owner.full)
    // While it still weighs what it did when it was remembered.
    this.forget(owner.full)
    roster.apply(edit)
    this.#remember(owner.full, roster)
  }

  async #inTurn<T>(owner: BareJid, work: () => Promise<T>): Promise<T> {
    const key = owner.full
    const queue = this.#changing.get(key) ?? { tail: Promise.resolve(), count: 0 }
    if (queue.count >= MAX_WAITING) throw new StanzaError('resource-constraint')
    queue.count++
    this.#changing.set(key, queue)
    const { coherence } = this.#options
    const turn = queue.tail.then(() =>
      coherence === undefined ? work() : coherence.change(key, work),
    )
    queue.tail = turn.then(
      () => {},
      () => {},
    )
    try {
      return await turn
    } finally {
      queue.count--
      if (queue.count === 0) this.#changing.delete(key)
    }
  }

  #load(owner: BareJid): Promise<Roster> {
    const key = owner.full
    let loading = this.#loading.get(key)
    if (loading === undefined) {
      const begun = this.#store.load(owner)
      const over = () => this.#loading.get(key) === begun && this.#loading.delete(key)
      begun.then((roster) => {
        // Unless it was changed elsewhere meanwhile.
        if (over()) this.#remember(key, roster)
      }, over)
      this.#loading.set(key, begun)
      loading = begun
    }
    return loading
  }

  #remember(key: string, roster: Roster): void {
    this.forget(key)
    this.#cached.set(key, roster)
    this.#weight += weightOf(roster)
    for (const other of this.#cached.keys()) {
      if (this.#weight <= this.#options.maxCached) break
      // A roster that is being changed is the one that the change will be applied to.
      if (other !== key && !this.#changing.has(other)) this.forget(other)
    }
  }

  /** What is at hand of an account may be old. */
  /** All accounts of a domain are gone. */
  forgetDomain(domain: string): void {
    for (const key of this.#cached.keys()) if (domainOf(key) === domain) this.forget(key)
  }

  forget(key: string): void {
    this.#loading.delete(key)
    const cached = this.#cached.get(key)
    if (cached === undefined) return
    this.#weight -= weightOf(cached)
    this.#cached.delete(key)
  }
}

function weightOf(roster: Roster): number {
  return roster.size + 1
}

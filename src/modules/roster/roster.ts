import type { Subscription } from '../../core/hook-map.ts'
import type { BareJid } from '../../xmpp/jid.ts'
import type { Stanza } from '../../xmpp/stanza.ts'
import { hasFrom, hasTo, type Standing, subscriptionOf } from './subscription.ts'

export type RosterItem = Standing & {
  readonly contact: BareJid
  /** Chosen by the account; '' for none. */
  readonly name: string
  readonly groups: readonly string[]
  /** Whether clients see it. A mere request that waits for an answer is kept, but is no item. */
  readonly isListed: boolean
  /** The contact's request as it came in, until it is answered. */
  readonly request: Stanza | undefined
  /** Version of the roster that this item's last change made. */
  readonly version: number
}

/** What one change makes of a roster. Exactly one contact is concerned. */
export type RosterEdit = {
  readonly version: number
  /** Since when nothing was removed that clients saw: the version that removed it, or the first. */
  readonly removedAt: number
} & (
  | { readonly put: RosterItem; readonly remove?: undefined }
  | { readonly remove: BareJid; readonly put?: undefined }
)

const NEW_ITEM = {
  name: '',
  groups: [] as readonly string[],
  state: 'none',
  isApproved: false,
  isListed: false,
  request: undefined,
  version: 0,
} as const

/** A contact nothing is known of. */
export function newItem(contact: BareJid): RosterItem {
  return { ...NEW_ITEM, contact }
}

export function isSame(a: RosterItem, b: RosterItem): boolean {
  return (
    a.state === b.state &&
    a.isApproved === b.isApproved &&
    a.isListed === b.isListed &&
    a.request === b.request &&
    a.name === b.name &&
    a.groups.length === b.groups.length &&
    a.groups.every((group, index) => group === b.groups[index])
  )
}

/** Whether there is nothing left to remember of a contact. */
export function isBlank(item: RosterItem): boolean {
  return !item.isListed && item.state === 'none' && !item.isApproved
}

type Lists = {
  readonly from: readonly BareJid[]
  readonly to: readonly BareJid[]
  readonly requests: readonly RosterItem[]
}

/** Of accounts without contacts; a map of its own would take as much as all else of a roster. */
const NO_ITEMS = new Map<string, RosterItem>()
const NO_LISTS: Lists = { from: [], to: [], requests: [] }

/**
 * One account's roster, as it is on the disk: an edit is applied only once it is stored. Readers
 * are synchronous and keep none of what they get.
 */
export class Roster {
  #items: Map<string, RosterItem>
  #version: number
  #removedAt: number
  #lists: Lists | undefined

  constructor(version: number, removedAt: number, items: readonly RosterItem[]) {
    this.#version = version
    this.#removedAt = removedAt
    this.#items =
      items.length === 0 ? NO_ITEMS : new Map(items.map((item) => [item.contact.full, item]))
  }

  /** 0 for a roster that never had an item. */
  get version(): number {
    return this.#version
  }

  get removedAt(): number {
    return this.#removedAt
  }

  /** With what clients do not see. */
  get size(): number {
    return this.#items.size
  }

  get(contact: BareJid): RosterItem | undefined {
    return this.#items.get(contact.full)
  }

  subscription(contact: BareJid): Subscription {
    const item = this.#items.get(contact.full)
    return item === undefined ? 'none' : subscriptionOf(item.state)
  }

  /** What clients see. */
  listed(): RosterItem[] {
    return [...this.#items.values()].filter(({ isListed }) => isListed)
  }

  all(): IterableIterator<RosterItem> {
    return this.#items.values()
  }

  /** Who is told of the account's presence, whom to ask for theirs, and who waits for an answer. */
  get lists(): Lists {
    if (this.#items.size === 0) return NO_LISTS
    if (this.#lists === undefined) {
      const all = [...this.#items.values()]
      this.#lists = {
        from: all.filter(({ state }) => hasFrom(state)).map(({ contact }) => contact),
        to: all.filter(({ state }) => hasTo(state)).map(({ contact }) => contact),
        requests: all.filter(({ request }) => request !== undefined),
      }
    }
    return this.#lists
  }

  apply({ version, removedAt, put, remove }: RosterEdit): void {
    this.#version = version
    this.#removedAt = removedAt
    if (put === undefined) this.#items.delete(remove.full)
    else if (this.#items === NO_ITEMS) this.#items = new Map([[put.contact.full, put]])
    else this.#items.set(put.contact.full, put)
    this.#lists = undefined
  }
}

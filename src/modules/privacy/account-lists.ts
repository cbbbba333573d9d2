import type { Jid } from '../../xmpp/jid.ts'
import { EVERYTHING, PrivacyList } from './privacy-list.ts'

/** An account's lists, and which of them applies unless a resource has chosen another. Immutable. */
export class AccountLists {
  readonly default: PrivacyList | undefined
  readonly #lists: ReadonlyMap<string, PrivacyList>

  constructor(lists: readonly PrivacyList[], defaultName: string | undefined) {
    this.#lists = new Map(lists.map((list) => [list.name, list]))
    this.default = defaultName === undefined ? undefined : this.#lists.get(defaultName)
  }

  get(name: string): PrivacyList | undefined {
    return this.#lists.get(name)
  }

  /** The list that a resource with this active list goes by. */
  inForce(activeName: string | undefined): PrivacyList | undefined {
    return (activeName === undefined ? undefined : this.#lists.get(activeName)) ?? this.default
  }

  get all(): readonly PrivacyList[] {
    return [...this.#lists.values()]
  }

  get size(): number {
    return this.#lists.size
  }

  /** With this list instead of the one of its name, or in addition. */
  with(list: PrivacyList): AccountLists {
    const others = this.all.filter(({ name }) => name !== list.name)
    return new AccountLists([...others, list], this.default?.name)
  }

  without(name: string): AccountLists {
    const others = this.all.filter((list) => list.name !== name)
    return others.length === 0 ? NO_LISTS : new AccountLists(others, this.default?.name)
  }

  withDefault(name: string | undefined): AccountLists {
    return new AccountLists(this.all, name)
  }
}

/** Of all accounts that have none: recognised without a look inside. */
export const NO_LISTS = new AccountLists([], undefined)

/** What the default list denies altogether: to the blocking command, that is blocked (XEP-0191 §5). */
export function blockedBy({ default: list }: AccountLists): Jid[] {
  const blocked: Jid[] = []
  for (const { subject, action, kinds } of list?.items ?? []) {
    if (subject.type === 'jid' && action === 'deny' && kinds === EVERYTHING) {
      blocked.push(subject.jid)
    }
  }
  return blocked
}

/** The same lists without those rules, for these addresses. Itself when there are none. */
export function unblocked(lists: AccountLists, isMeant: (jid: Jid) => boolean): AccountLists {
  const list = lists.default
  if (list === undefined) return lists
  const left = list.items.filter(
    ({ subject, action, kinds }) =>
      subject.type !== 'jid' || action !== 'deny' || kinds !== EVERYTHING || !isMeant(subject.jid),
  )
  return left.length === list.items.length ? lists : lists.with(new PrivacyList(list.name, left))
}

import type { AccountCache } from '../../core/account-cache.ts'
import { Envelope, SERVER } from '../../core/envelope.ts'
import type { IqAnswer, IqRequest } from '../../core/iq.ts'
import type { Session } from '../../core/session.ts'
import type { Sessions } from '../../core/sessions.ts'
import type { BareJid } from '../../xmpp/jid.ts'
import { Stanza } from '../../xmpp/stanza.ts'
import { StanzaError } from '../../xmpp/stanza-error.ts'
import { type Element, el } from '../../xmpp/xml.ts'
import type { AccountLists } from './account-lists.ts'
import type { Appearances } from './appearances.ts'
import { listOf } from './guard.ts'
import { PRIVACY_NS, readList, readName, writeList } from './list-xml.ts'
import type { PrivacyList } from './privacy-list.ts'
import type { PrivacyStore } from './store.ts'

export type PrivacyLimits = {
  /** Lists of one account. */
  readonly maxLists: number
  /** Rules of one list. */
  readonly maxItems: number
}

type Parts = {
  readonly lists: AccountCache<AccountLists>
  readonly store: PrivacyStore
  readonly sessions: Sessions
  readonly appearances: Appearances
  /** The groups in the roster of an account; `undefined` if it has none. */
  readonly groupsOf: (owner: BareJid) => Promise<ReadonlySet<string> | undefined>
  readonly limits: PrivacyLimits
}

/** What clients ask about their account's lists, and how they change them (XEP-0016 §2.3 to §2.9). */
export class Requests {
  readonly #parts: Parts
  #lastId = 0

  constructor(parts: Parts) {
    this.#parts = parts
  }

  async get({ from, to, payload, session }: IqRequest): Promise<IqAnswer> {
    if (!from.bareEquals(to)) throw new StanzaError('forbidden')
    const [asked, ...others] = payload.elements()
    const lists = await this.#parts.lists.get(to.toBare())
    if (asked === undefined) return names(lists, session)
    if (others.length > 0 || asked.name !== 'list') {
      throw new StanzaError('bad-request', { text: 'one list at a time' })
    }
    return el('query', { xmlns: PRIVACY_NS }, writeList(existing(lists, readName(asked))))
  }

  async set({ from, to, payload, session }: IqRequest): Promise<IqAnswer> {
    if (!from.bareEquals(to) || session === undefined) throw new StanzaError('forbidden')
    const [wanted, ...others] = payload.elements()
    if (wanted === undefined || others.length > 0 || wanted.ns !== PRIVACY_NS) {
      throw new StanzaError('bad-request', { text: 'one change at a time' })
    }
    await this.#change(to.toBare(), session, wanted)
    return undefined
  }

  #change(owner: BareJid, session: Session, wanted: Element): Promise<void> {
    switch (wanted.name) {
      case 'active':
        return this.#setActive(owner, session, wanted.attr('name'))
      case 'default':
        return this.#setDefault(owner, session, wanted.attr('name'))
      case 'list':
        return wanted.elements().length === 0
          ? this.#remove(owner, session, readName(wanted))
          : this.#put(owner, readList(wanted))
      default:
        throw new StanzaError('bad-request', { text: 'neither active, default nor list' })
    }
  }

  /** XEP-0016 §2.4. */
  async #setActive(owner: BareJid, session: Session, name: string | undefined): Promise<void> {
    const lists = await this.#parts.lists.get(owner)
    if (name !== undefined) existing(lists, name)
    const before = listOf(lists, session)
    session.share({ activePrivacyList: name })
    await this.#parts.appearances.changed(owner, [{ resource: session, before }], lists)
  }

  /** XEP-0016 §2.5. */
  async #setDefault(owner: BareJid, session: Session, name: string | undefined): Promise<void> {
    await this.#commit(owner, {
      make: (lists) => {
        if (name !== undefined) existing(lists, name)
        if (lists.default?.name === name) return lists
        if (lists.default !== undefined) this.#refuseInUse(owner, lists, lists.default, session)
        return lists.withDefault(name)
      },
      save: () => this.#parts.store.setDefault(owner, name),
    })
  }

  /** XEP-0016 §2.6 and §2.7. */
  async #put(owner: BareJid, list: PrivacyList): Promise<void> {
    const { limits, store } = this.#parts
    if (list.items.length > limits.maxItems) {
      throw new StanzaError('resource-constraint', {
        text: `a list has up to ${limits.maxItems} items`,
      })
    }
    await this.#checkGroups(owner, list)
    await this.#commit(owner, {
      make: (lists) => {
        if (lists.get(list.name) === undefined && lists.size >= limits.maxLists) {
          throw new StanzaError('resource-constraint', {
            text: `an account has up to ${limits.maxLists} lists`,
          })
        }
        return lists.with(list)
      },
      save: () => store.put(owner, list),
      committed: () => this.push(owner, list.name),
    })
  }

  /** XEP-0016 §2.1: rules are about groups that there are. */
  async #checkGroups(owner: BareJid, { items }: PrivacyList): Promise<void> {
    const named = items.flatMap(({ subject }) => (subject.type === 'group' ? subject.group : []))
    if (named.length === 0) return
    const known = await this.#parts.groupsOf(owner)
    const unknown = known && named.find((group) => !known.has(group))
    if (unknown !== undefined) {
      throw new StanzaError('item-not-found', { text: `no contact is in the group ${unknown}` })
    }
  }

  /** XEP-0016 §2.8. */
  async #remove(owner: BareJid, session: Session, name: string): Promise<void> {
    await this.#commit(owner, {
      make: (lists) => {
        this.#refuseInUse(owner, lists, existing(lists, name), session)
        return lists.without(name)
      },
      save: () => this.#parts.store.remove(owner, name),
      committed: () => this.push(owner, name),
    })
    if (session.shared.activePrivacyList === name) session.share({ activePrivacyList: undefined })
  }

  async #commit(
    owner: BareJid,
    change: Parameters<AccountCache<AccountLists>['change']>[1],
  ): Promise<void> {
    const { lists, appearances, sessions } = this.#parts
    const { before, after } = await lists.change(owner, change)
    if (before === after) return
    const changes = sessions
      .of(owner.full)
      .map((resource) => ({ resource, before: listOf(before, resource) }))
    await appearances.changed(owner, changes, after)
  }

  /** Tells all of the account's clients that a list is not what it was (XEP-0016 §2.2 rule 10). */
  push(owner: BareJid, name: string): void {
    const id = `privacy-${(++this.#lastId).toString(36)}`
    const query = el('query', { xmlns: PRIVACY_NS }, el('list', { name }))
    const push = Stanza.build('iq', { type: 'set', id }, query)
    for (const resource of this.#parts.sessions.of(owner.full)) {
      void resource.deliver(new Envelope(owner, resource.jid, push, SERVER))
    }
  }

  /** XEP-0016 §2.2 rule 11: nobody's list is taken away. */
  #refuseInUse(owner: BareJid, lists: AccountLists, list: PrivacyList, session: Session): void {
    const isUsed = this.#parts.sessions
      .of(owner.full)
      .some((other) => other !== session && listOf(lists, other) === list)
    if (isUsed) throw new StanzaError('conflict', { text: 'another resource goes by this list' })
  }
}

function existing(lists: AccountLists, name: string): PrivacyList {
  const list = lists.get(name)
  if (list === undefined) throw new StanzaError('item-not-found')
  return list
}

function names(lists: AccountLists, session: Session | undefined): Element {
  const active = session?.shared.activePrivacyList
  return el(
    'query',
    { xmlns: PRIVACY_NS },
    active !== undefined && el('active', { name: active }),
    lists.default !== undefined && el('default', { name: lists.default.name }),
    ...lists.all.map(({ name }) => el('list', { name })),
  )
}

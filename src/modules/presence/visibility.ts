import { SERVER } from '../../core/envelope.ts'
import type { RosterChange, Subscription, VisibilityChange } from '../../core/hook-map.ts'
import { after, type Maybe, settled } from '../../core/maybe.ts'
import { scopesOf } from '../../core/privacy.ts'
import { isLocalSession, type Resource } from '../../core/session.ts'
import type { Sessions } from '../../core/sessions.ts'
import type { BareJid, Jid } from '../../xmpp/jid.ts'
import type { Broadcast } from './broadcast.ts'
import type { Duties } from './duties.ts'
import type { Probes } from './probes.ts'
import { UNAVAILABLE } from './stanzas.ts'

type Parts = {
  readonly sessions: Sessions
  readonly broadcast: Broadcast
  readonly probes: Probes
  readonly duties: Duties
}

/** Contacts who begin or cease to see an account's presence while it is available. */
export class Visibility {
  readonly #parts: Parts

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /** RFC 6121 §3.1.5 and §3.2.2: a subscription takes effect at once. */
  rosterChanged({ owner, contact, before, after: now }: RosterChange): Maybe<void> {
    if (isSubscribed(before) === isSubscribed(now)) return undefined
    if (isSubscribed(now)) return this.#parts.probes.show(owner, contact)
    const isContact = (to: Jid) => to.bare === contact.full
    return this.#hideAll(this.#parts.sessions.of(owner.full), [contact], isContact)
  }

  /** Whom privacy hides from has never been there; whom it no longer hides from sees all again. */
  visibilityChanged({ owner, contacts, isVisible, sender }: VisibilityChange): Maybe<void> {
    const { broadcast, probes, sessions } = this.#parts
    return after(broadcast.lists(owner), ({ from }) => {
      const subscribers = concerned(contacts, from)
      if (isVisible) return settled(subscribers.map((one) => probes.show(owner, one, sender)))
      const resources = sender === undefined ? sessions.of(owner.full) : [sender]
      const subjects = new Set(contacts.map(({ full }) => full))
      return this.#hideAll(resources, subscribers, (to) => isNamed(to, subjects))
    })
  }

  /** Each resource takes leave of `contacts`, and of all such that it sent directed presence to. */
  #hideAll(
    resources: readonly Resource[],
    contacts: readonly Jid[],
    isMeant: (to: Jid) => boolean,
  ): Maybe<void> {
    const accounts = new Set(contacts.map(({ bare }) => bare))
    const work = resources.map((resource) => {
      const isAvailable = resource.priority !== undefined
      const directed = this.#takeDirected(resource, isMeant)
      const others = isAvailable ? directed.filter(({ bare }) => !accounts.has(bare)) : directed
      const all = isAvailable ? [...contacts, ...others] : others
      return this.#parts.broadcast.send(resource.jid, all, UNAVAILABLE, SERVER)
    })
    return settled(work)
  }

  #takeDirected(resource: Resource, isMeant: (to: Jid) => boolean): readonly Jid[] {
    if (!isLocalSession(resource)) return []
    const { duties } = this.#parts
    const taken = [...duties.directed(resource)].filter(isMeant)
    for (const to of taken) duties.forget(resource, to)
    return taken
  }
}

function isSubscribed(subscription: Subscription): boolean {
  return subscription === 'from' || subscription === 'both'
}

function isNamed(jid: Jid, subjects: ReadonlySet<string>): boolean {
  return scopesOf(jid).some((scope) => subjects.has(scope))
}

/** The subscribers that are meant: a domain means its accounts, an account shares what it sees with its resources. */
function concerned(subjects: readonly Jid[], subscribers: readonly BareJid[]): readonly Jid[] {
  const named = new Set(subjects.map(({ full }) => full))
  const known = new Set(subscribers.map(({ full }) => full))
  const resources = subjects.filter(({ isFull, bare }) => isFull && known.has(bare))
  return [...subscribers.filter((subscriber) => isNamed(subscriber, named)), ...resources]
}

import { SERVER } from '../../core/envelope.ts'
import type { RosterChange, Subscription } from '../../core/hook-map.ts'
import { isLocalSession, type Resource } from '../../core/session.ts'
import type { Sessions } from '../../core/sessions.ts'
import type { BareJid, Jid } from '../../xmpp/jid.ts'
import type { Broadcast } from './broadcast.ts'
import type { Duties } from './duties.ts'
import { after, type Maybe, settled } from './maybe.ts'
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
    return this.#hideAll(owner, [contact])
  }

  /** Whom privacy hides from has never been there; whom it no longer hides from sees all again. */
  visibilityChanged(owner: BareJid, contact: Jid, isVisible: boolean): Maybe<void> {
    return after(this.#parts.broadcast.lists(owner), ({ from }) => {
      const subscribers = from
        .filter((subscriber) => concerns(contact, subscriber))
        .map((subscriber) => (contact.isFull ? contact : subscriber))
      if (!isVisible) return this.#hideAll(owner, subscribers, contact)
      return settled(subscribers.map((subscriber) => this.#parts.probes.show(owner, subscriber)))
    })
  }

  /** Each resource takes leave of `contacts`, and of those of `blocked` it sent presence to. */
  #hideAll(owner: BareJid, contacts: readonly Jid[], blocked?: Jid): Maybe<void> {
    const { sessions, broadcast } = this.#parts
    const work = sessions.of(owner.full).map((resource) => {
      const told = resource.priority === undefined ? [] : contacts
      const directed = this.#takeDirected(resource, blocked ?? contacts[0])
      const others = directed.filter((to) => !told.some(({ bare }) => bare === to.bare))
      return broadcast.send(resource.jid, [...told, ...others], UNAVAILABLE, SERVER)
    })
    return settled(work)
  }

  #takeDirected(resource: Resource, contact: Jid | undefined): readonly Jid[] {
    if (contact === undefined || !isLocalSession(resource)) return []
    const { duties } = this.#parts
    const taken = [...duties.directed(resource)].filter((to) => concerns(contact, to))
    for (const to of taken) duties.forget(resource, to)
    return taken
  }
}

function isSubscribed(subscription: Subscription): boolean {
  return subscription === 'from' || subscription === 'both'
}

/** Whether a rule for `subject` (a domain, an account or a resource) is about `jid`. */
function concerns(subject: Jid, jid: Jid): boolean {
  if (subject.full === jid.full || subject.full === jid.bare) return true
  if (subject.isDomain) return jid.domain === subject.domain
  // A subscription is the account's: its resources share what it sees.
  return jid.isBare && subject.bare === jid.full
}

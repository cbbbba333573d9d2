import { Envelope, SERVER } from '../../core/envelope.ts'
import type { ContactInfo } from '../../core/hook-map.ts'
import { type HookSource, resultOf } from '../../core/hooks.ts'
import type { Logger } from '../../core/log.ts'
import { after, type Maybe, settled } from '../../core/maybe.ts'
import type { Router } from '../../core/router.ts'
import { isLocalSession, type Resource, type Session } from '../../core/session.ts'
import type { Sessions } from '../../core/sessions.ts'
import { delay } from '../../xmpp/delay.ts'
import type { BareJid, Jid } from '../../xmpp/jid.ts'
import type { Broadcast } from './broadcast.ts'
import type { Duties } from './duties.ts'
import type { LastPresences } from './last-presences.ts'
import { AVAILABLE, PROBE, UNAVAILABLE, UNSUBSCRIBED } from './stanzas.ts'

type Parts = {
  readonly hooks: HookSource
  readonly router: Router
  readonly sessions: Sessions
  readonly broadcast: Broadcast
  readonly duties: Duties
  readonly lasts: LastPresences
  readonly log: Logger
}

const STRANGER: ContactInfo = { subscription: 'none', groups: [] }

/** Answers for accounts who asks about their presence (RFC 6121 §4.3.2). */
export class Probes {
  readonly #parts: Parts

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /** A probe for the account, or one resource, that `probe.to` names. Anybody may have sent it. */
  answer(probe: Envelope): Maybe<void> {
    const { from, to } = probe
    if (from.bareEquals(to)) return this.#reply(probe)
    const owner = to.toBare()
    return after(this.#isSubscribed(from, owner), (isSubscribed) => {
      if (!isSubscribed) return this.#answerStranger(probe)
      return after(this.#parts.broadcast.visible([from], { owner }), (left) =>
        left.length === 0 ? undefined : this.#reply(probe),
      )
    })
  }

  /** Whether the session shares its presence with who sends it a stanza (RFC 6121 §8.5.3.1). */
  isShared(session: Session, from: Jid): Maybe<boolean> {
    const { broadcast, duties } = this.#parts
    if (duties.hasDirected(session, from)) return true
    const owner = session.jid.toBare()
    return after(this.#isSubscribed(from, owner), (isSubscribed) => {
      if (!isSubscribed) return false
      const visible = broadcast.visible([from], { owner, sender: session })
      return after(visible, (left) => left.length > 0)
    })
  }

  /** Shows `to` the presence of each available resource, or of the one given. */
  show(owner: BareJid, to: Jid, only?: Resource): Maybe<void> {
    const available = this.#parts.sessions.available(owner.full)
    const shown = only === undefined ? available : available.filter((one) => one === only)
    return this.#showAll(shown, new Envelope(to, owner, PROBE, SERVER))
  }

  /** A probe that another node of the cluster found allowed, for a session of this one. */
  answerFor(session: Session, { from }: Envelope): Maybe<void> {
    return this.#present(session, from)
  }

  #isSubscribed(contact: Jid, owner: BareJid): Maybe<boolean> {
    const { hooks, broadcast } = this.#parts
    const point = hooks.at('roster_get_jid_info', broadcast.domainType(owner))
    const asked = point.run(STRANGER, { owner, contact: contact.toBare() })
    return after(asked, (verdict) => {
      const { subscription } = resultOf(verdict, STRANGER)
      return subscription === 'from' || subscription === 'both'
    })
  }

  #reply(probe: Envelope): Maybe<void> {
    const { from, to } = probe
    const { sessions, broadcast } = this.#parts
    if (to.resource !== '') {
      const resource = sessions.get(to)
      if (resource?.priority !== undefined) return this.#showAll([resource], probe)
      return broadcast.send(to, [from], UNAVAILABLE, SERVER)
    }
    const available = sessions.available(to.full)
    if (available.length > 0) return this.#showAll(available, probe)
    if (!from.bareEquals(to)) this.#replyLast(to.toBare(), from)
    return undefined
  }

  #showAll(resources: readonly Resource[], probe: Envelope): Maybe<void> {
    const others = resources.filter(({ jid }) => !jid.equals(probe.from))
    return settled(
      others.map((resource) =>
        isLocalSession(resource)
          ? this.#present(resource, probe.from)
          : resource.deliver(probe.with({ to: resource.jid })),
      ),
    )
  }

  /** Unless this resource, other than others of its account, hides from `to`. */
  #present(session: Session, to: Jid): Maybe<void> {
    const { broadcast } = this.#parts
    const sending = { owner: session.jid.toBare(), sender: session }
    return after(broadcast.visible([to], sending), (visible) =>
      broadcast.send(session.jid, visible, session.presence ?? AVAILABLE, SERVER),
    )
  }

  /** Nobody is there: how the account was last seen. Nothing waits for it. */
  #replyLast(owner: BareJid, to: Jid): void {
    const { lasts, sessions, broadcast, log } = this.#parts
    const replied = after(lasts.get(owner), (last) => {
      // Somebody who came meanwhile has told by himself.
      if (sessions.available(owner.full).length > 0) return undefined
      const seen =
        last === undefined ? UNAVAILABLE : last.stanza.append(delay({ at: last.at, from: owner }))
      return broadcast.send(owner, [to], seen, SERVER)
    })
    if (replied instanceof Promise) {
      replied.catch((error) => log.warn('last_presence_not_read', { owner: owner.full, error }))
    }
  }

  /** Those who got directed presence may ask for it; others learn that they are not subscribed. */
  #answerStranger({ from, to }: Envelope): Maybe<void> {
    const { sessions, duties, broadcast } = this.#parts
    const sharing: Session[] = []
    for (const resource of sessions.of(to.bare)) {
      const isMeant = to.resource === '' || resource.jid.equals(to)
      if (isMeant && isLocalSession(resource) && duties.hasDirected(resource, from)) {
        sharing.push(resource)
      }
    }
    if (sharing.length === 0) {
      return broadcast.send(to.toBare(), [from.toBare()], UNSUBSCRIBED, SERVER)
    }
    return settled(sharing.map((session) => this.#present(session, from)))
  }
}

import { Envelope, type Origin, SERVER } from '../../core/envelope.ts'
import type { EndReason, SubscriptionLists, SubscriptionType } from '../../core/hook-map.ts'
import {
  type Acc,
  DROP,
  type HookName,
  type HookSource,
  type Params,
  Stop,
} from '../../core/hooks.ts'
import type { Logger } from '../../core/log.ts'
import { after, type Maybe, settled } from '../../core/maybe.ts'
import type { Router } from '../../core/router.ts'
import { isLocalSession, type Resource, type Session } from '../../core/session.ts'
import type { Sessions } from '../../core/sessions.ts'
import type { Jid } from '../../xmpp/jid.ts'
import type { Stanza } from '../../xmpp/stanza.ts'
import { StanzaError } from '../../xmpp/stanza-error.ts'
import type { Broadcast } from './broadcast.ts'
import type { Duties } from './duties.ts'
import type { LastPresences } from './last-presences.ts'
import { readPriority } from './priority.ts'
import type { Probes } from './probes.ts'
import { PROBE, UNAVAILABLE } from './stanzas.ts'

type Parts = {
  readonly hooks: HookSource
  readonly router: Router
  readonly sessions: Sessions
  readonly broadcast: Broadcast
  readonly probes: Probes
  readonly duties: Duties
  readonly lasts: LastPresences
  readonly log: Logger
  readonly clock: { now(): number }
}

const NOBODY: SubscriptionLists = { from: [], to: [], pending: [] }

/** What clients say about themselves, and what the server says when they no longer can. */
export class Availability {
  readonly #parts: Parts

  constructor(parts: Parts) {
    this.#parts = parts
  }

  // --- The client sends presence.

  /** Routes what a client sends. An address of its own account means nobody in particular. */
  send(envelope: Envelope, session: Session): Maybe<void> {
    const { stanza, to } = envelope
    const isDirected = !to.bareEquals(session.jid)
    switch (stanza.type) {
      case undefined:
        return isDirected ? this.#directed(envelope, session) : this.#available(stanza, session)
      case 'available': {
        // Not a type of RFC 6121, but what some clients mean by none.
        const usual = stanza.with({ type: undefined })
        return isDirected
          ? this.#directed(envelope.with({ stanza: usual }), session)
          : this.#available(usual, session)
      }
      case 'unavailable':
        if (!isDirected) return this.#unavailable(stanza, session)
        this.#parts.duties.forget(session, to)
        return this.#route(envelope)
      case 'subscribe':
      case 'subscribed':
      case 'unsubscribe':
      case 'unsubscribed':
        return isDirected ? this.#subscription(envelope, stanza.type, session) : undefined
      case 'probe':
        return isDirected ? this.#route(envelope) : this.#parts.probes.answer(envelope)
      case 'error':
        this.#parts.duties.forget(session, to)
        return this.#route(envelope)
      default:
        throw new StanzaError('bad-request', { text: 'unknown type of presence' })
    }
  }

  /** RFC 6121 §4.2 and §4.4. */
  #available(stanza: Stanza, session: Session): Maybe<void> {
    const priority = readPriority(stanza)
    // Before anything is said: whoever cannot be told in full is told nothing.
    return after(this.#parts.broadcast.audience(session.jid.toBare(), session), (audience) =>
      session.isClosed ? undefined : this.#appear(stanza, priority, session, audience),
    )
  }

  #appear(
    stanza: Stanza,
    priority: number,
    session: Session,
    audience: SubscriptionLists,
  ): Maybe<void> {
    const { router, broadcast, duties, probes } = this.#parts
    const { jid, priority: before } = session
    const owner = jid.toBare()
    const origin: Origin = { kind: 'c2s', session }
    const toSelf = new Envelope(jid, owner, stanza, origin)
    const isInitial = before === undefined

    session.setPresence(priority, stanza)
    duties.settleInherited(session)
    const work: Maybe<unknown>[] = [
      // First of all, so that nothing newer is delivered before what waited.
      priority >= 0 && (before === undefined || before < 0)
        ? this.#tell('resend_offline_messages', jid, { session })
        : undefined,
      this.#tell('set_presence', toSelf, { session }),
      isInitial ? this.#tell('user_available', jid, { session }) : undefined,
      broadcast.send(jid, audience.from, stanza, origin),
      // To all available resources, this one included (RFC 6121 §4.2.2).
      router.route(toSelf),
    ]
    if (isInitial) {
      work.push(
        probes.answer(new Envelope(jid, owner, PROBE, SERVER)),
        broadcast.send(jid, audience.to, PROBE, SERVER),
      )
      for (const request of audience.pending) work.push(session.deliver(request))
    }
    return settled(work)
  }

  /** RFC 6121 §4.5. */
  #unavailable(stanza: Stanza, session: Session): Maybe<void> {
    const { duties, broadcast } = this.#parts
    if (!duties.hasAny(session)) return undefined
    return after(broadcast.audience(session.jid.toBare(), session), (audience) => {
      if (session.isClosed) return undefined
      const origin: Origin = { kind: 'c2s', session }
      const left = this.#disappear(stanza, session, audience, origin)
      return settled([left, broadcast.send(session.jid, [session.jid], stanza, origin)])
    })
  }

  #disappear(
    stanza: Stanza,
    session: Session,
    audience: SubscriptionLists,
    origin: Origin,
  ): Maybe<void> {
    const { duties } = this.#parts
    const wasAvailable = duties.isBelievedAvailable(session)
    const directed = [...duties.directed(session)]
    session.setPresence(undefined, undefined)
    duties.clear(session)
    const told = this.#tell(
      'unset_presence',
      new Envelope(session.jid, session.jid.toBare(), stanza, origin),
      { session },
    )
    const subscribers = wasAvailable ? audience.from : NOBODY.from
    const others = notAmong(directed, subscribers)
    const gone = this.#parts.broadcast.send(session.jid, others, stanza, origin)
    if (!wasAvailable) return settled([told, gone])
    return settled([told, gone, this.#depart(session, subscribers, stanza, origin)])
  }

  /** The account's subscribers and other resources learn that one is gone. */
  #depart(
    { jid }: Resource,
    subscribers: readonly Jid[],
    stanza: Stanza,
    origin: Origin,
  ): Maybe<void> {
    const { sessions, broadcast, lasts, log, clock } = this.#parts
    const owner = jid.toBare()
    const sent = broadcast.send(jid, subscribers, stanza, origin)
    if (sessions.available(owner.full).length > 0) {
      return settled([sent, broadcast.send(jid, [owner], stanza, origin)])
    }
    // The last one turns off the light. Nothing waits for it.
    lasts.saveBehind(owner, stanza, clock.now(), (error) => {
      log.warn('last_presence_not_kept', { owner: owner.full, error })
    })
    return sent
  }

  /** RFC 6121 §4.6. */
  #directed(envelope: Envelope, session: Session): Maybe<void> {
    this.#parts.duties.remember(session, envelope.to)
    return this.#route(envelope)
  }

  /** RFC 6121 §3: between bare JIDs, the roster first. */
  #subscription(envelope: Envelope, type: SubscriptionType, session: Session): Maybe<void> {
    const bare = envelope.with({ from: envelope.from.toBare(), to: envelope.to.toBare() })
    const point = this.#parts.hooks.at('roster_out_subscription', session.domainType)
    return after(point.run(bare, { type }), (verdict) =>
      verdict === DROP || verdict instanceof Stop ? undefined : this.#route(verdict),
    )
  }

  // --- The client can send none any more.

  /**
   * A session has ended. Replaced or resumed, contacts do not notice: the session that took its
   * place owes them what it owed.
   */
  terminate(reason: EndReason, session: Session): Maybe<void> {
    const { duties, sessions, broadcast } = this.#parts
    if (!duties.hasAny(session)) return undefined
    if (reason === 'replaced' || reason === 'resumed') {
      const heir = sessions.get(session.jid)
      if (heir !== undefined && heir !== session && this.#hasSucceeded(reason, session, heir)) {
        return undefined
      }
    }
    return after(broadcast.audience(session.jid.toBare(), session), (audience) =>
      this.#disappear(UNAVAILABLE, session, audience, SERVER),
    )
  }

  #hasSucceeded(reason: EndReason, session: Session, heir: Resource): boolean {
    // On another node it can only speak for itself.
    if (!isLocalSession(heir)) return heir.priority !== undefined
    this.#parts.duties.inherit(session, heir)
    if (reason === 'resumed' && heir.priority === undefined) {
      heir.setPresence(session.priority, session.presence)
    }
    return true
  }

  /** The node that a resource was connected to is lost. */
  lost(resource: Resource): Maybe<void> {
    if (resource.priority === undefined) return undefined
    return after(this.#parts.broadcast.audience(resource.jid.toBare(), resource), ({ from }) =>
      this.#depart(resource, from, UNAVAILABLE, SERVER),
    )
  }

  #route(envelope: Envelope): Maybe<void> {
    return settled([this.#parts.router.route(envelope)])
  }

  /** Runs a hook that cannot change anything any more. */
  #tell<N extends HookName>(
    name: N,
    acc: Acc<N>,
    params: Params<N> & { readonly session: Session },
  ): Maybe<void> {
    const failed = (error: unknown) => {
      this.#parts.log.error('presence_hook_failed', { hook: name, error })
    }
    try {
      const run = this.#parts.hooks.at(name, params.session.domainType).run(acc, params)
      return run instanceof Promise ? run.then(() => {}, failed) : undefined
    } catch (error) {
      return failed(error)
    }
  }
}

/** Those of `directed` who do not learn it as subscribers. */
function notAmong(directed: readonly Jid[], subscribers: readonly Jid[]): readonly Jid[] {
  if (directed.length === 0) return directed
  const told = new Set(subscribers.map(({ bare }) => bare))
  return directed.filter(({ bare }) => !told.has(bare))
}

import type { Jid } from '../xmpp/jid.ts'
import type { Stanza } from '../xmpp/stanza.ts'
import { type StanzaCondition, StanzaError } from '../xmpp/stanza-error.ts'
import { StreamError } from '../xmpp/stream-error.ts'
import type { Cluster, NodeRun } from './cluster.ts'
import type { Envelope } from './envelope.ts'
import { AGAIN, envelopeOf, HandOff } from './hand-off.ts'
import { HeldBack } from './held-back.ts'
import type { EndReason, InboundSubscription, SubscriptionType } from './hook-map.ts'
import { DROP, type HookName, type HookPoint, type Hooks, Stop, type Verdict } from './hooks.ts'
import type { IqDispatcher } from './iq.ts'
import { after, type Maybe, settled } from './maybe.ts'
import { answered, dropped, type Outcome } from './outcome.ts'
import type { Places } from './places.ts'
import { RateLimit } from './rate-limit.ts'
import type { Router } from './router.ts'
import { isLocalSession, type Resource, type Session, type StreamSession } from './session.ts'
import { Sessions } from './sessions.ts'
import { systemTimers, type Timers } from './timers.ts'
import type { Tracer } from './tracer.ts'

export type SessionLimits = {
  /** Sessions of one account; over it the oldest is closed. */
  readonly maxSessionsPerUser: number
  /**
   * A message of type normal to a full JID that is gone: back to the sender, or treated as if sent
   * to the bare JID.
   */
  readonly normalToGoneResource: 'bounce' | 'as-bare'
  /** Messages to accounts that do not exist that one sender is answered within a minute. */
  readonly unknownRecipientsPerMinute: number
}

type Parts = {
  readonly hooks: Hooks
  readonly router: Router
  readonly iq: IqDispatcher
  readonly limits: SessionLimits
  /** Made later. */
  readonly cluster: () => Cluster
  /** Absent where messages are only looked at, or none waits: then they have neither place nor id. */
  readonly places?: Places
  readonly timers?: Timers
}

/** Senders whose messages to nobody are counted. */
const MAX_COUNTED = 10_000
const BY = 'sm'
/** How long an account's stanzas wait for those of a session that ends, milliseconds. */
const HOLD_BACK = 5_000
const UNWANTED: InboundSubscription = { isWanted: false }
const HEADLINE_TO_NOBODY = dropped(BY, 'headline to nobody')
const NOBODY_AVAILABLE = dropped(BY, 'nobody available')
const RECORDED = answered('roster')
const MUC_USER_NS = 'http://jabber.org/protocol/muc#user'

/**
 * Route step 7. Knows which resources of an account are there and decides which of them get a
 * stanza, by its kind and type, the address and their priorities (RFC 6121 §8.5).
 */
export class SessionManager {
  readonly sessions = new Sessions()
  readonly #parts: Parts
  readonly #handOff: HandOff
  /** Stanzas that wait for what sessions of their account give back, by its bare JID. */
  readonly #heldBack: HeldBack
  /** Messages to nobody, by their sender's bare JID. */
  readonly #astray: RateLimit
  #lastId = 0
  /** What the ids of messages begin with that this run is the first to see. */
  #idsOfRun = ''
  #run: NodeRun | undefined

  constructor(parts: Parts) {
    this.#parts = parts
    const { hooks } = parts
    this.#handOff = new HandOff({
      hooks,
      sessions: this.sessions,
      decideAgain: (envelope, domainType) => this.#deliver(envelope, domainType),
      unreachable: (envelope, domainType) => this.unreachable(envelope, domainType),
    })
    this.#heldBack = new HeldBack(parts.timers ?? systemTimers, HOLD_BACK)
    this.#astray = new RateLimit({
      get limit() {
        return parts.limits.unknownRecipientsPerMinute
      },
      window: 60_000,
      maxKeys: MAX_COUNTED,
      now: Date.now,
    })
  }

  get limits(): SessionLimits {
    return this.#parts.limits
  }

  // --- Sessions come and go.

  /**
   * Registers a session. A session of the same full JID is told `conflict` and replaced (RFC 6120
   * §7.7.2.2), wherever it is; over the limit of sessions the account's oldest one is closed. The
   * promise waits until all nodes have been told, and for what the replaced session gives back: all of
   * that is decided before the new one can say whether it wants it.
   */
  register(session: Session): Maybe<void> {
    const { sessions } = this
    const replaced = sessions.add(session)
    const left = replaced?.close(new StreamError('conflict', 'Replaced by new connection'))
    const own = sessions.of(session.jid.bare)
    const excess = own.length - this.#parts.limits.maxSessionsPerUser
    for (const oldest of own.slice(0, Math.max(0, excess))) {
      void oldest.close(new StreamError('policy-violation', 'Too many sessions of this account'))
    }
    if (replaced !== undefined && !isLocalSession(replaced) && left !== undefined) {
      this.holdBack(session.jid, left)
    }
    return this.#registered(session, replaced && this.leaving(session.jid.bare))
  }

  /**
   * Whether a session that was kept on the disk has lost its place meanwhile: its client has begun another,
   * here or elsewhere. That one is newer, and keeps it.
   */
  isReplaced({ jid, id }: { readonly jid: Jid; readonly id: string }): boolean {
    const there = this.sessions.get(jid)
    return there !== undefined && (isLocalSession(there) || there.id !== id)
  }

  /**
   * Registers a session in the place that it had before its node was lost, or stopped; nobody must have
   * taken that (`isReplaced`).
   */
  restore(session: Session): Maybe<void> {
    const replaced = this.sessions.add(session)
    // What its node has of it still comes first.
    if (replaced !== undefined && !isLocalSession(replaced)) {
      this.holdBack(session.jid, replaced.close())
    }
    return this.#registered(session, undefined)
  }

  #registered(session: Session, left: Promise<unknown> | undefined): Maybe<void> {
    const known = this.#parts.cluster().opened(session)
    const told = this.#point('sm_register_connection', session.domainType).run(session, {})
    return settled([told, left, known])
  }

  /** Its priority, or what it shares, is another. */
  changed(session: Session): void {
    this.#parts.cluster().changed(session)
  }

  /**
   * It goes on at another node. What was on its way to it goes back to the route when that node says
   * so, `moved`, and `rest` with it; until then new stanzas for its account wait.
   */
  async release(
    session: StreamSession,
    moved: Promise<unknown>,
    rest: readonly Envelope[],
  ): Promise<void> {
    this.#parts.cluster().released(session)
    const over = session.suspend(moved, rest)
    this.holdBack(session.jid, over)
    await this.unregister(session, 'resumed')
  }

  /** It has ended, and what it had not delivered has gone back to the route. */
  left(session: Session): Maybe<void> {
    const cluster = this.#parts.cluster()
    // Whoever comes next, on another node, is to find what was stored of it.
    const leaving = cluster.isShared ? this.leaving(session.jid.bare) : undefined
    return after(leaving, () => cluster.closed(session))
  }

  /** False if the session was displaced by another of the same full JID before. */
  async unregister(session: Session, reason: EndReason): Promise<boolean> {
    const wasRegistered = this.sessions.remove(session)
    await this.#point('sm_remove_connection', session.domainType).run(session, { reason })
    return wasRegistered
  }

  /**
   * Lets what is routed to the account from now on wait until `leaving` is done: the end of one of
   * its sessions, which gives back what it has not delivered. That comes first, so that nobody's
   * messages change their order. Presence does not wait, for the end of a session sends some.
   */
  holdBack({ bare }: Jid, leaving: Promise<unknown>): void {
    this.#heldBack.hold(bare, leaving)
  }

  /** What stanzas for an account wait for; `undefined` if they wait for nothing. */
  leaving(account: string): Promise<unknown> | undefined {
    return this.#heldBack.released(account)
  }

  /** Does `work` for an account when what its sessions give back has gone on, and what came before. */
  afterLeaving<T>(account: string, work: () => Maybe<T>): Maybe<T> {
    return this.#heldBack.run(account, work)
  }

  /** Resolves when no stanza waits for anything of that kind. */
  allLeft(): Promise<void> {
    return this.#heldBack.allReleased()
  }

  // --- Stanzas come in.

  /** Delivers a stanza addressed to an account of a hosted domain, or to one of its resources. */
  deliver(received: Envelope, domainType: string): Outcome | Promise<Outcome> {
    const { tracer, stages } = this.#parts.router
    const { places, cluster } = this.#parts
    const isKnown = places === undefined || !cluster().isShared
    const envelope = isKnown ? received : this.#identified(received, places)
    stages.sessionManager.stanzas++
    return tracer === undefined
      ? this.#deliver(envelope, domainType)
      : this.#follow(tracer, envelope, domainType)
  }

  /** Other nodes know it again, and where it belongs among what this one had before and after. */
  #identified(envelope: Envelope, places: Places): Envelope {
    if (envelope.stanza.kind !== 'message' || envelope.notes.id !== undefined) return envelope
    const { self } = this.#parts.cluster()
    if (self !== this.#run) {
      this.#run = self
      this.#idsOfRun = `${self.node}:${self.epoch.toString(36)}:`
    }
    const id = this.#idsOfRun + (++this.#lastId).toString(36)
    const { place = places.next() } = envelope.notes
    return envelope.noted({ id, place })
  }

  #follow(tracer: Tracer, envelope: Envelope, domainType: string): Outcome | Promise<Outcome> {
    const work = (followed: Envelope) => this.#deliver(followed, domainType)
    return tracer.pass(this.#parts.router.stages.sessionManager, envelope, work)
  }

  #deliver(envelope: Envelope, domainType: string): Outcome | Promise<Outcome> {
    const { to, stanza } = envelope
    if (stanza.kind === 'presence') return this.#presence(envelope, domainType)
    if (this.#heldBack.isEmpty || envelope.notes.isRetry === true) {
      return this.#deliverNow(envelope, domainType)
    }
    return this.#behind(to.bare, envelope, domainType)
  }

  #behind(account: string, envelope: Envelope, domainType: string): Outcome | Promise<Outcome> {
    return this.#heldBack.run(account, () => this.#deliverNow(envelope, domainType))
  }

  #deliverNow(envelope: Envelope, domainType: string): Outcome | Promise<Outcome> {
    const { to } = envelope
    const target = this.#addressed(envelope)
    if (target !== undefined) return this.#handOff.to(envelope, [target], domainType, AGAIN)
    if (this.sessions.of(to.bare).length > 0) return this.#decide(envelope, domainType)
    const exists = this.#exists(envelope, domainType)
    return exists instanceof Promise
      ? this.#decideLater(exists, envelope, domainType)
      : this.#decideFor(exists, envelope, domainType)
  }

  async #decideLater(
    exists: Promise<boolean>,
    envelope: Envelope,
    domainType: string,
  ): Promise<Outcome> {
    // Somebody may have connected meanwhile.
    return this.#decideFor(await exists, envelope, domainType)
  }

  #decideFor(known: boolean, envelope: Envelope, domainType: string): Outcome | Promise<Outcome> {
    if (!known) return this.#unknown(envelope)
    const target = this.#addressed(envelope)
    if (target !== undefined) return this.#handOff.to(envelope, [target], domainType, AGAIN)
    return this.#decide(envelope, domainType)
  }

  /**
   * The resource that a stanza is for. Messages that another session gave back wait for a resource
   * that is not available yet, together with those for the account: else they would overtake them.
   */
  #addressed({ to, stanza, notes }: Envelope): Resource | undefined {
    if (to.resource === '') return undefined
    const target = this.sessions.get(to)
    const isEarly = target?.priority === undefined && notes.isRetry === true
    return isEarly && stanza.kind === 'message' ? undefined : target
  }

  /** RFC 6121 §8.5.1. */
  #unknown(envelope: Envelope): Outcome | Promise<Outcome> {
    const { stanza, from, to } = envelope
    // Who tries out names learns no more of them after a while.
    if (stanza.kind === 'message' && !stanza.isError && !this.#astray.take(from.bare)) {
      return dropped(BY, 'too many to nobody')
    }
    if (stanza.kind !== 'iq' || !stanza.isRequest || to.resource !== '') {
      return this.#refuse(envelope, 'service-unavailable')
    }
    return this.#parts.iq.answer('nobody', envelope)
  }

  /** The table of RFC 6121 §8.5.2 and §8.5.3.2 for messages and iqs without a matching resource. */
  #decide(envelope: Envelope, domainType: string): Outcome | Promise<Outcome> {
    const { stanza, to } = envelope
    if (stanza.kind === 'iq') {
      if (!stanza.isRequest) return this.#parts.iq.accept(envelope)
      if (to.resource !== '') return this.#refuse(envelope, 'service-unavailable')
      return this.#parts.iq.answer('account', envelope)
    }
    const isBare = to.resource === ''
    switch (stanza.type) {
      case 'error':
        return dropped(BY, 'error to nobody')
      case 'headline':
        return isBare ? this.#headline(envelope, domainType) : dropped(BY, 'headline to nobody')
      case 'groupchat':
        return isBare && isFromService(envelope)
          ? this.#mostAvailable(envelope, domainType)
          : this.#refuse(envelope, 'service-unavailable')
      case 'chat':
        if (!isBare && isPrivateMessageOfRoom(stanza)) {
          return this.#refuse(envelope, 'service-unavailable')
        }
        break
      default:
        // One that was accepted for the resource before is not refused any more.
        if (isBare || envelope.notes.isRetry === true) break
        if (this.#parts.limits.normalToGoneResource === 'bounce') {
          return this.#refuse(envelope, 'service-unavailable')
        }
    }
    if (isBare) return this.#mostAvailable(envelope, domainType)
    const forgotten = this.#point('sm_filter_offline_message', domainType).run(false, { envelope })
    const next = (isForgotten: unknown) =>
      isForgotten === true
        ? dropped(BY, 'resource is gone')
        : this.#mostAvailable(envelope, domainType)
    return forgotten instanceof Promise ? forgotten.then(next) : next(forgotten)
  }

  /** Every available resource of non-negative priority, else nobody. */
  #headline(envelope: Envelope, domainType: string): Outcome | Promise<Outcome> {
    const targets = this.sessions.of(envelope.to.bare).filter(({ priority = -1 }) => priority >= 0)
    return this.#handOff.to(envelope, targets, domainType, HEADLINE_TO_NOBODY)
  }

  /**
   * A message to the account: to all resources that share the highest non-negative priority, `to`
   * unchanged; others may get a carbon. When there are none, to whoever keeps messages.
   */
  #mostAvailable(envelope: Envelope, domainType: string): Outcome | Promise<Outcome> {
    const resources = this.sessions.of(envelope.to.bare)
    let highest = 0
    for (const { priority = -1 } of resources) if (priority > highest) highest = priority
    const targets = resources.filter(({ priority }) => priority === highest)
    if (targets.length === 0) return this.#offline(envelope, domainType)
    return this.#handOff.to(envelope, targets, domainType, AGAIN)
  }

  /** Nobody is there. Someone may keep the message; else its sender is told. */
  #offline(envelope: Envelope, domainType: string): Outcome | Promise<Outcome> {
    const decided = this.#handOff.decided(envelope, [], domainType)
    if (decided instanceof Promise) return decided.then((last) => this.#keep(last, domainType))
    return this.#keep(decided, domainType)
  }

  #keep(envelope: Envelope | typeof DROP, domainType: string): Outcome | Promise<Outcome> {
    if (envelope === DROP) return dropped('sm_message_decided', 'filtered')
    const isGroupchat = envelope.stanza.type === 'groupchat'
    const hook = isGroupchat ? 'offline_groupchat_message' : 'offline_message'
    const nobody = dropped(BY, 'nobody available')
    const verdict = this.#point(hook, domainType).run(nobody, { envelope })
    const end = (kept: unknown): Outcome => {
      const outcome = this.#outcomeOf(kept, envelope)
      this.#point('sm_message_kept', domainType).tell(outcome, { envelope })
      return outcome
    }
    return verdict instanceof Promise ? verdict.then(end) : end(verdict)
  }

  #outcomeOf(kept: unknown, envelope: Envelope): Outcome {
    if (kept instanceof Stop) return kept.acc as Outcome
    if (kept === DROP) return dropped('offline_message', 'filtered')
    return this.#refuse(envelope, 'service-unavailable')
  }

  #presence(envelope: Envelope, domainType: string): Outcome | Promise<Outcome> {
    const { stanza, to } = envelope
    switch (stanza.type) {
      case 'subscribe':
      case 'subscribed':
      case 'unsubscribe':
      case 'unsubscribed':
        return this.#subscription(envelope, stanza.type, domainType)
      case 'probe': {
        const probed = this.#point('presence_probe', domainType).run(envelope, {})
        return probed instanceof Promise
          ? probed.then(() => answered('presence'))
          : answered('presence')
      }
    }
    if (to.resource !== '') {
      const target = this.sessions.get(to)
      if (target === undefined) return dropped(BY, 'resource is not connected')
      return this.#handOff.to(envelope, [target], domainType, AGAIN)
    }
    if (stanza.isError) return dropped(BY, 'error to nobody')
    const targets = this.sessions.available(to.bare)
    return this.#handOff.to(envelope, targets, domainType, NOBODY_AVAILABLE)
  }

  /** RFC 6121 §3: between bare JIDs, the roster first. */
  #subscription(
    received: Envelope,
    type: SubscriptionType,
    domainType: string,
  ): Outcome | Promise<Outcome> {
    const { from, to } = received
    // RFC 6121 §8.5.3.2.2; a request is for the account, whatever resource was written.
    if (type !== 'subscribe' && to.resource !== '' && this.sessions.get(to) === undefined) {
      return dropped(BY, 'resource is not connected')
    }
    const envelope =
      from.resource === '' && to.resource === ''
        ? received
        : received.with({ from: from.toBare(), to: to.toBare() })
    const decide = (known: boolean): Outcome | Promise<Outcome> => {
      if (!known) return dropped(BY, 'no such account')
      const verdict = this.#point('roster_in_subscription', domainType).run(UNWANTED, {
        envelope,
        type,
      })
      return verdict instanceof Promise ? verdict.then(spread) : spread(verdict)
    }
    const spread = (verdict: Verdict<'roster_in_subscription'>): Outcome | Promise<Outcome> => {
      if (verdict === DROP) return answered('roster')
      const { isWanted, isFor, afterDelivery } = verdict instanceof Stop ? verdict.acc : verdict
      const resources = isWanted ? this.sessions.of(to.bare) : []
      const targets = resources.filter(
        (resource) => resource.priority !== undefined || isFor?.(resource) === true,
      )
      const outcome = this.#handOff.to(envelope, targets, domainType, RECORDED)
      if (afterDelivery === undefined) return outcome
      if (outcome instanceof Promise) return outcome.finally(afterDelivery)
      afterDelivery()
      return outcome
    }
    const exists = this.#exists(envelope, domainType)
    return exists instanceof Promise ? exists.then(decide) : decide(exists)
  }

  /**
   * A stanza that another node decided is for a session of this one. False: the session is not here,
   * or not any more.
   */
  take(full: string, envelope: Envelope, domainType: string): Maybe<boolean> {
    if (this.#heldBack.isEmpty || envelope.notes.isRetry === true) {
      return this.#take(full, envelope, domainType)
    }
    return this.#heldBack.run(envelope.to.bare, () => this.#take(full, envelope, domainType))
  }

  #take(full: string, envelope: Envelope, domainType: string): Maybe<boolean> {
    const target = this.sessions.at(full)
    if (target === undefined || !isLocalSession(target)) return false
    if (envelope.stanza.kind !== 'message') return target.deliver(envelope)
    const verdict = this.#point('sm_message_taken', domainType).run(envelope, { targets: [target] })
    return after(verdict, (decided) => {
      const taken = envelopeOf(decided)
      return taken === DROP || target.deliver(taken)
    })
  }

  /** Whoever should have got a stanza cannot be reached, and nobody knows until when. */
  unreachable(envelope: Envelope, domainType: string): Outcome | Promise<Outcome> {
    const { kind, type, isRequest } = envelope.stanza
    if (kind === 'iq' && isRequest) return this.#refuse(envelope, 'recipient-unavailable')
    const mayBeKept = kind === 'message' && type !== 'error' && type !== 'headline'
    return mayBeKept ? this.#offline(envelope, domainType) : dropped(BY, 'out of reach')
  }

  // --- What it needs for that.

  #refuse(envelope: Envelope, condition: StanzaCondition): Outcome {
    return this.#parts.router.bounce(envelope, new StanzaError(condition), BY)
  }

  #exists(envelope: Envelope, domainType: string): boolean | Promise<boolean> {
    if (this.sessions.of(envelope.to.bare).length > 0) return true
    const account = envelope.to.toBare()
    const known = this.#point('does_user_exist', domainType).run(false, { account })
    return known instanceof Promise ? known.then(isTrue) : isTrue(known)
  }

  #point<N extends HookName>(name: N, domainType: string): HookPoint<N> {
    return this.#parts.hooks.at(name, domainType)
  }
}

function isTrue(verdict: unknown): boolean {
  return verdict === true || (verdict instanceof Stop && verdict.acc === true)
}

/** A component, or a service of this server's own. */
function isFromService({ origin }: Envelope): boolean {
  return origin.kind === 'component' || origin.kind === 'server'
}

/** XEP-0045 §7.5: a private message through a room, of an occupant who has left. */
function isPrivateMessageOfRoom(stanza: Stanza): boolean {
  return stanza.has('x', MUC_USER_NS)
}

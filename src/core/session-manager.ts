import type { Jid } from '../xmpp/jid.ts'
import { StreamError } from '../xmpp/stream-error.ts'
import type { Cluster, NodeRun } from './cluster.ts'
import type { Envelope } from './envelope.ts'
import { envelopeOf } from './hand-off.ts'
import { HeldBack } from './held-back.ts'
import type { EndReason } from './hook-map.ts'
import { DROP, type HookName, type HookPoint, type Hooks } from './hooks.ts'
import type { IqDispatcher } from './iq.ts'
import { after, type Maybe, settled } from './maybe.ts'
import type { Outcome } from './outcome.ts'
import type { Places } from './places.ts'
import type { Router } from './router.ts'
import { type RuleLimits, ServerRules } from './server-rules.ts'
import { isLocalSession, type Session, type StreamSession } from './session.ts'
import { Sessions } from './sessions.ts'
import { overWithin, systemTimers, type Timers } from './timers.ts'
import type { Tracer } from './tracer.ts'

/** What an account may have, and how its stanzas are dealt with. */
export type SessionLimits = RuleLimits & {
  /** Sessions of one account; over it the oldest is closed. */
  readonly maxSessionsPerUser: number
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

/** How long an account's stanzas wait for those of a session that ends, milliseconds. */
const HOLD_BACK = 5_000
/** And for what another node has of it, which is known when that is known to be lost. */
const HOLD_BACK_ELSEWHERE = 10_000
/** How long a client that goes on at another node waits for what it has sent last here, milliseconds. */
const LAST_SENT = 2_000

/**
 * Route step 7. Knows which resources of an account are there, on all nodes, and what has to wait for one of
 * them to leave. Which of them get a stanza the rules decide (`server-rules.ts`).
 */
export class SessionManager {
  readonly sessions = new Sessions()
  readonly #parts: Parts
  readonly #rules: ServerRules
  /** Stanzas that wait for what sessions of their account give back, by its bare JID. */
  readonly #heldBack: HeldBack
  readonly #timers: Timers
  /** By full JID: what sessions that were replaced had sent last, until its fate is decided. */
  readonly #lastSent = new Map<string, Promise<void>>()
  #lastId = 0
  /** What the ids of messages begin with that this run is the first to see. */
  #idsOfRun = ''
  #run: NodeRun | undefined

  constructor(parts: Parts) {
    const { timers = systemTimers } = parts
    this.#parts = parts
    this.#timers = timers
    this.#rules = new ServerRules({
      ...parts,
      sessions: this.sessions,
      decideAgain: (envelope, domainType) => this.#deliver(envelope, domainType),
      behind: (earlier, account, decide) => {
        const decided = overWithin(timers, HOLD_BACK, earlier).then(decide)
        this.holdBack(account, decided, true)
        return decided
      },
    })
    this.#heldBack = new HeldBack(timers, { here: HOLD_BACK, elsewhere: HOLD_BACK_ELSEWHERE })
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
      this.holdBack(session.jid, left, true)
    }
    const leaving = replaced && this.leaving(session.jid.bare)
    // A client that logs in waits no longer, but what is sent to it does.
    return this.#registered(session, leaving && overWithin(this.#timers, HOLD_BACK, leaving))
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
      this.holdBack(session.jid, replaced.close(), true)
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
    const leaving = cluster.isShared ? this.leavingHere(session.jid.bare) : undefined
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
   * `isElsewhere`: that is another node's, which may itself wait for what this one has to say.
   */
  holdBack({ bare }: Jid, leaving: Promise<unknown>, isElsewhere = false): void {
    this.#heldBack.hold(bare, leaving, isElsewhere)
  }

  /** What stanzas for an account wait for; `undefined` if they wait for nothing. */
  leaving(account: string): Promise<unknown> | undefined {
    return this.#heldBack.released(account)
  }

  /** As far as that is this node's own. */
  leavingHere(account: string): Promise<unknown> | undefined {
    return this.#heldBack.releasedHere(account)
  }

  /** Does `work` for an account when what its sessions here give back has gone on, and what came before. */
  afterLeaving<T>(account: string, work: () => Maybe<T>): Maybe<T> {
    return this.#heldBack.runHere(account, work)
  }

  /** Resolves when no stanza waits for anything of that kind. */
  allLeft(): Promise<void> {
    return this.#heldBack.allReleased()
  }

  /** Another session is in its place: its client may send again there what it has sent last. */
  replaced({ jid: { full }, receiving }: StreamSession): void {
    if (receiving === undefined) return
    const sent = overWithin(this.#timers, LAST_SENT, receiving).then(() => {
      if (this.#lastSent.get(full) === sent) this.#lastSent.delete(full)
    })
    this.#lastSent.set(full, sent)
  }

  /** Resolves when the fate of what the last session there had sent last is decided; `undefined` if it is. */
  lastSent(full: string): Promise<void> | undefined {
    return this.#lastSent.get(full)
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
    if (stanza.kind === 'presence') return this.#rules.applyToPresence(envelope, domainType)
    if (this.#heldBack.isEmpty || envelope.notes.isRetry === true) {
      return this.#rules.apply(envelope, domainType)
    }
    return this.#behind(to.bare, envelope, domainType)
  }

  #behind(account: string, envelope: Envelope, domainType: string): Outcome | Promise<Outcome> {
    return this.#heldBack.run(account, () => this.#rules.apply(envelope, domainType))
  }

  /**
   * A stanza that another node decided is for a session of this one. If that is not here, or not any more, the
   * stanza is left, with what handlers have noted of it meanwhile: at once, for what is waited for here may be at the
   * node that handed it over, and wait for this one.
   */
  take(full: string, envelope: Envelope, domainType: string): Maybe<Envelope | undefined> {
    if (this.#heldBack.isEmpty || envelope.notes.isRetry === true || !this.#isHere(full)) {
      return this.#take(full, envelope, domainType)
    }
    return this.#heldBack.run(envelope.to.bare, () => this.#take(full, envelope, domainType))
  }

  #isHere(full: string): boolean {
    const target = this.sessions.at(full)
    return target !== undefined && isLocalSession(target)
  }

  #take(full: string, envelope: Envelope, domainType: string): Maybe<Envelope | undefined> {
    const target = this.sessions.at(full)
    if (target === undefined || !isLocalSession(target)) return envelope
    if (envelope.stanza.kind !== 'message') return target.deliver(envelope) ? undefined : envelope
    const verdict = this.#point('sm_message_taken', domainType).run(envelope, { targets: [target] })
    return after(verdict, (decided) => {
      const taken = envelopeOf(decided)
      return taken === DROP || target.deliver(taken) ? undefined : taken
    })
  }

  /** Whoever should have got a stanza cannot be reached, and nobody knows until when. */
  unreachable(envelope: Envelope, domainType: string): Outcome | Promise<Outcome> {
    return this.#rules.unreachable(envelope, domainType)
  }

  #point<N extends HookName>(name: N, domainType: string): HookPoint<N> {
    return this.#parts.hooks.at(name, domainType)
  }
}

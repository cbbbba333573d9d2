import { type Connection, type ConnectionHandler, NOBODY } from '../connection/connection.ts'
import { chunkTime } from '../core/chunk-time.ts'
import type { Envelope, Origin } from '../core/envelope.ts'
import type { EndReason } from '../core/hook-map.ts'
import { type HookPoint, Stop } from '../core/hooks.ts'
import type { Logger } from '../core/log.ts'
import type { Outcome } from '../core/outcome.ts'
import type { Router } from '../core/router.ts'
import type { SessionInfo, SessionOpening, SharedState, StreamSession } from '../core/session.ts'
import type { SessionManager } from '../core/session-manager.ts'
import type { FullJid } from '../xmpp/jid.ts'
import type { Octets } from '../xmpp/octets.ts'
import type { Stanza } from '../xmpp/stanza.ts'
import { isStreamError, type StreamCondition, type StreamError } from '../xmpp/stream-error.ts'
import type { Frame } from '../xmpp/xml-parser.ts'
import { receive } from './inbound.ts'
import { Outbound, type OutboundStages } from './outbound.ts'
import type { SessionPoints } from './session-points.ts'

/** What all sessions of a domain type have in common. */
export type SessionEnvironment = {
  readonly router: Router
  readonly sessionManager: SessionManager
  readonly points: SessionPoints
  readonly stages: OutboundStages
  readonly log: Logger
}

/** Where a handler may keep a session that loses its connection. */
type Parting =
  | HookPoint<'user_stop_request'>
  | HookPoint<'user_socket_closed'>
  | HookPoint<'user_socket_error'>

const CLOSING = '</stream:stream>' as Octets
const NOTHING_SHARED: SharedState = {}

/**
 * A client's session from resource binding to its end: the state that `inbound.ts` and
 * `outbound.ts` work on. It belongs to its account and resource, not to the connection, and may
 * outlive it if a handler of `user_socket_closed` keeps it.
 */
export class ClientSession implements StreamSession, ConnectionHandler {
  readonly jid: FullJid
  readonly id: string
  info: SessionInfo
  /** Of what its client sends; also the params of the hooks run in this session. */
  readonly inSession: { readonly kind: 'c2s'; readonly session: ClientSession }
  /** `xml:lang` of the client's stream, escaped. */
  lang: Octets | undefined
  readonly #environment: SessionEnvironment
  readonly #outbound: Outbound
  /** `undefined` while the session is kept without one. */
  connection: Connection | undefined
  priority: number | undefined
  presence: Stanza | undefined
  shared: SharedState = NOTHING_SHARED
  lastActivity: number
  lastAction: number
  isClosed = false
  isOpening = false
  acknowledges = false
  onSettled: ((envelope: Envelope, outcome: Outcome) => void) | undefined
  beforeFlush: (() => void) | undefined
  receiving: Promise<void> | undefined
  #ended: Promise<void> | undefined

  constructor(
    opening: SessionOpening,
    connection: Connection | undefined,
    environment: SessionEnvironment,
  ) {
    this.jid = opening.jid
    this.id = opening.id
    this.info = opening.info
    this.lang = opening.lang
    this.lastActivity = opening.info.openedAt
    this.lastAction = opening.info.openedAt
    this.connection = connection
    this.inSession = { kind: 'c2s', session: this }
    this.#environment = environment
    this.#outbound = new Outbound(this, environment)
  }

  get origin(): Origin {
    return this.inSession
  }

  get domainType(): string {
    return this.#environment.points.domainType
  }

  get points(): SessionPoints {
    return this.#environment.points
  }

  get stages(): OutboundStages {
    return this.#environment.stages
  }

  get isConnected(): boolean {
    return this.connection !== undefined
  }

  // --- From the session manager and modules.

  deliver(envelope: Envelope): boolean {
    return this.#outbound.deliver(envelope)
  }

  hold() {
    const release = this.#outbound.hold()
    return { through: (envelope: Envelope) => this.#outbound.through(envelope), release }
  }

  write(octets: Octets): void {
    this.connection?.write(octets)
  }

  setPresence(priority: number | undefined, presence: Stanza | undefined): void {
    this.priority = priority
    this.presence = presence
    this.#environment.sessionManager.changed(this)
  }

  share(changes: Partial<SharedState>): void {
    this.shared = { ...this.shared, ...changes }
    this.#environment.sessionManager.changed(this)
  }

  close(error?: StreamError): Promise<void> {
    if (this.#ended !== undefined) return this.#ended
    this.#hangUp(error)
    return this.#letGo(this.points.stopRequest, reasonOf(error)) ?? Promise.resolve()
  }

  disconnect(error?: StreamError): Promise<void> | undefined {
    this.#hangUp(error)
    return this.#letGo(this.points.socketClosed, 'lost')
  }

  presend(envelope: Envelope): void {
    this.#outbound.presend(envelope)
  }

  waitFor(work: Promise<unknown>): void {
    void this.connection?.waitFor(work)
  }

  /** The client has given a sign of life; an action is a message or presence. */
  touch(isAction: boolean): void {
    const now = chunkTime()
    this.lastActivity = now
    if (isAction) this.lastAction = now
  }

  acknowledged(envelope: Envelope): void {
    envelope.delivery?.acknowledge()
    if (!envelope.hasNotes) return
    this.points.acknowledged.tell(envelope, this.inSession)
  }

  // --- From the connection.

  /** Goes on over a connection; there must be none. */
  attach(connection: Connection, info: SessionInfo, lang: Octets | undefined): void {
    this.connection = connection
    this.info = info
    this.lang = lang
    connection.handler = this
    this.touch(false)
  }

  onStreamStart(): void {
    // The parser refuses a header inside a stream; after a restart there is a negotiation.
  }

  onElement(frame: Frame): void {
    if (isStreamError(frame)) return this.onStreamEnd()
    const pending = receive(this, frame, this.#environment.router)
    if (pending === undefined) return
    this.waitFor(pending)
    const over = () => {
      if (this.receiving === done) this.receiving = undefined
    }
    const done = pending.then(over, over)
    this.receiving = done
  }

  onStreamEnd(): void {
    void this.end('closed')
  }

  onStreamError(error: StreamError): void {
    if (reasonOf(error) === 'lost') void this.close(error)
    else void this.end('closed', error)
  }

  onFlush(): void {
    this.beforeFlush?.()
  }

  onDrain(): void {
    this.#outbound.drain()
  }

  onClosed(error: Error | undefined): void {
    this.connection = undefined
    if (this.isClosed) return
    const { socketClosed, socketError } = this.points
    void this.#letGo(error === undefined ? socketClosed : socketError, 'lost')
  }

  /** The connection is gone. A handler may keep the session; else the promise is that of its end. */
  #letGo(point: Parting, reason: EndReason): Promise<void> | undefined {
    // What comes before that is decided has nowhere to go.
    const release = this.#outbound.hold()
    const decide = (verdict: unknown) => {
      if (!(verdict instanceof Stop)) return this.end(reason)
      release()
      return undefined
    }
    const fail = (error: unknown) => {
      this.#failed(point.name, error)
      return this.end(reason)
    }
    try {
      const verdict = point.run(reason, this.inSession)
      return verdict instanceof Promise ? verdict.then(decide, fail) : decide(verdict)
    } catch (error) {
      return fail(error)
    }
  }

  /** Says goodbye, and hears no more of the connection. */
  #hangUp(error?: StreamError): void {
    const { connection } = this
    if (connection === undefined) return
    this.connection = undefined
    connection.handler = NOBODY
    connection.end(error === undefined ? CLOSING : ((error.toOctets() + CLOSING) as Octets))
  }

  // --- The end.

  /**
   * Ends the session: says goodbye, tells contacts, unregisters, gives back what was not delivered.
   * Resolves when all of that is done; further calls wait for the same end.
   */
  end(reason: EndReason, error?: StreamError): Promise<void> {
    this.#ended ??= this.#end(reason, error)
    return this.#ended
  }

  async #end(reason: EndReason, error: StreamError | undefined): Promise<void> {
    // From here on `deliver` answers false and the session manager looks for others.
    this.isClosed = true
    if (reason === 'replaced') this.#environment.sessionManager.replaced(this)
    this.#hangUp(error)
    const mayGiveBack = this.acknowledges || !this.#outbound.isEmpty
    const { sessionManager } = this.#environment
    const leaving = this.#leave(reason)
    if (mayGiveBack) sessionManager.holdBack(this.jid, leaving)
    await leaving
    // Other nodes go on handing over what comes until then, so that nothing is overtaken.
    await sessionManager.left(this)
  }

  suspend(moved?: Promise<unknown>, rest: readonly Envelope[] = []): Promise<void> {
    this.#ended ??= this.#suspend(moved, rest)
    return this.#ended
  }

  async #suspend(moved: Promise<unknown> | undefined, rest: readonly Envelope[]): Promise<void> {
    this.isClosed = true
    this.#hangUp()
    this.#environment.sessionManager.sessions.remove(this)
    await this.#outbound.settled
    await moved
    await this.#reroute([...rest, ...this.#outbound.takeAll()])
  }

  async #leave(reason: EndReason): Promise<void> {
    const { sessionManager, log } = this.#environment
    await this.#attempt('user_terminate', () => this.points.terminate.run(reason, this.inSession))
    await this.#attempt('sm_remove_connection', () => sessionManager.unregister(this, reason))
    await this.#outbound.settled
    const unacked = await this.#collect(this.#outbound.takeAll())
    await this.#reroute(unacked)
    log.debug('session_closed', { jid: this.jid.full, reason, rerouted: unacked.length })
  }

  async #reroute(envelopes: readonly Envelope[]): Promise<void> {
    const { router } = this.#environment
    for (const envelope of envelopes) {
      // Another resource has it, or will give it back in its turn.
      if (envelope.delivery?.giveBack(envelope) === false) continue
      const outcome = router.route(envelope.shared(undefined).asRetry())
      if (outcome instanceof Promise) await outcome
    }
  }

  /** What was not delivered: first what modules kept of it, then what waited here. */
  async #collect(own: readonly Envelope[]): Promise<readonly Envelope[]> {
    const rerouted = await this.#attempt('reroute_unacked_messages', () =>
      this.points.reroute.run(own, this.inSession),
    )
    const all = listOf(rerouted, own)
    if (all.length === 0) return all
    const filtered = await this.#attempt('filter_unacknowledged_messages', () =>
      this.points.filterUnacknowledged.run(all, { jid: this.jid }),
    )
    return listOf(filtered, all)
  }

  /** The end goes on whatever fails on its way. */
  async #attempt<T>(what: string, work: () => T | Promise<T>): Promise<T | undefined> {
    try {
      return await work()
    } catch (error) {
      this.#failed(what, error)
      return undefined
    }
  }

  #failed(hook: string, error: unknown): void {
    this.#environment.log.error('session_hook_failed', { hook, jid: this.jid.full, error })
  }
}

function listOf(verdict: unknown, otherwise: readonly Envelope[]): readonly Envelope[] {
  const list = verdict instanceof Stop ? verdict.acc : verdict
  return Array.isArray(list) ? list : otherwise
}

/** Errors that are not the client's fault: it may come back. */
const LOST: ReadonlySet<StreamCondition> = new Set([
  'connection-timeout',
  'internal-server-error',
  'reset',
  'resource-constraint',
])

function reasonOf(error: StreamError | undefined): EndReason {
  if (error === undefined) return 'kicked'
  if (error.condition === 'conflict') return 'replaced'
  if (error.condition === 'system-shutdown' || error.condition === 'see-other-host')
    return 'shutdown'
  return LOST.has(error.condition) ? 'lost' : 'kicked'
}

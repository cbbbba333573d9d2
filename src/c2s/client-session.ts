import type { Envelope, Origin } from '../core/envelope.ts'
import type { EndReason } from '../core/hook-map.ts'
import { Stop } from '../core/hooks.ts'
import type { Logger } from '../core/log.ts'
import type { Outcome } from '../core/outcome.ts'
import type { Router } from '../core/router.ts'
import type { Session, SessionInfo, SharedState } from '../core/session.ts'
import type { SessionManager } from '../core/session-manager.ts'
import type { FullJid } from '../xmpp/jid.ts'
import type { Octets } from '../xmpp/octets.ts'
import type { Stanza } from '../xmpp/stanza.ts'
import type { StreamError } from '../xmpp/stream-error.ts'
import type { Frame } from '../xmpp/xml-parser.ts'
import type { Connection, ConnectionHandler } from './connection.ts'
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

type Opening = {
  readonly jid: FullJid
  readonly id: string
  readonly info: SessionInfo
  readonly lang: Octets | undefined
}

const CLOSING = '</stream:stream>' as Octets
const NOTHING_SHARED: SharedState = {}

/**
 * A client's session from resource binding to its end: the state that `inbound.ts` and
 * `outbound.ts` work on. It belongs to its account and resource, not to the connection, and may
 * outlive it if a handler of `user_socket_closed` keeps it.
 */
export class ClientSession implements Session, ConnectionHandler {
  readonly jid: FullJid
  readonly id: string
  readonly info: SessionInfo
  readonly origin: Origin
  /** Params of the hooks run in this session. */
  readonly inSession: { readonly session: ClientSession }
  /** `xml:lang` of the client's stream, escaped. */
  readonly lang: Octets | undefined
  readonly #environment: SessionEnvironment
  readonly #outbound: Outbound
  /** `undefined` while the session is kept without one. */
  connection: Connection | undefined
  priority: number | undefined
  presence: Stanza | undefined
  shared: SharedState = NOTHING_SHARED
  lastActivity: number
  isClosed = false
  /** Set by whoever learns from the client itself what arrived, and tells `stanza_acknowledged`. */
  acknowledges = false
  /** Told the fate of each stanza of the client, in order of decision. */
  onSettled: ((envelope: Envelope, outcome: Outcome) => void) | undefined
  #ended: Promise<void> | undefined

  constructor(opening: Opening, connection: Connection, environment: SessionEnvironment) {
    this.jid = opening.jid
    this.id = opening.id
    this.info = opening.info
    this.lang = opening.lang
    this.lastActivity = opening.info.openedAt
    this.connection = connection
    this.origin = { kind: 'c2s', session: this }
    this.inSession = { session: this }
    this.#environment = environment
    this.#outbound = new Outbound(this, environment.router, environment.log)
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
  }

  share(changes: Partial<SharedState>): void {
    this.shared = { ...this.shared, ...changes }
  }

  close(error?: StreamError): Promise<void> {
    return this.end(reasonOf(error), error)
  }

  touch(): void {
    this.lastActivity = Date.now()
  }

  /** A stanza that had something noted reached the client. */
  acknowledged(envelope: Envelope): void {
    try {
      const told = this.points.acknowledged.run(envelope, this.inSession)
      if (told instanceof Promise) told.catch((error) => this.#failed('stanza_acknowledged', error))
    } catch (error) {
      this.#failed('stanza_acknowledged', error)
    }
  }

  // --- From the connection.

  onStreamStart(): void {
    // The parser refuses a header inside a stream; after a restart there is a negotiation.
  }

  onElement(frame: Frame): void {
    const pending = receive(this, frame, this.#environment.router)
    if (pending !== undefined) void this.connection?.waitFor(pending)
  }

  onStreamEnd(): void {
    void this.end('closed')
  }

  onStreamError(error: StreamError): void {
    void this.end('closed', error)
  }

  onDrain(): void {
    this.#outbound.drain()
  }

  onClosed(error: Error | undefined): void {
    this.connection = undefined
    if (this.isClosed) return
    void this.#lost(error)
  }

  /** The connection is gone without a word. A handler may keep the session. */
  async #lost(error: Error | undefined): Promise<void> {
    const { socketClosed, socketError } = this.points
    const point = error === undefined ? socketClosed : socketError
    // What comes before that is decided has nowhere to go.
    const release = this.#outbound.hold()
    try {
      const verdict = await point.run('lost', this.inSession)
      if (verdict instanceof Stop) return release()
    } catch (failure) {
      this.#failed(point.name, failure)
    }
    await this.end('lost')
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
    const goodbye = error === undefined ? CLOSING : ((error.toOctets() + CLOSING) as Octets)
    this.connection?.end(goodbye)
    const { sessionManager } = this.#environment
    const leaving = this.#leave(reason)
    sessionManager.holdBack(this.jid, leaving)
    await leaving
  }

  async #leave(reason: EndReason): Promise<void> {
    const { sessionManager, router, log } = this.#environment
    await this.#attempt('user_terminate', () => this.points.terminate.run(reason, this.inSession))
    await this.#attempt('sm_remove_connection', () => sessionManager.unregister(this, reason))
    await this.#outbound.settled
    const unacked = await this.#collect(this.#outbound.takeAll())
    for (const envelope of unacked) {
      const outcome = router.route(envelope.noted({ isRetry: true }))
      if (outcome instanceof Promise) await outcome
    }
    log.debug('session_closed', { jid: this.jid.full, reason, rerouted: unacked.length })
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

function reasonOf(error: StreamError | undefined): EndReason {
  if (error?.condition === 'conflict') return 'replaced'
  return error?.condition === 'system-shutdown' ? 'shutdown' : 'kicked'
}

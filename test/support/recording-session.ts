import type { Envelope } from '../../src/core/envelope.ts'
import type { EndReason } from '../../src/core/hook-map.ts'
import { type Hooks, resultOf, Stop } from '../../src/core/hooks.ts'
import type { Router } from '../../src/core/router.ts'
import type { SessionInfo, SharedState, StreamSession } from '../../src/core/session.ts'
import type { SessionManager } from '../../src/core/session-manager.ts'
import type { FullJid } from '../../src/xmpp/jid.ts'
import type { Octets } from '../../src/xmpp/octets.ts'
import type { Stanza } from '../../src/xmpp/stanza.ts'
import type { StreamError } from '../../src/xmpp/stream-error.ts'

export type RecordingSessionParts = {
  readonly hooks: Hooks
  readonly router: Router
  readonly sessionManager: SessionManager
}

type Opening = {
  readonly jid: FullJid
  readonly domainType: string
  /** As a client with stream management: nothing is acknowledged until `acknowledge` is called. */
  readonly acknowledges?: boolean
  readonly isAnonymous?: boolean
  readonly now?: number
}

let lastId = 0

/** A session whose client is the test: it keeps what it is given, in order. */
export class RecordingSession implements StreamSession {
  readonly jid: FullJid
  readonly id = `session-${++lastId}`
  readonly domainType: string
  readonly info: SessionInfo
  readonly #parts: RecordingSessionParts
  readonly lang = undefined
  readonly receiving = undefined
  readonly isOpening = false
  acknowledges: boolean
  onSettled: StreamSession['onSettled']
  beforeFlush: StreamSession['beforeFlush']
  isConnected = true
  priority: number | undefined
  presence: Stanza | undefined
  shared: SharedState = {}
  lastActivity: number
  lastAction: number
  isClosed = false
  closedWith: StreamError | undefined
  /** What the client got. */
  readonly received: Envelope[] = []
  /** What it has acknowledged, too. */
  readonly confirmed: Envelope[] = []
  /** What was written besides stanzas. */
  readonly written: Octets[] = []
  /** What stands behind a hold. */
  #held: Envelope[] = []
  #holds = 0
  #unacknowledged: Envelope[] = []
  #waiting: { is: (envelope: Envelope) => boolean; resolve: (envelope: Envelope) => void }[] = []
  #ended: Promise<void> | undefined

  constructor(opening: Opening, parts: RecordingSessionParts) {
    this.jid = opening.jid
    this.domainType = opening.domainType
    this.acknowledges = opening.acknowledges ?? false
    this.#parts = parts
    this.lastActivity = opening.now ?? 0
    this.lastAction = this.lastActivity
    this.info = {
      connection: 'tls',
      address: '127.0.0.1',
      mechanism: 'SCRAM-SHA-256',
      isAnonymous: opening.isAnonymous ?? false,
      openedAt: this.lastActivity,
    }
  }

  get isHeld(): boolean {
    return this.#holds > 0
  }

  deliver(envelope: Envelope): boolean {
    if (this.isClosed) return false
    if (this.isHeld) this.#held.push(envelope)
    else this.#write(envelope)
    return true
  }

  hold() {
    this.#holds++
    let isHeld = true
    const release = () => {
      if (!isHeld) return
      isHeld = false
      this.#holds--
      while (!this.isHeld && this.#held.length > 0) this.#write(this.#held.shift() as Envelope)
    }
    const through = (envelope: Envelope) => {
      if (this.isClosed) return false
      this.#write(envelope)
      return true
    }
    return { through, release }
  }

  write(octets: Octets): void {
    this.written.push(octets)
  }

  waitFor(): void {}

  share(changes: Partial<SharedState>): void {
    this.shared = { ...this.shared, ...changes }
  }

  setPresence(priority: number | undefined, presence: Stanza | undefined): void {
    this.priority = priority
    this.presence = presence
  }

  presend(envelope: Envelope): void {
    this.#write(envelope)
  }

  async disconnect(error?: StreamError): Promise<void> {
    this.isConnected = false
    this.closedWith ??= error
    const point = this.#parts.hooks.at('user_socket_closed', this.domainType)
    const verdict = await point.run('lost', { session: this })
    if (!(verdict instanceof Stop)) await this.end('lost')
  }

  close(error?: StreamError): Promise<void> {
    this.closedWith ??= error
    return this.end(error === undefined ? 'closed' : 'kicked')
  }

  /** The first stanza received, now or later, of which this is true. */
  receives(is: (envelope: Envelope) => boolean): Promise<Envelope> {
    const found = this.received.find(is)
    if (found !== undefined) return Promise.resolve(found)
    return new Promise((resolve) => this.#waiting.push({ is, resolve }))
  }

  /** The client acknowledges the oldest `count` stanzas. */
  acknowledge(count = Number.POSITIVE_INFINITY): void {
    for (const envelope of this.#unacknowledged.splice(0, count)) this.#confirm(envelope)
  }

  suspend(): Promise<void> {
    this.isClosed = true
    this.#parts.sessionManager.sessions.remove(this)
    return Promise.resolve()
  }

  /** Ends as a client's session does: what was not acknowledged goes back to the route. */
  end(reason: EndReason = 'lost'): Promise<void> {
    this.#ended ??= this.#end(reason)
    return this.#ended
  }

  async #end(reason: EndReason): Promise<void> {
    this.isClosed = true
    const { hooks, router, sessionManager } = this.#parts
    await hooks.at('user_terminate', this.domainType).run(reason, { session: this })
    await sessionManager.unregister(this, reason)
    const own = [...this.#unacknowledged, ...this.#held]
    const kept = await hooks
      .at('reroute_unacked_messages', this.domainType)
      .run(own, { session: this })
    const filtered = await hooks
      .at('filter_unacknowledged_messages', this.domainType)
      .run(resultOf(kept, []), { jid: this.jid })
    for (const envelope of resultOf(filtered, [])) {
      await router.route(envelope.noted({ isRetry: true }))
    }
  }

  #write(envelope: Envelope): void {
    this.received.push(envelope)
    this.#unacknowledged.push(envelope)
    if (!this.acknowledges) {
      setImmediate(() => {
        if (!this.isClosed) this.acknowledge(1)
      })
    }
    for (const waiting of this.#waiting.filter(({ is }) => is(envelope))) {
      this.#waiting = this.#waiting.filter((other) => other !== waiting)
      waiting.resolve(envelope)
    }
  }

  #confirm(envelope: Envelope): void {
    this.confirmed.push(envelope)
    if (envelope.hasNotes) this.acknowledged(envelope)
  }

  acknowledged(envelope: Envelope): void {
    this.#parts.hooks.at('stanza_acknowledged', this.domainType).run(envelope, { session: this })
  }
}

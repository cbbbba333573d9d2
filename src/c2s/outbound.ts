import type { Envelope } from '../core/envelope.ts'
import { DROP, type HookPoint, Stop } from '../core/hooks.ts'
import type { Logger } from '../core/log.ts'
import type { Router } from '../core/router.ts'
import type { StanzaKind } from '../xmpp/stanza.ts'
import { StanzaError } from '../xmpp/stanza-error.ts'
import { StreamError } from '../xmpp/stream-error.ts'
import type { ClientSession } from './client-session.ts'
import type { SessionPoints } from './session-points.ts'

/** What a session may keep for a client that does not read, in octets. */
export const OUTPUT_BUDGET = 1024 * 1024
/** What an envelope takes besides its payload, roughly. */
const OVERHEAD = 200

type Stage = HookPoint<'user_receive_packet' | 'user_receive_message' | 'xmpp_presend_element'>

/** The stages that a stanza of each kind passes, made once per domain type. */
export type OutboundStages = { readonly [K in StanzaKind]: readonly Stage[] }

export function outboundStages(points: SessionPoints): OutboundStages {
  const through = (kind: StanzaKind) =>
    [points.receivePacket, points.receive[kind], points.presend] as unknown as readonly Stage[]
  return { message: through('message'), presence: through('presence'), iq: through('iq') }
}

/**
 * Route step 8. Takes what the session manager delivers, runs the `user_receive_*` hooks and
 * `xmpp_presend_element`, and writes to the socket.
 *
 * While the client does not read, while a hook is still deciding, or while something has to go
 * first, stanzas wait here in order. The wait is bounded: a session over its budget is closed, and
 * what waited goes back to the session manager.
 */
export class Outbound {
  readonly #session: ClientSession
  readonly #router: Router
  readonly #log: Logger
  #queue: Envelope[] | undefined
  #queued = 0
  #holds = 0
  #isDeciding = false

  constructor(session: ClientSession, router: Router, log: Logger) {
    this.#session = session
    this.#router = router
    this.#log = log
  }

  /** False: the session has ended. */
  deliver(envelope: Envelope): boolean {
    const session = this.#session
    if (session.isClosed) return false
    if (this.#queue !== undefined || session.connection?.isBlocked === true) this.#enqueue(envelope)
    else this.#offer(envelope)
    return true
  }

  /** Past all that waits. */
  through(envelope: Envelope): boolean {
    if (this.#session.isClosed) return false
    const pending = this.#stage(0, envelope)
    if (pending !== undefined) pending.catch(() => {})
    return true
  }

  hold(): () => void {
    this.#holds++
    this.#queue ??= []
    let isHeld = true
    return () => {
      if (!isHeld) return
      isHeld = false
      this.#holds--
      this.drain()
    }
  }

  /** Goes on with what waited, as far as the socket takes it. */
  drain(): void {
    const queue = this.#queue
    if (queue === undefined) return
    let next = 0
    while (next < queue.length && this.#mayGoOn()) {
      const envelope = queue[next++] as Envelope
      this.#queued -= weigh(envelope)
      this.#offer(envelope)
    }
    queue.splice(0, next)
    if (queue.length === 0 && this.#mayGoOn()) this.#queue = undefined
  }

  /** Takes out what was not written, oldest first. */
  takeAll(): Envelope[] {
    const queue = this.#queue ?? []
    this.#queue = undefined
    this.#queued = 0
    return queue
  }

  #mayGoOn(): boolean {
    const { isClosed, connection } = this.#session
    return this.#holds === 0 && !this.#isDeciding && !isClosed && connection?.isBlocked !== true
  }

  #enqueue(envelope: Envelope): void {
    this.#queue ??= []
    this.#queue.push(envelope)
    this.#queued += weigh(envelope)
    if (this.#queued > OUTPUT_BUDGET) {
      void this.#session.close(new StreamError('resource-constraint', 'Too much output not read'))
    }
  }

  #offer(envelope: Envelope): void {
    const pending = this.#stage(0, envelope)
    if (pending === undefined) return
    this.#isDeciding = true
    this.#queue ??= []
    pending
      .catch((error) => this.#log.error('delivery_failed', { to: envelope.to.full, error }))
      .finally(() => {
        this.#isDeciding = false
        this.drain()
      })
  }

  /** Runs the hooks from stage `first` on, then writes. A promise only if a hook gave one. */
  #stage(first: number, start: Envelope): Promise<void> | undefined {
    let envelope = start
    const session = this.#session
    const stages = session.stages[envelope.stanza.kind]
    for (let i = first; i < stages.length; i++) {
      const stage = stages[i] as Stage
      if (stage.isEmpty) continue
      try {
        const verdict = stage.run(envelope, session.inSession)
        if (verdict instanceof Promise) {
          const asked = envelope
          return verdict.then(
            (decided) =>
              decided === DROP || decided instanceof Stop ? undefined : this.#stage(i + 1, decided),
            (error) => this.#refuse(asked, error),
          )
        }
        if (verdict === DROP || verdict instanceof Stop) return undefined
        envelope = verdict
      } catch (error) {
        this.#refuse(envelope, error)
        return undefined
      }
    }
    this.#write(envelope)
    return undefined
  }

  #write(envelope: Envelope): void {
    const session = this.#session
    const { connection } = session
    // Without a connection only a handler that keeps stanzas keeps the session; it has this one.
    if (connection === undefined) return
    connection.write(envelope.octets)
    if (!envelope.hasNotes || session.acknowledges || session.points.acknowledged.isEmpty) return
    connection.onceFlushed(() => session.acknowledged(envelope))
  }

  #refuse(envelope: Envelope, error: unknown): void {
    if (error instanceof StanzaError) {
      this.#router.bounce(envelope, error, 'user_receive')
      return
    }
    this.#log.error('delivery_failed', { to: envelope.to.full, error })
    const failure = new StanzaError('internal-server-error', { type: 'wait' })
    this.#router.bounce(envelope, failure, 'user_receive')
  }
}

function weigh(envelope: Envelope): number {
  return envelope.stanza.payload.length + envelope.stanza.head.length + OVERHEAD
}

import type { Connection } from '../connection/connection.ts'
import { Envelope, isKnownEarlier } from '../core/envelope.ts'
import { DROP, type HookPoint, type Stop } from '../core/hooks.ts'
import type { Logger } from '../core/log.ts'
import { weigh } from '../core/portions.ts'
import type { Router } from '../core/router.ts'
import type { Session } from '../core/session.ts'
import type { Tracer } from '../core/tracer.ts'
import type { StanzaKind } from '../xmpp/stanza.ts'
import { StanzaError } from '../xmpp/stanza-error.ts'
import { countKind, ofKind } from '../xmpp/stanza-kind.ts'
import { StreamError } from '../xmpp/stream-error.ts'
import type { ClientSession } from './client-session.ts'
import type { SessionPoints } from './session-points.ts'

/** What a session may keep for a client that does not read, in octets. */
export const OUTPUT_BUDGET = 1024 * 1024

/** What waits at nearly all sessions. */
const NONE: Envelope[] = []
Object.freeze(NONE)

function added(waiting: Envelope[], envelope: Envelope): Envelope[] {
  if (waiting.length === 0) return [envelope]
  waiting.push(envelope)
  return waiting
}

/** Without so many at its beginning. */
function without(waiting: Envelope[], count: number): Envelope[] {
  if (count === 0) return waiting
  return waiting.length === count ? NONE : waiting.slice(count)
}

type Stage = HookPoint<'user_receive_packet' | 'user_receive_message' | 'xmpp_presend_element'>

/** The stages that a stanza of each kind passes, made once per domain type. */
export type OutboundStages = { readonly [K in StanzaKind]: readonly Stage[] }

export function outboundStages(points: SessionPoints): OutboundStages {
  const through = (kind: StanzaKind) =>
    [points.receivePacket, points.receive[kind], points.presend] as unknown as readonly Stage[]
  return { message: through('message'), presence: through('presence'), iq: through('iq') }
}

/** What all sessions have in common. */
type OutboundHost = { readonly router: Router; readonly log: Logger }

/** What the way out needs of a session. */
export type Receiving = Pick<
  ClientSession,
  'jid' | 'isClosed' | 'stages' | 'points' | 'acknowledges' | 'acknowledged' | 'close'
> & {
  readonly inSession: { readonly session: Session }
  readonly connection: Pick<Connection, 'isBlocked' | 'write' | 'onceFlushed'> | undefined
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
  readonly #session: Receiving
  readonly #host: OutboundHost
  /** What waits its turn. */
  #queue = NONE
  /** Octets of `#queue`. */
  #queued = 0
  /** What goes past `#queue`, but could not go out at once. */
  #ahead = NONE
  #holds = 0
  /** A hook is still to decide about the stanza before. */
  #deciding: Promise<void> | undefined
  #isDraining = false
  /** Decided upon when the session had ended already. */
  #late = NONE

  constructor(session: Receiving, host: OutboundHost) {
    this.#session = session
    this.#host = host
  }

  /** False: the session has ended. */
  deliver(envelope: Envelope): boolean {
    const { tracer, stages } = this.#host.router
    stages.c2sOut.stanzas++
    return tracer === undefined ? this.#deliver(envelope) : this.#follow(tracer, envelope)
  }

  #follow(tracer: Tracer, envelope: Envelope): boolean {
    const work = (followed: Envelope) => this.#deliver(followed)
    // Nothing of it waits for anything.
    return tracer.pass(
      this.#host.router.stages.c2sOut,
      envelope,
      work,
      this.#session.jid,
    ) as boolean
  }

  #deliver(envelope: Envelope): boolean {
    if (this.#session.isClosed) return false
    if (this.#holds === 0 && this.#queue.length === 0 && this.#isOpen) this.#offer(envelope)
    else this.#enqueue(envelope)
    return true
  }

  /** Past what waits, but for what its sender has sent before it. False: the session has ended. */
  through(envelope: Envelope): boolean {
    if (this.#session.isClosed) return false
    for (const earlier of this.#takeEarlier(envelope)) this.#pass(earlier)
    this.#pass(envelope)
    return true
  }

  #pass(envelope: Envelope): void {
    if (this.#isOpen) this.#offer(envelope)
    else this.#ahead = added(this.#ahead, envelope)
  }

  /**
   * What was handed over live while the node of the sender did not know yet that the session is available is
   * followed by what that node has stored.
   */
  #takeEarlier({ from, notes }: Envelope): readonly Envelope[] {
    if (notes.id === undefined || this.#isDraining) return []
    let last = -1
    for (const [index, held] of this.#queue.entries()) {
      if (held.from.full !== from.full) continue
      if (isKnownEarlier(held.notes, notes)) last = index
      // What came after that came even later.
      else if (isKnownEarlier(notes, held.notes)) break
    }
    if (last === -1) return []
    const earlier: Envelope[] = []
    this.#queue = this.#queue.filter((held, index) => {
      if (index > last || held.from.full !== from.full) return true
      earlier.push(held)
      this.#queued -= weigh(held)
      return false
    })
    return earlier
  }

  /** From the last stage on, past all that waits. */
  presend(envelope: Envelope): void {
    this.#offer(envelope, this.#session.stages[envelope.stanza.kind].length - 1)
  }

  hold(): () => void {
    this.#holds++
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
    if (this.#isDraining) return
    this.#isDraining = true
    let taken = 0
    while (taken < this.#ahead.length && this.#isFree) {
      this.#offer(this.#ahead[taken++] as Envelope)
    }
    this.#ahead = without(this.#ahead, taken)
    taken = 0
    while (taken < this.#queue.length && this.#isFree && this.#mayPassQueue) {
      const envelope = this.#queue[taken++] as Envelope
      this.#queued -= weigh(envelope)
      this.#offer(envelope)
    }
    this.#queue = without(this.#queue, taken)
    this.#isDraining = false
  }

  /** Nothing waits here, for a hook or for the socket. */
  get isEmpty(): boolean {
    return (
      this.#deciding === undefined &&
      this.#late.length === 0 &&
      this.#ahead.length === 0 &&
      this.#queue.length === 0
    )
  }

  /** Resolves when no hook is to decide about anything any more; `undefined` if none is. */
  get settled(): Promise<void> | undefined {
    return this.#deciding
  }

  /** Takes out what was not written, oldest first. */
  takeAll(): Envelope[] {
    const all = [...this.#late, ...this.#ahead, ...this.#queue]
    this.#late = NONE
    this.#ahead = NONE
    this.#queue = NONE
    this.#queued = 0
    return all
  }

  /** Whether a stanza may go out now; of those that wait only the first. */
  get #isFree(): boolean {
    const { isClosed, connection } = this.#session
    return this.#deciding === undefined && !isClosed && connection?.isBlocked !== true
  }

  /** Whether one that has not waited may. */
  get #isOpen(): boolean {
    return this.#isFree && this.#ahead.length === 0 && !this.#isDraining
  }

  get #mayPassQueue(): boolean {
    return this.#holds === 0 && this.#ahead.length === 0
  }

  #enqueue(envelope: Envelope): void {
    this.#tell(envelope, 'queued')
    this.#queue = added(this.#queue, envelope)
    this.#queued += weigh(envelope)
    if (this.#queued > OUTPUT_BUDGET) {
      void this.#session.close(new StreamError('resource-constraint', 'Too much output not read'))
    }
  }

  #offer(envelope: Envelope, first = 0): void {
    const pending = this.#stage(first, envelope)
    if (pending === undefined) return
    this.#deciding = pending
      .catch((error) => this.#host.log.error('delivery_failed', { to: envelope.to.full, error }))
      .finally(() => {
        this.#deciding = undefined
        this.drain()
      })
  }

  /** Runs the hooks from stage `first` on, then writes. A promise only if a hook gave one. */
  #stage(first: number, start: Envelope): Promise<void> | undefined {
    let envelope = start
    const session = this.#session
    const stages = ofKind(session.stages, envelope.stanza.kind)
    for (let i = first; i < stages.length; i++) {
      const stage = stages[i] as Stage
      if (stage.isEmpty) continue
      try {
        const verdict = stage.run(envelope, session.inSession)
        if (verdict instanceof Promise) return this.#stageLater(verdict, i, envelope)
        if (!(verdict instanceof Envelope)) return this.#ended(envelope, stage, verdict)
        envelope = verdict
      } catch (error) {
        this.#refuse(envelope, error)
        return undefined
      }
    }
    this.#write(envelope)
    return undefined
  }

  /** Apart, since closures cost where they stand, needed or not. */
  async #stageLater(
    verdict: Promise<Envelope | Stop<Envelope> | typeof DROP>,
    at: number,
    envelope: Envelope,
  ): Promise<void> {
    let decided: Envelope | Stop<Envelope> | typeof DROP
    try {
      decided = await verdict
    } catch (error) {
      this.#refuse(envelope, error)
      return
    }
    if (decided instanceof Envelope) await this.#stage(at + 1, decided)
    else this.#ended(envelope, this.#session.stages[envelope.stanza.kind][at] as Stage, decided)
  }

  /**
   * A handler ended the stanza's way. Unless it keeps the stanza, which is what stopping at the last
   * stage means, that is all the client will ever see of it.
   */
  #ended(envelope: Envelope, stage: Stage, verdict: Stop<Envelope> | typeof DROP): undefined {
    const isKept = verdict !== DROP && stage.name === 'xmpp_presend_element'
    if (!isKept) this.#session.acknowledged(envelope)
    return undefined
  }

  #write(envelope: Envelope): void {
    const session = this.#session
    if (session.isClosed) {
      this.#late = added(this.#late, envelope)
      return
    }
    const { connection } = session
    // Without a connection only a handler that keeps stanzas keeps the session; it has this one.
    if (connection === undefined) return
    connection.write(envelope.octets)
    countKind(this.#host.router.counts.sent.c2s, envelope.stanza.kind)
    this.#tell(envelope, 'written')
    if (session.acknowledges) return
    envelope.delivery?.acknowledge()
    if (!envelope.hasNotes || session.points.acknowledged.isEmpty) return
    connection.onceFlushed(() => session.acknowledged(envelope))
  }

  #tell(envelope: Envelope, what: 'queued' | 'written'): void {
    const { tracer, stages } = this.#host.router
    if (tracer !== undefined) tracer.tell(envelope, stages.c2sOut, what, this.#session.jid)
  }

  #refuse(envelope: Envelope, error: unknown): void {
    this.#session.acknowledged(envelope)
    if (error instanceof StanzaError) {
      this.#host.router.bounce(envelope, error, 'user_receive')
      return
    }
    this.#host.log.error('delivery_failed', { to: envelope.to.full, error })
    const failure = new StanzaError('internal-server-error', { type: 'wait' })
    this.#host.router.bounce(envelope, failure, 'user_receive')
  }
}

import type { Connection } from '../connection/connection.ts'
import { Envelope } from '../core/envelope.ts'
import { MAX_OPEN } from '../core/handled.ts'
import { DROP, type HookPoint, Stop } from '../core/hooks.ts'
import type { Logger } from '../core/log.ts'
import { after, type Maybe } from '../core/maybe.ts'
import { dropped, type Outcome } from '../core/outcome.ts'
import type { PairLanes } from '../core/pair-lanes.ts'
import type { Router } from '../core/router.ts'
import { Settlement } from '../core/settlement.ts'
import { within } from '../core/within.ts'
import type { Octets } from '../xmpp/octets.ts'
import { NO_OCTETS } from '../xmpp/octets.ts'
import { Stanza } from '../xmpp/stanza.ts'
import { StanzaError } from '../xmpp/stanza-error.ts'
import { faultOf } from '../xmpp/stanza-fault.ts'
import { countKind } from '../xmpp/stanza-kind.ts'
import { StreamError } from '../xmpp/stream-error.ts'
import { answer, REQUEST } from '../xmpp/stream-management.ts'
import type { Frame } from '../xmpp/xml-parser.ts'
import { type Accepts, addressesOf } from './addresses.ts'
import { acknowledge, type Ending, finish, Ledger } from './ledger.ts'
import type { Pings } from './pings.ts'
import type { Pair } from './proofs.ts'
import { CLOSING, SERVER_NS } from './protocol.ts'
import { type Channel, Questions } from './questions.ts'

export type TrafficParts = {
  readonly router: Router
  readonly receive: HookPoint<'s2s_receive_packet'>
  readonly log: Logger
  readonly pings: Pings
  /** Whether a domain is ours. */
  serves(domain: string): boolean
  /** How long the peer may take to acknowledge, milliseconds. */
  readonly ackTimeout: number
}

/** Who sends on it. */
export interface TrafficOwner {
  /** More may be sent. */
  onDrain(): void
  /** It is over; what is in `ledger.sent` may or may not have arrived. */
  onOver(traffic: Traffic, ending: Ending): void
  /** Asks the peer what it answers on the same stream, when it has read the rest. False: there is no way. */
  probe(traffic: Traffic, onAnswer: () => void): boolean
}

type TrafficOptions = {
  /** Whose stanzas are sent on it. */
  readonly pair: Pair
  readonly accepts: Accepts
  readonly lang: Octets | undefined
  /** Of the connection: what is sent under one count does not overtake what was sent under another. */
  readonly lanes: PairLanes
  /** Closes the stream in order. */
  readonly close: () => void
  readonly ledger?: Ledger
  /** Stanzas may come on a connection that we opened. */
  readonly isTwoWay?: boolean
  /** Octets of a stanza that the peer takes, as far as it has said so (XEP-0478). */
  readonly maxSize?: number | undefined
}

/** Stanzas, and octets, that may wait for the peer's acknowledgement. */
const MAX_UNACKNOWLEDGED = { stanzas: 5_000, bytes: 4 * 1024 * 1024 }
/** How long the peer may leave output unread, milliseconds. */
const BLOCKED_TIMEOUT = 60_000
/** The rest of a stanza, in octets. */
const TAGS = 50
/** How long what came in may take to settle when the stream ends, and what was sent to arrive, milliseconds. */
const LAST_CALL = 5_000

/**
 * The stanzas on one authenticated connection between servers, either way.
 *
 * A stanza that was sent is the sender's business until the peer has acknowledged it (XEP-0198); where
 * the peer does not do that, until it has answered a question that was sent after it.
 */
export class Traffic {
  readonly connection: Connection
  readonly ledger: Ledger
  readonly isTwoWay: boolean
  readonly #parts: TrafficParts
  readonly #pair: Pair
  readonly #accepts: Accepts
  readonly #close: () => void
  /** Of the peer's stream: of stanzas that name none themselves. */
  readonly #lang: Octets | undefined
  readonly #maxSize: number
  readonly #lanes: PairLanes
  owner: TrafficOwner | undefined
  /** Of an earlier connection, not written to this one yet. */
  #again: readonly Envelope[] = []
  /** Both sides count. */
  isManaged = false
  /** How it ended. */
  ending: Ending | undefined
  readonly #undecided = { stanzas: 0, bytes: 0 }
  /** 0: no request is open. */
  #requestedAt = 0
  /** What stands for one where the peer does not count. */
  readonly #questions: Questions
  /** The peer has asked for more than it could be told. */
  #owesAnswer = false
  /** The count that it was told last. */
  #told = 0
  #hasNews = true
  /** The last count is told. */
  #isFinished = false
  /** What comes is for another connection. */
  #isLeaving = false
  /** All that was sent has arrived. */
  #onArrived: () => void = () => {}
  #lastUsed = Date.now()
  readonly #work = (envelope: Envelope) => this.#process(envelope)

  constructor(connection: Connection, parts: TrafficParts, options: TrafficOptions) {
    this.connection = connection
    this.#parts = parts
    this.#pair = options.pair
    const channel: Channel = {
      write: (ping) => connection.write(ping),
      probe: (onAnswer) => this.owner?.probe(this, onAnswer) === true,
      onArrived: (count) => this.#arrived(count),
    }
    this.#questions = new Questions(parts.pings, options.pair, channel, parts.log)
    this.#accepts = options.accepts
    this.#close = options.close
    this.#lang = options.lang
    this.#lanes = options.lanes
    this.isTwoWay = options.isTwoWay ?? false
    this.#maxSize = options.maxSize ?? Number.POSITIVE_INFINITY
    this.ledger = options.ledger ?? new Ledger()
  }

  get isOver(): boolean {
    return this.ending !== undefined
  }

  // --- Out.

  /** Whether what is sent now had better wait. */
  get isBlocked(): boolean {
    const { size, bytes } = this.ledger.sent
    const isFull = size >= MAX_UNACKNOWLEDGED.stanzas || bytes >= MAX_UNACKNOWLEDGED.bytes
    const isBusy = this.#again.length > 0 || this.connection.isBlocked
    return isFull || this.isOver || isBusy || this.#isLeaving
  }

  /** The peer would not take it, and end the stream. */
  isTooLarge({ stanza, from, to }: Envelope): boolean {
    const attributes = stanza.head.length + from.octets.length + to.octets.length
    return attributes + stanza.payload.length + TAGS > this.#maxSize
  }

  /** `at`: since when it is with us, milliseconds since the epoch. */
  send(envelope: Envelope, at: number): void {
    const { connection, ledger } = this
    ledger.sent.push(envelope, at)
    this.#hasNews = true
    connection.write(envelope.stanza.toForeignOctets(envelope.from, envelope.to))
    if (!this.isManaged) this.#questions.wrote(ledger.sent.sent)
    countKind(this.#parts.router.counts.sent.s2s, envelope.stanza.kind)
  }

  // --- In. All throw `StreamError` for what ends the stream.

  receive(frame: Frame): void {
    // The peer knows by the last count that it was not taken, and keeps it.
    if (this.#isFinished && this.isManaged) return
    const { from, to } = addressesOf(frame, this.#accepts)
    // It was the peer's when that proved it.
    if (from !== undefined && this.#parts.serves(from.domain)) throw new StreamError('invalid-from')
    this.#hasNews = true
    const settlement = this.isManaged ? new Settlement() : undefined
    settlement?.begin()
    const stanza = Stanza.fromFrame(frame, SERVER_NS, this.#lang)
    if (from === undefined) {
      // Nobody who could be told.
      this.#parts.log.debug('s2s_sender_malformed', { from: frame.attribute('from') })
    } else {
      const origin = { kind: 's2s', domain: from.domain } as const
      const envelope = new Envelope(from, to.jid, stanza, origin, undefined, settlement)
      if (this.#parts.pings.takes(envelope)) return this.#taken(settlement, frame.size)
      const fault = to.fault ?? faultOf(stanza)
      const decided =
        fault === undefined
          ? this.#lanes.run(envelope, this.#work)
          : this.#refuseInTurn(envelope, fault)
      if (decided instanceof Promise) {
        this.#wait(decided, frame.size, settlement)
        this.#count(settlement, frame.size)
        return
      }
    }
    this.#taken(settlement, frame.size)
  }

  #taken(settlement: Settlement | undefined, size: number): void {
    settlement?.finish()
    this.#count(settlement, size)
  }

  #count(settlement: Settlement | undefined, size: number): void {
    if (settlement === undefined) return
    const { received } = this.ledger
    received.take(settlement, size)
    if (received.room !== undefined) void this.connection.waitFor(received.room)
  }

  #wait(decided: Promise<unknown>, size: number, settlement: Settlement | undefined): void {
    const undecided = this.#undecided
    undecided.stanzas++
    undecided.bytes += size
    const done = decided.then(() => {
      undecided.stanzas--
      undecided.bytes -= size
      settlement?.finish()
    })
    const { stanzas, octets } = MAX_OPEN
    if (undecided.stanzas >= stanzas || undecided.bytes >= octets) {
      void this.connection.waitFor(done)
    }
  }

  /** Does not throw, and does not reject. */
  #process(envelope: Envelope): Maybe<Outcome> {
    const { receive, router } = this.#parts
    try {
      const routed = after(receive.run(envelope, {}), (verdict) => {
        if (verdict === DROP)
          return router.settle(envelope, dropped('s2s_receive_packet', 'filtered'))
        return router.route(verdict instanceof Stop ? verdict.acc : verdict)
      })
      if (!(routed instanceof Promise)) return routed
      return routed.catch((error) => this.#refuse(envelope, error))
    } catch (error) {
      return this.#refuse(envelope, error)
    }
  }

  /** Apart, for the sake of those without a closure. */
  #refuseInTurn(envelope: Envelope, fault: StanzaError): Maybe<Outcome> {
    return this.#lanes.run(envelope, () => this.#refuse(envelope, fault))
  }

  #refuse(envelope: Envelope, error: unknown): Outcome {
    const { router } = this.#parts
    const failure =
      error instanceof StanzaError
        ? error
        : new StanzaError('internal-server-error', { type: 'wait' })
    return router.settle(envelope, router.bounce(envelope, failure, 's2s'))
  }

  // --- XEP-0198.

  /** From now on both sides count. What `ledger` says was sent and not received is sent again. */
  manage(): void {
    this.isManaged = true
    this.ledger.received.restart()
    this.ledger.received.listener = {
      onAdvance: () => {
        if (this.#owesAnswer) this.connection.write(NO_OCTETS)
      },
      onFailure: (error) => this.#failed(error),
    }
    this.#again = Array.from(this.ledger.sent, ([envelope]) => envelope)
    this.#resend()
  }

  /** As much as the connection takes at once. */
  #resend(): void {
    let count = 0
    for (const { stanza, from, to } of this.#again) {
      if (this.connection.isBlocked) break
      this.connection.write(stanza.toForeignOctets(from, to))
      count++
    }
    this.#again = this.#again.slice(count)
  }

  /** The connection takes more. */
  onDrain(): void {
    this.#resend()
    if (!this.isBlocked) this.owner?.onDrain()
  }

  /** Tells the peer what is safe; what becomes so later, it is told without being asked again. */
  answerRequest(): void {
    const { h, pending } = this.ledger.received
    this.#told = h
    this.#owesAnswer = pending > 0
    this.connection.write(answer(h))
  }

  /** `<a/>`. */
  takeAnswer(h: number | undefined): void {
    if (!this.isManaged) throw new StreamError('policy-violation', 'nothing is counted')
    this.#acknowledge(h)
  }

  #acknowledge(h: number | undefined): void {
    this.#requestedAt = 0
    const wasBlocked = this.isBlocked
    acknowledge(this.ledger.sent, h)
    this.#looked()
    if (wasBlocked && !this.isBlocked) this.owner?.onDrain()
    // What was sent meanwhile is asked for with the turn's output.
    else if (this.ledger.sent.size > 0) this.connection.write(NO_OCTETS)
  }

  /** Asks for an acknowledgement, whether something was sent or not. */
  request(): void {
    if (this.#requestedAt !== 0) return
    this.#requestedAt = Date.now()
    this.connection.write(REQUEST)
  }

  beforeFlush(): void {
    const { sent, received } = this.ledger
    if (!this.isManaged) return this.#questions.flushing(sent.sent)
    if (this.#owesAnswer && received.h !== this.#told) this.answerRequest()
    if (sent.size > 0) this.request()
  }

  // --- Without it.

  /** All up to this count, which may be known already. */
  #arrived(count: number): void {
    const { sent } = this.ledger
    if (this.isOver) return
    if (sent.covers(count)) this.#acknowledge(count)
    // What was sent meanwhile is asked for with the turn's output.
    else if (sent.size > 0) this.connection.write(NO_OCTETS)
  }

  /** The peer has answered something that it was sent later, under another count. */
  allArrived(): void {
    this.#questions.forget()
    const { sent } = this.ledger
    sent.acknowledge(sent.sent, finish)
    this.#looked()
  }

  #looked(): void {
    if (this.ledger.sent.size === 0) this.#onArrived()
  }

  /** What came in could not be stored: the peer has to come back with it. */
  #failed(error: unknown): void {
    this.#parts.log.error('stanza_not_kept', { address: this.connection.address, error })
    const text = 'What you sent could not be stored'
    this.connection.handler.onStreamError(new StreamError('internal-server-error', text))
  }

  // --- As time passes, and its end.

  /** Called every second or so. */
  look(now: number): void {
    if (this.#hasNews) this.#lastUsed = now
    this.#hasNews = false
    const { blockedSince } = this.connection
    const { sent, received } = this.ledger
    const isBlocked = blockedSince !== 0 && now - blockedSince >= BLOCKED_TIMEOUT
    const { ackTimeout } = this.#parts
    if (!this.isManaged) this.#questions.look(sent.sent, now, ackTimeout)
    const isSilent = this.#questions.isLate(now, ackTimeout)
    // Its answer is not read.
    if (this.#requestedAt !== 0 && received.room !== undefined) this.#requestedAt = now
    const isDeaf = this.#requestedAt !== 0 && now - this.#requestedAt >= ackTimeout
    if (!isBlocked && !isSilent && !isDeaf) return
    this.#parts.log.info('s2s_unresponsive', { address: this.connection.address })
    this.connection.destroy()
  }

  /** Since when nothing was said, milliseconds since the epoch; `undefined` while something is. */
  get idleSince(): number | undefined {
    const { sent, received } = this.ledger
    const isWaiting = this.#undecided.stanzas > 0 || received.pending > 0 || sent.size > 0
    const isBusy = this.#hasNews || isWaiting
    return isBusy ? undefined : this.#lastUsed
  }

  /**
   * Sends nothing new any more, and closes the stream when the peer has told what it has got: not all
   * tell that as they close.
   */
  async leave(): Promise<void> {
    if (this.#isLeaving || this.isOver) return
    this.#isLeaving = true
    if (this.ledger.sent.size > 0) {
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#onArrived = resolve
      this.connection.write(NO_OCTETS)
      await within(LAST_CALL, promise)
    }
    if (!this.isOver) this.#close()
  }

  /** Closes the stream when what came in is settled, and says so. What comes then goes on to be taken. */
  async finish(last: Octets = NO_OCTETS): Promise<void> {
    const { received } = this.ledger
    const until = Date.now() + LAST_CALL
    // What is taken is counted: no stanza comes between the last look and the last count.
    do await received.settle(Math.max(0, until - Date.now()))
    while (received.pending > 0)
    const final = this.isManaged ? answer(received.h) : NO_OCTETS
    this.#isFinished = true
    this.connection.close((final + last + CLOSING) as Octets)
  }

  /** Nothing more will be sent or received on it. */
  over(ending: Ending): void {
    if (this.isOver) return
    this.ending = ending
    this.#questions.forget()
    this.owner?.onOver(this, ending)
  }
}

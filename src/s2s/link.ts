import type { Envelope } from '../core/envelope.ts'
import type { Logger } from '../core/log.ts'
import { Outcome } from '../core/outcome.ts'
import { inPortions, weigh } from '../core/portions.ts'
import type { LinkStatus } from '../core/remote-servers.ts'
import type { Router } from '../core/router.ts'
import { type StanzaCondition, StanzaError } from '../xmpp/stanza-error.ts'
import { BackOff } from './back-off.ts'
import { type Connector, reasonOf } from './connector.ts'
import type { Ending, Ledger } from './ledger.ts'
import type { OutgoingOwner, OutgoingStream } from './outgoing-stream.ts'
import { Probes } from './probes.ts'
import type { Slots } from './slots.ts'
import {
  conditionForAskers,
  conditionForSenders,
  isFinal,
  Redirected,
  StreamFailure,
  textOf,
} from './stream-failure.ts'
import type { Target } from './targets.ts'
import type { Traffic, TrafficOwner } from './traffic.ts'
import { Verifications } from './verifications.ts'
import { Waiting } from './waiting.ts'

/** Durations in milliseconds. */
export type LinkLimits = {
  /** Octets that may wait, and how long a stanza may. */
  readonly queueSize: number
  readonly queueTimeout: number
  /** Until a peer accepts us, at each target. */
  readonly connectTimeout: number
  readonly retryDelay: number
  readonly maxRetryDelay: number
  readonly idleTimeout: number
  /** How long what was not acknowledged waits for the stream to be resumed. */
  readonly resumeTimeout: number
}

export type LinkParts = {
  readonly connector: Connector
  readonly router: Router
  readonly limits: LinkLimits
  /** Connections that may be on the way at the same time: for stanzas, and to ask about keys only. */
  readonly slots: { readonly stanzas: Slots; readonly keys: Slots }
  readonly log: Logger
}

/** A stream whose connection broke, and until when it may be resumed: milliseconds since the epoch. */
type Interrupted = {
  readonly ledger: Ledger
  readonly until: number
  /** The count at which something waited to be acknowledged. */
  readonly stuckAt: number | undefined
}

/** How long the other side may take to come back for the stream that it had opened, milliseconds. */
const THEIR_GRACE = 10_000
/** How long a stream is kept that only served to ask about keys, milliseconds. */
const UNUSED_TIMEOUT = 30_000
/** More than what is expected may be late, milliseconds. */
const MARGIN = 50
const TOO_LARGE = ['policy-violation', 'too large for this server'] as const
const STOPPING = ['remote-server-timeout', 'this server is stopping'] as const
const LOST = ['remote-server-timeout', 'connection lost'] as const
const BY = 's2s'

/**
 * The way from one domain of ours to one of another server: finds it, connects, connects again, and
 * keeps what is to be sent meanwhile, within bounds. What cannot be sent goes back to its sender.
 */
export class Link implements OutgoingOwner, TrafficOwner {
  readonly local: string
  readonly remote: string
  readonly #parts: LinkParts
  readonly #forwarded: Outcome
  readonly #verifications = new Verifications()
  /** Of our stream. */
  readonly #probes = new Probes()
  readonly #queue = new Waiting()
  /** A stream of ours, from when it is negotiated. */
  #stream: OutgoingStream | undefined
  /** What takes stanzas: of our stream, or of one that the other server has opened. */
  #carrier: Traffic | undefined
  /** A stream that we had opened and are to resume, and one that the other side is to. */
  #ours: Interrupted | undefined
  #theirs: Interrupted | undefined
  /** The other side is asked whether ours goes on, and has not answered. */
  #isResuming = false
  /** Of what goes back to its senders a little at a time. */
  readonly #returning = new Set<Promise<void>>()
  /** The last one of either. */
  #interrupted: Interrupted | undefined
  /** When stanzas could last flow on a stream of ours, milliseconds since the epoch. */
  #openedAt = 0
  #isConnecting = false
  /** While a connection waits for its turn among those that only keys are asked on. */
  #onStanzas: () => void = () => {}
  /** Where the last stream was told to go. */
  #redirect: Target | undefined
  readonly #backOff = new BackOff()
  #isClosing = false

  constructor(local: string, remote: string, parts: LinkParts) {
    this.local = local
    this.remote = remote
    this.#parts = parts
    this.#forwarded = new Outcome('forwarded', BY, remote)
  }

  /** Nothing of it would be missed. */
  get isUnused(): boolean {
    return (
      this.#queue.isEmpty &&
      this.#carrier === undefined &&
      this.#stream === undefined &&
      this.#ours === undefined &&
      this.#theirs === undefined &&
      this.#verifications.isEmpty &&
      this.#returning.size === 0 &&
      !this.#isConnecting &&
      this.#backOff.wait <= 0
    )
  }

  /** Stanzas may be sent. */
  get isOpen(): boolean {
    return this.#carrier !== undefined
  }

  /** Resolves when what goes back to its senders by now has gone. */
  get returned(): Promise<unknown> {
    return Promise.all(this.#returning)
  }

  /** All that was sent has arrived. */
  get isDrained(): boolean {
    const isSent = this.#carrier === undefined || this.#carrier.ledger.sent.size === 0
    return this.#queue.isEmpty && isSent && !this.#isHeld
  }

  /** For the administrator's eyes. */
  get status(): LinkStatus {
    const carrier = this.#carrier
    const isWaiting = this.#backOff.isScheduled || this.#isHeld
    return {
      local: this.local,
      remote: this.remote,
      state: carrier ? 'open' : this.#isConnecting ? 'connecting' : isWaiting ? 'waiting' : 'idle',
      isOurs: carrier !== undefined && carrier === this.#stream?.traffic,
      isTwoWay: carrier?.isTwoWay ?? false,
      isManaged: carrier?.isManaged ?? false,
      waiting: this.#queue.size,
      waitingBytes: this.#queue.bytes,
      unacknowledged: carrier?.ledger.sent.size ?? 0,
    }
  }

  get #names() {
    return { local: this.local, remote: this.remote }
  }

  // --- Stanzas.

  send(envelope: Envelope): Outcome {
    const carrier = this.#carrier
    if (carrier !== undefined && this.#queue.isEmpty && !carrier.isBlocked) {
      if (carrier.isTooLarge(envelope)) return this.#refuse(envelope, ...TOO_LARGE)
      envelope.settlement?.begin()
      carrier.send(envelope, Date.now())
      return this.#forwarded
    }
    if (this.#isClosing && carrier === undefined) return this.#refuse(envelope, ...STOPPING)
    if (this.#queue.bytes + weigh(envelope) > this.#parts.limits.queueSize) {
      return this.#refuse(envelope, 'resource-constraint', 'too much is waiting for this server')
    }
    envelope.settlement?.begin()
    this.#queue.push(envelope)
    if (carrier === undefined) this.#wake()
    return this.#forwarded
  }

  onDrain(): void {
    const carrier = this.#carrier
    if (carrier === undefined) return
    const mayGo = () => !carrier.isBlocked
    this.#queue.handOn(mayGo, (envelope, at) => {
      if (carrier.isTooLarge(envelope)) this.#giveBack([envelope], ...TOO_LARGE)
      else carrier.send(envelope, at)
    })
  }

  #refuse(envelope: Envelope, condition: StanzaCondition, text: string): Outcome {
    return this.#parts.router.bounce(envelope, new StanzaError(condition, { text }), BY)
  }

  /** What was taken over goes back; its sender has an answer. */
  #giveBack(envelopes: readonly Envelope[], condition: StanzaCondition, text: string): void {
    if (envelopes.length === 0) return
    const returning = inPortions(envelopes, (envelope) => {
      this.#refuse(envelope, condition, text)
      envelope.settlement?.finish()
    }).finally(() => this.#returning.delete(returning))
    this.#returning.add(returning)
  }

  /** What waits, of that what has come before. */
  #giveBackQueue(condition: StanzaCondition, text: string, before?: number): void {
    this.#giveBack(this.#queue.take(before), condition, text)
  }

  // --- Connecting.

  /** Whether there is something that a stream of ours is needed for. */
  get #hasReason(): boolean {
    if (this.#verifications.isWaiting || this.#ours !== undefined) return true
    return !this.#queue.isEmpty && this.#carrier === undefined && this.#theirs === undefined
  }

  /** Something may be sent again, before which nothing else is. */
  get #isHeld(): boolean {
    return this.#theirs !== undefined || (this.#ours?.ledger.sent.size ?? 0) > 0
  }

  #wake(): void {
    if (!this.#hasReason || this.#isClosing) return
    const stream = this.#stream
    if (stream !== undefined) {
      if (stream.isNegotiated) this.#verifications.sendOn(stream)
      if (stream.traffic === undefined) {
        if (!this.#queue.isEmpty || this.#ours !== undefined) stream.authenticate()
      } else this.#use(stream.traffic)
      return
    }
    if (this.#isConnecting) {
      if (!this.#queue.isEmpty) this.#onStanzas()
      return
    }
    if (this.#backOff.wait <= 0) void this.#connect()
    else this.#backOff.schedule(() => this.#wake())
  }

  async #connect(): Promise<void> {
    const { connector, log } = this.#parts
    this.#isConnecting = true
    let failure: unknown
    try {
      using _ = await this.#turn()
      if (this.#hasReason) await connector.reach(this, this.#takeRedirect())
    } catch (error) {
      failure = error
      log.info('s2s_out_failed', { ...this.#names, reason: reasonOf(error) })
    }
    this.#isConnecting = false
    if (failure === undefined) this.#wake()
    else this.#failed(failure)
  }

  /** What strangers make us ask must not keep our own users waiting, whoever came first. */
  async #turn(): Promise<Disposable> {
    const { stanzas, keys } = this.#parts.slots
    if (!this.#queue.isEmpty || this.#ours !== undefined) return await stanzas.take()
    const { promise: hasStanzas, resolve } = Promise.withResolvers<undefined>()
    this.#onStanzas = () => resolve(undefined)
    const later = keys.take()
    const turn = await Promise.race([later, hasStanzas])
    this.#onStanzas = () => {}
    if (turn !== undefined) return turn
    void later.then((unneeded) => unneeded[Symbol.dispose]())
    return await stanzas.take()
  }

  #takeRedirect(): Target | undefined {
    const target = this.#redirect
    this.#redirect = undefined
    return target
  }

  #failed(error: unknown): void {
    const text = textOf(error)
    this.#verifications.fail(new StanzaError(conditionForAskers(error), { text }))
    if (isFinal(error)) {
      this.#backOff.forget()
      this.onNotResumed()
      this.#giveBackQueue(conditionForSenders(error), text)
    }
    // What DNS says may be asked again at once; nobody waits for one of which only strangers spoke.
    const isUnfit = error instanceof StreamFailure && isFinal(error)
    if (this.#queue.isEmpty && this.#ours === undefined && !isUnfit) return
    this.#backOff.failed(this.#parts.limits)
    this.#wake()
  }

  // --- A stream of ours.

  /** What one of ours has sent and not had acknowledged, which the next one is to go on with. */
  get ledger(): Ledger | undefined {
    return this.#ours?.ledger
  }

  onNegotiated(stream: OutgoingStream): void {
    this.#stream = stream
    this.#wake()
  }

  onOpen(stream: OutgoingStream, traffic: Traffic): void {
    this.#parts.log.info('s2s_out_opened', this.#names)
    this.#stream = stream
    this.#openedAt = Date.now()
    this.#isResuming = false
    this.#verifications.sendOn(stream)
    if (this.#ours?.ledger === traffic.ledger) this.#ours = undefined
    traffic.owner = this
    this.#use(traffic)
  }

  onResuming(): void {
    this.#isResuming = true
  }

  onNotResumed(): void {
    this.#isResuming = false
    const { ledger } = this.#ours ?? {}
    this.#ours = undefined
    this.#giveUp(ledger)
  }

  onVerified(id: string, type: string, error: StanzaError | undefined): void {
    // That it knows nothing of such a domain is an answer, too.
    if (!this.#probes.answered(id)) this.#verifications.answered(id, type, error)
  }

  onEnd(stream: OutgoingStream, failure: StreamFailure): void {
    this.#isResuming = false
    if (this.#stream !== stream) return
    this.#stream = undefined
    this.#probes.forget()
    if (failure instanceof Redirected) this.#redirect = failure.target
    const { message: text } = failure
    this.#verifications.fail(new StanzaError('remote-server-timeout', { text }), { isSent: true })
    if (stream.traffic === undefined && !this.#queue.isEmpty) this.#failed(failure)
    else this.#wake()
  }

  // --- What carries stanzas.

  /** Whoever wants a connection may wait for one that is there in so many milliseconds. */
  expect(ms: number): void {
    this.#backOff.postpone(ms + MARGIN)
  }

  /** The other server has opened a stream that takes stanzas of ours, too. */
  adopt(traffic: Traffic): void {
    const theirs = this.#theirs
    if (theirs !== undefined) {
      const isResumed = theirs.ledger === traffic.ledger
      // It may be about to resume still.
      if (!isResumed && !traffic.isManaged) return
      this.#theirs = undefined
      if (!isResumed) this.#giveUp(theirs.ledger)
    }
    traffic.owner = this
    this.#use(traffic)
  }

  /** Unless there is another connection already; on the same one it begins anew. */
  #use(traffic: Traffic): void {
    const carrier = this.#carrier
    const isTaken = carrier !== undefined && carrier.connection !== traffic.connection
    if (isTaken || this.#isHeld) return
    this.#carrier = traffic
    this.onDrain()
  }

  onOver(traffic: Traffic, ending: Ending): void {
    if (this.#carrier === traffic) this.#carrier = undefined
    const { ledger } = traffic
    const { resumeTimeout, retryDelay } = this.#parts.limits
    const now = Date.now()
    const isOurs = this.#stream?.traffic === traffic
    // The other side may have sent what has not arrived; it is for us to come back.
    const isAtStake = ledger.sent.size > 0 || (isOurs && traffic.isTwoWay)
    const mayResume = ending === 'lost' && traffic.isManaged && ledger.id !== undefined
    // One that accepts us and leaves at once is not to be tried without a pause.
    const isShort = isOurs && isAtStake && now - this.#openedAt < retryDelay
    if (isShort) this.#backOff.failed(this.#parts.limits)
    else if (isOurs) this.#backOff.succeeded()
    if (mayResume && isAtStake && !this.#isClosing) {
      if (isOurs) this.#ours = this.#interrupt(ledger, resumeTimeout)
      else this.#theirs = this.#interrupt(ledger, Math.min(THEIR_GRACE, resumeTimeout))
    } else if (ending === 'finished' && traffic.isManaged && !this.#isClosing) {
      // The other side has not taken them, and said so.
      this.#queue.putBack(ledger.sent.takeAll())
    } else this.#giveUp(ledger)
    if (this.#isClosing) this.#giveBackQueue(...STOPPING)
    // Not in the midst of the end of a connection.
    queueMicrotask(() => this.#wake())
  }

  #interrupt(ledger: Ledger, patience: number): Interrupted {
    const { size, acknowledged } = ledger.sent
    const before = this.#interrupted
    // What does not get through though it is sent again is not sent for ever.
    const isStuck = size > 0 && before?.ledger === ledger && before.stuckAt === acknowledged
    const until = isStuck ? before.until : Date.now() + patience
    const interrupted = { ledger, until, stuckAt: size > 0 ? acknowledged : undefined }
    this.#interrupted = interrupted
    return interrupted
  }

  /** It will not be resumed. */
  #giveUp(ledger: Ledger | undefined): void {
    const left = ledger?.sent.takeAll() ?? []
    this.#giveBack(
      left.map(({ envelope }) => envelope),
      ...LOST,
    )
  }

  #giveUpAll(before = Number.POSITIVE_INFINITY): void {
    const ours = this.#ours
    // What has been asked for in time may be answered later.
    const mayResume = this.#isResuming && !this.#isClosing
    if (ours !== undefined && ours.until <= before && !mayResume) this.onNotResumed()
    const theirs = this.#theirs
    if (theirs === undefined || theirs.until > before) return
    this.#theirs = undefined
    this.#giveUp(theirs.ledger)
  }

  // --- Keys of dialback.

  /** Whether the other server says that a key is its own. Rejects with `StanzaError` if it cannot say. */
  verify(id: string, key: string): Promise<boolean> {
    if (this.#isClosing) return Promise.reject(new StanzaError('remote-server-timeout'))
    const answer = this.#verifications.ask(id, key)
    this.#wake()
    return answer
  }

  /** A server that knows dialback says of each key, in the order of the stream, whether it is its own. */
  probe(traffic: Traffic, onAnswer: () => void): boolean {
    const stream = this.#stream
    if (stream?.traffic !== traffic || !stream.offersDialback) return false
    const id = this.#probes.begin(onAnswer)
    // Any key will do, and none is right.
    stream.verify(id, id)
    return true
  }

  // --- As time passes, and its end.

  /** Called every second or so. */
  look(now: number): void {
    const { queueTimeout, idleTimeout, connectTimeout } = this.#parts.limits
    this.#carrier?.look(now)
    this.#giveBackQueue('remote-server-timeout', 'no connection', now - queueTimeout)
    const late = new StanzaError('remote-server-timeout')
    this.#verifications.fail(late, { before: now - 2 * connectTimeout })
    this.#giveUpAll(now)
    this.#wake()
    const stream = this.#stream
    if (stream === undefined) return
    if (stream.traffic !== this.#carrier) stream.traffic?.look(now)
    if (stream.isStuckSince(now - connectTimeout)) {
      return stream.fail(new StreamFailure('no answer'))
    }
    const patience = stream.wasUsed ? idleTimeout : Math.min(idleTimeout, UNUSED_TIMEOUT)
    const isWanted = this.#hasReason || !this.#verifications.isEmpty
    if (!isWanted && stream.isIdleSince(now - patience)) stream.close()
  }

  /** Ends the connection; whoever writes next is sent over a new one. False: there is none. */
  disconnect(): boolean {
    const carrier = this.#carrier
    if (carrier === undefined) return false
    void carrier.leave()
    return true
  }

  /** From now on only what is open already takes anything. */
  drain(): void {
    this.#isClosing = true
    if (this.#carrier !== undefined) return
    this.#giveUpAll()
    this.#giveBackQueue(...STOPPING)
  }

  /** Gives back what has not arrived, and ends. */
  close(): void {
    this.#isClosing = true
    this.#backOff.cancel()
    this.#stream?.close()
    this.#giveUpAll()
    this.#giveBackQueue(...STOPPING)
    this.#verifications.fail(new StanzaError('remote-server-timeout'))
  }
}

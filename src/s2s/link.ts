import type { Socket } from 'node:net'
import type { Envelope } from '../core/envelope.ts'
import type { Logger } from '../core/log.ts'
import { Outcome } from '../core/outcome.ts'
import type { Router } from '../core/router.ts'
import { type StanzaCondition, StanzaError } from '../xmpp/stanza-error.ts'
import { dial } from './dial.ts'
import { type OutgoingOwner, type OutgoingStream, StreamFailure } from './outgoing-stream.ts'
import { weigh } from './sent.ts'
import type { Slots } from './slots.ts'
import { ServerNotFound, type Target, type TargetFinder } from './targets.ts'
import type { Ending, Ledger, Traffic, TrafficOwner } from './traffic.ts'

export type LinkLimits = {
  /** Octets that may wait, and how long a stanza may, in milliseconds. */
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
  readonly finder: TargetFinder
  readonly router: Router
  readonly limits: LinkLimits
  /** Connections that may be on the way at the same time: for stanzas, and to ask about keys only. */
  readonly slots: { readonly stanzas: Slots; readonly keys: Slots }
  readonly log: Logger
  /** A stream on a connected socket, not started. */
  open(socket: Socket, target: Target, owner: OutgoingOwner): OutgoingStream
}

type Waiting = { readonly envelope: Envelope; readonly at: number }

type Verification = {
  readonly key: string
  readonly at: number
  readonly answer: PromiseWithResolvers<boolean>
  isSent: boolean
}

/** Keys of one domain that may be asked about at the same time. */
const MAX_VERIFICATIONS = 100
/** Time for one connection, in those that one target may take. */
const MOST_ATTEMPTS = 3
/** How long the other side may take to come back for the stream that it had opened, milliseconds. */
const THEIR_GRACE = 10_000
const TOO_LARGE = ['policy-violation', 'too large for this server'] as const
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
  #queue: Waiting[] = []
  #queued = 0
  /** A stream of ours, from when it is negotiated. */
  #stream: OutgoingStream | undefined
  /** What takes stanzas: of our stream, or of one that the other server has opened. */
  #carrier: Traffic | undefined
  /** Of the last stream, until it is resumed or not. */
  ledger: Ledger | undefined
  /** Until when it may be; and whether it is for the other side to do so. */
  #ledgerUntil = 0
  #isTheirs = false
  #isConnecting = false
  #negotiating: Pick<PromiseWithResolvers<void>, 'resolve' | 'reject'> | undefined
  #failures = 0
  #retryAt = 0
  #retry: NodeJS.Timeout | undefined
  #isClosing = false
  readonly #verifications = new Map<string, Verification>()

  constructor(local: string, remote: string, parts: LinkParts) {
    this.local = local
    this.remote = remote
    this.#parts = parts
    this.#forwarded = new Outcome('forwarded', BY, remote)
  }

  /** Nothing of it would be missed. */
  get isUnused(): boolean {
    return (
      this.#queue.length === 0 &&
      this.#carrier === undefined &&
      this.#stream === undefined &&
      this.ledger === undefined &&
      this.#verifications.size === 0 &&
      !this.#isConnecting &&
      Date.now() >= this.#retryAt
    )
  }

  /** All that was sent has arrived. */
  get isDrained(): boolean {
    const unacknowledged = this.#carrier?.ledger.sent.size ?? this.ledger?.sent.size ?? 0
    return this.#queue.length === 0 && unacknowledged === 0
  }

  get #names() {
    return { local: this.local, remote: this.remote }
  }

  // --- Stanzas.

  send(envelope: Envelope): Outcome {
    const carrier = this.#carrier
    if (carrier !== undefined && this.#queue.length === 0 && !carrier.isBlocked) {
      return this.#hand(envelope, carrier) ? this.#forwarded : this.#refuse(envelope, ...TOO_LARGE)
    }
    if (this.#isClosing && carrier === undefined) {
      return this.#refuse(envelope, 'remote-server-timeout', 'this server is stopping')
    }
    const size = weigh(envelope)
    if (this.#queued + size > this.#parts.limits.queueSize) {
      return this.#refuse(envelope, 'resource-constraint', 'too much is waiting for this server')
    }
    envelope.settlement?.begin()
    this.#queue.push({ envelope, at: Date.now() })
    this.#queued += size
    if (carrier === undefined) this.#wake()
    return this.#forwarded
  }

  #hand(envelope: Envelope, carrier: Traffic): boolean {
    envelope.settlement?.begin()
    const isTaken = carrier.send(envelope)
    if (!isTaken) envelope.settlement?.finish()
    return isTaken
  }

  onDrain(): void {
    const carrier = this.#carrier
    if (carrier === undefined) return
    let taken = 0
    while (taken < this.#queue.length && !carrier.isBlocked) {
      const { envelope } = this.#queue[taken++] as Waiting
      this.#queued -= weigh(envelope)
      if (!carrier.send(envelope)) this.#giveBack([envelope], ...TOO_LARGE)
    }
    this.#queue.splice(0, taken)
  }

  #refuse(envelope: Envelope, condition: StanzaCondition, text: string): Outcome {
    return this.#parts.router.bounce(envelope, new StanzaError(condition, { text }), BY)
  }

  /** What was taken over goes back; its sender has an answer. */
  #giveBack(envelopes: readonly Envelope[], condition: StanzaCondition, text: string): void {
    for (const envelope of envelopes) {
      this.#refuse(envelope, condition, text)
      envelope.settlement?.finish()
    }
  }

  #giveBackQueue(condition: StanzaCondition, text: string, until = Number.POSITIVE_INFINITY): void {
    let count = 0
    while ((this.#queue[count]?.at ?? Number.POSITIVE_INFINITY) < until) count++
    if (count === 0) return
    const envelopes = this.#queue.splice(0, count).map(({ envelope }) => envelope)
    for (const envelope of envelopes) this.#queued -= weigh(envelope)
    this.#giveBack(envelopes, condition, text)
  }

  // --- Connecting.

  /** Whoever has a reason to wants a stream. */
  #wake(): void {
    if (this.#stream !== undefined) return this.#stream.authenticate()
    if (this.#isConnecting || this.#isClosing || this.#isWaitingForThem) return
    const wait = this.#retryAt - Date.now()
    if (wait <= 0) void this.#connect()
    else this.#retry ??= setTimeout(() => this.#retryNow(), wait).unref()
  }

  #retryNow(): void {
    this.#retry = undefined
    if (this.#hasReason) this.#wake()
  }

  get #hasReason(): boolean {
    return (
      (this.#queue.length > 0 && this.#carrier === undefined) ||
      (this.ledger !== undefined && !this.#isTheirs) ||
      [...this.#verifications.values()].some(({ isSent }) => !isSent)
    )
  }

  /** The stream that is to be resumed was opened by the other side. */
  get #isWaitingForThem(): boolean {
    return this.#isTheirs && this.ledger !== undefined && this.#verifications.size === 0
  }

  async #connect(): Promise<void> {
    const { slots, log } = this.#parts
    this.#isConnecting = true
    let failure: unknown
    try {
      // What strangers make us ask must not keep our own users waiting.
      using _ = await slots[this.#queue.length > 0 ? 'stanzas' : 'keys'].take()
      if (this.#hasReason) await this.#reach()
    } catch (error) {
      failure = error
      log.info('s2s_out_failed', { ...this.#names, reason: reasonOf(error) })
    }
    this.#isConnecting = false
    if (failure !== undefined) this.#failed(failure)
    else if (this.#hasReason) this.#wake()
  }

  /** Resolves when one of its servers has a stream negotiated. */
  async #reach(): Promise<void> {
    const { finder, limits, log } = this.#parts
    const last = Date.now() + limits.connectTimeout * MOST_ATTEMPTS
    let failure: unknown
    for (const target of await finder.find(this.remote)) {
      if (Date.now() >= last) break
      try {
        return await this.#try(target)
      } catch (error) {
        failure = error
        log.debug('s2s_target_failed', { ...target, reason: reasonOf(error) })
      }
    }
    throw failure
  }

  async #try(target: Target): Promise<void> {
    const { finder, limits, open } = this.#parts
    const { host, port } = target
    const addresses = await finder.addressesOf(host)
    const deadline = AbortSignal.timeout(limits.connectTimeout)
    const socket = await dial({ host, port, addresses }, deadline)
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#negotiating = { resolve, reject }
    const stream = open(socket, target, this)
    const late = () => stream.fail(new StreamFailure('no answer'))
    deadline.addEventListener('abort', late, { once: true })
    try {
      stream.start()
      await promise
    } finally {
      deadline.removeEventListener('abort', late)
      this.#negotiating = undefined
    }
  }

  #failed(error: unknown): void {
    const { limits } = this.#parts
    this.#failures++
    const delay = Math.min(limits.maxRetryDelay, limits.retryDelay * 2 ** (this.#failures - 1))
    this.#retryAt = Date.now() + delay * (0.5 + Math.random() / 2)
    const isUnknown = error instanceof ServerNotFound
    const isUnfit = error instanceof StreamFailure && error.isFinal
    const condition = isUnknown ? 'remote-server-not-found' : 'remote-server-timeout'
    const text = textOf(error)
    for (const [id, { answer }] of this.#verifications) {
      this.#verifications.delete(id)
      answer.reject(new StanzaError(isUnfit ? 'not-authorized' : condition, { text }))
    }
    const isFinal = isUnknown || isUnfit
    if (isFinal) {
      this.onNotResumed()
      this.#giveBackQueue(condition, text)
    } else if (this.#hasReason) this.#wake()
  }

  // --- A stream of ours.

  onNegotiated(stream: OutgoingStream): void {
    this.#stream = stream
    this.#negotiating?.resolve()
    this.#sendVerifications()
    if (this.#queue.length > 0 || this.ledger !== undefined) stream.authenticate()
  }

  onOpen(stream: OutgoingStream, traffic: Traffic): void {
    this.#parts.log.info('s2s_out_opened', this.#names)
    this.#stream = stream
    this.#negotiating?.resolve()
    this.#failures = 0
    this.#retryAt = 0
    this.#sendVerifications()
    this.#use(traffic)
  }

  onNotResumed(): void {
    const { ledger } = this
    this.ledger = undefined
    if (ledger === undefined) return
    this.#giveBack(ledger.sent.take(ledger.sent.size), 'remote-server-timeout', 'connection lost')
  }

  onEnd(stream: OutgoingStream, failure: StreamFailure): void {
    const wasInUse = this.#stream === stream
    if (wasInUse) this.#stream = undefined
    if (this.#negotiating !== undefined) return this.#negotiating.reject(failure)
    if (!wasInUse) return
    for (const [id, { answer, isSent }] of this.#verifications) {
      if (!isSent) continue
      this.#verifications.delete(id)
      answer.reject(new StanzaError('remote-server-timeout', { text: failure.message }))
    }
    if (stream.traffic === undefined && this.#queue.length > 0) this.#failed(failure)
    else if (this.#hasReason) this.#wake()
  }

  // --- What carries stanzas.

  /** The other server has opened a stream that takes stanzas of ours, too. */
  adopt(traffic: Traffic): void {
    const isResumed = this.ledger !== undefined && traffic.ledger === this.ledger
    const isSame = this.#carrier?.connection === traffic.connection
    if (this.#carrier !== undefined && !isSame) return
    if (this.ledger !== undefined && !isResumed) {
      // It has begun anew, if it is not about to resume still; ours is ours to resume.
      if (!this.#isTheirs || !traffic.isManaged) return
      this.onNotResumed()
    }
    this.#use(traffic)
  }

  #use(traffic: Traffic): void {
    if (this.#carrier !== undefined && this.#carrier.connection !== traffic.connection) return
    this.ledger = undefined
    traffic.owner = this
    this.#carrier = traffic
    this.onDrain()
  }

  onOver(traffic: Traffic, ending: Ending): void {
    const { ledger } = traffic
    const isCurrent = this.#carrier === traffic
    if (isCurrent) this.#carrier = undefined
    const isTheirs = this.#stream?.traffic !== traffic
    // Where nothing was received and all has arrived, neither side has anything to come back for.
    const isAtStake = ledger.sent.size > 0 || (!isTheirs && ledger.received.h > 0)
    const mayResume = ending === 'lost' && traffic.isManaged && ledger.id !== undefined
    if (mayResume && isCurrent && isAtStake && !this.#isClosing) {
      this.ledger = ledger
      this.#isTheirs = isTheirs
      const { resumeTimeout } = this.#parts.limits
      const patience = isTheirs ? Math.min(THEIR_GRACE, resumeTimeout) : resumeTimeout
      this.#ledgerUntil = Date.now() + patience
    } else {
      const left = ledger.sent.take(ledger.sent.size)
      if (ending === 'finished' && traffic.isManaged && !this.#isClosing) this.#putBack(left)
      else this.#giveBack(left, 'remote-server-timeout', 'connection lost')
    }
    if (this.#hasReason) queueMicrotask(() => this.#retryNow())
  }

  /** The other side has not taken them, and said so. */
  #putBack(envelopes: readonly Envelope[]): void {
    const at = Date.now()
    this.#queue.unshift(...envelopes.map((envelope) => ({ envelope, at })))
    for (const envelope of envelopes) this.#queued += weigh(envelope)
  }

  // --- Keys of dialback.

  /** Whether the other server says that a key is its own. Rejects with `StanzaError` if it cannot say. */
  verify(id: string, key: string): Promise<boolean> {
    if (this.#verifications.size >= MAX_VERIFICATIONS || this.#isClosing) {
      return Promise.reject(new StanzaError('resource-constraint'))
    }
    const answer = Promise.withResolvers<boolean>()
    this.#verifications.set(id, { key, at: Date.now(), answer, isSent: false })
    if (this.#stream?.isNegotiated === true) this.#sendVerifications()
    else this.#wake()
    return answer.promise
  }

  #sendVerifications(): void {
    for (const [id, verification] of this.#verifications) {
      if (verification.isSent) continue
      verification.isSent = true
      this.#stream?.verify(id, verification.key)
    }
  }

  onVerified(id: string, type: string, error: StanzaError | undefined): void {
    const verification = this.#verifications.get(id)
    if (verification?.isSent !== true) return
    this.#verifications.delete(id)
    if (type === 'error') verification.answer.reject(error ?? new StanzaError('item-not-found'))
    else verification.answer.resolve(type === 'valid')
  }

  // --- As time passes, and its end.

  /** Called every second or so. */
  look(now: number): void {
    const { queueTimeout, idleTimeout, connectTimeout } = this.#parts.limits
    this.#carrier?.look(now)
    this.#giveBackQueue('remote-server-timeout', 'no connection', now - queueTimeout)
    for (const [id, { at, answer }] of this.#verifications) {
      if (now - at < connectTimeout * 2) continue
      this.#verifications.delete(id)
      answer.reject(new StanzaError('remote-server-timeout'))
    }
    if (this.ledger !== undefined && now >= this.#ledgerUntil) {
      this.onNotResumed()
      if (this.#hasReason) this.#wake()
    }
    const stream = this.#stream
    if (stream === undefined) return
    if (stream.traffic !== this.#carrier) stream.traffic?.look(now)
    if (stream.isStuckSince(now - connectTimeout)) stream.fail(new StreamFailure('no answer'))
    else if (!this.#hasReason && stream.isIdleSince(now - idleTimeout)) stream.close()
  }

  /** From now on only what is open already takes anything. */
  drain(): void {
    this.#isClosing = true
    if (this.#carrier !== undefined) return
    this.onNotResumed()
    this.#giveBackQueue('remote-server-timeout', 'this server is stopping')
  }

  /** Gives back what has not arrived, and ends. */
  close(): void {
    this.#isClosing = true
    clearTimeout(this.#retry)
    this.#stream?.close()
    this.onNotResumed()
    this.#giveBackQueue('remote-server-timeout', 'this server is stopping')
    for (const { answer } of this.#verifications.values()) {
      answer.reject(new StanzaError('remote-server-timeout'))
    }
    this.#verifications.clear()
  }

  /** Without a word. */
  destroy(): void {
    this.#stream?.connection.destroy()
  }
}

/** For whoever gets a stanza back. */
function textOf(error: unknown): string {
  const isKnown = error instanceof StreamFailure || error instanceof ServerNotFound
  return isKnown ? error.message : 'no connection'
}

/** For the log. */
function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') return reasonOf(error.errors[0])
  if (!(error instanceof Error)) return String(error)
  return error.cause instanceof Error ? `${error.message} (${error.cause.message})` : error.message
}

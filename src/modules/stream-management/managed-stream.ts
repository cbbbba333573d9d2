import type { Envelope } from '../../core/envelope.ts'
import { Handled } from '../../core/handled.ts'
import type { HookPoint } from '../../core/hooks.ts'
import type { Logger } from '../../core/log.ts'
import { weigh } from '../../core/portions.ts'
import type { StreamSession } from '../../core/session.ts'
import { Unacknowledged } from '../../core/unacknowledged.ts'
import { within } from '../../core/within.ts'
import { DELAY_NS, delay } from '../../xmpp/delay.ts'
import { parseJid } from '../../xmpp/jid.ts'
import { decode, NO_OCTETS } from '../../xmpp/octets.ts'
import { StreamError } from '../../xmpp/stream-error.ts'
import { answer, handledCountTooHigh, REQUEST, resumed } from '../../xmpp/stream-management.ts'
import type { KeptMessages } from './kept-messages.ts'
import { Repeats } from './repeats.ts'
import type { Queued, SessionState, Snapshot, Snapshots } from './snapshots.ts'

export type StreamLimits = {
  /** Stanzas, and octets, that may wait for the client's acknowledgement. */
  readonly maxStanzas: number
  readonly maxBytes: number
  /** How long the client may take to answer a request, milliseconds. */
  readonly ackTimeout: number
}

type Parts = {
  readonly limits: StreamLimits
  readonly snapshots: Pick<Snapshots, 'save' | 'append' | 'forget'>
  readonly kept: Pick<KeptMessages, 'secure' | 'answerAlone'>
  readonly unacknowledgedMessage: HookPoint<'unacknowledged_message'>
  readonly clock: { now(): number }
  readonly log: Logger
}

type Start = {
  /** By which the stream is resumed; undefined if it cannot be. */
  readonly id: string | undefined
  /** For how long it may be after it lost its connection, milliseconds. */
  readonly patience: number
  readonly handled?: number
  readonly acknowledged?: number
  /** Ids of what the client has acknowledged last. */
  readonly had?: readonly string[] | undefined
}

/** With so many stanzas not acknowledged, the client is asked at once, */
const ASK_AFTER = 10
/** and else not more often than this, milliseconds. */
const ASK_INTERVAL = 1_000

/**
 * Both directions of one client's stanzas, over as many connections as it takes (XEP-0198).
 *
 * The client is asked for acknowledgements with a turn's output: when enough is not acknowledged,
 * when the last request is a while ago, or when a sender waits for it; and while no other request
 * is open.
 */
export class ManagedStream {
  readonly session: StreamSession
  readonly id: string | undefined
  readonly patience: number
  readonly handled: Handled
  readonly unacknowledged: Unacknowledged
  readonly repeats: Repeats
  readonly #parts: Parts
  /** Until when the session without a connection is kept; undefined while it has one. */
  expiresAt: number | undefined
  /** Whether the disk has something of the session, perhaps. */
  #isOnDisk = false
  /** Whether it has all of it, or is about to, and is to have what comes. */
  #isSaved = false
  /** Resolves when the disk has done, or not, what it was asked to save so far. */
  #saving: Promise<unknown> | undefined
  /** Connections that are about to take it up: nothing is to be saved any more. */
  #claims = 0
  /** The server stops: what the disk has now is what the next run will have. */
  #isLeaving = false
  /** How many stanzas the client had sent when it asked, and how many it was told are handled. */
  #asked = 0
  #told = 0
  /** Stanzas written since the last request. */
  #unrequested = 0
  #isUrgent = false
  /** 0: no request is open. */
  #requestedAt = 0
  #lastRequestAt = 0
  #release: (() => void) | undefined

  constructor(session: StreamSession, start: Start, parts: Parts) {
    this.session = session
    this.id = start.id
    this.patience = start.patience
    this.#parts = parts
    this.unacknowledged = new Unacknowledged(start.acknowledged)
    this.repeats = new Repeats(start.had)
    const onAdvance = () => this.#advanced()
    const onFailure = (error: unknown) => this.#failed(error)
    this.handled = new Handled({ onAdvance, onFailure }, start.handled)
    this.#asked = this.handled.settled
    this.#told = this.handled.settled
    session.acknowledges = true
    session.onSettled = (envelope) => this.#decided(envelope)
    session.beforeFlush = () => this.#beforeFlush()
  }

  get isDetached(): boolean {
    return this.expiresAt !== undefined
  }

  // --- What the client sends.

  #decided(envelope: Envelope): void {
    const { handled, session } = this
    handled.take(envelope.settlement, weigh(envelope))
    if (handled.room !== undefined) session.waitFor(handled.room)
  }

  /** `<r/>`. */
  answerRequest(): void {
    const { handled } = this
    this.session.write(answer(handled.h))
    this.#told = handled.settled
    this.#asked = handled.taken
  }

  /** `<a/>`. Throws when the client claims more than it was sent. */
  acknowledge(h: number): void {
    const { unacknowledged } = this
    if (!unacknowledged.covers(h)) throw handledCountTooHigh(h, unacknowledged.sent)
    this.#requestedAt = 0
    unacknowledged.acknowledge(h, (envelope) => this.#arrived(envelope))
    this.#unrequested = Math.min(this.#unrequested, unacknowledged.size)
    if (this.#release !== undefined && !this.#isFull) this.#goOn()
  }

  #arrived(envelope: Envelope): void {
    this.session.acknowledged(envelope)
    for (const repeat of this.repeats.acknowledged(envelope)) this.session.acknowledged(repeat)
  }

  /** The client waits for what it was not told when it asked. */
  #advanced(): void {
    if (this.#told < this.#asked) this.session.write(NO_OCTETS)
  }

  /** A stanza is not safe: it never counts, and the client has to come back with it. */
  #failed(error: unknown): void {
    const { session } = this
    this.#parts.log.error('stanza_not_kept', { jid: session.jid.full, error })
    const text = 'What you sent could not be stored'
    void session.disconnect(new StreamError('internal-server-error', text))
  }

  // --- What it gets.

  /** A stanza is about to be written. True: it is not to be, but it is kept here. */
  sent(envelope: Envelope): boolean {
    const { session, unacknowledged } = this
    if (session.isClosed) return false
    const taken = this.repeats.take(envelope)
    if (taken === 'had') session.acknowledged(envelope)
    if (taken !== 'new') return true
    const now = this.#parts.clock.now()
    unacknowledged.push(envelope, now)
    if (this.isDetached) {
      this.#keep([envelope, now])
      // Whoever does not come back for so long begins anew.
      if (this.#isFull) void session.end('lost')
      return true
    }
    this.#unrequested++
    if (envelope.notes.kept !== undefined) this.#isUrgent = true
    if (this.#isFull) this.#release ??= session.hold().release
    return false
  }

  #beforeFlush(): void {
    const { session, handled } = this
    if (this.#told < this.#asked && handled.settled > this.#told) {
      this.#told = handled.settled
      session.write(answer(handled.h))
    }
    if (this.#unrequested === 0 || this.#requestedAt !== 0) return
    const now = this.#parts.clock.now()
    const isDue =
      this.#isUrgent || this.#unrequested >= ASK_AFTER || now - this.#lastRequestAt >= ASK_INTERVAL
    if (!isDue) return
    this.#unrequested = 0
    this.#isUrgent = false
    this.#requestedAt = now
    this.#lastRequestAt = now
    session.write(REQUEST)
  }

  get #isFull(): boolean {
    const { maxStanzas, maxBytes } = this.#parts.limits
    return this.unacknowledged.size >= maxStanzas || this.unacknowledged.bytes >= maxBytes
  }

  #goOn(): void {
    const release = this.#release
    this.#release = undefined
    release?.()
  }

  // --- As time passes.

  /** Called every second or so. */
  look(now: number): void {
    const { session } = this
    if (this.expiresAt !== undefined) {
      if (now >= this.expiresAt) void session.end('lost')
      else if (this.#isOnDisk && !this.#isSaved) this.#save()
    } else if (this.#requestedAt === 0) {
      if (this.#unrequested > 0) session.write(NO_OCTETS)
    } else if (this.handled.room !== undefined) {
      // Its answer is not read.
      this.#requestedAt = now
    } else if (now - this.#requestedAt >= this.#parts.limits.ackTimeout) {
      void session.close(new StreamError('connection-timeout', 'No acknowledgement'))
    }
  }

  // --- Without a connection, and back.

  /** The connection is gone. False: so is the session. */
  detach(): boolean {
    if (this.id === undefined) return false
    if (this.isDetached) return true
    this.expiresAt = this.#parts.clock.now() + this.patience
    this.#requestedAt = 0
    this.#unrequested = 0
    this.#asked = this.#told
    this.#goOn()
    for (const [envelope] of this.unacknowledged) this.#tell(envelope)
    this.#save()
    return true
  }

  /** As it was before the server stopped. */
  restore({ queue, isWhole }: Pick<Snapshot, 'queue' | 'isWhole'>, expiresAt: number): void {
    for (const [envelope, at] of queue) {
      this.unacknowledged.push(envelope, at)
      this.repeats.take(envelope)
    }
    this.expiresAt = expiresAt
    this.#isOnDisk = true
    this.#isSaved = isWhole
  }

  /**
   * Another connection is about to take the session up. Until the claim is disposed of nothing is saved, whoever
   * wants it: that would be out of date with the next stanza. If it came to nothing, all is saved again.
   */
  claim(): Disposable {
    this.#claims++
    return { [Symbol.dispose]: () => this.#unclaim() }
  }

  #unclaim(): void {
    this.#claims--
    if (this.isDetached && !this.session.isClosed && !this.#isSaved) this.#save()
  }

  /**
   * Makes a session that is claimed ready for its connection: waits until it is certain what the client has to send
   * again, and until the disk has forgotten it. Rejects when the disk does not.
   */
  async prepare(): Promise<void> {
    await this.#settled()
    await this.#saving
    this.#checkStays()
    if (!this.#isOnDisk) return
    this.#isSaved = false
    await this.#parts.snapshots.forget(this.id as string)
    this.#checkStays()
    this.#isOnDisk = false
  }

  #checkStays(): void {
    if (this.#isLeaving) throw new StreamError('system-shutdown')
  }

  /** The session has a connection again; the client has got `h` stanzas, all of which were sent. */
  resume(h: number): void {
    const { session, unacknowledged, handled } = this
    this.expiresAt = undefined
    handled.restart()
    this.#told = handled.settled
    this.#asked = handled.settled
    session.write(resumed(this.id as string, handled.h))
    unacknowledged.acknowledge(h, (envelope) => this.#arrived(envelope))
    for (const queued of unacknowledged) session.write(delayed(queued).octets)
    this.#unrequested = unacknowledged.size
    if (this.#isFull) this.#release ??= session.hold().release
  }

  /**
   * The session goes on elsewhere, from what the disk has of it: `letGo` is called when that is all there
   * is. False: the disk does not take it, or its client has come back here, so it stays.
   */
  async handOver(letGo: () => void): Promise<boolean> {
    await this.#settled()
    await this.#saving
    if (!this.#isSaved) this.#save()
    let saving: Promise<unknown> | undefined
    let isSecure = true
    do {
      saving = this.#saving
      await saving
      isSecure = (await this.#parts.kept.secure(this.#keptNumbers)) && (await this.#answerAlone())
    } while (saving !== this.#saving)
    if (!isSecure || !this.isDetached || !this.#isSaved || this.#claims > 0) return false
    if (this.session.isClosed) return false
    letGo()
    return true
  }

  /** For what others were given as well, before they are told so. False: the disk does not take that. */
  async #answerAlone(): Promise<boolean> {
    const envelopes = Array.from(this.unacknowledged, ([envelope]) => envelope)
    const shared = envelopes.filter(({ delivery }) => delivery !== undefined)
    try {
      await this.#parts.kept.answerAlone(shared)
      return true
    } catch (error) {
      this.#parts.log.error('session_not_saved', { jid: this.session.jid.full, error })
      return false
    }
  }

  /** Whether the disk has something of the session, or may have. */
  get isOnDisk(): boolean {
    return this.#isOnDisk
  }

  get #keptNumbers(): number[] {
    return Array.from(this.unacknowledged).flatMap(([{ notes }]) => notes.kept ?? [])
  }

  /**
   * The server stops. Resolves when the disk has what there is to save, if it can be. What is not settled after
   * `patience` milliseconds does not count: the client sends it again.
   */
  async leave(patience: number): Promise<void> {
    this.#isLeaving = true
    const isSettled = await within(patience, this.#settled())
    if (isSettled) await this.#saving
    if (this.session.info.isAnonymous || (isSettled && (!this.#isOnDisk || this.#isSaved))) return
    await this.#saveNow().catch((error) => this.#notSaved(error))
  }

  /** What the client has not got, as it goes back to the route. */
  giveBack(): Envelope[] {
    return Array.from(this.unacknowledged).flatMap((queued) => [
      delayed(queued),
      ...this.repeats.of(queued[0]),
    ])
  }

  #save(): void {
    if (this.session.info.isAnonymous) return
    this.#follow(this.#write())
  }

  async #write(): Promise<void> {
    await this.#settled()
    if (this.#claims === 0) await this.#saveNow()
  }

  async #saveNow(): Promise<void> {
    const { id, expiresAt, session } = this
    if (id === undefined || expiresAt === undefined || session.isClosed) return
    this.#isOnDisk = true
    this.#isSaved = true
    const queue = [...this.unacknowledged]
    await this.#parts.snapshots.save({ id, expiresAt, state: this.#state, queue })
  }

  #follow(work: Promise<void>): void {
    const followed = work.catch((error) => this.#notSaved(error))
    this.#saving = Promise.all([this.#saving, followed]).then(() => {})
  }

  /** It is tried again. */
  #notSaved(error: unknown): void {
    if (this.#isSaved)
      this.#parts.log.error('session_not_saved', { jid: this.session.jid.full, error })
    this.#isSaved = false
  }

  async #settled(): Promise<void> {
    await this.session.receiving
    await this.handled.idle
  }

  get #state(): SessionState {
    const { session, handled, unacknowledged, patience, repeats } = this
    const { jid, info, lang, shared, priority, presence } = session
    return {
      jid: jid.full,
      sessionId: session.id,
      info,
      lang: lang && decode(lang),
      shared,
      priority,
      presence: presence && decode(presence.toOctets(jid, undefined)),
      handled: handled.settled,
      acknowledged: unacknowledged.acknowledged,
      had: repeats.last,
      patience,
    }
  }

  #keep(queued: Queued): void {
    this.#tell(queued[0])
    if (!this.#isSaved) return
    const seq = this.unacknowledged.size - 1
    this.#follow(this.#parts.snapshots.append(this.id as string, seq, queued))
  }

  #tell(envelope: Envelope): void {
    if (envelope.stanza.kind !== 'message') return
    this.#parts.unacknowledgedMessage.tell(envelope, { jid: this.session.jid })
  }
}

/** A message says when it should have arrived (XEP-0198 §4, XEP-0203). */
function delayed([envelope, at]: Queued): Envelope {
  const { stanza, to } = envelope
  if (stanza.kind !== 'message' || stanza.has('delay', DELAY_NS)) return envelope
  return envelope.with({ stanza: stanza.append(delay({ at, from: parseJid(to.domain) })) })
}

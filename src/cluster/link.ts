import type { NodeRun } from '../core/cluster.ts'
import type { Logger } from '../core/log.ts'
import type { Maybe } from '../core/maybe.ts'
import { type Header, type Message, readEntries, writeHeader } from './message.ts'
import type { Clock } from './transport.ts'

type Parts = {
  readonly self: NodeRun
  readonly peer: NodeRun
  readonly clock: Clock
  readonly log: Logger
  /** Sends one message to the peer's node. */
  readonly send: (message: string) => void
  /** Called for each entry of the peer, once and in order. Acknowledged when the promise is done. */
  readonly take: (entry: string, number: number) => Maybe<unknown>
  /** False: what is sent now is lost. */
  readonly isConnected: () => boolean
  /** Called when the peer has acknowledged up to this number, and all before. */
  readonly onAcknowledged: (upTo: number) => void
  /** The revision of the newest change of the registry that this node made. */
  readonly written: () => number
  /** Resolves when this node has seen that revision; `undefined` if it has. */
  readonly seen: (revision: number) => Maybe<void>
}

/**
 * What one message may carry, in octets; NATS takes 1 MiB unless told otherwise. A longer entry goes in
 * parts, which are acknowledged one by one.
 */
export const MAX_MESSAGE = 512 * 1024
/** How long an acknowledgement waits for something to travel with, milliseconds. */
const ACK_DELAY = 10
/** After so many entries it does not wait. */
const ACK_AFTER = 256
/** How long to wait for an acknowledgement before sending again, milliseconds, and at most. */
const RESEND_AFTER = 300
const MAX_RESEND_AFTER = 5_000

/** An entry; a part of one that is followed by more, and its last. */
const WHOLE = '='
const PARTIAL = '+'
const LAST = '.'

/** Entries that were sent in one message. */
type Batch = {
  /** Number of the first. */
  readonly first: number
  readonly last: number
  readonly body: string
}

type Waiter = { readonly upTo: number; readonly resolve: () => void }

/** In the place of one that was taken back. */
const NOTHING = `1:${WHOLE}`

/**
 * A line from this node to one run of another, and back: entries arrive once and in order, as long
 * as both run, whatever the transport loses.
 *
 * - All entries of a turn go in one message; they are numbered, and kept until they are acknowledged.
 *   What is not acknowledged in time is sent again, from the first such entry on; the receiver drops
 *   what it knows, and asks at once for what it misses.
 * - An acknowledgement says that all up to a number is dealt with, not just received; it travels
 *   with entries of the other direction if there are any.
 * - A message says how much of the registry its sender had written. The receiver takes it in when it
 *   has seen as much, so that nothing overtakes what it builds upon: a presence the session it is of.
 */
export class Link {
  readonly self: NodeRun
  readonly peer: NodeRun
  readonly #parts: Parts
  // --- To the peer.
  /** Sent, and not acknowledged. */
  #batches: Batch[] = []
  /** How many of `#batches` need not be sent again. */
  #sent = 0
  /** Number of the last entry in `#batches`. */
  #lastSent = 0
  /** Entries that were never sent, as they stand in a message. */
  #unsent: string[] = []
  #firstWaiting = 1
  #bytes = 0
  #isFlushDue = false
  #stopResend: (() => void) | undefined
  #resendAfter = RESEND_AFTER
  #waiting: Waiter[] = []
  // --- From the peer.
  /** The number of the next entry. */
  #expected = 1
  /** Being dealt with, besides those that were at once. */
  readonly #working = new Set<number>()
  #acknowledged = 0
  #hasGap = false
  #isAckUrgent = false
  #stopAck: (() => void) | undefined
  #partial = ''
  /** Messages that wait for the registry, by the number of their first entry. */
  #inbox: Map<number, Message> | undefined
  #isClosed = false

  constructor(parts: Parts) {
    this.#parts = parts
    this.self = parts.self
    this.peer = parts.peer
  }

  // --- To the peer.

  /** Returns the entry's number; for a long one, that of its last part. */
  send(entry: string): number {
    if (this.#isClosed) return 0
    if (entry.length <= MAX_MESSAGE) this.#push(WHOLE, entry)
    else this.#pushParts(entry)
    this.#flushSoon()
    return this.#last
  }

  get #last(): number {
    return this.#lastSent + this.#unsent.length
  }

  /** Entries, and octets of them, that are not acknowledged. */
  get waiting(): number {
    return this.#last - this.#firstWaiting + 1
  }

  get isConnected(): boolean {
    return this.#parts.isConnected()
  }

  get waitingBytes(): number {
    return this.#bytes
  }

  /** Resolves when the peer has dealt with all up to a number; `undefined` if it has, or never will. */
  acknowledged(upTo: number): Promise<void> | undefined {
    if (upTo < this.#firstWaiting || this.#isClosed) return undefined
    return new Promise((resolve) => {
      this.#waiting.push({ upTo, resolve })
      this.#ask()
    })
  }

  /** Tells the peer what is dealt with, without waiting for anything to travel with. */
  acknowledgeNow(): void {
    this.#isAckUrgent = true
    this.#flush()
  }

  /** What the peer has not acknowledged, each with the number that `send` gave it, but for long ones. */
  *unacknowledged(): Generator<readonly [number, string]> {
    for (const { first, body } of this.#batches) {
      for (const [number, entry] of whole(readEntries(body) ?? [], first)) {
        if (number >= this.#firstWaiting) yield [number, entry]
      }
    }
    yield* this.unsent()
  }

  /** Likewise what has not left this node. */
  unsent(): Generator<readonly [number, string]> {
    return whole(readEntries(this.#unsent.join('')) ?? [], this.#lastSent + 1)
  }

  /** Takes an entry back. False: it was sent before. */
  withdraw(number: number): boolean {
    const last = number - this.#lastSent - 1
    if (this.#unsent[last] === undefined) return false
    // A long one with all its parts: what is sent at all is sent as a whole.
    let first = last
    while (first > 0 && isPartial(this.#unsent[first - 1] as string)) first--
    for (let index = first; index <= last; index++) {
      this.#bytes -= (this.#unsent[index] as string).length - NOTHING.length
      this.#unsent[index] = NOTHING
    }
    return true
  }

  /** What was sent may have been lost. */
  resend(): void {
    this.#sent = 0
    this.#flush()
  }

  /** The peer's run is over. */
  close(): void {
    this.#isClosed = true
    this.#stopResend?.()
    this.#stopAck?.()
    this.#wake(Number.POSITIVE_INFINITY)
    this.#batches = []
    this.#unsent = []
    this.#firstWaiting = this.#lastSent + 1
    this.#bytes = 0
  }

  #wake(acknowledged: number): void {
    const waiting = this.#waiting
    this.#waiting = waiting.filter(({ upTo }) => upTo > acknowledged)
    for (const { upTo, resolve } of waiting) if (upTo <= acknowledged) resolve()
  }

  #push(kind: string, entry: string): void {
    const written = `${kind.length + entry.length}:${kind}${entry}`
    this.#unsent.push(written)
    this.#bytes += written.length
  }

  #pushParts(entry: string): void {
    let at = 0
    for (; at + MAX_MESSAGE < entry.length; at += MAX_MESSAGE) {
      this.#push(PARTIAL, entry.slice(at, at + MAX_MESSAGE))
    }
    this.#push(LAST, entry.slice(at))
  }

  #flushSoon(): void {
    if (this.#isFlushDue || this.#isClosed) return
    this.#isFlushDue = true
    this.#parts.clock.soon(() => {
      this.#isFlushDue = false
      this.#flush()
    })
  }

  #flush(): void {
    if (this.#isClosed || !this.#parts.isConnected()) return
    if (this.#sent === this.#batches.length && this.#unsent.length === 0) {
      if (this.#isAckUrgent) this.#write('', 0, false)
      return
    }
    for (; this.#sent < this.#batches.length; this.#sent++) {
      const { body, first } = this.#batches[this.#sent] as Batch
      this.#write(body, first, false)
    }
    while (this.#unsent.length > 0) {
      const batch = this.#nextBatch()
      this.#batches.push(batch)
      this.#sent++
      this.#lastSent = batch.last
      this.#write(batch.body, batch.first, false)
    }
    this.#watchOver()
  }

  /** As many entries as one message takes. */
  #nextBatch(): Batch {
    let count = 0
    let total = 0
    for (const { length } of this.#unsent) {
      if (count > 0 && total + length > MAX_MESSAGE) break
      total += length
      count++
    }
    const entries = count === this.#unsent.length ? this.#unsent : this.#unsent.slice(0, count)
    this.#unsent = this.#unsent.slice(count)
    // Joined it is one string; a sum would keep all that it was made of until it is acknowledged.
    const body = entries.join('')
    return { first: this.#lastSent + 1, last: this.#lastSent + count, body }
  }

  /** `first` is 0 without entries. */
  #write(body: string, first: number, wantsAnswer: boolean): void {
    const { self, peer, send, written } = this.#parts
    this.#isAckUrgent = false
    this.#stopAck?.()
    this.#stopAck = undefined
    const header = {
      from: self.node,
      fromEpoch: self.epoch,
      toEpoch: peer.epoch,
      first,
      acknowledged: this.#acknowledged,
      isMissing: this.#hasGap,
      wantsAnswer: wantsAnswer || this.#waiting.length > 0,
      written: written(),
    }
    this.#hasGap = false
    send(writeHeader(header) + body)
  }

  /** Asks the peer to acknowledge now. */
  #ask(): void {
    if (this.#isClosed) return
    const isAllSent = this.#sent === this.#batches.length && this.#unsent.length === 0
    if (isAllSent) this.#write('', 0, true)
    else this.#flushSoon()
    this.#watchOver()
  }

  #watchOver(): void {
    if (this.#stopResend !== undefined || this.#isClosed) return
    this.#stopResend = this.#parts.clock.after(this.#resendAfter, () => {
      this.#stopResend = undefined
      if (this.waiting === 0) return
      this.#resendAfter = Math.min(this.#resendAfter * 2, MAX_RESEND_AFTER)
      this.resend()
      this.#watchOver()
    })
  }

  #applyAcknowledgement({ acknowledged, isMissing }: Header): void {
    if (acknowledged >= this.#firstWaiting && acknowledged <= this.#lastSent) {
      this.#firstWaiting = acknowledged + 1
      let done = 0
      for (const { last, body } of this.#batches) {
        if (last > acknowledged) break
        this.#bytes -= body.length
        done++
      }
      this.#batches.splice(0, done)
      this.#sent = Math.max(0, this.#sent - done)
      this.#resendAfter = RESEND_AFTER
      this.#stopResend?.()
      this.#stopResend = undefined
      if (this.waiting > 0) this.#watchOver()
      this.#parts.onAcknowledged(acknowledged)
      if (this.#waiting.length > 0) this.#wake(acknowledged)
    }
    if (isMissing) this.resend()
  }

  // --- From the peer.

  /** A message of the peer to this run of ours. */
  receive(header: Header, entries: readonly string[]): void {
    if (this.#isClosed) return
    if (this.#inbox !== undefined) {
      // What is sent again meanwhile need not wait twice; of those without entries the last says all.
      const { first } = header
      if (first === 0 || !this.#inbox.has(first)) this.#inbox.set(first, { header, entries })
      return
    }
    const seen = this.#parts.seen(header.written)
    if (seen === undefined) return this.#receive(header, entries)
    const inbox = new Map([[header.first, { header, entries }]])
    this.#inbox = inbox
    void seen.then(() => {
      this.#inbox = undefined
      // One that waits again takes those behind it along.
      for (const message of inbox.values()) this.receive(message.header, message.entries)
    })
  }

  #receive(header: Header, entries: readonly string[]): void {
    const { first } = header
    if (first > this.#expected) {
      this.#hasGap = true
      this.#isAckUrgent = true
      this.#applyAcknowledgement({ ...header, isMissing: false })
      this.#flushSoon()
      return
    }
    if (first > 0) {
      const known = this.#expected - first
      // A repetition: its sender has missed an acknowledgement.
      if (known > 0) this.#isAckUrgent = true
      for (let i = known; i < entries.length; i++) this.#take(entries[i] as string)
    }
    this.#applyAcknowledgement(header)
    this.#advance()
    if (header.wantsAnswer) this.#isAckUrgent = true
    if (this.#isAckUrgent) this.#flushSoon()
  }

  #take(text: string): void {
    const number = this.#expected++
    if (text[0] === PARTIAL) {
      this.#partial += text.slice(1)
      return
    }
    const entry = this.#partial === '' ? text.slice(1) : this.#partial + text.slice(1)
    this.#partial = ''
    if (entry === '') return
    let pending: Maybe<unknown>
    try {
      pending = this.#parts.take(entry, number)
    } catch (error) {
      this.#failed(error)
      return
    }
    if (!(pending instanceof Promise)) return
    this.#working.add(number)
    const done = () => {
      this.#working.delete(number)
      this.#advance()
    }
    pending.then(done, (error) => {
      this.#failed(error)
      done()
    })
  }

  #failed(error: unknown): void {
    this.#parts.log.error('cluster_entry_failed', { from: this.peer.node, error })
  }

  #advance(): void {
    let done = this.#expected - 1
    // A set keeps the order of insertion, and numbers ascend.
    for (const number of this.#working) {
      done = number - 1
      break
    }
    if (done === this.#acknowledged || this.#isClosed) return
    const isMany = done - this.#acknowledged >= ACK_AFTER
    this.#acknowledged = done
    if (isMany) this.#isAckUrgent = true
    if (this.#isAckUrgent) this.#flushSoon()
    else {
      this.#stopAck ??= this.#parts.clock.after(ACK_DELAY, () => {
        this.#stopAck = undefined
        this.#isAckUrgent = true
        this.#flush()
      })
    }
  }
}

/** Whether another part of the same entry comes behind this one. */
function isPartial(written: string): boolean {
  return written[written.indexOf(':') + 1] === PARTIAL
}

/** Of entries with consecutive numbers those in one piece, without those that were taken back. */
function* whole(texts: readonly string[], first: number): Generator<readonly [number, string]> {
  for (const [index, text] of texts.entries()) {
    if (text[0] === WHOLE && text !== WHOLE) yield [first + index, text.slice(1)]
  }
}

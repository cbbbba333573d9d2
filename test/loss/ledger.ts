/** What a broken promise is called. */
export type Breach =
  /** Acknowledged, and never shown to its recipient. */
  | 'lost'
  /** Shown once more though the server knew that the recipient has it. */
  | 'duplicated'
  /** Shown for the first time after a later one of the same sender. */
  | 'reordered'
  /** The server said that it has not handled it, but it was shown. */
  | 'disowned'
  /** Came back as an error while nothing was wrong. */
  | 'bounced'
  /** Acknowledged, and not in the recipient's archive. */
  | 'unarchived'
  /** Sent once, in the archive twice. */
  | 'archived twice'
  /** In the archive behind a later one of the same sender. */
  | 'archived late'
  /** The server broke the protocol, died, or nothing went on. */
  | 'misbehaved'

export type Failure = { readonly breach: Breach; readonly text: string }

/**
 * How long after the server has seen an acknowledgement its disk may not know of it yet,
 * milliseconds: killed meanwhile, it delivers the message once more.
 */
const GRACE = 2_000
/** How long a resource may be bound without stream management, and a message be under way to it. */
const EXPOSURE = 500
/** How long before and after it nodes may not know of each other's sessions, milliseconds. */
const BLINDNESS = 3_000
/** How long before and after a fault a transmission may be in the hands of its node, milliseconds. */
const STRAYING = 10_000
/** How far the clocks of nodes may be apart, milliseconds. */
const CLOCKS = 2_000
/** Of each kind are kept to be shown; of the others only the number. */
const MAX_FAILURES = 5

/** Bits of a message's state. */
const ACKNOWLEDGED = 1
const BOUNCED = 2
const SHOWN = 4
const ARCHIVED = 8

const NEVER = -1

type Showing = {
  readonly recipient: number
  readonly stream: number
  /** Whether the presence that the recipient sent on this stream has taken effect. */
  readonly isAvailable: boolean
}

/** When something was wrong, in milliseconds. */
type Interval = { readonly from: number; to: number }

/**
 * What was sent, acknowledged and shown, and whether that is as promised.
 *
 * A message is a number, ascending in the order of sending. Each time it is sent is a transmission
 * with a number of its own, which the recipient sees in the body, so that a client that sends once
 * more what was not acknowledged, as is its right, is told apart from a server that delivers twice.
 *
 * When a transmission may be shown again:
 * - never on the same stream, over however many connections that was resumed;
 * - if its stream ended and the server cannot have known that the client has it: always. It knows
 *   once it answered what the client sent behind its acknowledgement (a ping, `<resumed/>`);
 * - if it did know, only if it was killed within `GRACE` of that, or its disk failed at the time.
 *
 * A transmission that was not acknowledged, and was sent again, was promised to nobody. If its node was
 * cut off, it may come late: from what that node had stored, behind what went through others.
 *
 * Nodes that are apart cannot know who is there: what they store meanwhile comes once they have heard of
 * each other, behind what was delivered in between.
 *
 * An archive is in the order of time, which nodes do not agree upon to the millisecond: what one sender
 * sent to two of them in short order may be there the other way round.
 *
 * What a failing disk refused is not acknowledged, and its sender sends it again: that may come behind
 * later messages which needed no disk.
 */
export class Ledger {
  readonly #clock: () => number
  readonly #recipients: number
  // By message.
  readonly #state: Uint8Array
  readonly #pair: Uint16Array
  // By transmission.
  readonly #message: number[] = []
  readonly #sentAt: number[] = []
  readonly #sentTo: number[] = []
  readonly #stream: number[] = []
  readonly #toldAt: number[] = []
  readonly #knownAt: number[] = []
  readonly #isArchived: boolean[] = []
  /** Whether it was addressed to the resource. */
  readonly #isDirect: boolean[] = []
  readonly #disownedAt = new Map<number, number>()
  readonly #ackedAt: Float64Array
  /** Streams of recipients that are over. */
  readonly #ended: boolean[] = [true]
  /** By pair: the last message shown for the first time. */
  readonly #lastShown: Int32Array
  /** By pair: the transmission of the last message archived for the first time. */
  readonly #lastArchived: Int32Array
  /** By pair: the stream on which the last transmission was shown, and that. */
  readonly #lastStream: Int32Array
  readonly #lastTransmission: Int32Array
  readonly #kills: Interval[] = []
  readonly #diskFaults: Interval[] = []
  readonly #splits: Interval[] = []
  /** By recipient: when its resource was bound without stream management, and was lost so. */
  readonly #exposures = new Map<number, Set<Interval>>()
  readonly failures: Failure[] = []
  readonly breaches = new Map<Breach, number>()
  sent = 0
  acknowledged = 0
  shown = 0
  bounced = 0
  /** Not acknowledged at a failure, sent again, and shown both times. */
  ambiguous = 0
  /** Refused by a disk that failed, and sent again behind what was shown meanwhile. */
  retried = 0
  /** Sent again because a node was cut off, and shown late because that came back. */
  late = 0
  /** Shown again because nobody could know. */
  repeated = 0
  archived = 0
  /** Lost with a connection that had no stream management yet. */
  unprotected = 0
  /** Acknowledged, and not shown yet. */
  owed = 0

  constructor(messages: number, senders: number, recipients: number, clock: () => number) {
    this.#clock = clock
    this.#recipients = recipients
    this.#state = new Uint8Array(messages)
    this.#pair = new Uint16Array(messages)
    this.#ackedAt = new Float64Array(messages)
    this.#lastShown = new Int32Array(senders * recipients).fill(NEVER)
    this.#lastArchived = new Int32Array(senders * recipients).fill(NEVER)
    this.#lastStream = new Int32Array(senders * recipients).fill(NEVER)
    this.#lastTransmission = new Int32Array(senders * recipients)
  }

  get transmissions(): number {
    return this.#message.length
  }

  // --- Senders.

  /** A new message; its number. */
  compose(sender: number, recipient: number): number {
    const message = this.sent++
    this.#pair[message] = sender * this.#recipients + recipient
    return message
  }

  recipientOf(message: number): number {
    return (this.#pair[message] as number) % this.#recipients
  }

  /** It is being sent, perhaps not for the first time, to this node; the transmission's number. */
  transmit(message: number, isDirect = false, node = 0): number {
    this.#isDirect.push(isDirect)
    this.#sentTo.push(node)
    this.#sentAt.push(this.#clock())
    this.#stream.push(0)
    this.#toldAt.push(0)
    this.#knownAt.push(0)
    this.#isArchived.push(false)
    return this.#message.push(message) - 1
  }

  messageOf(transmission: number): number {
    return this.#message[transmission] as number
  }

  /** The server took responsibility for it. */
  acknowledge(transmission: number): void {
    const message = this.messageOf(transmission)
    if (this.#has(message, ACKNOWLEDGED)) return
    this.#mark(message, ACKNOWLEDGED)
    this.#ackedAt[message] = this.#clock()
    this.acknowledged++
    if (!this.#has(message, SHOWN | BOUNCED)) this.owed++
  }

  /** The server resumed the stream and did not count it: it does not have it. */
  disown(transmission: number): void {
    this.#disownedAt.set(transmission, this.#clock())
  }

  isDone(message: number): boolean {
    return this.#has(message, ACKNOWLEDGED | BOUNCED)
  }

  /** It came back. */
  bounce(message: number, condition: string): void {
    if (this.#has(message, BOUNCED)) return
    if (this.#has(message, ACKNOWLEDGED) && !this.#has(message, SHOWN)) this.owed--
    this.#mark(message, BOUNCED)
    this.bounced++
    if (!this.#diskFailed(this.#clock())) this.#fail('bounced', message, condition)
  }

  // --- Recipients.

  /** A recipient has a stream under management; its number. */
  beginStream(): number {
    return this.#ended.push(false) - 1
  }

  /**
   * Its resource is bound, but stream management is not enabled: what is addressed to it goes to its
   * connection, and is lost with that. The returned function says that it was enabled after all.
   */
  expose(recipient: number): () => void {
    const now = this.#clock()
    const all = this.#exposures.get(recipient) ?? new Set()
    this.#exposures.set(recipient, all)
    const exposure: Interval = { from: now - EXPOSURE, to: now + EXPOSURE }
    all.add(exposure)
    return () => all.delete(exposure)
  }

  /** It cannot be resumed any more. */
  endStream(stream: number): void {
    this.#ended[stream] = true
  }

  /**
   * Who has bound a resource gets what is sent to that at once, but only with its presence what waits
   * for the account (RFC 6121 §8.5.3.1): before that there is no order.
   */
  show(transmission: number, { recipient, stream, isAvailable }: Showing): void {
    const message = this.#message[transmission]
    if (message === undefined || this.recipientOf(message) !== recipient) {
      return this.misbehave(`recipient ${recipient} got transmission ${transmission}`)
    }
    this.#checkDisowned(transmission, message)
    const before = this.#stream[transmission] as number
    if (before !== 0) this.#repeat(transmission, message, before)
    else if (this.#has(message, SHOWN)) this.ambiguous++
    this.#stream[transmission] = stream
    this.#toldAt[transmission] = 0
    this.#knownAt[transmission] = 0
    if (isAvailable) this.#checkOrder(transmission, message, stream)
    if (this.#has(message, SHOWN)) return
    this.#mark(message, SHOWN)
    this.shown++
    if (this.#has(message, ACKNOWLEDGED) && !this.#has(message, BOUNCED)) this.owed--
  }

  /** The recipient has acknowledged it: from now on the server may know that the recipient has it. */
  told(transmission: number): void {
    this.#toldAt[transmission] ||= this.#clock()
  }

  /** The server has said that it knows: it came to know it since it was told. */
  known(transmission: number): void {
    this.told(transmission)
    this.#knownAt[transmission] = this.#clock()
  }

  // --- The server.

  /** It is being killed, and is dead once the returned function is called. */
  kill(): () => void {
    const kill: Interval = { from: this.#clock(), to: Number.POSITIVE_INFINITY }
    this.#kills.push(kill)
    return () => {
      kill.to = this.#clock()
    }
  }

  /** The disk takes nothing, until the returned function is called. */
  failDisk(): () => void {
    const fault: Interval = { from: this.#clock(), to: Number.POSITIVE_INFINITY }
    this.#diskFaults.push(fault)
    return () => {
      fault.to = this.#clock()
    }
  }

  /** Some nodes do not know what others do, until the returned function is called. */
  split(): () => void {
    const split: Interval = { from: this.#clock(), to: Number.POSITIVE_INFINITY }
    this.#splits.push(split)
    return () => {
      split.to = this.#clock()
    }
  }

  misbehave(text: string): void {
    this.#record({ breach: 'misbehaved', text })
  }

  // --- The end.

  /** A row of a recipient's archive, oldest first. */
  archive(transmission: number, recipient: number): void {
    const message = this.#message[transmission]
    if (message === undefined || this.recipientOf(message) !== recipient) {
      return this.misbehave(`the archive of ${recipient} has transmission ${transmission}`)
    }
    this.#checkDisowned(transmission, message)
    this.archived++
    if (this.#isArchived[transmission]) this.#fail('archived twice', message)
    this.#isArchived[transmission] = true
    if (this.#has(message, ARCHIVED)) return
    this.#mark(message, ARCHIVED)
    const pair = this.#pair[message] as number
    const last = this.#lastArchived[pair] as number
    if (last === NEVER || this.messageOf(last) < message) this.#lastArchived[pair] = transmission
    else if (!this.#areByTwoClocks(transmission, last)) {
      this.#fail('archived late', message, `behind ${this.messageOf(last)}`)
    }
  }

  /** Nothing more will come. */
  close(wasArchived: boolean): void {
    for (let message = 0; message < this.sent; message++) {
      if (!this.#has(message, ACKNOWLEDGED) || this.#has(message, BOUNCED)) continue
      if (!this.#has(message, SHOWN)) {
        if (this.#wasExposed(message)) this.unprotected++
        else this.#fail('lost', message)
      }
      if (wasArchived && !this.#has(message, ARCHIVED)) this.#fail('unarchived', message)
    }
  }

  /** On one stream even what is shown again comes in the order in which it was sent. */
  #checkOrder(transmission: number, message: number, stream: number): void {
    const pair = this.#pair[message] as number
    const before = this.#lastStream[pair] === stream ? (this.#lastTransmission[pair] as number) : 0
    const last = this.#lastShown[pair] as number
    if (transmission < before && this.#isStray(transmission, message)) this.late++
    else if (transmission < before) {
      this.#fail('reordered', message, `transmission ${transmission} behind ${before}`)
    } else if (message < last && !this.#has(message, SHOWN)) {
      if (this.#wasRefused(message, transmission)) this.retried++
      else if (this.#isStray(transmission, message)) this.late++
      else this.#fail('reordered', message, `behind ${last}`)
    }
    this.#lastStream[pair] = stream
    this.#lastTransmission[pair] = Math.max(transmission, before)
    this.#lastShown[pair] = Math.max(message, last)
  }

  /**
   * Whether there is no order for it: it was sent again because it was not acknowledged, and was in the
   * hands of a node that was not heard; or it was stored by one that could not know who was there.
   */
  #isStray(transmission: number, message: number): boolean {
    if (this.#wasApart(transmission, BLINDNESS)) return true
    const wasSentAgain = this.#message.lastIndexOf(message) > transmission
    return wasSentAgain && this.#wasApart(transmission, STRAYING)
  }

  #wasApart(transmission: number, around: number): boolean {
    const sentAt = this.#sentAt[transmission] as number
    return this.#splits.some(({ from, to }) => from <= sentAt + around && sentAt <= to + around)
  }

  #areByTwoClocks(one: number, other: number): boolean {
    const [first, second] = [this.#sentAt[one] as number, this.#sentAt[other] as number]
    return this.#sentTo[one] !== this.#sentTo[other] && Math.abs(first - second) < CLOCKS
  }

  #repeat(transmission: number, message: number, stream: number): void {
    const toldAt = this.#toldAt[transmission] as number
    const knownAt = this.#knownAt[transmission] as number
    const mayBe =
      knownAt === 0
        ? this.#ended[stream] === true
        : this.#wasKilledAfter(toldAt, knownAt) || this.#diskFailed(knownAt)
    if (mayBe) this.repeated++
    else {
      const known = knownAt === 0 ? `stream ${stream} goes on` : `acknowledged at ${time(knownAt)}`
      this.#fail('duplicated', message, `transmission ${transmission}, ${known}`)
    }
  }

  /** A write that failed is not counted, though it may have been delivered; a client that is away hears so later. */
  #checkDisowned(transmission: number, message: number): void {
    const at = this.#disownedAt.get(transmission)
    if (at === undefined || this.#diskFailed(this.#sentAt[transmission] as number, at)) return
    this.#fail('disowned', message, `transmission ${transmission}, disowned at ${time(at)}`)
  }

  /** The server could not store what was sent before, and said so; its order is that of this one. */
  #wasRefused(message: number, transmission: number): boolean {
    return this.#message.some(
      (of, earlier) =>
        of === message &&
        earlier < transmission &&
        this.#stream[earlier] === 0 &&
        this.#diskFailed(this.#sentAt[earlier] as number),
    )
  }

  #wasExposed(message: number): boolean {
    const exposures = [...(this.#exposures.get(this.recipientOf(message)) ?? [])]
    return this.#message.some((of, transmission) => {
      if (of !== message || !this.#isDirect[transmission]) return false
      const sentAt = this.#sentAt[transmission] as number
      return exposures.some(({ from, to }) => from <= sentAt && sentAt <= to)
    })
  }

  /** Whether it was killed within `GRACE` of when it came to know, which was between these two. */
  #wasKilledAfter(toldAt: number, knownAt: number): boolean {
    return this.#kills.some(({ from, to }) => toldAt <= to && from <= knownAt + GRACE)
  }

  #diskFailed(since: number, until = since): boolean {
    return this.#diskFaults.some(({ from, to }) => from <= until + GRACE && since <= to + 3 * GRACE)
  }

  #has(message: number, bits: number): boolean {
    return ((this.#state[message] as number) & bits) !== 0
  }

  #mark(message: number, bit: number): void {
    this.#state[message] = (this.#state[message] as number) | bit
  }

  #fail(breach: Breach, message: number, detail = ''): void {
    const isShown = (this.breaches.get(breach) ?? 0) < MAX_FAILURES
    const known = isShown ? this.#historyOf(message) : ''
    this.#record({ breach, text: `${detail}${detail && '; '}${known}` })
  }

  #record(failure: Failure): void {
    const { breach } = failure
    const count = (this.breaches.get(breach) ?? 0) + 1
    this.breaches.set(breach, count)
    if (count <= MAX_FAILURES) this.failures.push(failure)
  }

  #historyOf(message: number): string {
    const pair = this.#pair[message] as number
    const [sender, recipient] = [Math.floor(pair / this.#recipients), pair % this.#recipients]
    const sendings: string[] = []
    for (const [transmission, of] of this.#message.entries()) {
      if (of !== message) continue
      const shown =
        this.#stream[transmission] === 0 ? '' : ` shown on ${this.#stream[transmission]}`
      sendings.push(`${transmission} at ${time(this.#sentAt[transmission] as number)}${shown}`)
    }
    const ackedAt = this.#ackedAt[message] as number
    const acked = ackedAt === 0 ? 'not acknowledged' : `acknowledged at ${time(ackedAt)}`
    return `message ${message}, s${sender} to r${recipient}: sent as ${sendings.join(', ')}; ${acked}`
  }
}

/** Seconds since the trial began. */
export function time(milliseconds: number): string {
  return (milliseconds / 1000).toFixed(3)
}

import type { Envelope } from '../core/envelope.ts'
import { Lanes } from '../core/lanes.ts'
import { after, type Maybe, settled } from '../core/maybe.ts'
import {
  ARRIVED,
  COMPONENT,
  FAILED,
  NODE,
  RETURNED,
  readNumbers,
  SESSION,
  SETTLED,
} from './hand-off-entries.ts'
import { EnvelopeReader, EnvelopeWriter } from './handed-envelope.ts'
import { Intake, type Taker } from './intake.ts'
import { type Link, MAX_MESSAGE } from './link.ts'
import type { RemoteResource } from './remote-resource.ts'
import type { Clock } from './transport.ts'
import { Window } from './window.ts'

type Parts = {
  readonly link: Link
  readonly clock: Clock
  readonly taker: Taker
  /** How long stanzas wait for a node out of reach, milliseconds. */
  readonly patience: number
  /** Whether this node takes nothing more: what comes stays with the other one. */
  readonly isClosing: () => boolean
}

/**
 * A stanza that another node has, or is to get, and does not answer for alone yet. Most need not be kept as
 * such: of what nobody waits for, the line has the text for as long as it could come back.
 */
type Open = {
  readonly envelope: Envelope
  readonly at: number
  /** Others were given it as well: so it is open until it is known whether it has arrived there. */
  readonly isShared: boolean
  /** Its fate is told besides that it was taken. */
  readonly wantsSettlement: boolean
  /** Given back: the other node has had it before. */
  readonly isReturned: boolean
  isTaken: boolean
  isSettled: boolean
}

/** What was given back to this node: when it is decided about, and when it is safe. */
type Returning = { readonly decided: Maybe<unknown>; readonly safe: Promise<void> }

/** What may wait for one node, in octets. */
const MAX_WAITING = 64 * 1024 * 1024
const FAILURE = 'the node that has it could not keep it'
const DONE: Returning = { decided: undefined, safe: Promise.resolve() }

/**
 * Stanzas between this node and one run of another.
 *
 * Handing one over succeeds at once: from then on it is kept here until the other node has taken it
 * and, where the sender's acknowledgement waits for that, has settled its fate: written it, or seen it
 * acknowledged by the client. If that node is lost before, it is decided about here anew. A node whose
 * session is gone does not send it back but decides itself, for it knows all that this one knows.
 */
export class HandOff {
  readonly #parts: Parts
  readonly #intake: Intake
  readonly #writer = new EnvelopeWriter()
  #open = new Window<Open>()
  /** The last that is not kept as such. */
  #lastPlain = 0
  /** Since when those of them that have not left this node wait for the line; not finite if there are none. */
  #plainSince: number | undefined
  /** What was given back to this node, until that is safe. */
  readonly #returning = new Map<number, Returning>()
  #acknowledged = 0
  /** Something has waited too long, and the node may be out of reach still. */
  #isExpired = false
  /** Set when the other node's run is over. */
  #isLost = false
  /** And what it left is decided about. */
  #isSettled = false
  #last = 0
  #onSafe: PromiseWithResolvers<void> | undefined
  readonly #whenLeft = Promise.withResolvers<void>()

  constructor(parts: Parts) {
    this.#parts = parts
    const giveBack = (number: number, held: Envelope) => this.#giveBack(number, held)
    this.#intake = new Intake({ ...parts, giveBack })
  }

  // --- To the other node.

  /** False: too much waits for it, or it is not there any more. */
  deliver(target: RemoteResource, envelope: Envelope): boolean {
    const number = this.#hand(SESSION, target.jid.full, envelope, target.slot)
    if (number === undefined) return false
    target.lastEntry = number
    return true
  }

  deliverToComponent(id: string, envelope: Envelope): boolean {
    return this.#hand(COMPONENT, id, envelope) !== undefined
  }

  deliverToNode(envelope: Envelope): boolean {
    return this.#hand(NODE, '', envelope) !== undefined
  }

  #hand(type: string, target: string, envelope: Envelope, slot?: number): number | undefined {
    const { link, clock } = this.#parts
    if (this.#isSettled || link.waitingBytes > MAX_WAITING) return undefined
    const isConnected = link.isConnected
    if (this.#isExpired && !isConnected) return undefined
    this.#isExpired = false
    const { settlement, delivery, notes } = envelope
    const wantsSettlement = settlement !== undefined || notes.kept !== undefined
    const isShared = delivery !== undefined
    settlement?.begin()
    if (this.#isLost) this.#last++
    else {
      const handed = { target, wantsSettlement, isShared }
      const before = link.waitingBytes
      this.#last = link.send(this.#writer.write(type, envelope, handed, slot))
      const size = link.waitingBytes - before
      if (isConnected && !wantsSettlement && !isShared && size <= MAX_MESSAGE) {
        this.#lastPlain = this.#last
        return this.#last
      }
    }
    const told = { wantsSettlement, isTaken: false, isSettled: !wantsSettlement }
    const open = { envelope, at: clock.now(), isShared, isReturned: false, ...told }
    this.#open.set(this.#last, open)
    return this.#last
  }

  /**
   * What came as `number` goes back to the other node, which decides about it. A durable copy stays here until
   * that one answers for it; what comes behind it on the line does not wait for so long.
   */
  #giveBack(number: number, held: Envelope): void {
    const { link, clock } = this.#parts
    this.#last = link.send(RETURNED + number)
    if (held.notes.kept === undefined) return
    held.settlement?.begin()
    this.#open.set(this.#last, {
      envelope: held.shared(undefined),
      at: clock.now(),
      isShared: false,
      isReturned: true,
      wantsSettlement: true,
      isTaken: false,
      isSettled: false,
    })
  }

  /**
   * Resolves when the other node has dealt with all up to `number`, or what it had is decided about here;
   * `undefined` if it has.
   */
  decided(number: number): Promise<void> | undefined {
    if (this.#isSettled) return undefined
    if (this.#isLost) return this.#whenLeft.promise
    const acknowledged = this.#parts.link.acknowledged(number)
    return acknowledged?.then(() => (this.#isLost ? this.#whenLeft.promise : undefined))
  }

  /** As `decided`, for all that was handed so far. */
  get allDecided(): Promise<void> | undefined {
    return this.decided(this.#last)
  }

  onAcknowledged(upTo: number): void {
    for (let number = this.#acknowledged + 1; number <= upTo; number++) {
      const open = this.#open.get(number)
      if (open === undefined) continue
      open.isTaken = true
      this.#close(number, open)
    }
    this.#acknowledged = upTo
    this.#tellIfSafe()
  }

  #close(number: number, { isTaken, isSettled, isShared }: Open): void {
    if (isTaken && isSettled && !isShared) this.#forget(number)
  }

  #forget(number: number): void {
    this.#open.delete(number)
    this.#tellIfSafe()
  }

  get #isSafe(): boolean {
    return this.#open.size === 0 && this.#lastPlain <= this.#acknowledged
  }

  #tellIfSafe(): void {
    if (this.#onSafe === undefined || !this.#isSafe) return
    this.#onSafe.resolve()
    this.#onSafe = undefined
  }

  /** Resolves when the other node answers for all that it was handed; `undefined` if it does. */
  get safe(): Promise<void> | undefined {
    if (this.#isSafe) return undefined
    this.#onSafe ??= Promise.withResolvers()
    return this.#onSafe.promise
  }

  /**
   * Called now and then. If something has waited too long for a node out of reach, all that was not sent
   * goes elsewhere, and what comes does as well until the node is back: so the order stays.
   */
  expire(): void {
    const { clock, patience, link, taker } = this.#parts
    if (link.isConnected) {
      this.#plainSince = undefined
      return
    }
    const before = clock.now() - patience
    this.#plainSince ??= clock.now()
    const [[, oldest] = []] = this.#open
    const isDue = Math.min(this.#plainSince, oldest?.at ?? this.#plainSince) <= before
    const withPlain = isDue && Number.isFinite(this.#plainSince)
    if (withPlain) this.#plainSince = Number.POSITIVE_INFINITY
    for (const [number, open] of withPlain ? this.#with(link.unsent()) : this.#open) {
      if (!this.#isExpired && open.at > before) return
      if (open.isTaken || open.isReturned || !link.withdraw(number)) continue
      this.#isExpired = true
      this.#lastPlain = Math.min(this.#lastPlain, number - 1)
      this.#forget(number)
      const isLast = !open.isShared || this.#givesBack(open)
      const decided = isLast ? taker.unreachable(open.envelope.shared(undefined)) : undefined
      this.#finish(open, decided)
    }
  }

  /** The stanzas that are open, and those of `entries` that are not kept as such, by ascending numbers. */
  *#with(entries: Iterable<readonly [number, string]>): Generator<readonly [number, Open]> {
    const kept = new Map(this.#open)
    const reader = new EnvelopeReader()
    for (const [number, entry] of entries) {
      if (!kept.has(number) && isStanza(entry)) kept.set(number, plain(entry, reader))
    }
    yield* [...kept].sort(([one], [other]) => one - other)
  }

  /** The other node is lost. To be called while the line still has what was not acknowledged. */
  lose(): void {
    const left = [...this.#with(this.#parts.link.unacknowledged())]
    this.#open = new Window()
    for (const [number, open] of left) this.#open.set(number, open)
    this.#isLost = true
    this.#intake.lose()
  }

  /**
   * What it left is taken care of: the stanzas that it had and nobody answers for are decided about
   * anew, in order. `rerouted`: numbers of those that were found at its place. Resolves when all of that is
   * decided.
   */
  settleRemains(rerouted: ReadonlySet<number>): Maybe<void> {
    const { taker } = this.#parts
    const left = [...this.#open]
    this.#open.clear()
    this.#lastPlain = 0
    this.#tellIfSafe()
    this.#isSettled = true
    const decisions: Maybe<unknown>[] = []
    // Not behind what that node had handed to this one, which may wait for all of this.
    const anew = new Lanes()
    for (const [number, open] of left) {
      const { envelope, isSettled, isShared, wantsSettlement } = open
      if (rerouted.has(number)) {
        if (isShared && this.#givesBack(open)) this.#keptElsewhere(envelope)
        if (!isSettled) this.#safe(open)
      } else if (isShared && !this.#givesBack(open)) this.#finish(open, undefined)
      else if (isShared || !wantsSettlement || !isSettled) {
        const again = () => taker.again(envelope.shared(undefined))
        const decided = anew.run(envelope.to.bare, again)
        decisions.push(decided)
        this.#finish(open, decided)
      }
    }
    const decided = settled(decisions)
    return after(decided, () => this.#whenLeft.resolve())
  }

  /** It does not arrive at the other node. True: nor anywhere else. */
  #givesBack({ envelope }: Open): boolean {
    return envelope.delivery?.giveBack(envelope) !== false
  }

  #finish({ envelope, isSettled }: Open, decided: Maybe<unknown>): void {
    if (isSettled) return
    const { settlement } = envelope
    if (decided instanceof Promise) {
      decided.then(
        () => settlement?.finish(),
        (error) => settlement?.fail(error),
      )
    } else settlement?.finish()
  }

  // --- From the other node.

  /** An entry of one of these kinds, with its number. */
  take(entry: string, number: number): Maybe<unknown> {
    switch (entry[0]) {
      case SESSION:
      case COMPONENT:
      case NODE:
        return this.#intake.take(entry[0], entry, number)
      case SETTLED:
        for (const number of readNumbers(entry.slice(1))) this.#onSettled(number)
        return undefined
      case FAILED:
        return this.#onFailed(Number(entry.slice(1)))
      case ARRIVED:
        return this.#onArrived(Number(entry.slice(1)))
      default:
        return this.#onReturned(Number(entry.slice(1)), number)
    }
  }

  /** Resolves when what was taken is decided about; `undefined` if it is. */
  get decidedAll(): Promise<void> | undefined {
    return this.#intake.decidedAll
  }

  #onSettled(number: number): void {
    const open = this.#open.get(number)
    if (open === undefined || open.isSettled) return
    open.isSettled = true
    this.#safe(open)
    this.#close(number, open)
  }

  /** Its fate is settled elsewhere. What others have as well is kept for them. */
  #safe({ envelope, isShared }: Open): void {
    if (!isShared) this.#keptElsewhere(envelope)
    envelope.settlement?.finish()
  }

  #keptElsewhere(envelope: Envelope): void {
    if (envelope.notes.kept !== undefined) this.#parts.taker.keptElsewhere(envelope)
  }

  #onFailed(number: number): void {
    const open = this.#open.get(number)
    if (open === undefined || open.isSettled) return
    const { envelope, isReturned } = open
    // Whoever gave it back has a copy of it still.
    if (isReturned) this.#finish(open, this.#parts.taker.again(envelope))
    else envelope.settlement?.fail(new Error(FAILURE))
    open.isSettled = true
    this.#close(number, open)
  }

  /** A client has acknowledged it there: whatever else becomes of that node. */
  #onArrived(number: number): void {
    const open = this.#open.get(number)
    if (open?.isShared !== true) return
    this.#forget(number)
    open.envelope.delivery?.acknowledge()
    this.#keptElsewhere(open.envelope)
    this.#finish(open, undefined)
  }

  /**
   * The other node keeps its copy until what it has given back, as `number`, is safe. It is acknowledged when it is
   * decided about: for that the other node may wait with what its fate depends on.
   */
  #onReturned(handed: number, number: number): Maybe<unknown> {
    const { decided, safe } = this.#return(handed)
    this.#intake.reportReturned(number, safe)
    return decided
  }

  /**
   * Whoever takes care of what the other node has left has found it, in nobody's hands. Resolves when it is
   * safe.
   */
  returned(number: number): Promise<void> {
    return this.#return(number).safe
  }

  #return(number: number): Returning {
    const known = this.#returning.get(number)
    const open = this.#open.get(number)
    if (known !== undefined || open?.isShared !== true) return known ?? DONE
    this.#forget(number)
    if (!this.#givesBack(open)) {
      this.#finish(open, undefined)
      return DONE
    }
    const returning = this.#takeBack(open)
    this.#returning.set(number, returning)
    const over = () => this.#returning.delete(number)
    returning.safe.then(over, over)
    return returning
  }

  #takeBack({ envelope, isSettled }: Open): Returning {
    const { settlement } = envelope
    if (isSettled) settlement?.begin()
    const decided = this.#parts.taker.again(envelope.shared(undefined))
    const settle = async () => {
      try {
        await decided
        settlement?.finish()
        await settlement?.done
      } catch (error) {
        settlement?.fail(error)
        throw error
      }
    }
    return { decided, safe: settle() }
  }
}

function isStanza(entry: string): boolean {
  return entry[0] === SESSION || entry[0] === COMPONENT || entry[0] === NODE
}

function plain(entry: string, reader: EnvelopeReader): Open {
  const envelope = reader.read(entry).envelope(undefined)
  const open = { isShared: false, isReturned: false, wantsSettlement: false }
  return { envelope, at: 0, ...open, isTaken: false, isSettled: true }
}

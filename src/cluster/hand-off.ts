import type { Envelope } from '../core/envelope.ts'
import { Lanes } from '../core/lanes.ts'
import { after, type Maybe, settled } from '../core/maybe.ts'
import { Settlement } from '../core/settlement.ts'
import type { DeliveryShare } from '../core/shared-delivery.ts'
import { packEnvelope, unpackEnvelope } from './handed-envelope.ts'
import type { Link } from './link.ts'
import type { RemoteResource } from './remote-resource.ts'
import { type Clock, keyOf } from './transport.ts'
import { Window } from './window.ts'

/** What a node does with stanzas that others hand to it. */
export interface Taker {
  /**
   * For a session of this node; if it is not here, it is decided about anew. Resolves, when it is decided
   * about, to whether another node may have it now.
   */
  toSession(target: string, envelope: Envelope): Maybe<boolean>
  /** Resolves when the other node has dealt with it; `undefined` if it has. */
  passedOn(envelope: Envelope): Promise<unknown> | undefined
  toComponent(target: string, envelope: Envelope): Maybe<unknown>
  /** The answer to a request of this node's own. */
  toNode(envelope: Envelope): void
  /** To be decided about anew: its node is lost, or no resource has got it. */
  again(envelope: Envelope): Maybe<unknown>
  /** Another node answers for it, of which there is a durable copy here. */
  keptElsewhere(envelope: Envelope): void
  /** Waited too long for a node that is out of reach. */
  unreachable(envelope: Envelope): Maybe<unknown>
}

type Parts = {
  readonly link: Link
  readonly clock: Clock
  readonly taker: Taker
  /** How long stanzas wait for a node out of reach, milliseconds. */
  readonly patience: number
  /** Whether this node takes nothing more: what comes stays with the other one. */
  readonly isClosing: () => boolean
}

/** A stanza that another node has, or is to get, and does not answer for alone yet. */
type Open = {
  readonly envelope: Envelope
  readonly at: number
  /** Others were given it as well: so it is open until it is known whether it has arrived there. */
  readonly isShared: boolean
  /** Its fate is told besides that it was taken. */
  readonly wantsSettlement: boolean
  isTaken: boolean
  isSettled: boolean
}

export const SESSION = 'D'
export const COMPONENT = 'C'
const NODE = 'N'
const SETTLED = 'S'
const FAILED = 'F'
const ARRIVED = 'V'
const RETURNED = 'R'
export const HAND_OFF_ENTRIES = SESSION + COMPONENT + NODE + SETTLED + FAILED + ARRIVED + RETURNED

/** What may wait for one node, in octets. */
const MAX_WAITING = 64 * 1024 * 1024
const FAILURE = 'the node that has it could not keep it'

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
  readonly #open = new Window<Open>()
  /** What was given back to this node, until that is safe. */
  readonly #returning = new Map<number, Promise<void>>()
  #acknowledged = 0
  /** Something has waited too long, and the node may be out of reach still. */
  #isExpired = false
  /** Set when the other node's run is over. */
  #isLost = false
  /** And what it left is decided about. */
  #isSettled = false
  #last = 0
  #settled: number[] = []
  #isReportDue = false

  /** What was taken is decided about in the order in which it came, for each account. */
  readonly #lanes = new Lanes()
  /** How many stanzas are being decided about. */
  #deciding = 0
  #onDecided: PromiseWithResolvers<void> | undefined
  #onSafe: PromiseWithResolvers<void> | undefined
  readonly #whenLeft = Promise.withResolvers<void>()

  constructor(parts: Parts) {
    this.#parts = parts
  }

  // --- To the other node.

  /** False: too much waits for it, or it is not there any more. */
  deliver(target: RemoteResource, envelope: Envelope): boolean {
    const number = this.#hand(SESSION, target.jid.full, envelope)
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

  #hand(type: string, target: string, envelope: Envelope): number | undefined {
    const { link, clock } = this.#parts
    if (this.#isSettled || link.waitingBytes > MAX_WAITING) return undefined
    if (this.#isExpired && !link.isConnected) return undefined
    this.#isExpired = false
    const { settlement, delivery, notes } = envelope
    const wantsSettlement = settlement !== undefined || notes.kept !== undefined
    const isShared = delivery !== undefined
    settlement?.begin()
    if (this.#isLost) this.#last++
    else {
      const handed = { target, wantsSettlement, isShared }
      this.#last = link.send(type + packEnvelope(envelope, handed))
    }
    const isSettled = !wantsSettlement
    const at = clock.now()
    const open = { envelope, at, isShared, wantsSettlement, isTaken: false, isSettled }
    this.#open.set(this.#last, open)
    return this.#last
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

  onAcknowledged(upTo: number): void {
    for (let number = this.#acknowledged + 1; number <= upTo; number++) {
      const open = this.#open.get(number)
      if (open === undefined) continue
      open.isTaken = true
      this.#close(number, open)
    }
    this.#acknowledged = upTo
  }

  #close(number: number, { isTaken, isSettled, isShared }: Open): void {
    if (isTaken && isSettled && !isShared) this.#forget(number)
  }

  #forget(number: number): void {
    this.#open.delete(number)
    if (this.#open.size > 0) return
    this.#onSafe?.resolve()
    this.#onSafe = undefined
  }

  /** Resolves when the other node answers for all that it was handed; `undefined` if it does. */
  get safe(): Promise<void> | undefined {
    if (this.#open.size === 0) return undefined
    this.#onSafe ??= Promise.withResolvers()
    return this.#onSafe.promise
  }

  /**
   * Called now and then. If something has waited too long for a node out of reach, all that was not sent
   * goes elsewhere, and what comes does as well until the node is back: so the order stays.
   */
  expire(): void {
    const { clock, patience, link, taker } = this.#parts
    if (link.isConnected) return
    const before = clock.now() - patience
    for (const [number, open] of this.#open) {
      if (!this.#isExpired && open.at > before) return
      if (open.isTaken || !link.withdraw(number)) continue
      this.#isExpired = true
      this.#forget(number)
      const isLast = !open.isShared || this.#givesBack(open)
      const decided = isLast ? taker.unreachable(open.envelope.shared(undefined)) : undefined
      this.#finish(open, decided)
    }
  }

  /** The other node is lost. */
  lose(): void {
    this.#isLost = true
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
    this.#onSafe?.resolve()
    this.#onSafe = undefined
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
    const body = entry.slice(1)
    switch (entry[0]) {
      case SESSION:
      case COMPONENT:
      case NODE:
        return this.#take(entry[0], body, number)
      case SETTLED:
        for (const number of readNumbers(body)) this.#onSettled(number)
        return undefined
      case FAILED:
        return this.#onFailed(Number(body))
      case ARRIVED:
        return this.#onArrived(Number(body))
      default:
        return this.#onReturned(Number(body))
    }
  }

  /** Resolves when what was taken is decided about; `undefined` if it is. */
  get decidedAll(): Promise<void> | undefined {
    if (this.#deciding === 0) return undefined
    this.#onDecided ??= Promise.withResolvers()
    return this.#onDecided.promise
  }

  #take(type: string, body: string, number: number): Maybe<unknown> {
    // It is never acknowledged: the other node decides about it when this run is over.
    if (this.#parts.isClosing()) return new Promise(() => {})
    const { handed, envelope: make } = unpackEnvelope(body)
    const { target, wantsSettlement, isShared } = handed
    const settlement = wantsSettlement ? new Settlement() : undefined
    const as = wantsSettlement ? this.#nameOf(number, isShared) : undefined
    const envelope = make(as, settlement, isShared ? this.#share(number) : undefined)
    const taken = this.#give(type, target, envelope)
    if (settlement === undefined) return taken
    if (!(taken instanceof Promise)) {
      this.#report(number, settlement)
      return undefined
    }
    return taken.finally(() => this.#report(number, settlement))
  }

  #nameOf(number: number, isShared: boolean): string {
    const { self, peer } = this.#parts.link
    return writeHanded({ from: keyOf(peer), to: keyOf(self), number, isShared })
  }

  #give(type: string, target: string, envelope: Envelope): Maybe<unknown> {
    const { taker } = this.#parts
    switch (type) {
      case SESSION:
        return after(this.#inOrder(target, envelope), (isPassedOn) =>
          isPassedOn ? taker.passedOn(envelope) : undefined,
        )
      case COMPONENT:
        return taker.toComponent(target, envelope)
      default:
        return taker.toNode(envelope)
    }
  }

  /** What has been given back does not wait: others wait for it. */
  #inOrder(target: string, envelope: Envelope): Maybe<boolean> {
    const { taker } = this.#parts
    const decide = () => taker.toSession(target, envelope)
    const isRetry = envelope.notes.isRetry === true
    const decided = isRetry ? decide() : this.#lanes.run(envelope.to.bare, decide)
    if (!(decided instanceof Promise)) return decided
    this.#deciding++
    return decided.finally(() => {
      if (--this.#deciding > 0) return
      this.#onDecided?.resolve()
      this.#onDecided = undefined
    })
  }

  #share(number: number): DeliveryShare {
    const { link } = this.#parts
    return {
      acknowledge: () => void link.send(ARRIVED + number),
      giveBack: (held) => {
        if (this.#isLost) return true
        const returned = link.send(RETURNED + number)
        if (held.notes.kept !== undefined) void this.#letGo(held, returned)
        return false
      },
    }
  }

  /** A durable copy stays until the other node answers for what was given back to it. */
  async #letGo(held: Envelope, returned: number): Promise<void> {
    await this.#parts.link.acknowledged(returned)
    if (this.#isLost) await this.#parts.taker.again(held.shared(undefined))
    else this.#keptElsewhere(held)
  }

  #report(number: number, settlement: Settlement): void {
    if (settlement.isSettled) return this.#isNowSettled(number)
    settlement.tell({
      onSettled: () => this.#isNowSettled(number),
      onUnsettled: () => void this.#parts.link.send(FAILED + number),
    })
  }

  #isNowSettled(number: number): void {
    this.#settled.push(number)
    if (this.#isReportDue) return
    this.#isReportDue = true
    queueMicrotask(() => {
      this.#isReportDue = false
      this.#parts.link.send(SETTLED + writeNumbers(this.#settled))
      this.#settled = []
    })
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
    open.isSettled = true
    open.envelope.settlement?.fail(new Error(FAILURE))
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

  /** Whoever takes care of what the other node has left has found it, in nobody's hands. */
  returned(number: number): Promise<void> {
    return this.#onReturned(number)
  }

  /** The other node keeps its copy until what is returned here is safe. */
  #onReturned(number: number): Promise<void> {
    const known = this.#returning.get(number)
    const open = this.#open.get(number)
    if (known !== undefined || open?.isShared !== true) return known ?? Promise.resolve()
    this.#forget(number)
    const returning = this.#takeBack(open).finally(() => this.#returning.delete(number))
    this.#returning.set(number, returning)
    return returning
  }

  async #takeBack(open: Open): Promise<void> {
    const { settlement } = open.envelope
    if (!this.#givesBack(open)) return this.#finish(open, undefined)
    if (open.isSettled) settlement?.begin()
    try {
      await this.#parts.taker.again(open.envelope.shared(undefined))
      settlement?.finish()
      await settlement?.done
    } catch (error) {
      settlement?.fail(error)
      throw error
    }
  }
}

/** What a stanza is known by that one run handed to another: those two, and its number between them. */
export type Handed = {
  readonly from: string
  readonly to: string
  readonly number: number
  readonly isShared: boolean
}

function writeHanded({ from, to, number, isShared }: Handed): string {
  return `${from} ${to} ${number}${isShared ? ' shared' : ''}`
}

export function readHanded(handed: string): Handed {
  const [from = '', to = '', number, shared] = handed.split(' ')
  return { from, to, number: Number(number), isShared: shared !== undefined }
}

/** Ascending runs: `3-7,9`. */
function writeNumbers(numbers: readonly number[]): string {
  let text = ''
  for (let i = 0; i < numbers.length; ) {
    const from = numbers[i] as number
    let to = from
    while (numbers[++i] === to + 1) to++
    text += `${text === '' ? '' : ','}${from}${to === from ? '' : `-${to}`}`
  }
  return text
}

function* readNumbers(text: string): Generator<number> {
  for (const run of text.split(',')) {
    const [from, to = from] = run.split('-')
    for (let number = Number(from); number <= Number(to); number++) yield number
  }
}

import type { Envelope } from '../../core/envelope.ts'
import type { Logger } from '../../core/log.ts'
import type { Maybe } from '../../core/maybe.ts'
import { isLocalSession, type Resource, type Session } from '../../core/session.ts'
import { Elsewhere, type ElsewhereParts, NOBODY } from './elsewhere.ts'
import type { Removals } from './removals.ts'
import {
  ASKED_AT_ONCE,
  type Cursor,
  type OfflineStore,
  restore,
  START,
  type StoredMessage,
} from './store.ts'
import type { UsageCache } from './usage.ts'

type Parts = ElsewhereParts & {
  readonly store: Pick<OfflineStore, 'page' | 'waiting'>
  readonly usage: Pick<UsageCache, 'release' | 'forget'>
  readonly removals: Pick<Removals, 'remove' | 'has'>
  readonly log: Logger
  readonly settingsFor: (domain: string) => {
    /** Messages handed over before their acknowledgement is waited for. */
    readonly batch: number
    /** How long that waits, in milliseconds. */
    readonly patience: number
  }
}

/** A message handed to a session that has not acknowledged it. */
type InFlight = { readonly session: Session; readonly size: number }

type Queue = {
  readonly account: string
  readonly inFlight: Map<number, InFlight>
  /** Acknowledged since the claimant's page was asked for, which may still have them. */
  readonly gone: Set<number>
  /** The session that is getting the queue. */
  claimant: Session | undefined
  /** Something may have been added, or given back, since the claimant began to read. */
  isStale: boolean
  /** Lets the claimant go on when it waits for acknowledgements. */
  wake: (() => void) | undefined
  /** A session that got part of the queue and stopped acknowledging; it gets the rest when it does. */
  slow: Session | undefined
}

/**
 * Delivers what waited for an account, to one of its sessions.
 *
 * - A message stays in the store until the session acknowledged it. What a session leaves
 *   unacknowledged goes to the next one, from the store.
 * - Each message is in the hands of one session at a time, and one session at a time is given
 *   messages, so resources that come online together do not all get everything.
 * - No message stays behind. Whoever stores one calls `look` after submitting the write. Either a
 *   claimant is at work: then its queue is stale, it reads on, and the read sees the write. Or none
 *   is: then a session that is available by now gets one going, and one that becomes available
 *   later reads behind the write. The check for staleness and the end of the claim are one step of
 *   the event loop, so nothing comes between them.
 * - Order: while a session gets the queue, what is delivered to it live waits behind (`hold`).
 */
export class Backlog {
  readonly #parts: Parts
  readonly #queues = new Map<string, Queue>()
  /** What others are to look for. */
  readonly elsewhere: Elsewhere
  #isStopped = false

  constructor(parts: Parts) {
    this.#parts = parts
    this.elsewhere = new Elsewhere({
      ...parts,
      look: (account) => void this.look(account),
      isHere: (account) => this.#available(account) !== undefined,
    })
  }

  /** The session may have what waits for its account. */
  deliverTo(session: Session): void {
    const account = session.jid.bare
    if (this.#isStopped || session.isClosed) return
    if (this.elsewhere.tell(account, session) !== undefined) return
    const queue = this.#queueOf(account)
    const { claimant } = queue
    if (claimant === undefined) void this.#deliver(queue, session)
    else if (claimant.isClosed) {
      // At once, so that nothing newer passes what the one that is gone was reading.
      void this.#deliver(queue, session)
      queue.wake?.()
    } else queue.isStale = true
  }

  /** The session was handed these messages before the server was restarted. */
  adopt(
    session: Session,
    messages: readonly { readonly seq: number; readonly size: number }[],
  ): void {
    if (messages.length === 0) return
    const { inFlight } = this.#queueOf(session.jid.bare)
    for (const { seq, size } of messages) inFlight.set(seq, { session, size })
  }

  /**
   * Something was stored for the account, or is left over: somebody may be there to get it. Another node
   * sees it when it is `written`; resolves when that one has been told, if there is one.
   */
  look(account: string, written?: Promise<unknown>): Promise<unknown> | undefined {
    if (written !== undefined) this.elsewhere.owe(account, written)
    const queue = this.#queues.get(account)
    if (queue?.claimant !== undefined) {
      queue.isStale = true
      return written
    }
    const session = this.#available(account)
    if (session !== undefined) {
      this.deliverTo(session)
      return written
    }
    if (written === undefined) return this.elsewhere.tell(account)
    const tell = () => {
      const told = this.elsewhere.tell(account)
      if (told !== undefined) return told
      this.elsewhere.mayBeSeenLate(account)
      return this.elsewhere.tellPossible(account)
    }
    return written.then(tell, () => {})
  }

  /**
   * Another node has stored something, and takes the account's session for one of this node. Is it at a third one by
   * now, that is to be told before it gets what comes behind this.
   */
  lookFor(account: string): void {
    if (this.#available(account) === undefined) this.elsewhere.owe(account, NOBODY)
    void this.look(account)
  }

  /**
   * A node that is gone has stored something, perhaps without knowing who is here, and looks for nobody any more. Those
   * who come from now on find it.
   */
  async lookForAll(): Promise<void> {
    let asked: string[] = []
    const ask = async () => {
      const waiting = await this.#parts.store.waiting(asked)
      asked = []
      for (const account of waiting) void this.look(account)
    }
    for (const session of this.#parts.sessions.values()) {
      if (!isLocalSession(session) || !mayReceive(session)) continue
      asked.push(session.jid.bare)
      if (asked.length === ASKED_AT_ONCE) await ask()
    }
    if (asked.length > 0) await ask()
  }

  /** A message as it is delivered, when those are on their way that were stored before it. */
  before(envelope: Envelope, targets: readonly Resource[]): Maybe<Envelope> {
    const { isRetry, hops } = envelope.notes
    // What was given back is older than what was stored; but not what is only passed on.
    const isOlder = isRetry === true && hops === undefined
    if (targets.length === 0 || isOlder) return envelope
    const waiting = this.elsewhere.before(envelope.to.bare, targets)
    return waiting === undefined ? envelope : waiting.then(() => envelope)
  }

  /** A session has acknowledged a message from the store. */
  acknowledged(seq: number, session: Session): void {
    const { removals, usage } = this.#parts
    const account = session.jid.bare
    const queue = this.#queues.get(account)
    const flight = queue?.inFlight.get(seq)
    if (flight === undefined) usage.forget(account)
    else usage.release(account, flight.size)
    removals.remove(account, seq)
    if (queue === undefined) return
    queue.inFlight.delete(seq)
    if (queue.claimant !== undefined) queue.gone.add(seq)
    if (this.#isOwed(queue, session)) return
    if (queue.claimant === session) queue.wake?.()
    else if (queue.slow === session) {
      queue.slow = undefined
      this.deliverTo(session)
    }
    this.#tidy(queue)
  }

  /** A session has ended: what it did not acknowledge is for others. */
  ended(session: Session): void {
    const queue = this.#queues.get(session.jid.bare)
    if (queue === undefined) return
    for (const [seq, flight] of queue.inFlight) {
      if (flight.session === session) queue.inFlight.delete(seq)
    }
    if (queue.slow === session) queue.slow = undefined
    if (queue.claimant === session) queue.wake?.()
    else void this.look(queue.account)
    this.#tidy(queue)
  }

  /** Nothing waits for the account any more. */
  forget(account: string): void {
    this.#queues.get(account)?.inFlight.clear()
    this.#parts.usage.forget(account)
  }

  /** Deliveries under way end with what they have handed over. */
  stop(): void {
    this.#isStopped = true
    for (const queue of this.#queues.values()) queue.wake?.()
  }

  async #deliver(queue: Queue, session: Session): Promise<void> {
    const { account } = queue
    const { through, release } = session.hold()
    queue.claimant = session
    if (queue.slow === session) queue.slow = undefined
    let isDone = true
    try {
      isDone = await this.#handOver(queue, session, through)
    } catch (error) {
      this.#parts.log.error('offline_messages_not_delivered', { account, error })
    } finally {
      release()
      if (queue.claimant === session) {
        queue.claimant = undefined
        if (!isDone || session.isClosed) void this.look(account)
        this.#tidy(queue)
      }
    }
  }

  /** False: the session may not have what is left. */
  async #handOver(
    queue: Queue,
    session: Session,
    through: (envelope: Envelope) => boolean,
  ): Promise<boolean> {
    const { store, settingsFor } = this.#parts
    const { batch } = settingsFor(session.jid.domain)
    let after: Cursor = START
    queue.isStale = true
    const isOurs = () => !this.#isStopped && queue.claimant === session
    while (isOurs()) {
      if (queue.isStale) {
        queue.isStale = false
        after = START
      }
      queue.gone.clear()
      const page = await store.page(queue.account, after, batch)
      if (!isOurs()) return true
      for (const message of page) {
        if (!mayReceive(session)) return false
        if (!this.#isTaken(queue, message.seq)) this.#handOne(queue, session, message, through)
        after = message
      }
      if (page.length < batch) {
        if (!queue.isStale) return true
      } else if (!(await this.#acknowledgedAll(queue, session))) return true
    }
    return true
  }

  #handOne(
    queue: Queue,
    session: Session,
    message: StoredMessage,
    through: (envelope: Envelope) => boolean,
  ): void {
    const { seq, size } = message
    let envelope: Envelope
    try {
      envelope = restore(message)
    } catch (error) {
      this.#parts.log.error('offline_message_unreadable', { account: queue.account, seq, error })
      return
    }
    queue.inFlight.set(seq, { session, size })
    if (!through(envelope)) queue.inFlight.delete(seq)
  }

  /**
   * A client that does not read must not fill the memory, nor may it hold up for ever what others
   * send it now. False: it has taken too long.
   */
  #acknowledgedAll(queue: Queue, session: Session): boolean | Promise<boolean> {
    if (!this.#isOwed(queue, session)) return true
    return new Promise((resolve) => {
      const end = (isPatient: boolean) => {
        clearTimeout(timer)
        queue.wake = undefined
        if (!isPatient) queue.slow = session
        resolve(isPatient)
      }
      const { patience } = this.#parts.settingsFor(session.jid.domain)
      const timer = setTimeout(() => end(false), patience).unref()
      queue.wake = () => end(true)
    })
  }

  /** Somebody has it, or had it. What a session that ends has not acknowledged is free. */
  #isTaken({ inFlight, gone }: Queue, seq: number): boolean {
    if (gone.has(seq) || this.#parts.removals.has(seq)) return true
    return inFlight.get(seq)?.session.isClosed === false
  }

  #isOwed({ inFlight }: Queue, session: Session): boolean {
    for (const flight of inFlight.values()) if (flight.session === session) return true
    return false
  }

  /** Of the account's sessions that want messages, the one of highest priority. */
  #available(account: string): Session | undefined {
    let best: Session | undefined
    for (const resource of this.#parts.sessions.of(account)) {
      if (!isLocalSession(resource) || !mayReceive(resource)) continue
      if (best === undefined || (resource.priority ?? 0) > (best.priority ?? 0)) best = resource
    }
    return best
  }

  #queueOf(account: string): Queue {
    let queue = this.#queues.get(account)
    if (queue === undefined) {
      queue = {
        account,
        inFlight: new Map(),
        gone: new Set(),
        claimant: undefined,
        isStale: false,
        wake: undefined,
        slow: undefined,
      }
      this.#queues.set(account, queue)
    }
    return queue
  }

  #tidy(queue: Queue): void {
    const isUnused =
      queue.claimant === undefined && queue.inFlight.size === 0 && queue.slow === undefined
    if (isUnused && this.#queues.get(queue.account) === queue) this.#queues.delete(queue.account)
  }
}

function mayReceive({ isClosed, priority = -1 }: Session): boolean {
  return !isClosed && priority >= 0
}

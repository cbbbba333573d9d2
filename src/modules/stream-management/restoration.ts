import type { NodeRun } from '../../core/cluster.ts'
import type { Envelope } from '../../core/envelope.ts'
import type { Remains } from '../../core/hook-map.ts'
import type { ModuleContext } from '../../core/module.ts'
import type { Session, StreamSession } from '../../core/session.ts'
import { within } from '../../core/within.ts'
import { isCopy } from '../../xmpp/forward.ts'
import { parseJid } from '../../xmpp/jid.ts'
import { encode } from '../../xmpp/octets.ts'
import { CLIENT_NS, Stanza } from '../../xmpp/stanza.ts'
import { readElement } from '../../xmpp/xml-parser.ts'
import type { KeptMessages } from './kept-messages.ts'
import { ManagedStream } from './managed-stream.ts'
import { RestoredDeliveries } from './restored-deliveries.ts'
import type { Queued, Snapshot, Snapshots } from './snapshots.ts'
import type { Streams } from './streams.ts'

type Parts = {
  readonly context: Pick<
    ModuleContext<unknown>,
    'hooks' | 'router' | 'routes' | 'sessions' | 'restoreSession' | 'clock' | 'log'
  >
  readonly streams: Streams
  readonly snapshots: Snapshots
  readonly kept: KeptMessages
  readonly partsOf: (domainType: string) => ConstructorParameters<typeof ManagedStream>[2]
  /** Removes what is kept of a session. */
  readonly forget: (id: string) => void
}

/** What clients get at least to come back after their node was away, milliseconds. */
const GRACE = 60_000

/**
 * How long whoever handed something over is waited for to answer for it again, milliseconds: it may wait itself until
 * all is taken over. Once somebody does, nobody is waited for.
 */
const GIVING_BACK = 3_000

/** Sessions that another run had, taken over from the disk: that of a node that is gone, or all of it. */
export class Restoration {
  readonly #parts: Parts

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /**
   * All that a run has left: its sessions without a connection go on here, unless their clients have begun
   * others meanwhile; what was in the hands of those and of other clients is routed anew.
   */
  async takeOver({ node, epoch, unregister, found, giveBack }: Remains): Promise<void> {
    const { kept, snapshots, context, forget } = this.#parts
    const run = { node, epoch }
    const taken = await kept.takeAll(run)
    const waiting = new Set<number>()
    const deliveries = new RestoredDeliveries()
    const restored: Session[] = []
    const replaced: Snapshot[] = []
    for await (const snapshot of snapshots.takeAll(run, this.#damaged)) {
      if (this.#isReplaced(snapshot)) {
        replaced.push(snapshot)
        continue
      }
      let isChanged = false
      const queue = snapshot.queue.map(([envelope, at]): Queued => {
        const { handed, kept } = envelope.notes
        const id = kept === undefined ? undefined : taken.numberOf(envelope)
        // Without the copy that it was to have, it has arrived or had not been written: who handed it over knows.
        if (handed !== undefined && (kept === undefined || id !== undefined)) found(handed)
        if (id === undefined) return [deliveries.restore(envelope, false).unnoted('kept'), at]
        waiting.add(id)
        isChanged = true
        return [deliveries.restore(envelope.noted({ kept: id }), true), at]
      })
      // With the numbers of this run, should it go on at another node.
      const isWhole = snapshot.isWhole && !isChanged
      const session = this.#make({ ...snapshot, queue, isWhole })
      if (session === undefined) continue
      await this.#enter(session, queue)
      restored.push(session)
    }
    await unregister()
    // Once it is known what each of them has already; and before what is newer.
    for (const session of restored) await this.#resend(session)
    const stored: (Promise<void> | undefined)[] = []
    const route = async (envelope: Envelope) => {
      const { fate } = await context.router.route(envelope.asRetry())
      if (fate === 'stored') stored.push(envelope.settlement?.done)
    }
    let patience = GIVING_BACK
    /** Whether somebody else answers for it, or is to say so yet: `release` is called when that is safe. */
    const isGivenBack = async (envelope: Envelope, release = () => {}): Promise<boolean> => {
      const { handed } = envelope.notes
      if (handed === undefined) return false
      const answer = giveBack(handed)
      const end = async () => {
        const isAnswered = await answer
        if (isAnswered) release()
        return isAnswered
      }
      if (await within(patience, answer)) return await end()
      patience = 0
      void end().then((isAnswered) => (isAnswered ? undefined : route(envelope)))
      return true
    }
    for (const { id, queue } of replaced) {
      for (const [envelope] of queue) {
        // What is kept comes in its turn; if it is kept no more, somebody has it.
        if (envelope.notes.kept !== undefined || !isForOthers(envelope)) continue
        if (!(await isGivenBack(envelope))) await route(envelope)
      }
      forget(id)
    }
    const alone: Envelope[] = []
    for await (const envelope of kept.left(taken)) {
      const { handed, kept: id } = envelope.notes
      if (waiting.has(id as number)) {
        if (handed !== undefined && found(handed)) alone.push(envelope)
        continue
      }
      const release = () => kept.release(id as number)
      if (!(await isGivenBack(envelope, release))) await route(envelope)
    }
    // Before anybody is told what was found.
    await kept.answerAlone(alone)
    // Nothing newer is to be delivered before that can be read.
    await Promise.allSettled(stored)
  }

  /** One session, as it was; `undefined` if its domain is not served any more. */
  #make(snapshot: Snapshot): StreamSession | undefined {
    const { id, expiresAt, state } = snapshot
    const { context, streams, partsOf, forget } = this.#parts
    const { routes, restoreSession, clock } = context
    const address = parseJid(state.jid)
    const { info, shared, priority, patience, handled, acknowledged, had } = state
    if (!routes.isHosted(address.domain)) {
      forget(id)
      return undefined
    }
    const session = restoreSession({
      jid: address.toBare().withResource(address.resource),
      id: state.sessionId,
      info,
      lang: state.lang === undefined ? undefined : encode(state.lang),
    })
    session.share(shared)
    if (state.presence !== undefined) {
      const presence = readElement(encode(state.presence), CLIENT_NS)
      session.setPresence(priority, Stanza.fromElement(presence))
    }
    const start = { id, patience, handled, acknowledged, had }
    const stream = new ManagedStream(session, start, partsOf(session.domainType))
    streams.add(stream)
    stream.restore(snapshot, Math.max(expiresAt, clock.now() + Math.min(patience, GRACE)))
    return session
  }

  /** From here on others find it. `queue`: what is in its client's hands, or on the way there. */
  async #enter(session: Session, queue: Snapshot['queue']): Promise<void> {
    const { hooks, sessions } = this.#parts.context
    await sessions.restore(session)
    const envelopes = queue.map(([envelope]) => envelope)
    await hooks.at('session_restored', session.domainType).run(envelopes, { session })
  }

  async #resend(session: Session): Promise<void> {
    if ((session.priority ?? -1) < 0) return
    const { hooks } = this.#parts.context
    await hooks.at('resend_offline_messages', session.domainType).run(session.jid, { session })
  }

  /**
   * One session that a run has saved and let go. If another has taken its place, what it had goes back to
   * the route. False: there is no such session (any more).
   */
  async fetch(id: string, from: NodeRun): Promise<boolean> {
    const snapshot = await this.#take(id, from)
    if (snapshot === undefined) return false
    if (this.#isReplaced(snapshot)) await this.#giveBack(snapshot)
    else await this.#goOn(snapshot)
    return true
  }

  /** Where it was it may have been in the midst of what waits in the store. That comes before what is newer. */
  async #goOn(snapshot: Snapshot): Promise<void> {
    const session = this.#make(snapshot)
    if (session === undefined) return
    const { release } = session.hold()
    try {
      await this.#enter(session, snapshot.queue)
      await this.#resend(session)
    } finally {
      release()
    }
  }

  async #giveBack({ id, queue }: Snapshot): Promise<void> {
    const { context, forget } = this.#parts
    for (const [envelope] of queue) {
      if (isForOthers(envelope)) await context.router.route(envelope.asRetry())
    }
    forget(id)
  }

  #isReplaced({ state }: Snapshot): boolean {
    const { sessions } = this.#parts.context
    return sessions.isReplaced({ jid: parseJid(state.jid), id: state.sessionId })
  }

  async #take(id: string, from: NodeRun): Promise<Snapshot | undefined> {
    const { kept, snapshots } = this.#parts
    const moves = kept.movesWith(id, from, await snapshots.keptOf(id))
    const along = moves.map(({ statement }) => statement)
    const taken = await snapshots.takeWith(id, from, along)
    if (taken === undefined) return undefined
    const { snapshot, changes } = taken
    const moved = moves.filter((_, index) => changes[index] === 1)
    const numbers = new Map(moved.map((move) => [move.id, move.own]))
    const queue: Queued[] = []
    // Were it to go on at a third node, that has to know by which numbers messages are kept now.
    let isWhole = snapshot.isWhole
    for (const [envelope, at] of snapshot.queue) {
      const { kept: number } = envelope.notes
      if (number !== undefined) isWhole = false
      const own = number === undefined ? undefined : numbers.get(number)
      queue.push([own === undefined ? envelope.unnoted('kept') : envelope.noted({ kept: own }), at])
    }
    return { ...snapshot, queue, isWhole }
  }

  readonly #damaged = (id: string, error: unknown) => {
    this.#parts.context.log.error('session_unreadable', { id, error })
    this.#parts.forget(id)
  }
}

/** What came from the store is there still; the answers and copies are of use to nobody else. */
function isForOthers({ stanza, notes }: Envelope): boolean {
  return stanza.kind === 'message' && !isCopy(stanza) && notes.offline === undefined
}

import { type Cluster, ClusterError, type NodeRun } from '../../core/cluster.ts'
import type { Logger } from '../../core/log.ts'
import { isLocalSession, type Resource } from '../../core/session.ts'
import type { SessionManager } from '../../core/session-manager.ts'
import { within } from '../../core/within.ts'
import { parseJid } from '../../xmpp/jid.ts'
import { StreamError } from '../../xmpp/stream-error.ts'
import type { Restoration } from './restoration.ts'
import type { Streams } from './streams.ts'

declare module '../../core/cluster.ts' {
  interface Topics {
    /**
     * Lets go of a stream whose client is at the asking node, a run of this epoch. Answered when the session is
     * on the disk, with the epoch of the run that has it there; null: there is no such stream (any more).
     */
    stream_release: {
      readonly question: { readonly id: string; readonly account: string; readonly epoch: number }
      readonly answer: number | null
    }
  }
}

declare module '../../core/session.ts' {
  interface SharedState {
    /** The id by which its stream is resumed. Not for anybody outside of the cluster. */
    readonly stream?: string
  }
}

type Parts = {
  readonly streams: Streams
  readonly restoration: Pick<Restoration, 'fetch'>
  readonly sessions: SessionManager
  readonly cluster: Pick<Cluster, 'self' | 'ask' | 'isShared' | 'isTakenCareOf'>
  readonly log: Logger
}

/** How long a lost node may keep a client waiting, and how often that is looked at, milliseconds. */
const PATIENCE = 10_000
const LOOK = 100
/**
 * How long a session that was let go is waited for at its new place before it is taken back, and if it was taken
 * there: what is newer waits for no longer. Milliseconds.
 */
const MOVE = 3_000
const ARRIVAL = 5_000
/** How long to wait before it is tried again to take one back, milliseconds. */
const RETRY = 500

/** Sessions that go on at the node to which their client comes back. */
export class Relocation {
  readonly #parts: Parts
  /** By id, sessions that were let go and are waited for, and whether they have been at another node since. */
  readonly #underWay = new Map<string, boolean>()
  /** By id of the stream, until they have arrived, or are back. */
  readonly #moves = new Map<string, Promise<void>>()

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /** Brings a stream of the account here, if it is anywhere else. */
  async fetch(id: string | undefined, account: string): Promise<void> {
    const { cluster, restoration } = this.#parts
    if (id === undefined || !cluster.isShared) return
    const until = Date.now() + PATIENCE
    while (Date.now() < until) {
      // Its client has changed its mind.
      const move = this.#moves.get(id)
      if (move !== undefined) await within(until - Date.now(), move)
      const session = this.#elsewhere(id, account)
      const node = session?.shared.clusterNode
      if (node === undefined) return
      try {
        const question = { id, account, epoch: cluster.self.epoch }
        const epoch = await cluster.ask(node, 'stream_release', question)
        if (epoch !== null) await restoration.fetch(id, { node, epoch })
        return
      } catch (error) {
        // Lost, or about to stop: whoever takes care of what it left has the session next, or it is gone.
        if (!(error instanceof ClusterError) || error.kind === 'failed') throw error
      }
      await pause(LOOK)
    }
  }

  /** To the run that asks. */
  async release(id: string, account: string, to: NodeRun): Promise<number | null> {
    const { streams, sessions, cluster } = this.#parts
    const managed = streams.find(id, account)
    if (managed === undefined || managed.session.isClosed) return null
    const { session } = managed
    if (session.isConnected) {
      await session.disconnect(new StreamError('conflict', 'Resumed on another connection'))
    }
    let released: Promise<void> | undefined
    const letGo = () => {
      streams.letGo(managed)
      // From the disk it answers alone for what others were given as well.
      for (const [envelope] of managed.unacknowledged) envelope.delivery?.acknowledge()
      released = sessions.release(session, this.#move(id, session, to), managed.repeats.waiting)
    }
    if (session.isClosed || !(await managed.handOver(letGo))) return null
    await released
    return cluster.self.epoch
  }

  #elsewhere(id: string, account: string): Resource | undefined {
    const all = this.#parts.sessions.sessions.of(account)
    return all.find((one) => one.shared.stream === id && !isLocalSession(one))
  }

  #move(id: string, session: Resource, to: NodeRun): Promise<void> {
    const moved = this.#moved(id, session, to).finally(() => {
      if (this.#moves.get(id) === moved) this.#moves.delete(id)
    })
    this.#moves.set(id, moved)
    return moved
  }

  /**
   * Resolves when another node has the session. If none will, for the one that asked is gone, this one
   * takes it, or what it had, back from the disk, where else that would stay.
   */
  async #moved(id: string, session: Resource, to: NodeRun): Promise<void> {
    const begin = Date.now()
    this.#underWay.set(session.id, false)
    try {
      if (await this.#arrives(session, to, begin + MOVE)) return
      // Gone with it in its hands, the other one leaves it to whoever takes care of that: it comes first still.
      if (!(await this.#takeBack(id, session))) await this.#arrives(session, to, begin + ARRIVAL)
    } finally {
      this.#underWay.delete(session.id)
    }
  }

  /** A session of another node is over there: it may have arrived and ended before anybody has looked. */
  left({ id }: Resource): void {
    if (this.#underWay.has(id)) this.#underWay.set(id, true)
  }

  /** False: not until then, or the run that it goes to is over. */
  async #arrives(session: Resource, to: NodeRun, until: number): Promise<boolean> {
    const { sessions, cluster } = this.#parts
    const jid = parseJid(session.jid.full)
    while (Date.now() < until) {
      const now = sessions.sessions.get(jid)
      const isThere = now !== session && now?.id === session.id
      if (isThere || this.#underWay.get(session.id) === true) return true
      if (cluster.isTakenCareOf(to)) return false
      await pause(LOOK / 5)
    }
    return false
  }

  /** False: it is not there, or another's by now. */
  async #takeBack(id: string, { jid }: Resource): Promise<boolean> {
    const { restoration, cluster, log } = this.#parts
    while (true) {
      try {
        return await restoration.fetch(id, cluster.self)
      } catch (error) {
        log.warn('session_not_taken_back', { jid: jid.full, error })
        await pause(RETRY)
      }
    }
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms).unref())
}

import type { Clock } from '../../src/cluster/transport.ts'
import { type Cluster, ClusterError, type NodeRun } from '../../src/core/cluster.ts'
import type { Envelope } from '../../src/core/envelope.ts'
import type { Hooks } from '../../src/core/hooks.ts'
import type { Router } from '../../src/core/router.ts'
import { isLocalSession, type StreamSession } from '../../src/core/session.ts'
import type { SessionManager } from '../../src/core/session-manager.ts'
import { fromStored, toStored } from '../../src/modules/stream-management/stored-envelope.ts'
import { parseJid } from '../../src/xmpp/jid.ts'
import { type Client, SimulatedSession } from './session.ts'
import type { SimulatedStore, Snapshot, StoreClient } from './store.ts'

declare module '../../src/core/cluster.ts' {
  interface Topics {
    /** Lets a session go whose client is at the asking node. Answered when it is on the disk. */
    simulated_release: {
      readonly question: { readonly id: string; readonly epoch: number }
      readonly answer: number | null
    }
  }
}

type Parts = {
  readonly hooks: Hooks
  readonly router: Router
  readonly sessionManager: SessionManager
  readonly cluster: Cluster
  readonly store: StoreClient
  readonly clock: Clock
  /** Writes what is kept under these numbers. */
  readonly secure: (ids: readonly number[]) => void
  /** Who finds these need not ask who handed them over. */
  readonly answerAlone: (envelopes: readonly Envelope[]) => Promise<unknown>
  /** Takes over what another node has kept, and tells by which number. */
  readonly moveKept: (store: SimulatedStore, from: NodeRun, id: number) => number | undefined
}

/** How long a client waits for the end of a node that has its session, and how often that is looked at. */
const PATIENCE = 5_000
const LOOK = 100
/** How long a session that was let go is waited for at its new place, and if it was taken there. */
const MOVE = 1_000
const ARRIVAL = 5_000

/**
 * Sessions without a connection, as the module for stream management has them: they stay, are on the disk,
 * and go on at whatever node their client comes back to, or their node's remains are taken over by.
 */
export class Resumption {
  readonly #parts: Parts
  readonly #detached = new Map<string, SimulatedSession>()

  constructor(parts: Parts) {
    this.#parts = parts
    parts.cluster.on('simulated_release', ({ id, epoch }, node) =>
      this.#release(id, { node, epoch }),
    )
  }

  /** The connection is gone; the session stays. */
  detach(session: SimulatedSession): void {
    if (session.isClosed) return
    this.#detached.set(session.id, session)
    session.detach(() => void this.#save(session))
  }

  /** `undefined`: there is no such session any more. */
  async resume(
    jid: string,
    id: string,
    client: Client,
    got: ReadonlySet<string>,
  ): Promise<SimulatedSession | undefined> {
    await this.#fetch(jid, id)
    const session = this.#detached.get(id)
    if (session === undefined || session.isClosed) return undefined
    // What is on the disk is out of date from here on.
    await this.#parts.store.do(({ snapshots }) => snapshots.delete(id))
    if (session.isClosed || this.#detached.get(id) !== session) return undefined
    this.#detached.delete(id)
    session.attach(client, got)
    return session
  }

  async #fetch(jid: string, id: string): Promise<void> {
    const { cluster, clock, sessionManager } = this.#parts
    const until = clock.now() + PATIENCE
    while (clock.now() < until) {
      const there = sessionManager.sessions.get(parseJid(jid))
      if (there === undefined || there.id !== id || isLocalSession(there)) return
      const node = there.shared.clusterNode as string
      try {
        const question = { id, epoch: cluster.self.epoch }
        const epoch = await cluster.ask(node, 'simulated_release', question)
        if (epoch !== null) await this.#take(id, { node, epoch })
        return
      } catch (error) {
        if (!(error instanceof ClusterError)) throw error
      }
      await this.#pause(LOOK)
    }
  }

  async #release(id: string, to: NodeRun): Promise<number | null> {
    const { cluster, sessionManager, secure, answerAlone } = this.#parts
    const session = this.#detached.get(id)
    if (session === undefined || session.isClosed) return null
    await this.#save(session)
    let size: number
    do {
      // Whatever came meanwhile was saved behind that.
      size = session.unacknowledged.length
      secure(session.unacknowledged.flatMap(({ notes }) => notes.kept ?? []))
      await answerAlone(session.unacknowledged.filter(({ delivery }) => delivery !== undefined))
    } while (session.unacknowledged.length !== size)
    if (session.isClosed || this.#detached.get(id) !== session) return null
    this.#detached.delete(id)
    // It answers alone for what others have as well.
    for (const { delivery } of session.unacknowledged) delivery?.acknowledge()
    const moved = this.#moved(session, to)
    const released = sessionManager.release(
      session as unknown as StreamSession,
      moved,
      session.repeats,
    )
    await released
    return cluster.self.epoch
  }

  async #moved(session: SimulatedSession, to: NodeRun): Promise<void> {
    const { clock, cluster } = this.#parts
    const begin = clock.now()
    if (await this.#arrives(session, to, begin + MOVE)) return
    if (await this.#take(session.id, cluster.self)) return
    await this.#arrives(session, to, begin + ARRIVAL)
  }

  async #arrives(session: SimulatedSession, to: NodeRun, until: number): Promise<boolean> {
    const { sessionManager, clock, cluster } = this.#parts
    const { jid, id } = session
    while (clock.now() < until) {
      const now = sessionManager.sessions.get(jid)
      if (now !== session && now?.id === id) return true
      if (cluster.isTakenCareOf(to)) return false
      await this.#pause(LOOK / 5)
    }
    return false
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => void this.#parts.clock.after(ms, resolve))
  }

  #save(session: SimulatedSession): Promise<unknown> {
    const { cluster, store } = this.#parts
    const { jid, id, priority, unacknowledged } = session
    const { node, epoch } = cluster.self
    const queue = unacknowledged.map(toStored)
    const row = { node, epoch, id, jid: jid.full, priority, had: [...session.had], queue }
    return store.do(({ snapshots }) => snapshots.set(id, row))
  }

  /** One that a run has let go. False: it is not there. */
  async #take(id: string, from: NodeRun): Promise<boolean> {
    const { store, cluster, moveKept, router } = this.#parts
    const { node, epoch } = cluster.self
    const queue: Envelope[] = []
    // With what is kept of its queue, in one step.
    const taken = await store.do((all) => {
      const row = all.snapshots.get(id)
      if (row?.node !== from.node || row.epoch > from.epoch) return undefined
      all.snapshots.set(id, { ...row, node, epoch })
      for (const stored of row.queue) {
        const envelope = fromStored(stored)
        const { kept } = envelope.notes
        const own = kept === undefined ? undefined : moveKept(all, from, kept)
        queue.push(own === undefined ? envelope.unnoted('kept') : envelope.noted({ kept: own }))
      }
      return row
    })
    if (taken === undefined) return false
    if (!this.isReplaced(taken)) {
      const session = await this.restore(taken, queue)
      // As far as it was given what waits in the store.
      session.resend()
      return true
    }
    for (const envelope of queue) {
      if (envelope.notes.offline !== undefined) continue
      await router.route(envelope.noted({ isRetry: true }))
    }
    this.forget(id)
    return true
  }

  isReplaced({ jid, id }: Snapshot): boolean {
    return this.#parts.sessionManager.isReplaced({ jid: parseJid(jid), id })
  }

  forget(id: string): void {
    void this.#parts.store.do(({ snapshots }) => snapshots.delete(id))
  }

  async restore(
    row: Snapshot,
    queue: SimulatedSession['unacknowledged'],
  ): Promise<SimulatedSession> {
    const { sessionManager, hooks, cluster, clock } = this.#parts
    const { id, priority, had } = row
    const address = parseJid(row.jid)
    const jid = address.toBare().withResource(address.resource)
    const { node, epoch } = cluster.self
    const session = new SimulatedSession(jid, id, clock.wallTime(), undefined, {
      ...this.#parts,
      run: `${node}-${epoch}`,
    })
    session.restore(queue, had, priority)
    this.#detached.set(id, session)
    session.detach(() => void this.#save(session))
    await sessionManager.restore(session)
    await hooks.at('session_restored', session.domainType).run(queue, { session })
    return session
  }
}

import type { Clock } from '../../src/cluster/transport.ts'
import type { Cluster, NodeRun } from '../../src/core/cluster.ts'
import type { Envelope } from '../../src/core/envelope.ts'
import type { Remains } from '../../src/core/hook-map.ts'
import { type Hooks, stop } from '../../src/core/hooks.ts'
import { silentLogger } from '../../src/core/log.ts'
import { Outcome } from '../../src/core/outcome.ts'
import { Places } from '../../src/core/places.ts'
import type { Router } from '../../src/core/router.ts'
import { isLocalSession } from '../../src/core/session.ts'
import type { SessionManager } from '../../src/core/session-manager.ts'
import { Backlog } from '../../src/modules/offline/backlog.ts'
import { RestoredDeliveries } from '../../src/modules/stream-management/restored-deliveries.ts'
import { fromStored, toStored } from '../../src/modules/stream-management/stored-envelope.ts'
import { Resumption } from './resumption.ts'
import type { Kept, SimulatedStore, StoreClient, Waiting } from './store.ts'

type Parts = {
  readonly hooks: Hooks
  readonly router: Router
  readonly sessionManager: SessionManager
  readonly cluster: Cluster
  readonly store: StoreClient
  readonly clock: Clock
}

/** How long a recipient may take before what it has is written, milliseconds. */
const PATIENCE = 40
/** How long a session is known still when it is over, for modules store what they know of it, milliseconds. */
const ENDING = 50
/** How long it is waited for that others answer for what they have handed over, milliseconds. */
const GIVING_BACK = 3_000

/**
 * What keeps messages safe: the modules for stream management and for offline messages, as far as a
 * cluster's promises rest on them, on the simulated store and clock.
 */
export class Keeping {
  readonly #parts: Parts
  readonly #places: Places
  readonly #backlog: Backlog
  readonly resumption: Resumption
  readonly #removed = new Set<number>()
  /** Not written yet, by number. */
  readonly #waiting = new Map<number, Envelope>()
  /** Being written, and not released meanwhile. */
  readonly #adding = new Map<number, Envelope>()
  #lastId = 0

  constructor(parts: Parts) {
    this.#parts = parts
    const { clock, store, sessionManager, cluster } = parts
    this.#places = new Places(() => clock.wallTime())
    this.#backlog = new Backlog({
      store: {
        page: (account, after, limit) =>
          store.do(({ offline }) => {
            const own = [...offline.values()].filter((row) => row.account === account)
            own.sort((a, b) => a.place - b.place || a.seq - b.seq)
            const isBehind = ({ place, seq }: Waiting) =>
              place > after.place || (place === after.place && seq > after.seq)
            return own.filter(isBehind).slice(0, limit)
          }),
        waiting: (accounts) =>
          store.do(({ offline }) => {
            const all = new Set(Array.from(offline.values(), ({ account }) => account))
            return accounts.filter((account) => all.has(account))
          }),
      },
      usage: { forget: () => {}, release: () => {} },
      removals: {
        has: (seq) => this.#removed.has(seq),
        remove: (_, seq) => {
          this.#removed.add(seq)
          void store.do(({ offline }) => offline.delete(seq))
        },
      },
      sessions: sessionManager.sessions,
      log: silentLogger,
      isShared: true,
      lookAt: (node, account) => {
        if (node === cluster.self.node) return undefined
        return cluster.ask(node, 'offline_look', account).catch(() => null)
      },
      settingsFor: () => ({ batch: 10_000, patience: 1_000 }),
    })
    this.resumption = new Resumption({
      ...parts,
      secure: (ids) => {
        for (const id of ids) this.#write(id)
      },
      answerAlone: (envelopes) => this.#answerAlone(envelopes),
      moveKept: (store, from, id) => this.#moveKept(store, from, id),
    })
    this.#register()
  }

  #register(): void {
    const { hooks, cluster, clock } = this.#parts
    hooks.on('does_user_exist', () => true)
    hooks.on('sm_message_decided', (envelope, { targets }) =>
      targets.some(isLocalSession) ? this.#keep(envelope) : envelope,
    )
    hooks.on(
      'sm_message_decided',
      (envelope, { targets }) => this.#backlog.before(envelope, targets),
      { order: 10 },
    )
    hooks.on('sm_message_taken', (envelope) => this.#keep(envelope))
    hooks.on('offline_message', (_, { envelope }) => stop(this.#store(envelope)))
    hooks.on('sm_message_kept', (outcome, { envelope }) => {
      if (envelope.notes.kept !== undefined) this.#release(envelope.notes.kept)
      return outcome
    })
    hooks.on('message_kept_elsewhere', (envelope) => {
      if (envelope.notes.kept !== undefined) this.#release(envelope.notes.kept)
      return envelope
    })
    hooks.on('stanza_acknowledged', (envelope, { session }) => {
      const { kept, offline } = envelope.notes
      if (kept !== undefined) this.#release(kept)
      if (offline !== undefined) this.#backlog.acknowledged(offline, session)
      return envelope
    })
    hooks.on('resend_offline_messages', (jid, { session }) => {
      this.#backlog.deliverTo(session)
      return jid
    })
    // Others store what they know of it: meanwhile the session is over, and known still.
    hooks.on('user_terminate', async (reason) => {
      await new Promise<void>((resolve) => void clock.after(ENDING, resolve))
      return reason
    })
    hooks.on('sm_remove_connection', (resource) => {
      if (isLocalSession(resource)) this.#backlog.ended(resource)
      return resource
    })
    hooks.on('remote_session_left', (resource) => {
      void this.#backlog.look(resource.jid.bare)
      return resource
    })
    hooks.on('node_cleaned', (node) => {
      void this.#backlog.lookForAll()
      return node
    })
    hooks.on('filter_unacknowledged_messages', (envelopes) =>
      envelopes.filter(({ notes }) => notes.offline === undefined),
    )
    hooks.on('session_restored', (envelopes, { session }) => {
      const own = envelopes.flatMap(({ notes }) => notes.offline ?? [])
      this.#backlog.adopt(
        session,
        own.map((seq) => ({ seq, size: 0 })),
      )
      return envelopes
    })
    hooks.on('node_remains', async (remains) => {
      await this.#takeOver(remains)
      return remains
    })
    cluster.on('offline_look', (account) => {
      this.#backlog.lookFor(account)
      return null
    })
  }

  #keep(envelope: Envelope): Envelope {
    const { settlement, notes } = envelope
    const isKept = notes.kept !== undefined || notes.offline !== undefined
    if (settlement === undefined || isKept) return envelope
    const id = ++this.#lastId
    const kept = envelope.noted({ kept: id, place: notes.place ?? this.#places.next() })
    settlement.begin()
    this.#waiting.set(id, kept)
    this.#parts.clock.after(PATIENCE, () => this.#write(id))
    return kept
  }

  #write(id: number): void {
    const envelope = this.#waiting.get(id)
    if (envelope === undefined) return
    this.#waiting.delete(id)
    this.#adding.set(id, envelope)
    const { node, epoch } = this.#parts.cluster.self
    const row = { node, epoch, id, ...toStored(envelope) }
    void this.#parts.store
      .do(({ kept }) => kept.set(keyOf(row), row))
      .then(() => {
        if (this.#adding.delete(id)) envelope.settlement?.finish()
      })
  }

  #release(id: number): void {
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    const envelope = waiting ?? this.#adding.get(id)
    this.#adding.delete(id)
    envelope?.settlement?.finish()
    if (waiting !== undefined) return
    const { node, epoch } = this.#parts.cluster.self
    void this.#parts.store.do(({ kept }) => kept.delete(keyOf({ node, epoch, id })))
  }

  #store(envelope: Envelope): Outcome {
    const { store, clock } = this.#parts
    const account = envelope.to.bare
    if (envelope.notes.offline !== undefined) {
      void this.#backlog.look(account)
      return new Outcome('stored', 'offline', 'kept before')
    }
    const place = envelope.notes.place ?? this.#places.next()
    const row = { account, place, stored_at: clock.wallTime(), size: 0, ...toStored(envelope) }
    const written = store.do((all) => {
      const seq = all.nextSeq()
      all.offline.set(seq, { ...row, seq })
    })
    envelope.settlement?.waitFor(written)
    const looked = this.#backlog.look(account, written)
    const isAwaited = looked !== undefined && envelope.notes.isRetry === true
    if (isAwaited) this.#parts.sessionManager.holdBack(envelope.to, looked)
    return new Outcome('stored', 'offline')
  }

  #answerAlone(envelopes: readonly Envelope[]): Promise<unknown> {
    const { node, epoch } = this.#parts.cluster.self
    return this.#parts.store.do(({ kept }) => {
      for (const envelope of envelopes) {
        const key = keyOf({ node, epoch, id: envelope.notes.kept ?? -1 })
        const row = kept.get(key)
        if (row !== undefined) kept.set(key, { ...row, ...toStored(envelope.unnoted('handed')) })
      }
    })
  }

  #moveKept({ kept }: SimulatedStore, from: NodeRun, id: number): number | undefined {
    const row = kept.get(keyOf({ ...from, id }))
    if (row === undefined) return undefined
    const { node, epoch } = this.#parts.cluster.self
    const own = ++this.#lastId
    kept.delete(keyOf(row))
    kept.set(keyOf({ node, epoch, id: own }), { ...row, node, epoch, id: own })
    return own
  }

  async #takeOver({ node, epoch, unregister, found, giveBack }: Remains): Promise<void> {
    const { store, cluster, router, clock } = this.#parts
    const { self } = cluster
    const rows = await store.do(({ kept, takenOver }) => {
      takenOver.set(node, Math.max(epoch, takenOver.get(node) ?? 0))
      const left = [...kept.values()].filter((row) => row.node === node && row.epoch <= epoch)
      left.sort((a, b) => a.epoch - b.epoch || a.id - b.id)
      return left.map((row): Kept => {
        const own = { ...row, node: self.node, epoch: self.epoch, id: ++this.#lastId }
        kept.delete(keyOf(row))
        kept.set(keyOf(own), own)
        return own
      })
    })
    const numbers = new Map(rows.map((row) => [fromStored(row).stanza.id, row.id]))
    const snapshots = await store.do(({ snapshots }) => {
      const left = [...snapshots.values()].filter((row) => row.node === node && row.epoch <= epoch)
      for (const row of left) snapshots.set(row.id, { ...row, ...self })
      return left
    })
    const deliveries = new RestoredDeliveries()
    const waiting = new Set<number>()
    const replaced: Envelope[] = []
    for (const snapshot of snapshots) {
      // What it had others have still, or it goes back to the route.
      if (this.resumption.isReplaced(snapshot)) {
        replaced.push(...snapshot.queue.map(fromStored))
        this.resumption.forget(snapshot.id)
        continue
      }
      const all: { readonly envelope: Envelope; readonly id: number | undefined }[] = []
      for (const stored of snapshot.queue) {
        const envelope = fromStored(stored)
        const { kept } = envelope.notes
        const id = kept === undefined ? undefined : numbers.get(envelope.stanza.id)
        all.push({ envelope, id })
      }
      const queue = all.map(({ envelope, id }) =>
        id === undefined
          ? deliveries.restore(envelope, false).unnoted('kept')
          : deliveries.restore(envelope.noted({ kept: id }), true),
      )
      await this.resumption.restore(snapshot, queue)
      for (const { envelope, id } of all) {
        if (id !== undefined) waiting.add(id)
        const { handed, kept } = envelope.notes
        // Not written yet, it is decided about by who handed it over.
        if (handed !== undefined && (kept === undefined || id !== undefined)) found(handed)
      }
    }
    await unregister()
    let patience = GIVING_BACK
    const isGivenBack = async (envelope: Envelope, release = () => {}): Promise<boolean> => {
      const { handed } = envelope.notes
      if (handed === undefined) return false
      const answer = giveBack(handed)
      const late = new Promise<'late'>((resolve) => {
        clock.after(patience, () => resolve('late'))
      })
      const end = (isAnswered: boolean) => {
        if (isAnswered) release()
        return isAnswered
      }
      const first = await Promise.race([answer, late])
      if (first !== 'late') return end(first)
      patience = 0
      void answer.then((isAnswered) => end(isAnswered) || router.route(envelope))
      return true
    }
    for (const envelope of replaced) {
      const { kept, offline } = envelope.notes
      if (kept !== undefined || offline !== undefined) continue
      const again = envelope.noted({ isRetry: true })
      if (!(await isGivenBack(again))) await router.route(again)
    }
    const alone: Envelope[] = []
    for (const row of rows) {
      const envelope = fromStored(row).noted({ kept: row.id, isRetry: true })
      const { handed } = envelope.notes
      if (waiting.has(row.id)) {
        if (handed !== undefined && found(handed)) alone.push(envelope)
        continue
      }
      const release = () => this.#release(row.id)
      if (!(await isGivenBack(envelope, release))) await router.route(envelope)
    }
    await this.#answerAlone(alone)
  }
}

function keyOf({ node, epoch, id }: Pick<Kept, 'node' | 'epoch' | 'id'>): string {
  return `${node} ${epoch} ${id}`
}

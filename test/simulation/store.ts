import type { NodeRun } from '../../src/core/cluster.ts'
import type { Fences } from '../../src/core/fences.ts'
import type { StoredMessage } from '../../src/modules/offline/store.ts'
import type { StoredEnvelope } from '../../src/modules/stream-management/stored-envelope.ts'
import type { Random } from '../loss/random.ts'
import type { Process, Scheduler } from './scheduler.ts'

/** A message in the hands of a client, as the disk has it. */
export type Kept = NodeRun & {
  readonly id: number
  readonly stanza: string
  readonly notes: string
}
/** A session without a connection, as the disk has it. */
export type Snapshot = NodeRun & {
  readonly id: string
  readonly jid: string
  readonly priority: number | undefined
  /** Ids of what its client has got. */
  readonly had: readonly string[]
  readonly queue: readonly StoredEnvelope[]
}
export type Waiting = StoredMessage & { readonly account: string }

/** How long a transaction takes to get there, and its answer back, milliseconds at most. */
const DELAY = 4

/** What survives everything: the database that all nodes have in common. */
export class SimulatedStore {
  readonly #scheduler: Scheduler
  readonly #random: Random
  readonly kept = new Map<string, Kept>()
  readonly snapshots = new Map<string, Snapshot>()
  readonly offline = new Map<number, Waiting>()
  /** The last run of each node that was shut out. */
  readonly fences = new Map<string, number>()
  /** The last run of each node whose remains were taken over. */
  readonly takenOver = new Map<string, number>()
  /** Runs that have stored something after that. */
  readonly late = new Set<string>()
  readonly #arrivals = new Map<Process, number>()
  /** Something that they had sent was lost when they died. */
  readonly #silenced = new Set<Process>()
  #lastSeq = 0

  constructor(scheduler: Scheduler, random: Random) {
    this.#scheduler = scheduler
    this.#random = random
  }

  nextSeq(): number {
    return ++this.#lastSeq
  }

  open(process: Process): StoreClient {
    return new StoreClient(this, process)
  }

  /** What was sent before its sender died may be done, or not, and nothing behind what was not. */
  transact(process: Process, work: () => () => void): void {
    const isSafe = this.#random.whole(0, 1) === 0
    // One connection writes: what was asked for first is done first.
    const arrival = this.#scheduler.now + this.#random.next() * DELAY
    const at = Math.max(arrival, this.#arrivals.get(process) ?? 0)
    this.#arrivals.set(process, at)
    this.#scheduler.at(at, () => {
      if (process.isDead && !isSafe) this.#silenced.add(process)
      if (this.#silenced.has(process)) return
      const answer = work()
      process.in(this.#random.next() * DELAY, answer)
    })
  }
}

/** A node's way to the store: what is written in one turn is written together, unless its run was shut out. */
export class StoreClient implements Fences {
  readonly #store: SimulatedStore
  readonly #process: Process
  #batch: { readonly work: () => unknown; readonly resolve: (result: unknown) => void }[] = []
  #run: NodeRun | undefined
  #onShutOut = () => {}

  constructor(store: SimulatedStore, process: Process) {
    this.#store = store
    this.#process = process
  }

  do<R>(work: (store: SimulatedStore) => R): Promise<R> {
    const { promise, resolve } = Promise.withResolvers<unknown>()
    this.#batch.push({ work: () => work(this.#store), resolve })
    if (this.#batch.length === 1) this.#process.clock.soon(() => this.#send())
    return promise as Promise<R>
  }

  #send(): void {
    const batch = this.#batch
    this.#batch = []
    const run = this.#run
    this.#store.transact(this.#process, () => {
      // Whoever hears so is over before anybody misses an answer.
      if (run !== undefined && this.#isShutOut(run)) return this.#onShutOut
      if (run !== undefined && run.epoch <= (this.#store.takenOver.get(run.node) ?? 0)) {
        this.#store.late.add(`${run.node} ${run.epoch}`)
      }
      const results = batch.map(({ work }) => work())
      return () => {
        for (const [index, { resolve }] of batch.entries()) resolve(results[index])
      }
    })
  }

  // --- Who may use it.

  #isShutOut({ node, epoch }: NodeRun): boolean {
    return (this.#store.fences.get(node) ?? 0) >= epoch
  }

  lastOf(node: string): Promise<number> {
    return this.do(({ fences }) => fences.get(node) ?? 0)
  }

  async enter(run: NodeRun, onShutOut: () => void): Promise<void> {
    this.#run = run
    this.#onShutOut = onShutOut
    await this.do(() => {})
  }

  async leave(): Promise<void> {
    await this.do(() => {})
    this.#run = undefined
  }

  shutOut({ node, epoch }: NodeRun): Promise<void> {
    return this.do(({ fences }) => {
      fences.set(node, Math.max(epoch, fences.get(node) ?? 0))
    })
  }
}

import type { NodeRun } from '../../src/core/cluster.ts'
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
  readonly #arrivals = new Map<Process, number>()
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

  /** What was sent before its sender died may be done, or not. */
  transact(process: Process, work: () => void, answer: () => void): void {
    const isSafe = this.#random.whole(0, 1) === 0
    // One connection writes: what was asked for first is done first.
    const arrival = this.#scheduler.now + this.#random.next() * DELAY
    const at = Math.max(arrival, this.#arrivals.get(process) ?? 0)
    this.#arrivals.set(process, at)
    this.#scheduler.at(at, () => {
      if (process.isDead && !isSafe) return
      work()
      process.in(this.#random.next() * DELAY, answer)
    })
  }
}

/** A node's way to the store: what is written in one turn is written together. */
export class StoreClient {
  readonly #store: SimulatedStore
  readonly #process: Process
  #batch: { readonly work: () => unknown; readonly resolve: (result: unknown) => void }[] = []

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
    let results: unknown[] = []
    this.#store.transact(
      this.#process,
      () => {
        results = batch.map(({ work }) => work())
      },
      () => {
        for (const [index, { resolve }] of batch.entries()) resolve(results[index])
      },
    )
  }
}

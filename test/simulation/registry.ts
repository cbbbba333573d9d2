import { type Change, type Registry, RegistryConflict } from '../../src/cluster/transport.ts'
import type { Random } from '../loss/random.ts'
import type { Line, Network } from './network.ts'
import type { Scheduler } from './scheduler.ts'

const TIMEOUT = 5_000
/** How long what is between a node and the registry takes, milliseconds at most. */
const DELAY = 3
/** How long it takes a node to notice that it has missed something. */
const MISSED = 700

/** The table itself. It is where all nodes are not: only they may be cut off from it. */
export class SimulatedRegistry {
  readonly #scheduler: Scheduler
  readonly #random: Random
  readonly #network: Network
  /** By key; those that were removed have a mark. */
  readonly #rows = new Map<string, Change>()
  readonly #clients = new Set<RegistryClient>()
  #revision = 0
  /** A request or its answer was lost, which is noticed later than anybody waits. */
  hasLost = false
  /** The greatest epoch of each node that is over. */
  readonly dead = new Map<string, number>()

  constructor(scheduler: Scheduler, random: Random, network: Network) {
    this.#scheduler = scheduler
    this.#random = random
    this.#network = network
  }

  open(line: Line): RegistryClient {
    const client = new RegistryClient(this, line)
    this.#clients.add(client)
    line.onChange.push((isConnected) => {
      client.isConnected = isConnected
      if (isConnected) client.onReconnected()
    })
    return client
  }

  close(client: RegistryClient): void {
    this.#clients.delete(client)
  }

  /** Rows by key, without marks. */
  get rows(): ReadonlyMap<string, string> {
    const all = new Map<string, string>()
    for (const { key, value } of this.#rows.values()) if (value !== undefined) all.set(key, value)
    return all
  }

  /** Marks of removed keys are removed, too. */
  purge(): void {
    for (const { key, value } of this.#rows.values())
      if (value === undefined) this.#rows.delete(key)
  }

  /** It has lost all it had, and counts on. */
  reset(): void {
    this.#rows.clear()
    this.#revision += 1_000
    for (const client of this.#clients) client.miss()
  }

  /**
   * Sends a request there and its answer back. Both may be lost: then the request rejects, whether it
   * was done or not; and what is sent while there is no way may be done late.
   */
  request<R>(line: Line, what: string, work: () => R): Promise<R> {
    const { promise, resolve, reject } = Promise.withResolvers<R>()
    const { process } = line
    process.in(TIMEOUT, () => reject(new Error(`no answer of the registry: ${what}`)))
    const arrive = () => {
      if (!this.#network.reaches(line.node)) return
      let answer: () => void
      try {
        const result = work()
        answer = () => resolve(result)
      } catch (error) {
        answer = () => reject(error)
      }
      if (!this.#isLost()) process.in(this.#delay(), answer)
    }
    if (line.isConnected) {
      if (!this.#isLost()) this.#scheduler.in(this.#delay(), arrive)
    } else if (this.#random.whole(0, 1) === 0) {
      line.onChange.push((isConnected) => {
        if (isConnected && !process.isDead) this.#scheduler.in(this.#delay(), arrive)
      })
    }
    return promise
  }

  #isLost(): boolean {
    const isLost = this.#network.loss > 0 && this.#random.whole(1, 200) <= this.#network.loss
    if (isLost) this.hasLost = true
    return isLost
  }

  #delay(): number {
    return this.#random.next() * DELAY
  }

  get(key: string): Change | undefined {
    return this.#rows.get(key)
  }

  change(key: string, value: string | undefined, expected: number): number {
    const row = this.#rows.get(key)
    const isExpected =
      row?.value === undefined && expected === 0 ? true : (row?.revision ?? 0) === expected
    if (!isExpected) throw new RegistryConflict(key)
    const revision = ++this.#revision
    if (key.startsWith('node.') && value !== undefined) {
      const node = key.slice('node.'.length)
      this.dead.set(node, Math.max(this.dead.get(node) ?? 0, JSON.parse(value).dead))
    }
    const change = { key, value, revision }
    this.#rows.delete(key)
    this.#rows.set(key, change)
    for (const client of this.#clients) this.#tell(client, change)
    return revision
  }

  #tell(client: RegistryClient, change: Change): void {
    const { line, watching } = client
    if (watching <= 0 || !this.#network.reaches(line.node)) return client.miss()
    client.later(this.#delay(), () => {
      if (client.watching === watching) client.see(change)
    })
  }

  /** All that there is, in the order of change, and the newest revision. */
  all(): { readonly changes: readonly Change[]; readonly newest: number } {
    return { changes: [...this.#rows.values()], newest: this.#revision }
  }
}

/** One node's view of the registry. */
export class RegistryClient implements Registry {
  readonly #registry: SimulatedRegistry
  readonly line: Line
  isConnected: boolean
  /** Which watch is on; 0 for none. */
  watching = 0
  #watches = 0
  #arrival = 0
  readonly #known = new Map<string, { readonly revision: number; readonly isThere: boolean }>()
  /** Keys that were written here and not seen yet, with their revisions. */
  readonly #written = new Map<string, number>()
  #onChange: ((change: Change) => void) | undefined
  /** Whoever began to watch waits for what there is. */
  #onSeen: () => void = () => {}

  constructor(registry: SimulatedRegistry, line: Line) {
    this.#registry = registry
    this.line = line
    this.isConnected = line.isConnected
  }

  put(key: string, value: string, expected: number): Promise<number> {
    const put = () => this.#registry.change(key, value, expected)
    return this.#registry.request(this.line, `put ${key}`, put).then((revision) => {
      if ((this.#known.get(key)?.revision ?? 0) < revision) this.#written.set(key, revision)
      return revision
    })
  }

  remove(key: string, expected: number): Promise<number> {
    return this.#registry.request(this.line, `remove ${key}`, () =>
      this.#registry.change(key, undefined, expected),
    )
  }

  get(key: string): Promise<Change | undefined> {
    return this.#registry.request(this.line, `get ${key}`, () => this.#registry.get(key))
  }

  watch(onChange: (change: Change) => void): Promise<void> {
    this.#onChange = onChange
    return new Promise((resolve) => {
      this.#onSeen = resolve
      this.#watch()
    })
  }

  async close(): Promise<void> {
    this.watching = -1
    this.#registry.close(this)
  }

  /** In the order in which this was called. */
  later(ms: number, work: () => void): void {
    const { process } = this.line
    this.#arrival = Math.max(this.#arrival, process.scheduler.now + ms)
    process.scheduler.at(this.#arrival, work, process)
  }

  /** What is not told now is seen when it watches anew. */
  miss(): void {
    if (this.watching > 0) this.watching = 0
  }

  see(change: Change): void {
    const { key, revision, value } = change
    const known = this.#known.get(key)
    if (known !== undefined && known.revision >= revision) return
    this.#known.set(key, { revision, isThere: value !== undefined })
    if ((this.#written.get(key) ?? 0) <= revision) this.#written.delete(key)
    this.#onChange?.(change)
  }

  /** Until there is an answer, and whenever something was missed. */
  #watch(): void {
    const { process } = this.line
    const id = ++this.#watches
    const again = () => {
      if (this.watching === -1 || id !== this.#watches) return
      if (this.watching === id) process.in(MISSED, again)
      else this.#watch()
    }
    process.in(MISSED, again)
    const show = () => {
      const { changes, newest } = this.#registry.all()
      this.watching = id
      this.later(0, () => {
        if (this.watching !== id) return
        const there = new Set<string>()
        for (const change of changes) {
          there.add(change.key)
          this.see(change)
        }
        for (const [key, { isThere }] of this.#known) {
          if (isThere && !there.has(key)) this.see(lost(key, newest))
        }
        for (const [key, revision] of this.#written) {
          if (revision > newest || there.has(key)) continue
          this.see(lost(key, newest))
        }
        this.#onSeen()
      })
    }
    this.#registry.request(this.line, 'watch', show).catch(() => {})
  }

  onReconnected(): void {
    if (this.#onChange !== undefined && this.watching !== -1) this.#watch()
  }
}

function lost(key: string, revision: number): Change {
  return { key, value: undefined, revision, isLost: true }
}

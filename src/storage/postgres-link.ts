import type { NodeRun } from '../core/cluster.ts'
import { ShutOut } from '../core/fences.ts'
import type { Logger } from '../core/log.ts'
import { StorageError } from '../core/storage.ts'
import { type PostgresFailure, reasonOf } from './postgres-errors.ts'
import { PostgresSession, type SessionSettings } from './postgres-session.ts'
import type { PostgresAddress } from './postgres-url.ts'

const FIRST_PAUSE_MS = 50
const LAST_PAUSE_MS = 2000
/** How often at most we look for a server that takes writes, having one that does not. */
const SEARCH_INTERVAL_MS = 2000

export interface LinkSettings extends SessionSettings {
  readonly address: PostgresAddress
  /** Connections beside the one that writes. */
  readonly readers: number
  /** How long callers wait for a connection. */
  readonly patienceMs: number
  readonly log: Logger
}

/**
 * The connections to the server: one that carries out all that changes something, in order, and some
 * for queries. When they are lost, all hosts are tried in turn, their names looked up anew each time,
 * until one answers; one that takes writes is preferred.
 */
export class PostgresLink {
  onConnected: () => void = () => {}
  readonly #settings: LinkSettings
  #session: PostgresSession | undefined
  /** The last of them, lost or not. */
  #last: PostgresSession | undefined
  #readers: PostgresSession[] = []
  /** Of them, those that have nothing to do. */
  #free: PostgresSession[] = []
  #isOpening = false
  #searchedAt = Number.NEGATIVE_INFINITY
  #reason = 'not connected yet'
  #isClosed = false
  #wake: () => void = () => {}
  #run: NodeRun | undefined
  #onShutOut: () => void = () => {}

  constructor(settings: LinkSettings) {
    this.#settings = settings
  }

  /** Rejects with a `StorageError` if no host can be used. */
  async open(): Promise<void> {
    const session = await this.#tryHosts()
    if (session === undefined) throw this.unreachable('other')
    this.#use(session)
  }

  /** Connections from here on are of this run, as long as nobody has shut it out. */
  enter(run: NodeRun, onShutOut: () => void): void {
    this.#run = run
    this.#onShutOut = onShutOut
  }

  leave(): void {
    this.#run = undefined
  }

  get patienceMs(): number {
    return this.#settings.patienceMs
  }

  /** The one that writes, while there is one. */
  get session(): PostgresSession | undefined {
    return this.#session
  }

  /** One for queries that has nothing to do. If there is none, there may be one the next time. */
  takeReader(): PostgresSession | undefined {
    const reader = this.#free.pop()
    if (reader === undefined && this.#readers.length < this.#settings.readers) {
      void this.#openReader()
    }
    return reader
  }

  giveBack(reader: PostgresSession): void {
    if (!reader.isLost && this.#readers.includes(reader)) this.#free.push(reader)
  }

  /** The server took no write: is there another one by now? */
  search(session: PostgresSession): void {
    const now = performance.now()
    if (session.isReadOnly && now < this.#searchedAt + SEARCH_INTERVAL_MS) return
    this.#searchedAt = now
    session.destroy()
  }

  unreachable(kind: 'busy' | 'other'): StorageError {
    const { name } = this.#settings.address
    return new StorageError(kind, `The ${name} cannot be used: ${this.#reason}`)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#wake()
    const all = [...this.#readers]
    if (this.#session !== undefined) all.push(this.#session)
    this.#session = undefined
    this.#dropReaders([])
    await Promise.all(all.map((session) => session.end()))
  }

  #use(session: PostgresSession): void {
    this.#session = session
    this.#last = session
    const { name } = session.host
    if (session.isVolatile) this.#settings.log.warn('storage_not_durable', { name, fsync: 'off' })
    if (session.isReadOnly) this.#settings.log.warn('storage_read_only', { name })
    void session.lost.then((reason) => this.#lost(session, reason))
    this.onConnected()
  }

  #lost(session: PostgresSession, reason: unknown): void {
    if (this.#session !== session || this.#isClosed) return
    this.#session = undefined
    this.#reason = reasonOf(reason)
    this.#settings.log.warn('storage_away', { name: session.host.name, reason: this.#reason })
    // They may be connected to what is no longer the server that has the newest.
    for (const reader of this.#dropReaders([])) reader.destroy()
    void this.#reconnect(session.isReadOnly)
  }

  /**
   * While callers wait in any case, they wait for a server that takes writes: of several hosts, one that does
   * not yet is the next that will.
   */
  async #reconnect(wasReadOnly: boolean): Promise<void> {
    const { address, patienceMs } = this.#settings
    const lostAt = performance.now()
    for (let pause = FIRST_PAUSE_MS; !this.#isClosed; pause = Math.min(2 * pause, LAST_PAUSE_MS)) {
      const mayWait = !wasReadOnly && address.hosts.length > 1
      const session = await this.#tryHosts(mayWait && performance.now() < lostAt + patienceMs)
      if (session !== undefined) {
        if (this.#isClosed) return session.destroy()
        const seconds = Math.round((performance.now() - lostAt) / 1000)
        this.#settings.log.info('storage_back', { name: session.host.name, seconds })
        return this.#use(session)
      }
      await this.#sleep(pause)
    }
  }

  /** The first that takes writes, or else, unless it has to, the first that answers. */
  async #tryHosts(mustWrite = false): Promise<PostgresSession | undefined> {
    let fallback: PostgresSession | undefined
    const role = this.#run ?? 'writer'
    for (const host of this.#settings.address.hosts) {
      try {
        const session = await PostgresSession.open(host, this.#settings, role, this.#last)
        if (!session.isReadOnly) {
          fallback?.destroy()
          return session
        }
        if (mustWrite) this.#reason = `${host.name} may only be read`
        if (fallback === undefined && !mustWrite) fallback = session
        else session.destroy()
      } catch (error) {
        this.#reason = reasonOf(error)
        if (error instanceof ShutOut) this.#onShutOut()
      }
    }
    return fallback
  }

  async #openReader(): Promise<void> {
    const session = this.#session
    if (this.#isOpening || session === undefined) return
    this.#isOpening = true
    try {
      const reader = await PostgresSession.open(session.host, this.#settings, 'reader')
      if (this.#session !== session || this.#isClosed) return reader.destroy()
      this.#readers.push(reader)
      this.#free.push(reader)
      void reader.lost.then(() => {
        this.#dropReaders(this.#readers.filter((other) => other !== reader))
      })
    } catch (error) {
      // The other connections do as well.
      this.#settings.log.debug('storage_reader_failed', { error })
    } finally {
      this.#isOpening = false
    }
  }

  /** Keeps only these; returns those there were. */
  #dropReaders(kept: PostgresSession[]): readonly PostgresSession[] {
    const before = this.#readers
    this.#readers = kept
    this.#free = this.#free.filter((reader) => kept.includes(reader))
    return before
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      // Servers that lost it together do not all come back in the same moment.
      const timer = setTimeout(resolve, ms * (0.5 + Math.random() / 2))
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}

/** How the statement fared is known, and a server that takes writes may be found. */
export function mayFindAnother(failure: PostgresFailure, session: PostgresSession): boolean {
  return failure.isReadOnly && !session.isReadOnly
}

import { createServer, type Server, type Socket } from 'node:net'
import type { Logger } from '../core/log.ts'
import { StreamError } from '../xmpp/stream-error.ts'
import type { ParserLimits } from '../xmpp/xml-parser.ts'
import { Connection, type ConnectionHandler, type ConnectionHost } from './connection.ts'
import { Shaper } from './shaper.ts'
import type { Turn } from './turn.ts'

export type ListenerOptions = {
  /** Where to listen; port 0 is any free one. `undefined` host: every address. */
  readonly host: string | undefined
  readonly port: number
  readonly backlog: number
  /** Other processes of this server listen there, too. */
  readonly isPortShared: boolean
  /** Octets per second and at once, of each connection. */
  readonly shaper: { readonly rate: number; readonly burst: number } | undefined
  readonly maxConnections: number
  readonly maxConnectionsPerAddress: number
  /** From connecting to the end of the negotiation, milliseconds. */
  readonly preAuthTimeout: number
  /** How long a peer may leave output unread, milliseconds. */
  readonly blockedTimeout: number
}

/** How often connections are looked over for what takes too long, milliseconds. */
const SWEEP = 1_000

/**
 * Accepts connections at one address, within bounds, and gives each a stream. Whose they are, and
 * whether they begin with TLS, its children know.
 */
export abstract class Listener {
  #options: ListenerOptions
  readonly #host: ConnectionHost
  readonly #server: Server
  readonly #connections = new Set<Connection>()
  readonly #perAddress = new Map<string, number>()
  /** Connections that nobody has authenticated on, and until when somebody has to. */
  readonly #negotiating = new Map<Connection, number>()
  #sweep: NodeJS.Timeout | undefined
  /** Accepted before they were admitted. */
  #early: Socket[] | undefined
  readonly #onDrained: (() => void)[] = []

  constructor(options: ListenerOptions, turn: Turn, log: Logger) {
    this.#options = options
    this.#host = { turn, log, onClosed: (connection) => this.#forget(connection) }
    // Peers half-close at most by accident; their stream ends with their side.
    this.#server = createServer({ noDelay: true, keepAlive: true }, (socket) =>
      this.#accept(socket),
    )
  }

  /** What a peer may send before its negotiation has come to more. */
  protected abstract limits: ParserLimits

  /** Who speaks on a new connection. */
  protected abstract open(connection: Connection): ConnectionHandler

  /** Before anything is taken from a new connection: TLS, where that comes first. */
  protected abstract begin(connection: Connection): void

  /** Called every second or so, with milliseconds since the epoch. */
  protected look(_now: number): void {}

  /** Whether connections from there are refused. */
  protected isUnwanted(_address: string): boolean {
    return false
  }

  /** A negotiation takes longer, for a reason: so many milliseconds from now. */
  protected grant(connection: Connection, ms: number): void {
    if (this.#negotiating.has(connection)) this.#negotiating.set(connection, Date.now() + ms)
  }

  /** The negotiation is over, whatever it came to. */
  protected settle(connection: Connection): void {
    this.#negotiating.delete(connection)
  }

  /** For connections from now on; where it listens stays as it is. */
  protected set options(options: ListenerOptions) {
    this.#options = options
  }

  /** Resolves when connections are accepted. Rejects when the address cannot be had. */
  async listen(): Promise<void> {
    await this.bind()
    this.admit()
  }

  /** As `listen`, but whoever connects waits until `admit`. */
  bind(): Promise<void> {
    const { host, port, backlog, isPortShared: reusePort } = this.#options
    this.#early = []
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen({ ...(host !== undefined && { host }), port, backlog, reusePort }, () => {
        this.#server.off('error', reject)
        this.#server.on('error', (error) => this.#host.log.error('listener_failed', { error }))
        this.#sweep ??= setInterval(() => this.#lookOver(), SWEEP).unref()
        resolve()
      })
    })
  }

  admit(): void {
    const early = this.#early ?? []
    this.#early = undefined
    for (const socket of early) if (!socket.destroyed) this.#accept(socket)
  }

  get isListening(): boolean {
    return this.#server.listening
  }

  get address(): { readonly host: string; readonly port: number } {
    const address = this.#server.address()
    if (address === null || typeof address === 'string') throw new Error('not listening')
    return { host: address.address, port: address.port }
  }

  get connectionCount(): number {
    return this.#connections.size
  }

  /** No more connections; those still negotiating are told to go. Sessions stay. */
  stopListening(): void {
    if (this.#server.listening) this.#server.close()
    for (const socket of this.#early ?? []) socket.destroy()
    this.#early = []
    if (this.#connections.size === 0) this.#stopSweeping()
    for (const connection of this.#negotiating.keys()) {
      connection.handler.onStreamError(new StreamError('system-shutdown'))
    }
  }

  /** Resolves when the last connection is gone. */
  drained(): Promise<void> {
    if (this.#connections.size === 0) return Promise.resolve()
    return new Promise((resolve) => this.#onDrained.push(resolve))
  }

  /** Closes what is still open, without a word. */
  destroy(): void {
    for (const connection of this.#connections) connection.destroy()
  }

  #stopSweeping(): void {
    clearInterval(this.#sweep)
    this.#sweep = undefined
  }

  #accept(socket: Socket): void {
    if (this.#early !== undefined) {
      socket.on('error', () => {})
      this.#early.push(socket)
      return
    }
    const address = socket.remoteAddress ?? ''
    if (this.#isTooMuch(address)) {
      socket.destroy()
      return
    }
    const { shaper } = this.#options
    const connection = new Connection(
      {
        socket,
        host: this.#host,
        limits: this.limits,
        shaper: shaper && new Shaper(shaper.rate, shaper.burst),
      },
      (opened) => this.open(opened),
    )
    this.#connections.add(connection)
    this.#perAddress.set(address, (this.#perAddress.get(address) ?? 0) + 1)
    this.#negotiating.set(connection, Date.now() + this.#options.preAuthTimeout)
    this.begin(connection)
  }

  #isTooMuch(address: string): boolean {
    const { maxConnections, maxConnectionsPerAddress } = this.#options
    if (this.#connections.size >= maxConnections) return true
    if ((this.#perAddress.get(address) ?? 0) >= maxConnectionsPerAddress) return true
    return this.isUnwanted(address)
  }

  #forget(connection: Connection): void {
    const { address } = connection
    this.#connections.delete(connection)
    if (this.#connections.size === 0) {
      for (const tell of this.#onDrained.splice(0)) tell()
      if (!this.#server.listening) this.#stopSweeping()
    }
    this.#negotiating.delete(connection)
    const left = (this.#perAddress.get(address) ?? 1) - 1
    if (left === 0) this.#perAddress.delete(address)
    else this.#perAddress.set(address, left)
  }

  #lookOver(): void {
    const now = Date.now()
    for (const [connection, deadline] of this.#negotiating) {
      if (now < deadline) continue
      this.#negotiating.delete(connection)
      connection.handler.onStreamError(new StreamError('connection-timeout'))
    }
    for (const connection of this.#connections) {
      const { blockedSince } = connection
      if (blockedSince !== 0 && now - blockedSince > this.#options.blockedTimeout) {
        connection.destroy()
      }
    }
    this.look(now)
  }
}

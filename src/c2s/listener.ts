import { createServer, type Server, type Socket } from 'node:net'
import { Connection } from '../connection/connection.ts'
import { Shaper } from '../connection/shaper.ts'
import type { WriteTurn } from '../connection/write-turn.ts'
import type { Hooks } from '../core/hooks.ts'
import type { Logger } from '../core/log.ts'
import { StreamError } from '../xmpp/stream-error.ts'
import { Negotiation, type StreamEnvironment } from './stream.ts'

export type ListenerOptions = {
  /** Where to listen; port 0 is any free one. `undefined` host: every address. */
  readonly host: string | undefined
  readonly port: number
  readonly backlog: number
  /** `direct`: TLS from the first octet (XEP-0368). The others are the stream's business. */
  readonly tls: 'direct' | 'required' | 'starttls' | 'none'
  /** Octets per second and at once, of each connection. */
  readonly shaper: { readonly rate: number; readonly burst: number } | undefined
  readonly maxConnections: number
  readonly maxConnectionsPerAddress: number
  /** From connecting to being bound, milliseconds. */
  readonly preAuthTimeout: number
  /** How long a client may leave output unread, milliseconds. */
  readonly blockedTimeout: number
}

/** How often connections are looked over for what takes too long, milliseconds. */
const SWEEP = 1_000
/** Who has made an account may take so long to log in, or to make others, milliseconds. */
const PATIENCE = 3_600_000

/**
 * Route step 1. Accepts clients' connections, within bounds, and gives each a stream.
 */
export class ClientListener {
  readonly #options: ListenerOptions
  readonly #environment: StreamEnvironment
  readonly #turn: WriteTurn
  readonly #hooks: Hooks
  readonly #log: Logger
  readonly #server: Server
  readonly #connections = new Set<Connection>()
  readonly #perAddress = new Map<string, number>()
  /** Connections without a session, and until when they have to get one. */
  readonly #negotiating = new Map<Connection, number>()
  #sweep: NodeJS.Timeout | undefined
  #onDrained: (() => void) | undefined

  constructor(
    options: ListenerOptions,
    environment: Omit<StreamEnvironment, 'onGranted' | 'onEnd'>,
    turn: WriteTurn,
  ) {
    this.#options = options
    this.#turn = turn
    this.#hooks = environment.hooks
    this.#log = environment.log
    this.#environment = {
      ...environment,
      onGranted: (connection) => {
        if (!this.#negotiating.has(connection)) return
        this.#negotiating.set(connection, Date.now() + PATIENCE)
      },
      onEnd: (connection) => this.#negotiating.delete(connection),
    }
    // Clients half-close at most by accident; their stream ends with their side.
    this.#server = createServer({ noDelay: true, keepAlive: true }, (socket) =>
      this.#accept(socket),
    )
  }

  /** Resolves when connections are accepted. Rejects when the address cannot be had. */
  listen(): Promise<void> {
    const { host, port, backlog } = this.#options
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen({ ...(host !== undefined && { host }), port, backlog }, () => {
        this.#server.off('error', reject)
        this.#server.on('error', (error) => this.#log.error('listener_failed', { error }))
        this.#sweep = setInterval(() => this.#lookOver(), SWEEP)
        this.#sweep.unref()
        resolve()
      })
    })
  }

  get address(): { readonly host: string; readonly port: number } {
    const address = this.#server.address()
    if (address === null || typeof address === 'string') throw new Error('not listening')
    return { host: address.address, port: address.port }
  }

  get tls(): ListenerOptions['tls'] {
    return this.#options.tls
  }

  get connectionCount(): number {
    return this.#connections.size
  }

  /** No more connections; those without a session are told to go. Sessions stay. */
  stopListening(): void {
    clearInterval(this.#sweep)
    if (this.#server.listening) this.#server.close()
    for (const connection of this.#negotiating.keys()) {
      connection.handler.onStreamError(new StreamError('system-shutdown'))
    }
  }

  /** Resolves when the last connection is gone. */
  drained(): Promise<void> {
    if (this.#connections.size === 0) return Promise.resolve()
    return new Promise((resolve) => {
      this.#onDrained = resolve
    })
  }

  /** Closes what is still open, without a word. */
  destroy(): void {
    for (const connection of this.#connections) connection.destroy()
  }

  #accept(socket: Socket): void {
    const address = socket.remoteAddress ?? ''
    if (this.#isUnwanted(address)) {
      socket.destroy()
      return
    }
    const { certificates, policy, log } = this.#environment
    let channel = socket
    if (this.#options.tls === 'direct') {
      if (certificates === undefined) {
        socket.destroy()
        return
      }
      channel = certificates.secure(socket, { isDirect: true })
      socket.on('error', () => {})
    }
    const { shaper } = this.#options
    const connection = new Connection(
      {
        socket: channel,
        turn: this.#turn,
        limits: policy.preAuthLimits,
        shaper: shaper && new Shaper(shaper.rate, shaper.burst),
        log,
      },
      (opened) => new Negotiation(opened, this.#environment),
    )
    this.#connections.add(connection)
    this.#perAddress.set(address, (this.#perAddress.get(address) ?? 0) + 1)
    this.#negotiating.set(connection, Date.now() + this.#options.preAuthTimeout)
    socket.once('close', () => this.#forget(connection, address))
  }

  #isUnwanted(address: string): boolean {
    const { maxConnections, maxConnectionsPerAddress } = this.#options
    if (this.#connections.size >= maxConnections) return true
    if ((this.#perAddress.get(address) ?? 0) >= maxConnectionsPerAddress) return true
    const point = this.#hooks.at('check_bl_c2s')
    if (point.isEmpty) return false
    try {
      // An answer that is still to come is none: this check is for lists in memory.
      return point.run(false, { address }) !== false
    } catch {
      return true
    }
  }

  #forget(connection: Connection, address: string): void {
    this.#connections.delete(connection)
    if (this.#connections.size === 0) this.#onDrained?.()
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
  }
}

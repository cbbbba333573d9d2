import type { Connection, ConnectionHandler } from '../connection/connection.ts'
import { type ListenerOptions as AddressOptions, Listener } from '../connection/listener.ts'
import type { Turn } from '../connection/turn.ts'
import type { Logger } from '../core/log.ts'
import { NO_OCTETS } from '../xmpp/octets.ts'
import type { ParserLimits } from '../xmpp/xml-parser.ts'
import type { Federation } from './federation.ts'
import { type IncomingEnvironment, type IncomingPolicy, IncomingStream } from './incoming-stream.ts'

export type ListenerOptions = AddressOptions & {
  /** `direct`: TLS from the first octet (XEP-0368). The others are the stream's business. */
  readonly tls: 'direct' | 'required' | 'starttls' | 'none'
}

/** It is for who connected to say goodbye; so many times our own patience later we do. */
const PATIENCE = 2

/** Accepts the connections of other servers, within bounds, and gives each a stream. */
export class ServerListener extends Listener {
  tls: ListenerOptions['tls']
  #environment: IncomingEnvironment
  readonly #streams = new Set<IncomingStream>()
  readonly #log: Logger
  #idleTimeout: number
  protected limits: ParserLimits

  constructor(
    options: ListenerOptions,
    policy: IncomingPolicy,
    federation: Federation,
    turn: Turn,
    log: Logger,
  ) {
    super(options, turn, log)
    this.tls = options.tls
    this.#log = log
    this.limits = policy.preAuthLimits
    this.#idleTimeout = federation.idleTimeout * PATIENCE
    this.#environment = this.#environmentOf(policy, federation)
  }

  /** For connections from now on. */
  configure(options: ListenerOptions, policy: IncomingPolicy, federation: Federation): void {
    this.options = options
    this.tls = options.tls
    this.limits = policy.preAuthLimits
    this.#idleTimeout = federation.idleTimeout * PATIENCE
    this.#environment = this.#environmentOf(policy, federation)
  }

  #environmentOf(policy: IncomingPolicy, federation: Federation): IncomingEnvironment {
    const { keys, tls, traffic, resumptions } = federation
    return {
      owner: federation,
      tls,
      keys,
      policy,
      traffic,
      resumptions,
      log: this.#log,
      onSettled: (connection) => this.settle(connection),
      onEnd: (stream) => this.#streams.delete(stream),
    }
  }

  protected begin(connection: Connection): void {
    const { tls } = this.#environment
    if (this.tls !== 'direct') return
    if (!tls.mayAccept) return connection.destroy()
    connection.secure(NO_OCTETS, (socket) => tls.accept(socket, { isDirect: true }))
  }

  protected open(connection: Connection): ConnectionHandler {
    const stream = new IncomingStream(connection, this.#environment)
    this.#streams.add(stream)
    return stream
  }

  protected override look(now: number): void {
    for (const stream of this.#streams) stream.look(now, this.#idleTimeout)
  }

  /** Ends the streams that are left, each when what came in on it is settled. */
  async shutDown(): Promise<void> {
    await Promise.all([...this.#streams].map((stream) => stream.shutDown()))
  }
}

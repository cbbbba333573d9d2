import type { Connection, ConnectionHandler } from '../connection/connection.ts'
import { type ListenerOptions as AddressOptions, Listener } from '../connection/listener.ts'
import type { Turn } from '../connection/turn.ts'
import { NO_OCTETS } from '../xmpp/octets.ts'
import type { ParserLimits } from '../xmpp/xml-parser.ts'
import type { StreamEnvironment } from './environment.ts'
import { Negotiation } from './stream.ts'

export type ListenerOptions = AddressOptions & {
  /** `direct`: TLS from the first octet (XEP-0368). The others are the stream's business. */
  readonly tls: 'direct' | 'required' | 'starttls' | 'none'
}

type Environment = Omit<StreamEnvironment, 'onGranted' | 'onEnd'>

/** Who has made an account may take so long to log in, or to make others, milliseconds. */
const PATIENCE = 3_600_000

/**
 * Route step 1. Accepts clients' connections, within bounds, and gives each a stream.
 */
export class ClientListener extends Listener {
  tls: ListenerOptions['tls']
  #environment: StreamEnvironment
  protected limits: ParserLimits

  constructor(options: ListenerOptions, environment: Environment, turn: Turn) {
    super(options, turn, environment.log)
    this.tls = options.tls
    this.limits = environment.policy.preAuthLimits
    this.#environment = this.#complete(environment)
  }

  /** For connections from now on. */
  configure(options: ListenerOptions, environment: Environment): void {
    this.options = options
    this.tls = options.tls
    this.limits = environment.policy.preAuthLimits
    this.#environment = this.#complete(environment)
  }

  #complete(environment: Environment): StreamEnvironment {
    return {
      ...environment,
      onGranted: (connection) => this.grant(connection, PATIENCE),
      onEnd: (connection) => this.settle(connection),
    }
  }

  protected begin(connection: Connection): void {
    const { certificates } = this.#environment
    if (this.tls !== 'direct') return
    if (certificates === undefined) return connection.destroy()
    connection.secureOnHello(NO_OCTETS, (socket) => certificates.secure(socket, { isDirect: true }))
  }

  protected open(connection: Connection): ConnectionHandler {
    return new Negotiation(connection, this.#environment)
  }

  protected override isUnwanted(address: string): boolean {
    const point = this.#environment.hooks.at('check_bl_c2s')
    if (point.isEmpty) return false
    try {
      // An answer that is still to come is none: this check is for lists in memory.
      return point.run(false, { address }) !== false
    } catch {
      return true
    }
  }
}

import type { Connection, ConnectionHandler } from '../connection/connection.ts'
import { type ListenerOptions as AddressOptions, Listener } from '../connection/listener.ts'
import type { TlsCertificates } from '../connection/tls.ts'
import type { Turn } from '../connection/turn.ts'
import { NO_OCTETS } from '../xmpp/octets.ts'
import type { ParserLimits } from '../xmpp/xml-parser.ts'
import { Negotiation, type StreamEnvironment } from './stream.ts'

export type ListenerOptions = AddressOptions & {
  /** `direct`: TLS from the first octet. */
  readonly tls: 'direct' | 'none'
}

type Environment = Omit<StreamEnvironment, 'onEnd'> & {
  readonly certificates: TlsCertificates | undefined
}

/** Where external components connect (XEP-0114). */
export class ComponentListener extends Listener {
  tls: ListenerOptions['tls']
  #certificates: TlsCertificates | undefined
  #environment: StreamEnvironment
  protected limits: ParserLimits

  constructor(options: ListenerOptions, environment: Environment, turn: Turn) {
    super(options, turn, environment.session.log)
    this.tls = options.tls
    this.limits = environment.policy.preAuthLimits
    this.#certificates = environment.certificates
    this.#environment = { ...environment, onEnd: (connection) => this.settle(connection) }
  }

  /** For connections from now on. */
  configure(options: ListenerOptions, environment: Environment): void {
    this.options = options
    this.tls = options.tls
    this.limits = environment.policy.preAuthLimits
    this.#certificates = environment.certificates
    this.#environment = { ...environment, onEnd: (connection) => this.settle(connection) }
  }

  protected begin(connection: Connection): void {
    const certificates = this.#certificates
    if (this.tls === 'none') return
    if (certificates === undefined) return connection.destroy()
    // Without ALPN, whose names are of clients and servers.
    connection.secure(NO_OCTETS, (socket) => certificates.secure(socket, { isDirect: false }))
  }

  protected open(connection: Connection): ConnectionHandler {
    return new Negotiation(connection, this.#environment)
  }
}

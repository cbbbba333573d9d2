import type { Connection, ConnectionHandler } from '../connection/connection.ts'
import type { Component } from '../core/components.ts'
import type { Envelope } from '../core/envelope.ts'
import { DROP, type HookPoint, Stop } from '../core/hooks.ts'
import { Lanes } from '../core/lanes.ts'
import type { Logger } from '../core/log.ts'
import { after, type Maybe } from '../core/maybe.ts'
import { dropped, type Outcome } from '../core/outcome.ts'
import type { Router } from '../core/router.ts'
import type { Jid } from '../xmpp/jid.ts'
import { NO_OCTETS, type Octets } from '../xmpp/octets.ts'
import { StanzaError } from '../xmpp/stanza-error.ts'
import { isStreamError, type StreamError } from '../xmpp/stream-error.ts'
import type { Frame } from '../xmpp/xml-parser.ts'
import { Inbound } from './inbound.ts'
import { Outbound } from './outbound.ts'
import type { ComponentRegistry } from './registry.ts'

/** What all components of a listener have in common. */
export type SessionEnvironment = {
  readonly router: Router
  readonly registry: ComponentRegistry
  readonly packets: HookPoint<'packet_to_component'>
  readonly log: Logger
  readonly policy: SessionPolicy
}

export type SessionPolicy = {
  readonly isHidden: boolean
  /** They may speak for everybody. */
  readonly isTrusted: boolean
  /** Several may serve one domain. */
  readonly isShared: boolean
  readonly mayReach: (sender: Jid) => boolean
  /** What may wait for one of them, in octets. */
  readonly maxQueued: number
}

type Opening = {
  readonly id: string
  readonly domains: readonly string[]
  /** Those that it serves under each hosted domain, as things are now. */
  readonly subdomains: (() => readonly string[]) | undefined
  /** `xml:lang` of its stream, escaped. */
  readonly lang: Octets | undefined
}

const CLOSING = '</stream:stream>' as Octets
const ONE_LANE = ''
const NO_PARAMS = {}

/** A component from its handshake to the end of its connection. */
export class ComponentSession implements Component, ConnectionHandler {
  readonly id: string
  readonly isHidden: boolean
  readonly isLocal = true
  readonly #connection: Connection
  readonly #environment: SessionEnvironment
  readonly #outbound: Outbound
  readonly #inbound: Inbound
  readonly #subdomains: (() => readonly string[]) | undefined
  #domains: readonly string[]
  /** While a handler decides about a stanza, those behind it wait. */
  readonly #deciding = new Lanes()
  #isClosed = false

  constructor(opening: Opening, connection: Connection, environment: SessionEnvironment) {
    const { router, policy } = environment
    const { id, domains, subdomains, lang } = opening
    this.id = id
    this.#domains = domains
    this.#subdomains = subdomains
    this.isHidden = policy.isHidden
    this.#connection = connection
    this.#environment = environment
    this.#outbound = new Outbound(connection, router, domains.join(' '), policy.maxQueued)
    const { isTrusted, isShared } = policy
    const outbound = this.#outbound
    this.#inbound = new Inbound({
      connection,
      router,
      outbound,
      domains,
      isTrusted,
      isShared,
      lang,
    })
  }

  get domains(): readonly string[] {
    return this.#domains
  }

  get isSubdomain(): boolean {
    return this.#subdomains !== undefined
  }

  get wanted(): readonly string[] | undefined {
    return this.#subdomains?.()
  }

  use(domains: readonly string[]): void {
    this.#domains = domains
    this.#inbound.use(domains)
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  handle(envelope: Envelope): Maybe<Outcome> {
    const { policy, packets, router } = this.#environment
    if (!isOfServer(envelope) && !policy.mayReach(envelope.from)) {
      return router.bounce(envelope, new StanzaError('not-allowed'), 'component')
    }
    if (packets.isEmpty && this.#deciding.size === 0) return this.#outbound.send(envelope)
    return this.#deciding.run(ONE_LANE, () =>
      after(packets.run(envelope, NO_PARAMS), (verdict) => this.#decided(verdict)),
    )
  }

  awaits(answer: Envelope): boolean {
    return this.#inbound.takesAnswer(answer)
  }

  #decided(verdict: Envelope | Stop<Envelope> | typeof DROP): Outcome {
    if (verdict === DROP) return dropped('packet_to_component', 'filtered')
    return this.#outbound.send(verdict instanceof Stop ? verdict.acc : verdict)
  }

  /** Its stream ends; what it has sent already is taken still. Resolves when what waited has gone back. */
  close(error: StreamError): Promise<void> {
    return this.#finish(error)
  }

  // --- From the connection.

  onStreamStart(): void {
    // The parser refuses a header inside a stream.
  }

  onElement(frame: Frame): void {
    if (isStreamError(frame)) return this.onStreamEnd()
    this.#inbound.receive(frame)
  }

  onStreamEnd(): void {
    void this.#finish(undefined)
  }

  onStreamError(error: StreamError): void {
    this.#leave(error.message)
    void this.#outbound.close()
    this.#connection.end((error.toOctets() + CLOSING) as Octets)
  }

  onFlush(): void {
    this.#outbound.flushing()
  }

  onDrain(): void {
    this.#outbound.drain()
  }

  onClosed(error: Error | undefined): void {
    this.#leave(error?.message ?? 'closed')
    void this.#outbound.lost()
  }

  async #finish(error: StreamError | undefined): Promise<void> {
    if (this.#isClosed) return
    this.#leave(error?.message ?? 'closed')
    const returned = this.#outbound.close()
    this.#connection.close(((error?.toOctets() ?? NO_OCTETS) + CLOSING) as Octets)
    await returned
  }

  #leave(reason: string): void {
    if (this.#isClosed) return
    this.#isClosed = true
    const { registry, log } = this.#environment
    registry.unregister(this)
    log.info('component_gone', { domains: this.domains, reason })
  }
}

/** What the server says for itself, and why something could not be delivered. */
function isOfServer({ origin, from, stanza }: Envelope): boolean {
  return origin.kind === 'server' && (from.local === '' || stanza.isError)
}

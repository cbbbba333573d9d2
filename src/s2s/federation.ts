import type { Socket } from 'node:net'
import { setTimeout } from 'node:timers/promises'
import { TLSSocket } from 'node:tls'
import { Connection } from '../connection/connection.ts'
import type { PeerTls } from '../connection/peer-tls.ts'
import type { Turn } from '../connection/turn.ts'
import type { Envelope } from '../core/envelope.ts'
import { type Hooks, resultOf } from '../core/hooks.ts'
import type { IqDispatcher } from '../core/iq.ts'
import type { Logger } from '../core/log.ts'
import { after, type Maybe } from '../core/maybe.ts'
import { dropped, type Outcome } from '../core/outcome.ts'
import type { RemoteServers } from '../core/remote-servers.ts'
import type { Router } from '../core/router.ts'
import { StanzaError } from '../xmpp/stanza-error.ts'
import type { ParserLimits } from '../xmpp/xml-parser.ts'
import { Connector } from './connector.ts'
import { DialbackKeys } from './dialback.ts'
import type { IncomingOwner } from './incoming-stream.ts'
import { Link, type LinkLimits } from './link.ts'
import { type OutgoingOwner, type OutgoingPolicy, OutgoingStream } from './outgoing-stream.ts'
import { Pings } from './pings.ts'
import type { Pair } from './proofs.ts'
import { Resumptions } from './resumptions.ts'
import { Slots } from './slots.ts'
import { type Target, TargetFinder } from './targets.ts'
import type { Traffic, TrafficParts } from './traffic.ts'

export type FederationOptions = OutgoingPolicy & {
  readonly limits: LinkLimits
  /** How long a peer may take to acknowledge what it was sent, milliseconds. */
  readonly ackTimeout: number
  readonly maxDomains: number
  readonly maxConnecting: number
  /** Of stanzas that come in on connections of ours. */
  readonly parsing: ParserLimits
  /** From which keys of dialback are made. */
  readonly secret: string
  /** Domains, or `*.` and a domain for all below it. `undefined`: all. */
  readonly allow: readonly string[] | undefined
  readonly deny: readonly string[]
  /** Whether domains below hosted ones may be elsewhere. */
  readonly routeSubdomains: boolean
  readonly resolver: readonly string[] | undefined
  readonly overrides: Readonly<Record<string, Target>>
}

type Parts = {
  readonly router: Router
  readonly hooks: Hooks
  readonly iq: IqDispatcher
  readonly tls: PeerTls
  readonly turn: Turn
  readonly log: Logger
  /** For who names no domain. */
  readonly defaultDomain: () => string
  /** Whether stanzas for a domain are taken here. */
  serves(domain: string): boolean
  /** Whether it has accounts here. */
  isHosted(domain: string): boolean
}

/** How often links are looked over for what takes too long, milliseconds. */
const SWEEP = 1_000
/** How often it is looked whether all has arrived, as the server stops, milliseconds. */
const POLL = 10
/** How long others may take to close their side then, milliseconds. */
const GOODBYE = 1_000

/** All the ways to other servers, and what their streams to us ask of one another. */
export class Federation implements RemoteServers, IncomingOwner {
  readonly tls: PeerTls
  keys: DialbackKeys
  readonly resumptions: Resumptions
  readonly traffic: TrafficParts
  #options: FederationOptions
  readonly #parts: Parts
  #connector: Connector
  readonly #slots: { readonly stanzas: Slots; readonly keys: Slots }
  readonly #links = new Map<string, Link>()
  readonly #connections = new Set<Connection>()
  readonly #sweep: NodeJS.Timeout
  readonly #off: () => void
  #isStopping = false

  constructor(options: FederationOptions, parts: Parts) {
    this.#options = options
    this.#parts = parts
    const { router, hooks, iq, log } = parts
    this.tls = parts.tls
    this.keys = new DialbackKeys(options.secret)
    this.resumptions = new Resumptions(() => this.#options.limits.resumeTimeout)
    const receive = hooks.at('s2s_receive_packet')
    const current = () => this.#options
    this.traffic = {
      router,
      receive,
      pings: new Pings(iq),
      serves: (domain) => parts.serves(domain),
      log,
      get ackTimeout() {
        return current().ackTimeout
      },
    }
    this.#connector = this.#makeConnector()
    const { maxConnecting } = options
    this.#slots = { stanzas: new Slots(maxConnecting), keys: new Slots(maxConnecting) }
    this.#sweep = setInterval(() => this.#look(Date.now()), SWEEP).unref()
    this.#off = hooks.on(
      's2s_allow_host',
      (verdict, { remote }) => (this.#mayBeElsewhere(remote) ? verdict : 'deny'),
      { by: 's2s', explain: 'pure' },
    )
  }

  /** For the administrator's eyes. */
  get links(): Iterable<Link> {
    return this.#links.values()
  }

  /** For what comes from now on; connections that are open go on as they began. */
  configure(options: FederationOptions): void {
    const { secret, maxConnecting } = this.#options
    this.#options = options
    if (options.secret !== secret) this.keys = new DialbackKeys(options.secret)
    for (const slots of Object.values(this.#slots)) slots.add(options.maxConnecting - maxConnecting)
    this.#connector = this.#makeConnector()
  }

  #makeConnector(): Connector {
    const { limits } = this.#options
    return new Connector({
      finder: new TargetFinder(this.#options),
      connectTimeout: limits.connectTimeout,
      log: this.#parts.log,
      open: (socket, target, owner) => this.#open(socket, target, owner),
    })
  }

  get defaultDomain(): string {
    return this.#parts.defaultDomain()
  }

  get linkCount(): number {
    return this.#links.size
  }

  /** Those that we have opened, and that are not gone. */
  get connectionCount(): number {
    return this.#connections.size
  }

  /** Milliseconds. */
  get idleTimeout(): number {
    return this.#options.limits.idleTimeout
  }

  // --- Out.

  send(envelope: Envelope): Outcome {
    const { from, to } = envelope
    const isOurs = this.serves(from.domain)
    const link = this.#link(from.domain, to.domain, isOurs ? this.#options.maxDomains : 0)
    // Nothing is opened in the name of a domain that was ours when something came for it.
    if (!isOurs && link?.isOpen !== true) return dropped('s2s', 'not from a domain of ours')
    if (link !== undefined) return link.send(envelope)
    const error = new StanzaError('resource-constraint', { text: 'too many servers to speak with' })
    return this.#parts.router.bounce(envelope, error, 's2s')
  }

  /** A new one only if there are fewer than `most`. */
  #link(local: string, remote: string, most: number): Link | undefined {
    const name = `${local} ${remote}`
    let link = this.#links.get(name)
    if (link !== undefined) return link
    if (this.#links.size >= most) return undefined
    const { router, log } = this.#parts
    const current = () => ({ connector: this.#connector, limits: this.#options.limits })
    link = new Link(local, remote, {
      get connector() {
        return current().connector
      },
      get limits() {
        return current().limits
      },
      router,
      slots: this.#slots,
      log,
    })
    this.#links.set(name, link)
    if (this.#isStopping) link.drain()
    return link
  }

  #open(plain: Socket, { isDirect }: Target, owner: OutgoingOwner): OutgoingStream {
    const { turn, log } = this.#parts
    const { keys, tls, traffic } = this
    const { parsing: limits, ...policy } = this.#options
    const { local, remote } = owner
    const socket = isDirect ? tls.connect(plain, { local, remote, isDirect }) : plain
    const environment = { tls, keys, policy, limits, traffic }
    const connection = new Connection(
      { socket, host: { turn, log }, limits, shaper: undefined },
      (opened) => new OutgoingStream(opened, owner, environment),
    )
    this.#connections.add(connection)
    plain.once('close', () => this.#connections.delete(connection))
    return connection.handler as OutgoingStream
  }

  // --- In.

  serves(domain: string): boolean {
    return this.#parts.serves(domain)
  }

  allows({ local, remote }: Pair): Maybe<boolean> {
    const verdict = this.#parts.hooks.at('s2s_allow_host').run('allow', { domain: local, remote })
    return after(verdict, (decided) => resultOf(decided, 'deny') === 'allow')
  }

  async verify({ local, remote }: Pair, id: string, key: string): Promise<boolean> {
    // Strangers may name any domain; there has to be room for those that our users write to.
    const link = this.#link(local, remote, this.#options.maxDomains / 2)
    if (link === undefined) throw new StanzaError('resource-constraint')
    return await link.verify(id, key)
  }

  expect({ local, remote }: Pair, ms: number): void {
    this.#link(local, remote, this.#options.maxDomains)?.expect(ms)
  }

  maySendOn({ socket }: Connection): boolean {
    return this.#options.tls !== 'required' || socket instanceof TLSSocket
  }

  adopt({ local, remote }: Pair, traffic: Traffic): void {
    this.#link(local, remote, this.#options.maxDomains)?.adopt(traffic)
  }

  #mayBeElsewhere(domain: string): boolean {
    const { allow, deny, routeSubdomains } = this.#options
    if (!routeSubdomains && this.#isBelowOurs(domain)) return false
    const fits = (pattern: string) =>
      pattern.startsWith('*.') ? domain.endsWith(pattern.slice(1)) : domain === pattern
    return (allow === undefined || allow.some(fits)) && !deny.some(fits)
  }

  #isBelowOurs(domain: string): boolean {
    for (let dot = domain.indexOf('.'); dot >= 0; dot = domain.indexOf('.', dot + 1)) {
      if (this.#parts.isHosted(domain.slice(dot + 1))) return true
    }
    return false
  }

  // --- As time passes, and its end.

  #look(now: number): void {
    this.resumptions.look(now)
    for (const [name, link] of this.#links) {
      link.look(now)
      if (link.isUnused) this.#links.delete(name)
    }
  }

  /** Nothing waits for connections any more; what is open goes on. Resolves when what waited has gone back. */
  async drain(): Promise<void> {
    this.#isStopping = true
    for (const link of this.#links.values()) link.drain()
    await this.#returned()
  }

  async #returned(): Promise<void> {
    await Promise.all(Array.from(this.#links.values(), ({ returned }) => returned))
  }

  /** Waits up to `timeout` milliseconds for what was sent to arrive, then ends all connections. */
  async close(timeout: number): Promise<void> {
    const links = [...this.#links.values()]
    await this.#until(timeout, () => links.every((link) => link.isDrained))
    this.#off()
    clearInterval(this.#sweep)
    for (const link of this.#links.values()) link.close()
    await this.#until(GOODBYE, () => this.#connections.size === 0)
    for (const connection of this.#connections) connection.destroy()
    await this.#until(GOODBYE, () => this.#connections.size === 0)
    await this.#returned()
  }

  async #until(timeout: number, isDone: () => boolean): Promise<void> {
    const last = Date.now() + timeout
    while (!isDone() && Date.now() < last) await setTimeout(POLL)
  }
}

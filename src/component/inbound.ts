import type { Connection } from '../connection/connection.ts'
import { Envelope, type Origin, SERVER } from '../core/envelope.ts'
import { dropped, Outcome } from '../core/outcome.ts'
import { PairLanes } from '../core/pair-lanes.ts'
import type { Router } from '../core/router.ts'
import { bounce } from '../xmpp/bounce.ts'
import { type Jid, parseJid, tryParseJid } from '../xmpp/jid.ts'
import type { Octets } from '../xmpp/octets.ts'
import { isStanzaKind, Stanza } from '../xmpp/stanza.ts'
import { StanzaError } from '../xmpp/stanza-error.ts'
import { faultOf } from '../xmpp/stanza-fault.ts'
import { StreamError } from '../xmpp/stream-error.ts'
import type { Frame } from '../xmpp/xml-parser.ts'
import type { Outbound } from './outbound.ts'

/** The content namespace of components that connect to the server (XEP-0114 §3). */
export const COMPONENT_NS = 'jabber:component:accept'

/** So many stanzas may be on their way; then no more are read. */
const MAX_PENDING = 1_000
/** So many requests without an answer are remembered. */
const MAX_ASKED = 10_000
const BY = 'component'

type Parts = {
  readonly connection: Connection
  readonly router: Router
  readonly outbound: Outbound
  /** Whom it may speak for. */
  readonly domains: readonly string[]
  /** It may speak for everybody. */
  readonly isTrusted: boolean
  /** There may be others for the same domains, who get what is not known to be for this one. */
  readonly isShared: boolean
  readonly lang: Octets | undefined
}

/**
 * What a component sends: checks it and gives it to the router.
 *
 * The stanzas of each pair of sender and recipient keep their order (RFC 6120 §10.1), others do not
 * wait for them. Nothing waits for the answer to a request: giving it may need the component's own.
 */
export class Inbound {
  readonly #parts: Parts
  #domains: ReadonlySet<string> = new Set()
  #origin!: Origin
  #self!: Jid
  readonly #lanes = new PairLanes()
  readonly #work = (envelope: Envelope) => this.#parts.router.route(envelope)
  /** Requests whose answers are for this connection, where there may be others. */
  readonly #asked = new Set<string>()
  #pending = 0
  #room: (() => void) | undefined

  constructor(parts: Parts) {
    this.#parts = parts
    this.use(parts.domains)
  }

  /** Whom it may speak for from now on. */
  use(domains: readonly string[]): void {
    const [domain] = domains
    if (domain === undefined) throw new Error('a component without a domain')
    this.#domains = new Set(domains)
    this.#origin = { kind: 'component', domain }
    this.#self = parseJid(domain)
  }

  /** Throws `StreamError` for what ends the stream. */
  receive(frame: Frame): void {
    if (frame.ns !== COMPONENT_NS || !isStanzaKind(frame.name)) {
      throw new StreamError('unsupported-stanza-type', `<${frame.name}/> is no stanza`)
    }
    const stanza = Stanza.fromFrame(frame, COMPONENT_NS, this.#parts.lang)
    const from = tryParseJid(frame.common.from)
    const to = tryParseJid(frame.common.to)
    const fault = this.#addressFault(from, to) ?? faultOf(stanza)
    const origin = this.#originOf(from)
    const envelope = new Envelope(from ?? this.#self, to ?? this.#self, stanza, origin)
    if (fault === undefined) this.#route(envelope)
    else this.#refuse(envelope, fault)
  }

  /** Whether this is the answer to a request that was received here. Known once. */
  takesAnswer({ from, to, stanza }: Envelope): boolean {
    return this.#asked.delete(`${to.full} ${from.full} ${stanza.id}`)
  }

  #route(envelope: Envelope): void {
    const { stanza, from, to } = envelope
    const isRequest = stanza.kind === 'iq' && stanza.isRequest
    if (isRequest && this.#parts.isShared) this.#remember(`${from.full} ${to.full} ${stanza.id}`)
    const outcome = isRequest
      ? this.#lanes.runAside(envelope, this.#work)
      : this.#lanes.run(envelope, this.#work)
    if (outcome instanceof Promise) this.#count(outcome)
  }

  /** XEP-0114 §3: both addresses, and its own domain in the sender's. */
  #addressFault(from: Jid | undefined, to: Jid | undefined): StanzaError | undefined {
    if (to === undefined) return new StanzaError('bad-request', { text: 'no address in "to"' })
    if (from === undefined) return new StanzaError('bad-request', { text: 'no address in "from"' })
    if (this.#parts.isTrusted || this.#domains.has(from.domain)) return undefined
    return new StanzaError('bad-request', { text: '"from" is of another domain' })
  }

  /** Of its domains the one that it speaks for. */
  #originOf(from: Jid | undefined): Origin {
    const isOther = from !== undefined && from.domain !== this.#self.domain
    if (!isOther || !this.#domains.has(from.domain)) return this.#origin
    return { kind: 'component', domain: from.domain }
  }

  /** Answers it here: the address that it gave may be another's. */
  #refuse(envelope: Envelope, error: StanzaError): void {
    const { router, outbound } = this.#parts
    const reply = bounce(envelope.stanza, error)
    let outcome: Outcome = dropped(BY, error.condition)
    if (reply !== undefined) {
      outbound.send(new Envelope(envelope.to, envelope.from, reply, SERVER))
      outcome = new Outcome('bounced', BY, error.condition)
    }
    router.settle(envelope, outcome)
  }

  #remember(request: string): void {
    this.#asked.add(request)
    if (this.#asked.size <= MAX_ASKED) return
    for (const oldest of this.#asked) {
      this.#asked.delete(oldest)
      break
    }
  }

  #count(outcome: Promise<Outcome>): void {
    this.#pending++
    if (this.#pending >= MAX_PENDING && this.#room === undefined) {
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#room = resolve
      void this.#parts.connection.waitFor(promise)
    }
    const done = () => {
      this.#pending--
      if (this.#pending * 2 > MAX_PENDING) return
      this.#room?.()
      this.#room = undefined
    }
    outcome.then(done, done)
  }
}

import { randomUUID } from 'node:crypto'
import { TLSSocket } from 'node:tls'
import type { Connection, ConnectionHandler } from '../connection/connection.ts'
import { Stop } from '../core/hooks.ts'
import { oncePer } from '../core/once-per.ts'
import type { AuthenticatedStream, SessionInfo, StreamSession } from '../core/session.ts'
import { type BareJid, tryParseJid } from '../xmpp/jid.ts'
import { encode, NO_OCTETS, type Octets } from '../xmpp/octets.ts'
import { CLIENT_NS } from '../xmpp/stanza.ts'
import { isStreamError, STREAMS_NS, StreamError } from '../xmpp/stream-error.ts'
import { langOf } from '../xmpp/stream-lang.ts'
import { type Element, el, escapeAttribute, serialise } from '../xmpp/xml.ts'
import type { Frame, ParserLimits } from '../xmpp/xml-parser.ts'
import { Authentication, type Login, SASL_NS } from './authentication.ts'
import { BIND_NS, Binding } from './binding.ts'
import { ClientSession } from './client-session.ts'
import type { Host, StreamEnvironment } from './environment.ts'
import type { Channel } from './sasl/channel-binding.ts'

const TLS_NS = 'urn:ietf:params:xml:ns:xmpp-tls'
const LIMITS_NS = 'urn:xmpp:stream-limits:0'

const CLOSING = '</stream:stream>' as Octets

/** Elements whose name alone says what was meant, and the namespace they must be in. */
const NEGOTIATING: ReadonlyMap<string, string> = new Map([
  ['starttls', TLS_NS],
  ['auth', SASL_NS],
  ['response', SASL_NS],
  ['abort', SASL_NS],
])

/**
 * Route step 2. A client's stream until it has a session: headers, features, STARTTLS, and what may
 * be said when (RFC 6120 §4 and §5). Dropped afterwards; the session takes the connection over.
 */
export class Negotiation implements ConnectionHandler {
  readonly #connection: Connection
  readonly #environment: StreamEnvironment
  /** What the client may do next. */
  #state: 'header' | 'before-auth' | 'after-auth' | 'ended' = 'header'
  readonly #authentication: Authentication
  #host: Host
  #login: Login | undefined
  #binding: Binding | undefined
  #hasSentHeader = false
  #lang: Octets | undefined
  #headerFrom: string | undefined
  /** Octets, as long as there is no account. */
  #mayReceive: number

  constructor(connection: Connection, environment: StreamEnvironment) {
    this.#connection = connection
    this.#environment = environment
    this.#host = environment.defaultHost()
    this.#mayReceive = environment.policy.preAuthBytes
    this.#authentication = new Authentication({
      connection,
      environment,
      onLogin: (login) => this.#loggedIn(login),
      end: (last) => this.#end(last),
    })
  }

  get #account(): BareJid | undefined {
    return this.#login?.account
  }

  get #isEncrypted(): boolean {
    return this.#connection.socket instanceof TLSSocket
  }

  /** The TLS connection, as far as an authentication can be bound to it. */
  get #channel(): Channel | undefined {
    const { socket } = this.#connection
    if (!(socket instanceof TLSSocket)) return undefined
    return { socket, certificate: this.#environment.certificates?.shownTo(socket) }
  }

  // --- Stream headers.

  onStreamStart(header: Frame): void {
    this.#checkSize()
    const to = header.attribute('to')
    const domain = to === undefined ? undefined : (tryParseJid(to)?.domain ?? '')
    const host = domain === undefined ? this.#host : this.#environment.hosts.get(domain)
    this.#host = host ?? this.#host
    this.#lang = langOf(header)
    this.#headerFrom = header.attribute('from')
    this.#sendHeader(header)
    if (header.name !== 'stream' || header.ns !== STREAMS_NS) {
      throw new StreamError('invalid-namespace', `the stream belongs to ${STREAMS_NS}`)
    }
    if (header.defaultNs !== CLIENT_NS) {
      throw new StreamError('invalid-namespace', `clients speak ${CLIENT_NS}`)
    }
    if (host === undefined || (this.#account && this.#account.domain !== host.domain)) {
      throw new StreamError('host-unknown')
    }
    // Leading zeros mean nothing (RFC 6120 §4.7.5).
    if (!/^0*[1-9]\d*\.\d+$/.test(header.attribute('version') ?? '')) {
      throw new StreamError('unsupported-version', 'the version is 1.0')
    }
    this.#checkFrom()
    const login = this.#login
    if (login === undefined) {
      this.#state = 'before-auth'
      this.#sendFeatures(this.#featuresBefore())
    } else {
      this.#state = 'after-auth'
      this.#binding = this.#makeBinding(login)
      this.#sendFeatures(this.#featuresAfter())
    }
  }

  #sendHeader(header: Frame | undefined): void {
    this.#hasSentHeader = true
    // RFC 6120 §4.7.2: the bare JID of what the client says it is.
    const from = header?.attribute('from')
    const to = from === undefined ? undefined : tryParseJid(from)?.bare
    const addressed = to === undefined ? '' : ` to='${escapeAttribute(to)}'`
    this.#connection.write(
      `<?xml version='1.0'?><stream:stream xmlns='${CLIENT_NS}' xmlns:stream='${STREAMS_NS}' id='${randomUUID()}' from='${encode(this.#host.domain)}'${addressed} version='1.0' xml:lang='en'>` as Octets,
    )
  }

  /** RFC 6120 §4.7.1: whom the client says it is has to be whom it authenticated as. */
  #checkFrom(): void {
    if (this.#headerFrom === undefined) return
    const from = tryParseJid(this.#headerFrom)
    if (from === undefined) throw new StreamError('invalid-from')
    if (this.#account !== undefined && from.bare !== this.#account.bare) {
      throw new StreamError('invalid-from')
    }
  }

  #featuresBefore(): Element[] {
    const { policy, certificates } = this.#environment
    const isEncrypted = this.#isEncrypted
    const features: Element[] = []
    if (!isEncrypted && policy.startTls !== 'none' && certificates !== undefined) {
      const isRequired = policy.startTls === 'required'
      features.push(el('starttls', { xmlns: TLS_NS }, isRequired && el('required')))
      if (isRequired) return features
    }
    features.push(...this.#authentication.features(this.#host, this.#channel))
    features.push(limitsFeature(policy.preAuthLimits))
    return features
  }

  #featuresAfter(): Element[] {
    return [BIND, limitsFeature(this.#environment.policy.limits)]
  }

  /** Modules add theirs; a client that must use STARTTLS first is offered nothing else. */
  #sendFeatures(own: readonly Element[]): void {
    const send = (features: readonly Element[]) => {
      let inner = ''
      for (const feature of features) inner += octetsOf(feature)
      this.#connection.write(`<stream:features>${inner}</stream:features>` as Octets)
    }
    if (this.#mustSecure) return send(own)
    const point = this.#environment.hooks.at('c2s_stream_features', this.#domainType)
    const all = point.run(own, {
      domain: this.#host.domain,
      account: this.#account,
      isEncrypted: this.#isEncrypted,
    })
    const take = (verdict: unknown) => {
      const features = verdict instanceof Stop ? verdict.acc : verdict
      send(Array.isArray(features) ? features : own)
    }
    if (all instanceof Promise) this.#wait(all.then(take))
    else take(all)
  }

  get #mustSecure(): boolean {
    return this.#environment.policy.startTls === 'required' && !this.#isEncrypted
  }

  get #domainType(): string {
    return this.#host.session.points.domainType
  }

  // --- Elements.

  onElement(frame: Frame): void {
    if (isStreamError(frame)) return this.onStreamEnd()
    this.#checkSize()
    if (!this.#host.isServed) throw new StreamError('host-gone')
    const ns = NEGOTIATING.get(frame.name)
    if (ns !== undefined && frame.ns !== ns) throw new StreamError('invalid-namespace')
    if (this.#state === 'after-auth') {
      if (frame.ns !== CLIENT_NS) return this.#authenticatedElement(frame)
      if (frame.name === 'iq') return this.#binding?.onIq(frame)
      throw new StreamError('not-authorized', 'bind a resource first')
    }
    if (frame.name === 'starttls' && frame.ns === TLS_NS) return this.#startTls()
    if (this.#mustSecure) throw new StreamError('policy-violation', 'use STARTTLS first')
    if (ns === SASL_NS) return this.#authentication.onElement(frame)
    if (this.#state === 'before-auth' && !this.#authentication.isUnderWay) {
      if (frame.ns !== CLIENT_NS) return this.#unauthenticatedElement(frame)
      if (frame.name === 'iq') return this.#unauthenticatedIq(frame)
    }
    throw new StreamError('not-authorized')
  }

  onStreamEnd(): void {
    this.#end(NO_OCTETS)
  }

  onStreamError(error: StreamError): void {
    if (!this.#hasSentHeader) this.#sendHeader(undefined)
    this.#end(error.toOctets())
  }

  onFlush(): void {}

  onDrain(): void {}

  onClosed(): void {
    this.#state = 'ended'
    this.#authentication.abandon()
    this.#environment.onEnd(this.#connection)
  }

  #end(last: Octets): void {
    this.#state = 'ended'
    this.#authentication.abandon()
    const closing = this.#hasSentHeader ? CLOSING : NO_OCTETS
    this.#connection.end((last + closing) as Octets)
  }

  #checkSize(): void {
    if (this.#account !== undefined) return
    if (this.#connection.received <= this.#mayReceive) return
    throw new StreamError('policy-violation', 'too much before authentication')
  }

  #wait(work: Promise<unknown>): void {
    void this.#connection.waitFor(work)
  }

  // --- STARTTLS (RFC 6120 §5).

  #startTls(): void {
    const { certificates, policy } = this.#environment
    if (this.#isEncrypted || certificates === undefined || policy.startTls === 'none') {
      return this.#end(`<failure xmlns='${TLS_NS}'/>` as Octets)
    }
    const { domain } = this.#host
    this.#hasSentHeader = false
    this.#state = 'header'
    this.#connection.secureOnHello(`<proceed xmlns='${TLS_NS}'/>` as Octets, (socket) =>
      certificates.secure(socket, { isDirect: false, domain }),
    )
  }

  // --- The client has authenticated, and opens its session.

  #loggedIn(login: Login): void {
    this.#login = login
    this.#state = 'header'
    this.#hasSentHeader = false
    this.#connection.restart(this.#environment.policy.limits)
  }

  #makeBinding(login: Login): Binding {
    return new Binding({
      connection: this.#connection,
      environment: this.#environment,
      host: this.#host,
      account: login.account,
      lang: this.#lang,
      info: () => this.#info(login),
      take: () => this.#give(),
      isOpen: () => this.#state === 'after-auth',
      end: (last) => this.#end(last),
    })
  }

  /** Leaves the connection to a session. */
  #give(): boolean {
    if (this.#state !== 'after-auth') return false
    this.#state = 'ended'
    this.#environment.onEnd(this.#connection)
    return true
  }

  #info({ mechanism, isAnonymous }: Login): SessionInfo {
    return {
      connection: this.#isEncrypted ? 'tls' : 'tcp',
      address: this.#connection.address,
      mechanism,
      isAnonymous,
      openedAt: Date.now(),
    }
  }

  // --- Before authentication: in-band registration and the like.

  #unauthenticatedIq(frame: Frame): void {
    const point = this.#environment.hooks.at('c2s_unauthenticated_iq', this.#domainType)
    const request = frame.toElement()
    const answer = point.run(undefined, {
      request,
      domain: this.#host.domain,
      address: this.#connection.address,
      isEncrypted: this.#isEncrypted,
    })
    const send = (verdict: unknown) => {
      const element = verdict instanceof Stop ? (verdict.acc as Element | undefined) : undefined
      if (element === undefined) throw new StreamError('not-authorized')
      this.#connection.write(serialise(element, CLIENT_NS))
      const isGranted = request.attr('type') === 'set' && element.attr('type') === 'result'
      if (isGranted) this.#granted()
    }
    if (answer instanceof Promise) this.#wait(answer.then(send))
    else send(answer)
  }

  /** Who is given something may ask for more: modules bound how much they give. */
  #granted(): void {
    this.#mayReceive = this.#connection.received + this.#environment.policy.preAuthBytes
    this.#environment.onGranted(this.#connection)
  }

  #unauthenticatedElement(frame: Frame): void {
    const stream = { write: (octets: Octets) => this.#connection.write(octets) }
    const verdict = this.#environment.hooks
      .at('c2s_unauthenticated_element', this.#domainType)
      .run(frame.toElement(), { stream })
    this.#mustBeKnown(verdict)
  }

  // --- After it: what modules understand.

  #authenticatedElement(frame: Frame): void {
    const login = this.#login as Login
    const stream: AuthenticatedStream = {
      account: login.account,
      write: (octets) => this.#connection.write(octets),
      fail: (error) => this.#end(error.toOctets()),
      giveTo: (session) => this.#giveTo(session, login),
    }
    const verdict = this.#environment.hooks
      .at('c2s_authenticated_element', this.#domainType)
      .run(frame.toElement(), { stream })
    this.#mustBeKnown(verdict)
  }

  /** Somebody has answered, or nobody understands it. */
  #mustBeKnown(verdict: unknown): void {
    const check = (decided: unknown) => {
      if (!(decided instanceof Stop)) throw new StreamError('not-authorized')
    }
    if (verdict instanceof Promise) this.#wait(verdict.then(check))
    else check(verdict)
  }

  #giveTo(session: StreamSession, login: Login): boolean {
    if (!(session instanceof ClientSession) || this.#state !== 'after-auth') return false
    this.#state = 'ended'
    session.attach(this.#connection, this.#info(login), this.#lang)
    this.#environment.onEnd(this.#connection)
    return true
  }
}

const BIND = el('bind', { xmlns: BIND_NS })

/** XEP-0478. */
const limitsFeature = oncePer(({ maxStanzaSize }: ParserLimits) =>
  el('limits', { xmlns: LIMITS_NS }, el('max-bytes', {}, String(maxStanzaSize))),
)

/** Of a feature: most are the same from stream to stream. */
const octetsOf = oncePer((feature: Element) => serialise(feature, CLIENT_NS))

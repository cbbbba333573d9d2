import { randomUUID } from 'node:crypto'
import { TLSSocket } from 'node:tls'
import type { Connection, ConnectionHandler } from '../connection/connection.ts'
import type { TlsCertificates } from '../connection/tls.ts'
import type { Accounts } from '../core/accounts.ts'
import type { Hooks } from '../core/hooks.ts'
import { DROP, Stop } from '../core/hooks.ts'
import type { Logger } from '../core/log.ts'
import type { AuthenticatedStream, SessionInfo, StreamSession } from '../core/session.ts'
import { bounce } from '../xmpp/bounce.ts'
import { type BareJid, type FullJid, JidError, jid, tryParseJid } from '../xmpp/jid.ts'
import { encode, NO_OCTETS, type Octets } from '../xmpp/octets.ts'
import { CLIENT_NS, Stanza } from '../xmpp/stanza.ts'
import { StanzaError } from '../xmpp/stanza-error.ts'
import { STREAMS_NS, StreamError } from '../xmpp/stream-error.ts'
import { type Element, el, escapeAttribute, serialise } from '../xmpp/xml.ts'
import type { Frame, ParserLimits } from '../xmpp/xml-parser.ts'
import { ClientSession, type SessionEnvironment } from './client-session.ts'
import { decodeInitialResponse, decodeResponse, encodeData } from './sasl/base64.ts'
import {
  type Channel,
  channelBinding,
  channelBindingFeature,
  channelBindingTypes,
} from './sasl/channel-binding.ts'
import type { Failure, Mechanism, SaslContext, SaslOffer, Step } from './sasl/mechanism.ts'
import { createMechanism, offerMechanisms, type SaslPolicy } from './sasl/offer.ts'

/** One hosted domain as its clients' streams see it. */
export type Host = {
  readonly domain: string
  readonly accounts: Accounts
  readonly session: SessionEnvironment
}

export type StreamPolicy = {
  /** `required`: STARTTLS before anything else; `starttls`: offered; `none`: neither. */
  readonly startTls: 'required' | 'offered' | 'none'
  readonly sasl: SaslPolicy
  /** Before the session is bound, and after. */
  readonly preAuthLimits: ParserLimits
  readonly limits: ParserLimits
  /** Octets a client may send before it is authenticated. */
  readonly preAuthBytes: number
}

export type StreamEnvironment = {
  readonly hosts: ReadonlyMap<string, Host>
  /** For clients that name no domain, and for errors before one is known. */
  readonly defaultHost: Host
  readonly policy: StreamPolicy
  readonly certificates: TlsCertificates | undefined
  readonly hooks: Hooks
  readonly log: Logger
  /** A client without a session was granted what it asked for, such as an account. */
  readonly onGranted: (connection: Connection) => void
  /** The negotiation is over: with a session, or without. */
  readonly onEnd: (connection: Connection) => void
}

const TLS_NS = 'urn:ietf:params:xml:ns:xmpp-tls'
const SASL_NS = 'urn:ietf:params:xml:ns:xmpp-sasl'
const BIND_NS = 'urn:ietf:params:xml:ns:xmpp-bind'
const LIMITS_NS = 'urn:xmpp:stream-limits:0'

/** RFC 6120 §6.4.5 asks for 2 to 5. */
const SASL_RETRIES = 3
const BIND_RETRIES = 5

const CLOSING = '</stream:stream>' as Octets

/** Elements whose name alone says what was meant, and the namespace they must be in. */
const NEGOTIATING: ReadonlyMap<string, string> = new Map([
  ['starttls', TLS_NS],
  ['auth', SASL_NS],
  ['response', SASL_NS],
  ['abort', SASL_NS],
])

/**
 * Route step 2. A client's stream until it has a session: headers, STARTTLS, SASL, resource binding
 * (RFC 6120 §4 to §7). Dropped afterwards; the session takes the connection over.
 */
export class Negotiation implements ConnectionHandler {
  readonly #connection: Connection
  readonly #environment: StreamEnvironment
  /** What the client may do next. */
  #state: 'header' | 'before-auth' | 'sasl' | 'after-auth' | 'ended' = 'header'
  #host: Host
  #account: BareJid | undefined
  #isAnonymous = false
  #hasSentHeader = false
  #lang: Octets | undefined
  #headerFrom: string | undefined
  #offer: SaslOffer = { mechanisms: [], channelBindings: [], isProtected: false }
  #mechanism: Mechanism | undefined
  #mechanismName = ''
  /** Whom the client wants to be, as far as it has said. */
  #claimed = ''
  #saslFailures = 0
  #bindFailures = 0
  /** Octets, as long as there is no account. */
  #mayReceive: number

  constructor(connection: Connection, environment: StreamEnvironment) {
    this.#connection = connection
    this.#environment = environment
    this.#host = environment.defaultHost
    this.#mayReceive = environment.policy.preAuthBytes
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
    if (!/^[1-9]\d*\.\d+$/.test(header.attribute('version') ?? '')) {
      throw new StreamError('unsupported-version', 'the version is 1.0')
    }
    this.#checkFrom()
    this.#state = this.#account === undefined ? 'before-auth' : 'after-auth'
    const features = this.#account === undefined ? this.#featuresBefore() : this.#featuresAfter()
    this.#sendFeatures(features)
  }

  #sendHeader(header: Frame | undefined): void {
    this.#hasSentHeader = true
    const to = header?.attribute('from')
    const isAddressed = to !== undefined && tryParseJid(to) !== undefined
    this.#connection.write(
      `<?xml version='1.0'?><stream:stream xmlns='${CLIENT_NS}' xmlns:stream='${STREAMS_NS}' id='${randomUUID()}' from='${encode(this.#host.domain)}'${isAddressed ? ` to='${escapeAttribute(to)}'` : ''} version='1.0' xml:lang='en'>` as Octets,
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
    const channel = this.#channel
    const channelBindings = channel === undefined ? [] : channelBindingTypes(channel)
    this.#offer = offerMechanisms(policy.sasl, { isEncrypted, channelBindings })
    const names = this.#offer.mechanisms.map((name) => el('mechanism', {}, name))
    if (names.length > 0) features.push(el('mechanisms', { xmlns: SASL_NS }, ...names))
    const bindings = channelBindingFeature(this.#offer.channelBindings)
    if (bindings !== undefined) features.push(bindings)
    features.push(limitsFeature(policy.preAuthLimits))
    return features
  }

  #featuresAfter(): Element[] {
    return [el('bind', { xmlns: BIND_NS }), limitsFeature(this.#environment.policy.limits)]
  }

  /** Modules add theirs; a client that must use STARTTLS first is offered nothing else. */
  #sendFeatures(own: readonly Element[]): void {
    const send = (features: readonly Element[]) => {
      const inner = features.map((feature) => serialise(feature, CLIENT_NS)).join('')
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
    this.#checkSize()
    const ns = NEGOTIATING.get(frame.name)
    if (ns !== undefined && frame.ns !== ns) throw new StreamError('invalid-namespace')
    if (this.#state === 'after-auth') {
      if (frame.ns !== CLIENT_NS) return this.#authenticatedElement(frame)
      if (frame.name === 'iq') return this.#bind(frame)
      throw new StreamError('not-authorized', 'bind a resource first')
    }
    if (frame.name === 'starttls' && frame.ns === TLS_NS) return this.#startTls()
    if (this.#mustSecure) throw new StreamError('policy-violation', 'use STARTTLS first')
    if (ns === SASL_NS) return this.#sasl(frame)
    if (this.#state === 'before-auth') {
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
    this.#environment.onEnd(this.#connection)
  }

  #end(last: Octets): void {
    this.#state = 'ended'
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
    this.#connection.secure(`<proceed xmlns='${TLS_NS}'/>` as Octets, (socket) =>
      certificates.secure(socket, { isDirect: false, domain }),
    )
  }

  // --- SASL (RFC 6120 §6).

  #sasl(frame: Frame): void {
    if (frame.name === 'abort') return this.#fail({ kind: 'failure', condition: 'aborted' })
    const text = frame.toElement().text
    if (frame.name === 'auth') {
      if (this.#state !== 'before-auth') return this.#fail(MALFORMED)
      return this.#authenticate(frame.attribute('mechanism') ?? '', text)
    }
    const mechanism = this.#mechanism
    if (this.#state !== 'sasl' || mechanism === undefined) return this.#fail(MALFORMED)
    const data = decodeResponse(text)
    if ('kind' in data) return this.#fail(data)
    this.#take(mechanism.respond(data))
  }

  #authenticate(name: string, text: string): void {
    const mechanism = createMechanism(name, this.#saslContext())
    if ('kind' in mechanism) return this.#fail(mechanism)
    const initial = decodeInitialResponse(text)
    if (initial !== undefined && 'kind' in initial) return this.#fail(initial)
    this.#state = 'sasl'
    this.#mechanism = mechanism
    this.#mechanismName = name
    this.#claimed = ''
    this.#take(mechanism.start(initial))
  }

  #saslContext(): SaslContext {
    const { domain, accounts } = this.#host
    const channel = this.#channel
    return {
      domain,
      isEncrypted: this.#isEncrypted,
      offer: this.#offer,
      channelBinding: (type) => (channel === undefined ? undefined : channelBinding(channel, type)),
      credentials: (localpart, hash) => accounts.keys(this.#claim(localpart), hash),
      verifyPassword: (localpart, password) =>
        accounts.verifyPassword(this.#claim(localpart), password),
    }
  }

  #claim(localpart: string): BareJid {
    this.#claimed = localpart
    return jid(localpart, this.#host.domain).toBare()
  }

  #take(step: Step | Promise<Step>): void {
    if (!(step instanceof Promise)) return this.#step(step)
    const done = step.then(
      (next) => this.#step(next),
      (error) => {
        this.#environment.log.error('sasl_failed', { mechanism: this.#mechanismName, error })
        this.#fail({ kind: 'failure', condition: 'temporary-auth-failure' })
      },
    )
    this.#wait(done)
  }

  #step(step: Step): void {
    if (this.#state !== 'sasl') return
    switch (step.kind) {
      case 'challenge':
        return this.#connection.write(
          `<challenge xmlns='${SASL_NS}'>${encodeData(step.data)}</challenge>` as Octets,
        )
      case 'failure':
        return this.#fail(step)
      case 'success': {
        const account = jid(step.localpart, this.#host.domain).toBare()
        if (step.isAnonymous) return this.#succeed(account, step.data, true)
        this.#wait(this.#admit(account, step.data))
      }
    }
  }

  /** The password is right; the account may still be closed to its owner. */
  async #admit(account: BareJid, data: Buffer | undefined): Promise<void> {
    let isDisabled: boolean
    try {
      isDisabled = (await this.#host.accounts.find(account))?.isDisabled ?? true
    } catch (error) {
      this.#environment.log.error('sasl_failed', { mechanism: this.#mechanismName, error })
      return this.#fail({ kind: 'failure', condition: 'temporary-auth-failure' })
    }
    if (this.#state !== 'sasl') return
    if (isDisabled) return this.#fail({ kind: 'failure', condition: 'account-disabled' })
    this.#succeed(account, data, false)
  }

  #succeed(account: BareJid, data: Buffer | undefined, isAnonymous: boolean): void {
    this.#account = account
    this.#isAnonymous = isAnonymous
    this.#mechanism = undefined
    this.#state = 'header'
    this.#hasSentHeader = false
    const body = data === undefined ? '/>' : `>${encodeData(data)}</success>`
    this.#connection.write(`<success xmlns='${SASL_NS}'${body}` as Octets)
    this.#connection.restart(this.#environment.policy.limits)
  }

  #fail(failure: Failure): void {
    const { condition, text } = failure
    const answer = el(
      'failure',
      { xmlns: SASL_NS },
      el(condition),
      text !== undefined && el('text', {}, text),
    )
    this.#state = 'before-auth'
    this.#mechanism = undefined
    this.#saslFailures++
    const { hooks, log } = this.#environment
    const { address } = this.#connection
    const { domain } = this.#host
    const localpart = this.#claimed
    log.info('auth_failed', {
      localpart,
      domain,
      address,
      mechanism: this.#mechanismName,
      condition,
    })
    try {
      const point = hooks.at('auth_failed', this.#domainType)
      const told = point.run({}, { localpart, domain, address })
      if (told instanceof Promise) told.catch(() => {})
    } catch {
      // Logged where it failed; the client is refused whatever others make of it.
    }
    if (this.#saslFailures > SASL_RETRIES) return this.#end(serialise(answer))
    this.#connection.write(serialise(answer))
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
    const { hooks } = this.#environment
    const stream: AuthenticatedStream = {
      account: this.#account as BareJid,
      write: (octets) => this.#connection.write(octets),
      fail: (error) => this.#end(error.toOctets()),
      giveTo: (session) => this.#giveTo(session),
    }
    const verdict = hooks
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

  #giveTo(session: StreamSession): boolean {
    if (this.#state !== 'after-auth' || !(session instanceof ClientSession)) return false
    this.#state = 'ended'
    session.attach(this.#connection, this.#info(), this.#lang)
    this.#environment.onEnd(this.#connection)
    return true
  }

  // --- Resource binding (RFC 6120 §7).

  #bind(frame: Frame): void {
    const iq = Stanza.fromFrame(frame)
    const account = this.#account as BareJid
    const request = iq.type === 'set' && iq.id !== undefined ? iq.child('bind', BIND_NS) : undefined
    if (request === undefined || iq.children.length !== 1) {
      return this.#refuseBind(iq, new StanzaError('bad-request'))
    }
    const wanted = request.child('resource')?.text ?? ''
    let full: FullJid
    try {
      full = account.withResource(wanted === '' ? randomUUID() : wanted)
    } catch (error) {
      if (!(error instanceof JidError)) throw error
      return this.#refuseBind(iq, new StanzaError('bad-request', { text: error.message }))
    }
    const refuse = (error: unknown) => {
      // Once there is a session, it is not refused any more: it ends.
      if (!(error instanceof StanzaError) || this.#state !== 'after-auth') throw error
      this.#refuseBind(iq, error)
    }
    try {
      const opening = this.#open(full, iq)
      if (opening !== undefined) this.#wait(opening.catch(refuse))
    } catch (error) {
      refuse(error)
    }
  }

  #open(full: FullJid, iq: Stanza): Promise<void> | undefined {
    const { hooks } = this.#environment
    const { address } = this.#connection
    const verdict = hooks
      .at('user_open_session', this.#domainType)
      .run('allow', { jid: full, address })
    const ask = (first: unknown): Promise<void> | undefined => {
      if (!isAllowed(first)) return this.#forbid(full, iq)
      const second = hooks
        .at('session_opening_allowed_for_user', this.#domainType)
        .run('allow', { jid: full })
      if (second instanceof Promise) return second.then((later) => this.#admitTo(later, full, iq))
      return this.#admitTo(second, full, iq)
    }
    return verdict instanceof Promise ? verdict.then(ask) : ask(verdict)
  }

  #admitTo(verdict: unknown, full: FullJid, iq: Stanza): Promise<void> | undefined {
    return isAllowed(verdict) ? this.#establish(full, iq) : this.#forbid(full, iq)
  }

  #forbid(full: FullJid, iq: Stanza): undefined {
    const told = this.#environment.hooks.at('forbidden_session', this.#domainType).run(full, {})
    if (told instanceof Promise) told.catch(() => {})
    this.#refuseBind(iq, new StanzaError('not-allowed'))
    return undefined
  }

  #establish(full: FullJid, iq: Stanza): Promise<void> | undefined {
    if (this.#state !== 'after-auth') return undefined
    this.#state = 'ended'
    const connection = this.#connection
    const environment = this.#host.session
    const opening = { jid: full, id: randomUUID(), info: this.#info(), lang: this.#lang }
    const session = new ClientSession(opening, connection, environment)
    connection.handler = session
    this.#environment.onEnd(connection)
    const registered = environment.sessionManager.register(session)
    const bound = el('bind', { xmlns: BIND_NS }, el('jid', {}, full.full))
    const result = Stanza.build('iq', { type: 'result', id: iq.id }, bound)
    connection.write(result.toOctets(undefined, undefined))
    return registered
  }

  #info(): SessionInfo {
    return {
      connection: this.#isEncrypted ? 'tls' : 'tcp',
      address: this.#connection.address,
      mechanism: this.#mechanismName,
      isAnonymous: this.#isAnonymous,
      openedAt: Date.now(),
    }
  }

  #refuseBind(iq: Stanza, error: StanzaError): void {
    const answer = bounce(iq, error)
    if (answer !== undefined) this.#connection.write(answer.toOctets(undefined, undefined))
    if (++this.#bindFailures > BIND_RETRIES)
      this.#end(new StreamError('policy-violation').toOctets())
  }
}

const MALFORMED: Failure = { kind: 'failure', condition: 'malformed-request' }

function isAllowed(verdict: unknown): boolean {
  return verdict !== DROP && (verdict instanceof Stop ? verdict.acc : verdict) === 'allow'
}

function langOf(header: Frame): Octets | undefined {
  const lang = header.attribute('xml:lang')
  return lang === undefined ? undefined : escapeAttribute(lang)
}

/** XEP-0478. */
function limitsFeature({ maxStanzaSize }: ParserLimits): Element {
  return el('limits', { xmlns: LIMITS_NS }, el('max-bytes', {}, String(maxStanzaSize)))
}

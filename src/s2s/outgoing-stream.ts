import { TLSSocket } from 'node:tls'
import type { Connection, ConnectionHandler } from '../connection/connection.ts'
import { type PeerTls, provesDomain, whyUnproven } from '../connection/peer-tls.ts'
import { tryParseJid } from '../xmpp/jid.ts'
import { NO_OCTETS, type Octets } from '../xmpp/octets.ts'
import { StanzaError } from '../xmpp/stanza-error.ts'
import { STREAMS_NS, StreamError } from '../xmpp/stream-error.ts'
import { langOf } from '../xmpp/stream-lang.ts'
import { readCount, SM_NS } from '../xmpp/stream-management.ts'
import type { Frame, ParserLimits } from '../xmpp/xml-parser.ts'
import {
  answerVerify,
  type DialbackElement,
  type DialbackKeys,
  dialbackError,
  dialbackQuestion,
  readDialback,
} from './dialback.ts'
import { Features } from './features.ts'
import { type Ending, endingOf } from './ledger.ts'
import { OutgoingTraffic, type Sender } from './outgoing-traffic.ts'
import {
  BIDI,
  BIDI_FEATURE_NS,
  CLOSING,
  checkHeader,
  DIALBACK_FEATURE_NS,
  DIALBACK_NS,
  externalAuth,
  SASL_NS,
  SERVER_NS,
  STARTTLS,
  streamHeader,
  TLS_NS,
} from './protocol.ts'
import { Redirected, refusedBy, StreamFailure } from './stream-failure.ts'
import { namedTarget } from './targets.ts'
import type { Traffic, TrafficParts } from './traffic.ts'

/** Who speaks with whom, and how far each trusts what. */
export type OutgoingPolicy = {
  /** Whether TLS may be missing; whether the peer has to show a certificate for its domain. */
  readonly tls: 'required' | 'optional'
  readonly certificates: 'required' | 'optional'
  readonly dialback: boolean
  readonly bidi: boolean
}

export type OutgoingEnvironment = {
  readonly tls: PeerTls
  readonly keys: DialbackKeys
  readonly policy: OutgoingPolicy
  readonly limits: ParserLimits
  readonly traffic: TrafficParts
}

/** Whose stream it is. */
export interface OutgoingOwner extends Sender {
  readonly local: string
  readonly remote: string
  /** The peer is who it should be, and may be asked about keys; stanzas need `authenticate`. */
  onNegotiated(stream: OutgoingStream): void
  /** Stanzas may flow. What `ledger` held is settled: sent again, or not to be had back. */
  onOpen(stream: OutgoingStream, traffic: Traffic): void
  onVerified(id: string, type: string, error: StanzaError | undefined): void
  /** Called once. */
  onEnd(stream: OutgoingStream, failure: StreamFailure): void
}

type State =
  | 'header'
  | 'features'
  | 'starttls'
  | 'sasl'
  | 'negotiated'
  | 'dialback'
  | 'authenticated'
  | 'ended'

/**
 * A stream that we opened to another server: header, TLS, SASL EXTERNAL or dialback (RFC 6120 §4 to
 * §6, XEP-0178, XEP-0220), stream management, then stanzas.
 */
export class OutgoingStream implements ConnectionHandler {
  readonly connection: Connection
  readonly #owner: OutgoingOwner
  readonly #environment: OutgoingEnvironment
  #state: State = 'header'
  /** On this channel: there is another one over TLS. */
  #hasSentHeader = false
  /** Of the peer's header, for keys of dialback. */
  #streamId = ''
  #lang: Octets | undefined
  #features = new Features()
  /** The peer has said so, before or after it let us in. */
  offersDialback = false
  #isAuthenticated = false
  /** When the state last began in which time matters, milliseconds since the epoch. */
  #since = Date.now()
  #isBidi = false
  #failure: StreamFailure | undefined
  #ending: Ending = 'lost'
  /** We close the stream; the peer may not have heard of it yet. */
  #isClosing = false
  #hasEnded = false
  readonly #negotiation = Promise.withResolvers<void>()
  /** From when the peer has let us in. */
  #outgoing: OutgoingTraffic | undefined

  constructor(connection: Connection, owner: OutgoingOwner, environment: OutgoingEnvironment) {
    this.connection = connection
    this.#owner = owner
    this.#environment = environment
  }

  /** On a socket that is connected; TLS from the first octet if it is to be. */
  start(): void {
    const { socket } = this.connection
    if (socket instanceof TLSSocket) socket.once('secureConnect', () => this.#secured(socket))
    else this.#sendHeader()
  }

  /** Resolves when the peer is who it should be. Rejects with `StreamFailure`. */
  get negotiated(): Promise<void> {
    return this.#negotiation.promise
  }

  get isNegotiated(): boolean {
    return this.#isAuthenticated || ['negotiated', 'dialback'].includes(this.#state)
  }

  /** From when stanzas may be sent. */
  get traffic(): Traffic | undefined {
    return this.#outgoing?.current
  }

  /** Stanzas have gone either way. */
  get wasUsed(): boolean {
    return this.#outgoing?.wasUsed === true
  }

  /** Nothing is said on it since then, milliseconds since the epoch. */
  isIdleSince(time: number): boolean {
    const { traffic } = this
    if (traffic === undefined) return this.#state === 'negotiated' && this.#since <= time
    return traffic.idleSince !== undefined && traffic.idleSince <= time
  }

  /** The peer owes an answer since then. */
  isStuckSince(time: number): boolean {
    const isProving = this.#state === 'dialback' && this.#since <= time
    return isProving || this.#outgoing?.isStuckSince(time) === true
  }

  /** Proves our domain by dialback, if nothing else has proved it. */
  authenticate(): void {
    if (this.#state !== 'negotiated') return
    const { policy, keys } = this.#environment
    const { local, remote } = this.#owner
    if (!policy.dialback) return this.fail(new StreamFailure(NO_PROOF, 'unwanted'))
    const subject = { originating: local, receiving: remote, streamId: this.#streamId }
    this.#state = 'dialback'
    this.#since = Date.now()
    this.#offerBidi()
    const key = keys.keyFor(subject)
    this.connection.write(dialbackQuestion('result', { from: local, to: remote, key }))
  }

  /** Asks whether a key that came from there is its own. Once it is negotiated. */
  verify(id: string, key: string): void {
    const { local: from, remote: to } = this.#owner
    this.connection.write(dialbackQuestion('verify', { from, to, id, key }))
  }

  /** Gives up, with a word to the peer. */
  fail(failure: StreamFailure, last: Octets = NO_OCTETS): void {
    this.#failure ??= failure
    const isStarted = this.#state !== 'ended'
    this.#state = 'ended'
    if (isStarted)
      this.connection.end(this.#hasSentHeader ? ((last + CLOSING) as Octets) : NO_OCTETS)
    this.#ended()
  }

  /** Says goodbye once what came in is settled. The peer may have to say yet what it has got. */
  close(): void {
    if (this.#state === 'ended' || this.#isClosing) return
    if (this.traffic === undefined) return this.fail(new StreamFailure('closed'))
    this.#isClosing = true
    void this.traffic.finish()
    if (this.traffic.ledger.sent.size > 0) return
    this.#ending = 'finished'
    this.#ended()
  }

  // --- Headers and features.

  #sendHeader(): void {
    this.#state = 'header'
    this.#hasSentHeader = true
    const { local: from, remote: to } = this.#owner
    this.connection.write(streamHeader({ from, to }))
  }

  onStreamStart(header: Frame): void {
    checkHeader(header)
    const from = header.attribute('from')
    if (from !== undefined && tryParseJid(from)?.domain !== this.#owner.remote) {
      throw new StreamError('invalid-from')
    }
    this.#streamId = header.attribute('id') ?? ''
    this.#lang = langOf(header)
    this.#state = 'features'
  }

  #takeFeatures(frame: Frame): void {
    const { policy } = this.#environment
    this.#features = new Features(frame)
    if (this.#features.has('dialback', DIALBACK_FEATURE_NS)) this.offersDialback = true
    if (this.#isAuthenticated) return this.#authenticated()
    if (!(this.connection.socket instanceof TLSSocket)) {
      if (this.#features.has('starttls', TLS_NS)) {
        this.#state = 'starttls'
        this.connection.write(STARTTLS)
        return
      }
      if (policy.tls === 'required' || policy.certificates === 'required') {
        return this.fail(new StreamFailure('no TLS', 'unproven'))
      }
    }
    if (this.#features.hasMechanism('EXTERNAL')) {
      this.#state = 'sasl'
      this.#offerBidi()
      this.connection.write(externalAuth(this.#owner.local))
      return
    }
    this.#negotiated()
  }

  #negotiated(): void {
    this.#state = 'negotiated'
    this.#since = Date.now()
    this.#negotiation.resolve()
    this.#owner.onNegotiated(this)
  }

  #offerBidi(): void {
    const isOffered = this.#features.has('bidi', BIDI_FEATURE_NS)
    if (!isOffered || this.#isBidi || !this.#environment.policy.bidi) return
    this.#isBidi = true
    this.connection.write(BIDI)
  }

  // --- TLS.

  #proceed(): void {
    const { local, remote } = this.#owner
    this.#hasSentHeader = false
    this.connection.secure(NO_OCTETS, (socket) => {
      const secured = this.#environment.tls.connect(socket, { local, remote, isDirect: false })
      secured.once('secureConnect', () => this.#secured(secured))
      return secured
    })
  }

  /** RFC 6120 §13.7.2.1: the domain that was asked for, not what DNS made of it. */
  #secured(socket: TLSSocket): void {
    const { remote } = this.#owner
    if (!provesDomain(socket, remote) && this.#environment.policy.certificates === 'required') {
      return this.fail(new StreamFailure(whyUnproven(socket, remote), 'unproven'))
    }
    this.#sendHeader()
  }

  // --- Elements.

  onElement(frame: Frame): void {
    if (frame.ns === STREAMS_NS) return this.#streamElement(frame)
    if (this.#isClosing) return this.#hearOut(frame)
    switch (frame.ns) {
      case SERVER_NS:
        if (this.#outgoing === undefined) break
        return this.#outgoing.receive(frame)
      case TLS_NS:
        if (this.#state !== 'starttls') break
        if (frame.name === 'proceed') return this.#proceed()
        return this.fail(new StreamFailure('TLS refused'))
      case SASL_NS:
        if (this.#state !== 'sasl') break
        return this.#sasl(frame)
      case DIALBACK_NS:
        return this.#dialback(frame)
      case SM_NS:
        if (this.#outgoing === undefined) throw new StreamError('policy-violation')
        return this.#outgoing.manage(frame)
    }
    throw new StreamError('not-authorized')
  }

  /** What the peer has sent before it knew that the stream ends (RFC 6120 §4.4). */
  #hearOut(frame: Frame): void {
    if (frame.ns === SERVER_NS) return this.traffic?.receive(frame)
    if (frame.ns === SM_NS && frame.name === 'a')
      this.traffic?.takeAnswer(readCount(frame.attribute('h')))
  }

  #streamElement(frame: Frame): void {
    if (frame.name === 'features') {
      if (this.#state !== 'features') return
      return this.#takeFeatures(frame)
    }
    if (frame.name !== 'error') throw new StreamError('unsupported-stanza-type')
    const [reason] = frame.children
    const condition = reason?.name ?? 'undefined-condition'
    const isElsewhere = condition === 'see-other-host' && this.#isTrusted
    const target =
      reason !== undefined && isElsewhere ? namedTarget(frame.child(reason).text) : undefined
    this.#failure ??= target === undefined ? refusedBy(condition) : new Redirected(target)
    this.#ending = endingOf(condition)
  }

  /** Nobody on the way has spoken in the peer's place, and it has shown what it has to. */
  get #isTrusted(): boolean {
    return this.connection.socket instanceof TLSSocket && this.#hasSentHeader
  }

  #sasl(frame: Frame): void {
    if (frame.name === 'success') {
      this.#isAuthenticated = true
      this.connection.restart(this.#environment.limits)
      this.#sendHeader()
      return
    }
    const condition = frame.children[0]?.name ?? 'not-authorized'
    if (!this.#environment.policy.dialback) {
      return this.fail(new StreamFailure(`not accepted: ${condition}`, 'unwanted'))
    }
    this.#negotiated()
  }

  #dialback(frame: Frame): void {
    const element = readDialback(frame)
    const { local, remote } = this.#owner
    if (element === undefined) return
    if (element.type === undefined) return this.#answer(element)
    // Answers that nobody asked for are dropped.
    if (element.from !== remote || element.to !== local) return
    if (element.name === 'verify') {
      if (element.id !== undefined) this.#owner.onVerified(element.id, element.type, element.error)
      return
    }
    if (this.#state !== 'dialback') return
    if (element.type === 'valid') return this.#authenticated()
    const { error } = element
    if (error === undefined) return this.fail(new StreamFailure('dialback: invalid', 'disbelieved'))
    const why = `dialback: ${error.condition}: ${error.text ?? 'no reason given'}`
    this.fail(new StreamFailure(why, error.type === 'wait' ? 'passing' : 'unwanted'))
  }

  /** The side that was connected to asks, too, on a connection for both directions (XEP-0288 §2.2). */
  #answer(question: DialbackElement): void {
    const { local, remote } = this.#owner
    const { from, to, id } = question
    if (question.name === 'verify' && from === remote && to === local) {
      return this.connection.write(answerVerify(question, this.#environment.keys))
    }
    const error = new StanzaError('not-acceptable', { text: 'use a connection of its own' })
    this.connection.write(dialbackError(question.name, { from: to, to: from, id }, error))
  }

  #authenticated(): void {
    this.#isAuthenticated = true
    this.#state = 'authenticated'
    const { local, remote } = this.#owner
    this.#outgoing = new OutgoingTraffic({
      connection: this.connection,
      pair: { local, remote },
      sender: this.#owner,
      features: this.#features,
      lang: this.#lang,
      isTwoWay: this.#isBidi,
      parts: this.#environment.traffic,
      close: () => this.close(),
      onOpen: (traffic) => {
        this.#negotiation.resolve()
        this.#owner.onOpen(this, traffic)
      },
    })
    this.#outgoing.begin()
  }

  // --- Its end.

  onStreamEnd(): void {
    if (this.#failure === undefined) this.#ending = 'finished'
    this.#failure ??= new StreamFailure('closed by the other side')
    this.#state = 'ended'
    if (this.traffic === undefined) this.connection.end(CLOSING)
    else void this.traffic.finish()
    this.#ended()
  }

  onStreamError(error: StreamError): void {
    this.fail(new StreamFailure(error.message), error.toOctets())
  }

  onFlush(): void {
    this.traffic?.beforeFlush()
  }

  onDrain(): void {
    this.traffic?.onDrain()
  }

  onClosed(error: Error | undefined): void {
    this.#state = 'ended'
    this.#failure ??= new StreamFailure('connection lost', 'passing', { cause: error })
    this.#ended()
  }

  #ended(): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    const { traffic } = this
    traffic?.over(this.#ending)
    const failure = this.#failure ?? new StreamFailure('closed')
    this.#negotiation.reject(failure)
    this.#owner.onEnd(this, failure)
  }
}

const NO_PROOF = 'our certificate is not accepted, and dialback is off'

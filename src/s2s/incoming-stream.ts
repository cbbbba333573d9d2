import { randomUUID } from 'node:crypto'
import { TLSSocket } from 'node:tls'
import type { Connection, ConnectionHandler } from '../connection/connection.ts'
import { type PeerTls, provesDomain, whyUnproven } from '../connection/peer-tls.ts'
import type { Logger } from '../core/log.ts'
import { after, type Maybe } from '../core/maybe.ts'
import { tryParseJid } from '../xmpp/jid.ts'
import { NO_OCTETS, type Octets } from '../xmpp/octets.ts'
import { STREAMS_NS, StreamError } from '../xmpp/stream-error.ts'
import { langOf } from '../xmpp/stream-lang.ts'
import { SM_NS } from '../xmpp/stream-management.ts'
import { type Element, el } from '../xmpp/xml.ts'
import type { Frame, ParserLimits } from '../xmpp/xml-parser.ts'
import { type DialbackKeys, readDialback } from './dialback.ts'
import { IncomingTraffic, type WayBack } from './incoming-traffic.ts'
import { type Ending, endingOf } from './ledger.ts'
import { type Judge, type Pair, Proofs } from './proofs.ts'
import {
  BIDI_FEATURE_NS,
  BIDI_NS,
  CLOSING,
  checkHeader,
  DIALBACK_FEATURE_NS,
  DIALBACK_NS,
  limitsFeature,
  PROCEED,
  SASL_NS,
  SASL_SUCCESS,
  SERVER_NS,
  saslFailure,
  streamFeatures,
  streamHeader,
  TLS_FAILURE,
  TLS_NS,
} from './protocol.ts'
import type { Resumptions } from './resumptions.ts'
import type { Traffic, TrafficParts } from './traffic.ts'

export type IncomingPolicy = {
  /** `required`: STARTTLS before anything else. */
  readonly startTls: 'required' | 'offered' | 'none'
  readonly dialback: boolean
  readonly bidi: boolean
  /** Before a domain is proved, and after. */
  readonly preAuthLimits: ParserLimits
  readonly limits: ParserLimits
  readonly preAuthBytes: number
}

/** What streams ask of those who know more than one of them. */
export interface IncomingOwner extends Judge, WayBack {
  /** For peers that name none of our domains. */
  readonly defaultDomain: string
}

export type IncomingEnvironment = {
  readonly owner: IncomingOwner
  readonly tls: PeerTls
  readonly keys: DialbackKeys
  readonly policy: IncomingPolicy
  readonly traffic: TrafficParts
  readonly resumptions: Resumptions
  readonly log: Logger
  /** The negotiation is over: with a domain proved, or without. */
  readonly onSettled: (connection: Connection) => void
  readonly onEnd: (stream: IncomingStream) => void
}

/**
 * A stream that another server opened to us: who it is (RFC 6120 §4 to §6, XEP-0178, XEP-0220),
 * whether keys that others got are ours, then its stanzas.
 */
export class IncomingStream implements ConnectionHandler {
  readonly connection: Connection
  readonly #environment: IncomingEnvironment
  #state: 'header' | 'features' | 'ended' = 'header'
  #hasSentHeader = false
  #id = ''
  #from: string | undefined
  #to: string | undefined
  #lang: Octets | undefined
  readonly #proofs: Proofs
  /** Of the header, by SASL. */
  #isAuthenticated = false
  #wantsBidi = false
  /** We close the stream; the peer may not have heard of it yet. */
  #isClosing = false
  /** What is known of how it ends. */
  #ending: Ending | undefined
  /** From when a domain is proved. */
  #incoming: IncomingTraffic | undefined

  constructor(connection: Connection, environment: IncomingEnvironment) {
    this.connection = connection
    this.#environment = environment
    const { owner: judge, keys, policy, log } = environment
    this.#proofs = new Proofs(this, { judge, keys, dialback: policy.dialback, log })
  }

  /** Of the stream, as we have called it. */
  get id(): string {
    return this.#id
  }

  get address(): string {
    return this.connection.address
  }

  get isEnded(): boolean {
    return this.#state === 'ended'
  }

  /** Whether any domain is proved. */
  get isProved(): boolean {
    return !this.#proofs.isEmpty
  }

  get #traffic(): Traffic | undefined {
    return this.#incoming?.current
  }

  get #isEncrypted(): boolean {
    return this.connection.socket instanceof TLSSocket
  }

  get #mustSecure(): boolean {
    return this.#environment.policy.startTls === 'required' && !this.#isEncrypted
  }

  // --- Headers and features.

  onStreamStart(header: Frame): void {
    this.#checkSize()
    const { owner } = this.#environment
    const to = domainOf(header.attribute('to'))
    const from = domainOf(header.attribute('from'))
    this.#id = randomUUID()
    this.#lang = langOf(header)
    this.#sendHeader(to !== undefined && owner.serves(to) ? to : owner.defaultDomain, from)
    checkHeader(header)
    if (to === '' || (to !== undefined && !owner.serves(to))) throw new StreamError('host-unknown')
    if (from === '' || (from !== undefined && owner.serves(from))) {
      throw new StreamError('invalid-from')
    }
    if (this.#isAuthenticated && (from !== this.#from || to !== this.#to)) {
      throw new StreamError('invalid-from')
    }
    this.#from = from
    this.#to = to
    this.#state = 'features'
    if (from === undefined || to === undefined) return this.#sendFeatures()
    if (this.#isAuthenticated) {
      this.#sendFeatures()
      return this.#proofs.add({ local: to, remote: from })
    }
    this.#await(
      after(owner.allows({ local: to, remote: from }), (isAllowed) => {
        if (!isAllowed) throw new StreamError('policy-violation', 'not spoken with')
        this.#sendFeatures()
      }),
    )
  }

  #sendHeader(from: string, to: string | undefined): void {
    this.#hasSentHeader = true
    const isAddressed = to !== undefined && to !== ''
    this.connection.write(streamHeader({ from, to: isAddressed ? to : undefined, id: this.#id }))
  }

  #sendFeatures(): void {
    const { policy, tls } = this.#environment
    const features: Element[] = []
    if (!this.#isEncrypted && policy.startTls !== 'none' && tls.mayAccept) {
      features.push(el('starttls', { xmlns: TLS_NS }, this.#mustSecure && el('required')))
    }
    if (!this.#mustSecure) features.push(...this.#featuresInside())
    this.connection.write(streamFeatures(features))
  }

  #featuresInside(): Element[] {
    const { policy } = this.#environment
    const features: Element[] = []
    const mayProve = !this.#isAuthenticated && this.#from !== undefined
    const isVouchedFor = mayProve && this.isVouchedFor(this.#from as string)
    if (isVouchedFor) {
      const mechanism = el('mechanism', {}, 'EXTERNAL')
      features.push(el('mechanisms', { xmlns: SASL_NS }, mechanism))
    }
    if (policy.dialback) {
      features.push(el('dialback', { xmlns: DIALBACK_FEATURE_NS }, el('errors')))
    } else if (mayProve && !isVouchedFor) {
      throw new StreamError('not-authorized', this.#whyNot(this.#from as string))
    }
    // It comes before authentication (XEP-0288 §2.2).
    if (policy.bidi && !this.isProved && !this.#isAuthenticated)
      features.push(el('bidi', { xmlns: BIDI_FEATURE_NS }))
    if (this.isProved || policy.dialback) features.push(el('sm', { xmlns: SM_NS }))
    // There may be no other features after dialback.
    features.push(limitsFeature(policy.limits.maxStanzaSize))
    return features
  }

  #whyNot(domain: string): string {
    const { socket } = this.connection
    return socket instanceof TLSSocket ? whyUnproven(socket, domain) : 'no TLS'
  }

  // --- Elements.

  onElement(frame: Frame): void {
    this.#checkSize()
    if (this.#isClosing) return this.#hearOut(frame)
    if (this.#state !== 'features') throw new StreamError('not-authorized')
    if (frame.ns === TLS_NS && frame.name === 'starttls') return this.#startTls()
    if (this.#mustSecure) throw new StreamError('policy-violation', 'use STARTTLS first')
    switch (frame.ns) {
      case SM_NS:
        if (this.#incoming !== undefined) return this.#await(this.#incoming.manage(frame))
        break
      case SASL_NS:
        return this.#sasl(frame)
      case DIALBACK_NS:
        return this.#dialback(frame)
      case BIDI_NS:
        if (!this.#environment.policy.bidi || this.isProved) break
        this.#wantsBidi = true
        return
      case STREAMS_NS:
        if (frame.name === 'error') return this.#error(frame)
    }
    if (this.#traffic === undefined) throw new StreamError('not-authorized')
    this.#traffic.receive(frame)
  }

  /** What the peer has sent before it knew that the stream ends (RFC 6120 §4.4). */
  #hearOut(frame: Frame): void {
    if (frame.ns === SERVER_NS) return this.#traffic?.receive(frame)
    if (frame.ns === SM_NS && frame.name === 'a') return this.#await(this.#incoming?.manage(frame))
  }

  #error(frame: Frame): void {
    const condition = frame.children[0]?.name ?? 'undefined-condition'
    this.#ending = endingOf(condition)
    this.#environment.log.info('s2s_stream_error', { remote: this.#from, condition })
  }

  #startTls(): void {
    const { tls, policy } = this.#environment
    if (this.#isEncrypted || policy.startTls === 'none' || !tls.mayAccept || this.isProved) {
      return this.end(TLS_FAILURE)
    }
    this.#hasSentHeader = false
    this.#state = 'header'
    const domain = this.#to
    this.connection.secure(PROCEED, (socket) =>
      tls.accept(socket, { isDirect: false, ...(domain !== undefined && { domain }) }),
    )
  }

  // --- SASL EXTERNAL (XEP-0178 §3).

  #sasl(frame: Frame): void {
    const from = this.#from
    const to = this.#to
    if (frame.name === 'abort') return this.#refuse('aborted')
    if (frame.name !== 'auth' || this.isProved || from === undefined || to === undefined) {
      return this.#refuse('malformed-request')
    }
    if (frame.attribute('mechanism') !== 'EXTERNAL') return this.#refuse('invalid-mechanism')
    if (!this.isVouchedFor(from)) return this.#refuse('not-authorized')
    const text = frame.toElement().text.trim()
    const claimed = text === '' || text === '=' ? from : decodeBase64(text)
    if (claimed === undefined) return this.#refuse('incorrect-encoding')
    if (domainOf(claimed) !== from) return this.#refuse('invalid-authzid')
    this.#isAuthenticated = true
    this.connection.write(SASL_SUCCESS)
    this.#hasSentHeader = false
    this.#state = 'header'
    this.connection.restart(this.#environment.policy.limits)
  }

  #refuse(condition: string): void {
    const { log } = this.#environment
    log.info('s2s_auth_failed', { remote: this.#from, address: this.connection.address, condition })
    this.connection.write(saslFailure(condition))
    if (!this.#environment.policy.dialback) this.end(NO_OCTETS)
  }

  // --- Dialback (XEP-0220).

  #dialback(frame: Frame): void {
    const element = readDialback(frame)
    if (element === undefined) throw new StreamError('improper-addressing')
    this.#await(this.#proofs.take(element))
  }

  isVouchedFor(domain: string): boolean {
    const { socket } = this.connection
    return socket instanceof TLSSocket && provesDomain(socket, domain)
  }

  write(octets: Octets): void {
    this.connection.write(octets)
  }

  onProved(pair: Pair): void {
    this.connection.limits = this.#environment.policy.limits
    this.#environment.onSettled(this.connection)
    const { owner, traffic: parts, resumptions } = this.#environment
    this.#incoming ??= new IncomingTraffic({
      connection: this.connection,
      pair,
      accepts: (from, to) => this.#accept(from, to),
      lang: this.#lang,
      parts,
      resumptions,
      wayBack: this.#wantsBidi && owner.maySendOn(this.connection) ? owner : undefined,
      close: () => this.#close(),
    })
  }

  // --- Stanzas.

  #accept(from: string, to: string): void {
    if (this.#proofs.has({ local: to, remote: from })) return
    if (!this.#environment.owner.serves(to)) throw new StreamError('host-unknown')
    throw new StreamError('invalid-from')
  }

  // --- Its end.

  onStreamEnd(): void {
    this.#ending ??= 'finished'
    const traffic = this.#traffic
    if (traffic === undefined) return this.end(NO_OCTETS)
    this.#state = 'ended'
    void traffic.finish()
    this.#over()
  }

  onStreamError(error: StreamError): void {
    if (!this.#hasSentHeader) this.#sendHeader(this.#environment.owner.defaultDomain, this.#from)
    const { log } = this.#environment
    const { address } = this.connection
    log.info('s2s_in_failed', { remote: this.#from, address, reason: error.message })
    this.end(error.toOctets())
  }

  /** Called every second or so: ends a stream on which nothing was said for `timeout` milliseconds. */
  look(now: number, timeout: number): void {
    const traffic = this.#traffic
    if (traffic === undefined || this.#isClosing || this.#state === 'ended') return
    traffic.look(now)
    const { idleSince } = traffic
    if (idleSince !== undefined && now - idleSince >= timeout) this.#close()
  }

  /** In order. */
  #close(): void {
    if (this.#isClosing || this.#state === 'ended') return
    this.#isClosing = true
    const traffic = this.#traffic
    void traffic?.finish()
    // The peer may have to say yet what it has got.
    if (traffic !== undefined && traffic.ledger.sent.size > 0) return
    this.#ending = 'finished'
    this.#over()
  }

  /** As the server stops: what came in is settled first. */
  async shutDown(): Promise<void> {
    const error = new StreamError('system-shutdown')
    if (this.#traffic === undefined) return this.onStreamError(error)
    this.#ending = 'finished'
    this.#isClosing = true
    await this.#traffic.finish(error.toOctets())
  }

  onFlush(): void {
    this.#traffic?.beforeFlush()
  }

  onDrain(): void {
    this.#traffic?.onDrain()
  }

  onClosed(): void {
    this.#state = 'ended'
    this.#environment.onSettled(this.connection)
    this.#environment.onEnd(this)
    this.#over()
  }

  end(last: Octets): void {
    this.#state = 'ended'
    this.connection.end((last + (this.#hasSentHeader ? CLOSING : '')) as Octets)
    this.#over()
  }

  #over(): void {
    this.#incoming?.over(this.#ending ?? 'lost')
  }

  #checkSize(): void {
    if (this.isProved || this.connection.received <= this.#environment.policy.preAuthBytes) return
    throw new StreamError('policy-violation', 'too much before authentication')
  }

  #await(work: Maybe<void>): void {
    if (work instanceof Promise) void this.connection.waitFor(work)
  }
}

/** '' for what is there and no domain. */
function domainOf(text: string | undefined): string | undefined {
  if (text === undefined) return undefined
  const parsed = tryParseJid(text)
  return parsed?.isDomain === true ? parsed.domain : ''
}

/** `undefined` for what is none (RFC 6120 §6.5.5). */
function decodeBase64(text: string): string | undefined {
  const decoded = Buffer.from(text, 'base64')
  return decoded.toString('base64') === text ? decoded.toString('utf8') : undefined
}

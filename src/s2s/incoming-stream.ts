import { randomUUID } from 'node:crypto'
import { TLSSocket } from 'node:tls'
import type { Connection, ConnectionHandler } from '../connection/connection.ts'
import { type PeerTls, provesDomain, whyUnproven } from '../connection/peer-tls.ts'
import type { Logger } from '../core/log.ts'
import { after, type Maybe } from '../core/maybe.ts'
import { tryParseJid } from '../xmpp/jid.ts'
import { NO_OCTETS, type Octets } from '../xmpp/octets.ts'
import { STANZA_ERROR_NS, StanzaError } from '../xmpp/stanza-error.ts'
import { STREAMS_NS, StreamError } from '../xmpp/stream-error.ts'
import { type Element, el, escapeAttribute, serialise } from '../xmpp/xml.ts'
import type { Frame, ParserLimits } from '../xmpp/xml-parser.ts'
import {
  type DialbackElement,
  type DialbackKeys,
  dialbackAnswer,
  dialbackError,
  readDialback,
} from './dialback.ts'
import { countOf, isTrue } from './outgoing-stream.ts'
import {
  BIDI_FEATURE_NS,
  BIDI_NS,
  CLOSING,
  DIALBACK_FEATURE_NS,
  DIALBACK_NS,
  limitsFeature,
  PROCEED,
  SASL_NS,
  SASL_SUCCESS,
  SERVER_NS,
  SM_NS,
  saslFailure,
  streamFeatures,
  streamHeader,
  TLS_FAILURE,
  TLS_NS,
} from './protocol.ts'
import type { Resumptions } from './resumptions.ts'
import { type Ending, endingOf, Ledger, Traffic, type TrafficParts } from './traffic.ts'

/** One domain of ours and one of another server. */
export type Pair = { readonly local: string; readonly remote: string }

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
export interface IncomingOwner {
  /** For peers that name none of our domains. */
  readonly defaultDomain: string
  /** Whether stanzas for that domain are taken here. */
  serves(domain: string): boolean
  /** Whether this server speaks with that one. */
  allows(pair: Pair): Maybe<boolean>
  /** Asks the server of `remote` whether a key is its own. Rejects with `StanzaError` if it cannot. */
  verify(pair: Pair, id: string, key: string): Promise<boolean>
  /** Stanzas for the pair may be sent on this connection, too. */
  adopt(pair: Pair, traffic: Traffic): void
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

/** Domains that one stream may prove, and proofs that may be on their way at once. */
const MAX_PAIRS = 100
const MAX_PENDING = 10

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
  /** Which of the other's domains may send to which of ours: `other ours`. */
  readonly #proved = new Set<string>()
  readonly #pending = new Set<string>()
  /** Of the header, by SASL. */
  #isAuthenticated = false
  #wantsBidi = false
  /** The first that was proved: the one that management and the way back are for. */
  #pair: Pair = { local: '', remote: '' }
  #ending: Ending = 'lost'
  /** The last one is in use; of earlier ones something may not be written yet. */
  readonly #traffics: Traffic[] = []

  constructor(connection: Connection, environment: IncomingEnvironment) {
    this.connection = connection
    this.#environment = environment
  }

  /** Whether any domain is proved. */
  get isProved(): boolean {
    return this.#proved.size > 0
  }

  get #traffic(): Traffic | undefined {
    return this.#traffics.at(-1)
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
    const lang = header.attribute('xml:lang')
    this.#lang = lang === undefined ? undefined : escapeAttribute(lang)
    this.#sendHeader(to !== undefined && owner.serves(to) ? to : owner.defaultDomain, from)
    if (header.name !== 'stream' || header.ns !== STREAMS_NS) {
      throw new StreamError('invalid-namespace', `the stream belongs to ${STREAMS_NS}`)
    }
    if (header.defaultNs !== SERVER_NS) {
      throw new StreamError('invalid-namespace', `servers speak ${SERVER_NS}`)
    }
    if (!/^[1-9]\d*\.\d+$/.test(header.attribute('version') ?? '')) {
      throw new StreamError('unsupported-version', 'the version is 1.0')
    }
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
      return this.#prove({ local: to, remote: from })
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
    const isVouchedFor = mayProve && this.#isVouchedFor(this.#from as string)
    if (isVouchedFor) {
      const mechanism = el('mechanism', {}, 'EXTERNAL')
      features.push(el('mechanisms', { xmlns: SASL_NS }, mechanism))
    }
    if (policy.dialback) {
      features.push(el('dialback', { xmlns: DIALBACK_FEATURE_NS }, el('errors')))
    } else if (mayProve && !isVouchedFor) {
      throw new StreamError('not-authorized', this.#whyNot(this.#from as string))
    }
    if (policy.bidi && !this.isProved) features.push(el('bidi', { xmlns: BIDI_FEATURE_NS }))
    if (this.isProved || policy.dialback) features.push(el('sm', { xmlns: SM_NS }))
    // There may be no other features after dialback.
    features.push(limitsFeature(policy.limits.maxStanzaSize))
    return features
  }

  #isVouchedFor(domain: string): boolean {
    const { socket } = this.connection
    return socket instanceof TLSSocket && provesDomain(socket, domain)
  }

  #whyNot(domain: string): string {
    const { socket } = this.connection
    return socket instanceof TLSSocket ? whyUnproven(socket, domain) : 'no TLS'
  }

  // --- Elements.

  onElement(frame: Frame): void {
    this.#checkSize()
    if (this.#state !== 'features') throw new StreamError('not-authorized')
    if (frame.ns === TLS_NS && frame.name === 'starttls') return this.#startTls()
    if (this.#mustSecure) throw new StreamError('policy-violation', 'use STARTTLS first')
    switch (frame.ns) {
      case SM_NS:
        if (this.#traffic !== undefined) return this.#managing(frame, this.#traffic)
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

  #error(frame: Frame): void {
    const condition = frame.children[0]?.name ?? 'undefined-condition'
    this.#ending = endingOf(condition)
    this.#environment.log.info('s2s_stream_error', { remote: this.#from, condition })
  }

  #startTls(): void {
    const { tls, policy } = this.#environment
    if (this.#isEncrypted || policy.startTls === 'none' || !tls.mayAccept || this.isProved) {
      return this.#end(TLS_FAILURE)
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
    if (frame.name !== 'auth' || this.isProved || from === undefined || to === undefined) {
      return this.#refuse('malformed-request')
    }
    if (frame.attribute('mechanism') !== 'EXTERNAL') return this.#refuse('invalid-mechanism')
    if (!this.#isVouchedFor(from)) return this.#refuse('not-authorized')
    const text = frame.toElement().text.trim()
    const claimed = text === '' || text === '=' ? from : domainOf(decodeBase64(text))
    if (claimed !== from) return this.#refuse('invalid-authzid')
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
    if (!this.#environment.policy.dialback) this.#end(NO_OCTETS)
  }

  // --- Dialback (XEP-0220).

  #dialback(frame: Frame): void {
    const element = readDialback(frame)
    if (element === undefined) throw new StreamError('improper-addressing')
    // Answers to what was never asked on this connection.
    if (element.type !== undefined) return
    if (element.name === 'verify') return this.#answerVerify(element)
    this.#await(this.#answerResult(element))
  }

  /** As the authoritative server: whether a key that somebody got is ours. */
  #answerVerify({ from, to, id, key }: DialbackElement): void {
    const { owner, keys } = this.#environment
    const answer = { from: to, to: from, id }
    if (!owner.serves(to)) {
      const error = new StanzaError('item-not-found')
      return this.connection.write(dialbackError('verify', answer, error))
    }
    const subject = { originating: to, receiving: from, streamId: id ?? '' }
    const type = id !== undefined && keys.isValid(key, subject) ? 'valid' : 'invalid'
    this.connection.write(dialbackAnswer('verify', { ...answer, type }))
  }

  /** As the receiving server: whether the peer may send from one domain to another. */
  #answerResult({ from, to, key }: DialbackElement): Maybe<void> {
    const { owner, policy } = this.#environment
    const pair = { local: to, remote: from }
    const name = pairName(from, to)
    const fail = (error: StanzaError) =>
      this.connection.write(dialbackError('result', { from: to, to: from }, error))
    if (!owner.serves(to)) return fail(new StanzaError('item-not-found'))
    if (owner.serves(from)) return fail(new StanzaError('not-authorized'))
    if (this.#pending.has(name)) return
    if (this.#proved.has(name)) return this.#valid(pair)
    if (this.#pending.size >= MAX_PENDING || this.#proved.size >= MAX_PAIRS) {
      return fail(new StanzaError('resource-constraint'))
    }
    return after(owner.allows(pair), (isAllowed) => {
      if (!isAllowed) return fail(new StanzaError('policy-violation', { type: 'cancel' }))
      // Dialback without dialing back (XEP-0344 §3.2).
      if (this.#isVouchedFor(from)) return this.#valid(pair)
      if (!policy.dialback) return fail(new StanzaError('not-authorized'))
      this.#pending.add(name)
      // The peer's other domains go on meanwhile.
      void this.#verify(pair, key).finally(() => this.#pending.delete(name))
    })
  }

  async #verify(pair: Pair, key: string): Promise<void> {
    const { owner, log } = this.#environment
    const { local: from, remote: to } = pair
    let isValid: boolean
    try {
      isValid = await owner.verify(pair, this.#id, key)
    } catch (error) {
      const failure =
        error instanceof StanzaError ? error : new StanzaError('remote-server-timeout')
      return this.connection.write(dialbackError('result', { from, to }, failure))
    }
    if (this.#state === 'ended') return
    if (isValid) return this.#valid(pair)
    log.warn('s2s_spoofed', { remote: to, address: this.connection.address })
    if (this.isProved) {
      const error = new StanzaError('forbidden')
      return this.connection.write(dialbackError('result', { from, to }, error))
    }
    this.#end(dialbackAnswer('result', { from, to, type: 'invalid' }))
  }

  #valid(pair: Pair): void {
    const { local: from, remote: to } = pair
    this.connection.write(dialbackAnswer('result', { from, to, type: 'valid' }))
    this.connection.limits = this.#environment.policy.limits
    this.#prove(pair)
  }

  // --- Stanzas.

  #prove(pair: Pair): void {
    const { log, onSettled } = this.#environment
    this.#proved.add(pairName(pair.remote, pair.local))
    log.info('s2s_in_opened', { ...pair, address: this.connection.address })
    onSettled(this.connection)
    if (this.#traffic !== undefined) return
    this.#pair = pair
    this.#begin()
  }

  /** Stanzas flow from here on, under this count. */
  #begin(ledger = new Ledger(), isManaged = false): Traffic {
    const { owner, traffic: parts } = this.#environment
    const accepts = (from: string, to: string) => this.#accept(from, to)
    const traffic = new Traffic(this.connection, parts, { accepts, lang: this.#lang, ledger })
    this.#traffics.push(traffic)
    if (isManaged) traffic.manage()
    if (this.#wantsBidi) owner.adopt(this.#pair, traffic)
    return traffic
  }

  #accept(from: string, to: string): void {
    if (this.#proved.has(pairName(from, to))) return
    if (!this.#environment.owner.serves(to)) throw new StreamError('host-unknown')
    throw new StreamError('invalid-from')
  }

  // --- Stream management (XEP-0198).

  #managing(frame: Frame, traffic: Traffic): void {
    switch (frame.name) {
      case 'r':
        if (!traffic.isManaged) throw new StreamError('policy-violation')
        return traffic.answerRequest()
      case 'a':
        return traffic.acknowledge(countOf(frame))
      case 'enable':
        return this.#enable(frame, traffic)
      case 'resume':
        return this.#resume(frame, traffic)
      default:
        throw new StreamError('unsupported-stanza-type')
    }
  }

  #enable(frame: Frame, before: Traffic): void {
    if (before.isManaged) return this.connection.write(smFailed('unexpected-request'))
    const { resumptions } = this.#environment
    const ledger = new Ledger()
    if (isTrue(frame.attribute('resume'))) ledger.id = resumptions.newId()
    const { id } = ledger
    const max = Math.floor(resumptions.patience / 1_000)
    const resumption = id === undefined ? {} : { id, resume: true, max }
    this.connection.write(serialise(el('enabled', { xmlns: SM_NS, ...resumption })))
    resumptions.put(this.#pair, this.#begin(ledger, true))
  }

  #resume(frame: Frame, before: Traffic): void {
    const h = countOf(frame)
    if (before.isManaged || h === undefined) {
      return this.connection.write(smFailed('unexpected-request'))
    }
    const { resumptions } = this.#environment
    const id = frame.attribute('previd') ?? ''
    const ledger = resumptions.take(this.#pair, id)
    if (ledger === undefined || !ledger.sent.covers(h)) {
      return this.connection.write(smFailed('item-not-found'))
    }
    for (const { settlement } of ledger.sent.acknowledge(h)) settlement?.finish()
    const answer = el('resumed', { xmlns: SM_NS, previd: id, h: ledger.received.h })
    this.connection.write(serialise(answer))
    resumptions.put(this.#pair, this.#begin(ledger, true))
  }

  // --- Its end.

  onStreamEnd(): void {
    if (this.#ending === 'lost') this.#ending = 'finished'
    const traffic = this.#traffic
    if (traffic === undefined) return this.#end(NO_OCTETS)
    this.#state = 'ended'
    void traffic.finish()
    this.#over()
  }

  onStreamError(error: StreamError): void {
    if (!this.#hasSentHeader) this.#sendHeader(this.#environment.owner.defaultDomain, this.#from)
    const { log } = this.#environment
    const { address } = this.connection
    log.info('s2s_in_failed', { remote: this.#from, address, reason: error.message })
    this.#end(error.toOctets())
  }

  /** Called every second or so: ends a stream on which nothing was said for `timeout` milliseconds. */
  look(now: number, timeout: number): void {
    const traffic = this.#traffic
    if (traffic === undefined || this.#state === 'ended') return
    traffic.look(now)
    const { idleSince } = traffic
    if (idleSince === undefined || now - idleSince < timeout) return
    this.#ending = 'finished'
    this.#state = 'ended'
    void traffic.finish()
  }

  /** As the server stops: what came in is settled first. */
  async shutDown(): Promise<void> {
    const error = new StreamError('system-shutdown')
    if (this.#traffic === undefined) return this.onStreamError(error)
    this.#ending = 'finished'
    await this.#traffic.finish(error.toOctets())
  }

  onFlush(): void {
    this.#traffic?.beforeFlush()
  }

  onDrain(): void {
    this.#traffic?.owner?.onDrain()
  }

  onClosed(): void {
    this.#state = 'ended'
    this.#environment.onSettled(this.connection)
    this.#environment.onEnd(this)
    this.#over()
  }

  #end(last: Octets): void {
    this.#state = 'ended'
    this.connection.end((last + (this.#hasSentHeader ? CLOSING : '')) as Octets)
    this.#over()
  }

  #over(): void {
    for (const traffic of this.#traffics) traffic.over(this.#ending)
  }

  #checkSize(): void {
    if (this.isProved || this.connection.received <= this.#environment.policy.preAuthBytes) return
    throw new StreamError('policy-violation', 'too much before authentication')
  }

  #await(work: Maybe<void>): void {
    if (work instanceof Promise) void this.connection.waitFor(work)
  }
}

function pairName(from: string, to: string): string {
  return `${from} ${to}`
}

/** '' for what is there and no domain. */
function domainOf(text: string | undefined): string | undefined {
  if (text === undefined) return undefined
  const parsed = tryParseJid(text)
  return parsed?.isDomain === true ? parsed.domain : ''
}

function decodeBase64(text: string): string {
  return Buffer.from(text, 'base64').toString('utf8')
}

function smFailed(condition: string): Octets {
  const reason = el(condition, { xmlns: STANZA_ERROR_NS })
  return serialise(el('failed', { xmlns: SM_NS }, reason))
}

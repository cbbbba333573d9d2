import { createHash, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import type { ConnectionOptions, TLSSocket, TLSSocketOptions } from 'node:tls'
import { decode } from '../../src/xmpp/octets.ts'
import { type Element, el, serialise } from '../../src/xmpp/xml.ts'
import { conditionOf, describe, type Matcher, matches } from './matcher.ts'
import { type ChannelBinding, ScramClient } from './scram-client.ts'
import { type Header, Wire, type WireHandler } from './wire.ts'

export type { Matcher } from './matcher.ts'
export { conditionOf } from './matcher.ts'
export type { Header } from './wire.ts'

export const NS = {
  bind: 'urn:ietf:params:xml:ns:xmpp-bind',
  client: 'jabber:client',
  ping: 'urn:xmpp:ping',
  sasl: 'urn:ietf:params:xml:ns:xmpp-sasl',
  streamError: 'urn:ietf:params:xml:ns:xmpp-streams',
  streams: 'http://etherx.jabber.org/streams',
  tls: 'urn:ietf:params:xml:ns:xmpp-tls',
} as const

/** After so long without what a test waits for, it fails; nothing else depends on it. */
const PATIENCE_MS = 30_000

export type Credentials = {
  readonly localpart: string
  readonly password: string
  /** The strongest offered, unless told. */
  readonly mechanism?: string
  /** Binds SCRAM-…-PLUS to the connection. */
  readonly binding?: ChannelBinding['type']
}

export type OpenOptions = {
  readonly host: string
  readonly port: number
  readonly domain: string
  /** TLS from the first octet. */
  readonly directTls?: ConnectionOptions
  /** It does not close its side when the server closes its own. */
  readonly keepsOpen?: boolean
}

type Waiting = { readonly look: () => void; readonly matcher: Matcher }

/**
 * A client of the test's own. All that it gets waits in its inbox until the test takes it.
 *
 * `server.connect` gives one that has a session; for less, `server.open` and then step by step
 * `startStream`, `startTls`, `authenticate`, `bind`.
 */
export class Client implements AsyncDisposable {
  readonly domain: string
  #wire: Wire
  readonly #inbox: Element[] = []
  readonly #waiting = new Set<Waiting>()
  readonly #headers: Header[] = []
  #isStreamEnded = false
  #hasSaidGoodbye = false
  #lastId = 0
  /** Of the stream in use. */
  header: Header | undefined
  features: Element | undefined
  /** As bound. */
  fullJid = ''

  protected constructor(domain: string) {
    this.domain = domain
    // Set by `open` before anybody can see it.
    this.#wire = undefined as unknown as Wire
  }

  static async open(options: OpenOptions): Promise<Client> {
    return await new Client(options.domain).connects(options)
  }

  protected async connects({ keepsOpen = false, directTls, ...to }: OpenOptions): Promise<this> {
    this.keepsOpen = keepsOpen
    this.#wire = await Wire.open({ ...to, keepsOpen }, directTls, this.#handler)
    return this
  }

  /** On a connection that came in. */
  protected accepts(socket: Socket): this {
    this.#wire = Wire.accept(socket, this.#handler)
    return this
  }

  get #handler(): WireHandler {
    return {
      onHeader: (header) => {
        this.#headers.push(header)
        this.#look()
      },
      onElement: (element) => {
        this.#inbox.push(element)
        this.#look()
      },
      onStreamEnd: () => {
        this.#isStreamEnded = true
        this.#look()
        if (this.keepsOpen) return
        this.#sayGoodbye()
        this.#wire.end()
      },
      onClose: () => this.#look(),
    }
  }

  /** Whether it does not close its side when the server closes its own. */
  keepsOpen = false

  get bareJid(): string {
    return this.fullJid.split('/', 1)[0] as string
  }

  get socket() {
    return this.#wire.socket
  }

  /** The server has sent `</stream:stream>`. */
  get isStreamEnded(): boolean {
    return this.#isStreamEnded
  }

  get isClosed(): boolean {
    return this.#wire.isClosed
  }

  // --- Sending.

  /** Text and bytes as they are, elements as they stand on a client's stream. */
  send(...what: readonly (string | Uint8Array | Element)[]): void {
    for (const part of what) {
      if (typeof part === 'string' || part instanceof Uint8Array) this.#wire.write(part)
      else this.#wire.write(textOf(part))
    }
  }

  /** As `send`; resolves when the kernel has it. */
  async sends(...what: readonly (string | Uint8Array | Element)[]): Promise<void> {
    this.send(...what)
    const { socket } = this.#wire
    if (socket.writableNeedDrain) await once(socket, 'drain')
  }

  /** Sends a request and takes the answer, a result or an error. */
  async ask(
    type: 'get' | 'set',
    to: string | undefined,
    ...payload: readonly Element[]
  ): Promise<Element> {
    const id = `ask-${++this.#lastId}`
    this.send(el('iq', { type, id, from: this.sender, to }, ...payload))
    return await this.receives(
      (element) => element.name === 'iq' && element.attr('id') === id && !isRequest(element),
    )
  }

  /** What it says in `from` of its requests. */
  protected get sender(): string | undefined {
    return undefined
  }

  /** All that the client sent before, and all that its stream was given before, is through. */
  async roundTrip(): Promise<void> {
    await this.ask('get', this.domain, el('ping', { xmlns: NS.ping }))
  }

  /** Sends presence, and waits until it has taken effect and came back. */
  async becomesAvailable(priority = 0): Promise<void> {
    const id = `presence-${++this.#lastId}`
    this.send(el('presence', { id }, priority !== 0 && el('priority', {}, String(priority))))
    await this.roundTrip()
    this.forgets((element) => element.name === 'presence' && element.attr('from') === this.fullJid)
  }

  // --- Receiving.

  /** Takes the first element that fits, now or once it comes. */
  receives(matcher: Matcher): Promise<Element> {
    return this.#wait(matcher, () => {
      const index = this.#inbox.findIndex((element) => matches(element, matcher))
      return index < 0 ? undefined : this.#inbox.splice(index, 1)[0]
    })
  }

  /** Takes the next element, which must fit. */
  async receivesNext(matcher: Matcher): Promise<Element> {
    const next = await this.#wait(matcher, () => this.#inbox.shift())
    if (matches(next, matcher)) return next
    throw new Error(`wanted next ${describe(matcher)}\ngot ${next}`)
  }

  /** Waits until there is more in the inbox than now. */
  async receivesMore(): Promise<void> {
    const before = this.#inbox.length
    await this.#wait('anything more', () => this.#inbox.length > before || undefined)
  }

  /** Nothing that fits is there or on its way; without matcher, nothing at all. */
  async receivesNothing(matcher: Matcher = () => true): Promise<void> {
    await this.roundTrip()
    const unwanted = this.#inbox.filter((element) => matches(element, matcher))
    if (unwanted.length === 0) return
    throw new Error(`${this} should have got nothing, got${listed(unwanted)}`)
  }

  /** What is there and not taken, that fits. */
  inbox(matcher: Matcher = () => true): Element[] {
    return this.#inbox.filter((element) => matches(element, matcher))
  }

  /** Throws away what is there and fits. */
  forgets(matcher: Matcher = () => true): void {
    for (let i = this.#inbox.length - 1; i >= 0; i--) {
      if (matches(this.#inbox[i] as Element, matcher)) this.#inbox.splice(i, 1)
    }
  }

  /** A stream error with this condition, the end of the stream, the end of the connection. */
  async receivesStreamError(condition: string): Promise<Element> {
    const error = await this.receives({ name: 'error', ns: NS.streams })
    const found = conditionOf(error)
    if (found !== condition) throw new Error(`wanted stream error ${condition}, got ${error}`)
    await this.receivesEnd()
    return error
  }

  /** `</stream:stream>`, then the end of the connection. */
  async receivesEnd(): Promise<void> {
    await this.receivesStreamEnd()
    await this.closes()
  }

  /** `</stream:stream>`. */
  async receivesStreamEnd(): Promise<void> {
    await this.#wait('the end of the stream', () => this.#isStreamEnded || undefined)
  }

  /** The connection ends, in whatever way. */
  async closes(): Promise<void> {
    await this.#wait('the end of the connection', () => this.isClosed || undefined)
  }

  /** Leaves what comes in the kernel's buffers, as a client that hangs. */
  stopsReading(): void {
    this.#wire.socket.pause()
  }

  readsOn(): void {
    this.#wire.socket.resume()
  }

  // --- Step by step.

  /** Sends a stream header and takes the server's, and its features. */
  async startStream(
    attributes: Readonly<Record<string, string | undefined>> = {},
  ): Promise<Element> {
    this.sendHeader(attributes)
    await this.receivesHeader()
    this.features = await this.receivesNext({ name: 'features', ns: NS.streams })
    return this.features
  }

  sendHeader(attributes: Readonly<Record<string, string | undefined>> = {}): void {
    const all = {
      to: this.domain,
      version: '1.0',
      xmlns: NS.client,
      'xmlns:stream': NS.streams,
      ...attributes,
    }
    const written = Object.entries(all).flatMap(([name, value]) =>
      value === undefined ? [] : [` ${name}='${value}'`],
    )
    this.send(`<?xml version='1.0'?><stream:stream${written.join('')}>`)
  }

  async receivesHeader(): Promise<Header> {
    this.header = await this.#wait('a stream header', () => this.#headers.shift())
    return this.header
  }

  /** STARTTLS, up to the features of the stream inside. */
  async startTls(options: ConnectionOptions = {}): Promise<void> {
    this.send(el('starttls', { xmlns: NS.tls }))
    await this.receivesNext({ name: 'proceed', ns: NS.tls })
    await this.upgrade(options)
    await this.startStream()
  }

  /** The handshake, as a server that said `<proceed/>` expects. */
  async upgrade(options: ConnectionOptions = {}): Promise<void> {
    await this.#wire.secure({ servername: this.domain, rejectUnauthorized: false, ...options })
  }

  /** The handshake as the side that was connected to. */
  async upgradeAsServer(options: TLSSocketOptions): Promise<void> {
    await this.#wire.secureAsServer(options)
  }

  /** As offered on this stream. */
  get mechanisms(): string[] {
    const offered = this.features?.child('mechanisms', NS.sasl)
    return (offered?.elements('mechanism') ?? []).map(({ text }) => text)
  }

  /** Logs in, up to the features of the stream after it. Rejects with the condition of a failure. */
  async authenticate(
    credentials: Credentials,
    header: Readonly<Record<string, string | undefined>> = {},
  ): Promise<void> {
    const answer = await this.tryToAuthenticate(credentials)
    if (answer.name !== 'success') throw new Error(`authentication failed: ${answer}`)
    this.restart()
    await this.startStream(header)
  }

  /** What the server sends next is another stream. */
  restart(): void {
    this.#wire.restart()
  }

  /** `<success/>` or `<failure/>`. */
  async tryToAuthenticate(credentials: Credentials): Promise<Element> {
    const mechanism = credentials.mechanism ?? strongest(this.mechanisms)
    if (mechanism === 'PLAIN') {
      const { localpart, password } = credentials
      return await this.sasl(mechanism, `\0${localpart}\0${password}`)
    }
    if (mechanism === 'ANONYMOUS') return await this.sasl(mechanism, '')
    const binding = mechanism.endsWith('-PLUS')
      ? this.channelBinding(credentials.binding ?? 'tls-exporter')
      : undefined
    const scram = new ScramClient(mechanism, credentials, binding)
    const challenge = await this.sasl(mechanism, scram.first)
    if (challenge.name !== 'challenge') return challenge
    const answer = scram.final(Buffer.from(challenge.text, 'base64').toString())
    this.send(el('response', { xmlns: NS.sasl }, Buffer.from(answer).toString('base64')))
    const end = await this.receives({ ns: NS.sasl })
    const proof = Buffer.from(end.text, 'base64').toString()
    if (end.name === 'success' && !scram.verifies(proof)) {
      throw new Error('the server does not know the password')
    }
    return end
  }

  /** Sends `<auth/>` and takes the answer. */
  async sasl(mechanism: string, initial?: string): Promise<Element> {
    const data = initial === undefined ? '' : Buffer.from(initial).toString('base64') || '='
    this.send(el('auth', { xmlns: NS.sasl, mechanism }, data))
    return await this.receives({ ns: NS.sasl })
  }

  channelBinding(type: ChannelBinding['type']): ChannelBinding {
    const socket = this.#wire.socket as TLSSocket
    if (type === 'tls-exporter') {
      const data = socket.exportKeyingMaterial(32, 'EXPORTER-Channel-Binding', Buffer.alloc(0))
      return { type, data }
    }
    const certificate = socket.getPeerX509Certificate() ?? new X509Certificate('')
    return { type, data: createHash('sha256').update(certificate.raw).digest() }
  }

  /** Binds a resource; the server's choice without one. */
  async bind(resource?: string): Promise<void> {
    const answer = await this.tryToBind(resource)
    const bound = answer.child('bind', NS.bind)?.child('jid')?.text
    if (bound === undefined) throw new Error(`bind failed: ${answer}`)
    this.fullJid = bound
  }

  async tryToBind(resource?: string): Promise<Element> {
    const wanted = resource !== undefined && el('resource', {}, resource)
    return await this.ask('set', undefined, el('bind', { xmlns: NS.bind }, wanted))
  }

  // --- Leaving.

  /** Closes the stream and waits for the server to close its side. */
  async leaves(): Promise<void> {
    this.#sayGoodbye()
    await this.closes()
  }

  /** Drops the connection without a word. */
  async vanishes(): Promise<void> {
    this.#wire.destroy()
    await this.closes()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.isClosed) await this.vanishes()
  }

  toString(): string {
    return this.fullJid === '' ? 'the client' : this.fullJid
  }

  #sayGoodbye(): void {
    if (this.#hasSaidGoodbye || this.isClosed) return
    this.#hasSaidGoodbye = true
    this.#wire.write('</stream:stream>')
  }

  #look(): void {
    for (const { look } of [...this.#waiting]) look()
  }

  #wait<T>(wanted: Matcher | string, take: () => T | undefined): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    const text = typeof wanted === 'string' ? wanted : describe(wanted)
    // Here, so that the trace of a failure names who waited.
    const failure = new Error('')
    const finish = (settle: () => void) => {
      clearTimeout(timer)
      this.#waiting.delete(waiting)
      settle()
    }
    const fail = (why: string) => {
      failure.message = `${this} ${why}\nwanted ${text}\nhas ${listed(this.#inbox)}`
      finish(() => reject(failure))
    }
    const look = () => {
      const found = take()
      if (found !== undefined) finish(() => resolve(found))
      else if (this.isClosed) fail('is disconnected')
    }
    const waiting: Waiting = { look, matcher: typeof wanted === 'string' ? {} : wanted }
    const timer = setTimeout(() => fail(`waited ${PATIENCE_MS / 1000} s`), PATIENCE_MS)
    this.#waiting.add(waiting)
    look()
    return promise
  }
}

function isRequest(iq: Element): boolean {
  return iq.attr('type') === 'get' || iq.attr('type') === 'set'
}

function listed(elements: readonly Element[]): string {
  return elements.length === 0 ? ' nothing' : elements.map((element) => `\n  ${element}`).join('')
}

/** On a stream whose default namespace is that of clients. */
function textOf(element: Element): string {
  return decode(serialise(element, NS.client))
}

const STRENGTH = ['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-1-PLUS', 'SCRAM-SHA-256', 'SCRAM-SHA-1', 'PLAIN']

function strongest(offered: readonly string[]): string {
  const found = STRENGTH.find((mechanism) => offered.includes(mechanism))
  if (found === undefined) throw new Error(`no usable mechanism among ${offered.join(', ')}`)
  return found
}

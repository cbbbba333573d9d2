import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { setTimeout } from 'node:timers/promises'
import { type Element, el } from '../../src/xmpp/xml.ts'
import { Client, NS } from './client.ts'
import { DIALBACK_NS, SERVER_NS } from './peer.ts'

/** After so long without a connection a test fails that waits for one. */
const PATIENCE_MS = 30_000

type Shown = { readonly pem: string }

/** Another server of the test's own: one that is connected to, and answers what the test wants. */
export class ListeningPeer implements AsyncDisposable {
  readonly domain: string
  readonly #server: Server
  readonly #peers: AcceptedPeer[] = []
  readonly #arrived: AcceptedPeer[] = []

  private constructor(domain: string, server: Server) {
    this.domain = domain
    this.#server = server
    server.on('connection', (socket) => {
      const peer = AcceptedPeer.on(socket, domain)
      this.#peers.push(peer)
      this.#arrived.push(peer)
    })
  }

  static async start(domain: string): Promise<ListeningPeer> {
    const server = createServer({ allowHalfOpen: true, noDelay: true })
    await once(server.listen(0, '127.0.0.1'), 'listening')
    return new ListeningPeer(domain, server)
  }

  get address(): { readonly host: string; readonly port: number } {
    const { address: host, port } = this.#server.address() as AddressInfo
    return { host, port }
  }

  /** All connections that came so far. */
  get count(): number {
    return this.#peers.length
  }

  /** The next connection, now or once it comes. */
  async next(): Promise<AcceptedPeer> {
    const end = Date.now() + PATIENCE_MS
    while (this.#arrived.length === 0) {
      if (Date.now() > end) throw new Error(`nobody connects to ${this.domain}`)
      await setTimeout(5)
    }
    return this.#arrived.shift() as AcceptedPeer
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const peer of this.#peers) await peer[Symbol.asyncDispose]()
    this.#server.close()
    await once(this.#server, 'close')
  }
}

/** One connection to it. */
export class AcceptedPeer extends Client {
  static on(socket: Socket, domain: string): AcceptedPeer {
    const peer = new AcceptedPeer(domain).accepts(socket)
    socket.on('end', () => {
      if (!peer.keepsOpen) socket.end()
    })
    return peer
  }

  /** Takes the other side's header, and answers with one of its own and with features. */
  async answersHeader(
    features: readonly Element[],
    attributes: Readonly<Record<string, string | undefined>> = {},
  ): Promise<void> {
    await this.answersWithHeader(attributes)
    this.send(`<stream:features>${features.join('')}</stream:features>`)
  }

  /** The same, and no features yet. */
  async answersWithHeader(
    attributes: Readonly<Record<string, string | undefined>> = {},
  ): Promise<void> {
    const { attributes: theirs } = await this.receivesHeader()
    this.sendHeader({
      xmlns: SERVER_NS,
      'xmlns:db': DIALBACK_NS,
      id: 'D60000229F',
      from: theirs.to,
      to: theirs.from,
      ...attributes,
    })
  }

  /** STARTTLS, up to the handshake. */
  async acceptsTls({ pem }: Shown): Promise<void> {
    await this.answersHeader([el('starttls', { xmlns: NS.tls }, el('required'))])
    await this.receivesNext({ name: 'starttls', ns: NS.tls })
    this.send(el('proceed', { xmlns: NS.tls }))
    await this.upgradeAsServer({ cert: pem, key: pem })
  }

  /** TLS and SASL EXTERNAL, up to the features after them. */
  async acceptsExternal(shown: Shown, ...features: readonly Element[]): Promise<void> {
    await this.acceptsTls(shown)
    const mechanism = el('mechanism', {}, 'EXTERNAL')
    await this.answersHeader([el('mechanisms', { xmlns: NS.sasl }, mechanism)])
    await this.receives({ name: 'auth', ns: NS.sasl })
    this.restart()
    this.send(el('success', { xmlns: NS.sasl }))
    await this.answersHeader(features)
  }

  /** TLS, up to the key of dialback, which it returns. */
  async acceptsDialback(shown: Shown, ...features: readonly Element[]): Promise<Element> {
    await this.acceptsTls(shown)
    await this.answersHeader([
      el('dialback', { xmlns: 'urn:xmpp:features:dialback' }, el('errors')),
      ...features,
    ])
    return await this.receives({ name: 'result', ns: DIALBACK_NS })
  }
}

import { readFileSync } from 'node:fs'
import tls from 'node:tls'
import { client, type XmppClient, type XmppElement, xml } from '@xmpp/client'
import { type Expected, Inbox, PATIENCE_SECONDS, type Received, within } from './inbox.ts'
import { type ClientOptions, fail, type RealClient, type RosterItem } from './real-client.ts'

export { type XmppElement, xml }

const ROSTER = 'jabber:iq:roster'

export interface XmppJsOptions extends ClientOptions {
  /** STARTTLS is used wherever it is offered; the library cannot skip the check of certificates. */
  readonly tls: 'none' | 'verified'
  readonly mechanism?: 'PLAIN' | 'SCRAM-SHA-1'
  /** Where to connect, if not by TCP to the port: `ws://…`. */
  readonly service?: string
}

/** A client of `@xmpp/client` (JavaScript) in this process. It always uses stream management. */
export class XmppJsClient implements RealClient {
  /** The library's own client, for what is missing here. */
  readonly library: XmppClient
  readonly #inbox = new Inbox()
  #jid = ''
  #lastId = 0

  private constructor({ jid, password, port, tls, ca, mechanism, service }: XmppJsOptions) {
    // The library passes no certificates on, so this process has to trust them.
    if (tls === 'verified' && ca !== undefined) trust(ca)
    const [username = '', domain = '', resource] = jid.split(/[@/]/)
    const account = { username, password }
    this.library = client({
      service: service ?? `xmpp://127.0.0.1:${port}`,
      domain,
      ...(resource !== undefined && { resource }),
      timeout: PATIENCE_SECONDS * 1_000,
      credentials: (authenticate, offered) => {
        const chosen = mechanism ?? offered[0] ?? ''
        if (!offered.includes(chosen)) throw new Error(`${chosen} is not offered`)
        return authenticate(account, chosen)
      },
    })
    this.library.reconnect.stop()
    this.library.on('stanza', (stanza) => this.#inbox.add(received(stanza)))
    this.library.on('error', (error) => this.#inbox.close(error))
  }

  /** Logs in; becomes available, and the server knows it, unless told otherwise. */
  static async connect(options: XmppJsOptions): Promise<XmppJsClient> {
    const own = new XmppJsClient(options)
    try {
      own.#jid = String(
        await within(PATIENCE_SECONDS, own.library.start(), '@xmpp/client has no session'),
      )
      if (options.isAvailable ?? true) await own.becomeAvailable()
      return own
    } catch (error) {
      await own[Symbol.asyncDispose]()
      throw error
    }
  }

  get jid(): string {
    return this.#jid
  }

  async becomeAvailable(): Promise<void> {
    await this.roster()
    await this.library.send(xml('presence'))
    await this.ping()
  }

  async sendChat(to: string, body: string): Promise<string> {
    const id = `chat-${++this.#lastId}`
    await this.library.send(xml('message', { type: 'chat', to, id }, xml('body', {}, body)))
    return id
  }

  async sendSubscription(to: string, type: string): Promise<void> {
    await this.library.send(xml('presence', { to, type }))
  }

  async roster(): Promise<RosterItem[]> {
    const query = await this.library.iqCaller.get(xml('query', { xmlns: ROSTER }))
    return (query?.getChildren('item') ?? []).map((item) => ({
      jid: item.attrs.jid ?? '',
      name: item.attrs.name ?? '',
      subscription: item.attrs.subscription ?? 'none',
      ask: item.attrs.ask ?? '',
      groups: item.getChildren('group').map((group) => group.text()),
    }))
  }

  /** Pings the server unless told whom. */
  async ping(to?: string): Promise<void> {
    const domain = this.#jid.split(/[@/]/)[1]
    const payload = xml('ping', { xmlns: 'urn:xmpp:ping' })
    await this.library.iqCaller.request(xml('iq', { type: 'get', to: to ?? domain }, payload))
  }

  receives(expected: Expected): Promise<Received> {
    return this.#inbox.take(expected)
  }

  async receivesNo(expected: Expected): Promise<void> {
    await this.ping()
    const found = this.#inbox.peek(expected)
    if (found.length > 0) fail('received after all', found)
  }

  /** Drops the connection without closing the stream. */
  async abort(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.library.once('disconnect', resolve)
    this.library.socket?.end()
    await promise
  }

  /** Connects once more after `abort`; tells whether the old stream was resumed. */
  async reconnect(): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>()
    const onResumed = () => resolve(true)
    this.library.streamManagement.on('resumed', onResumed)
    this.library.once('online', (jid) => {
      this.#jid = String(jid)
      resolve(false)
    })
    await this.library.reconnect.reconnect()
    const isResumed = await within(PATIENCE_SECONDS, promise, '@xmpp/client is not back')
    this.library.streamManagement.off('resumed', onResumed)
    return isResumed
  }

  async close(): Promise<void> {
    await this.library.stop()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // A stream that never came to be cannot be closed; the library would wait for it.
    if (this.library.status === 'online') await this.library.stop()
    else this.library.socket?.end()
  }
}

const ownCertificates = tls.getCACertificates('default')

/** One at a time: two that go by the same name are taken for one another. */
function trust(ca: string): void {
  tls.setDefaultCACertificates([...ownCertificates, readFileSync(ca, 'utf8')])
}

function received(stanza: XmppElement): Received {
  const { from = '', to = '', type = '', id = '' } = stanza.attrs
  const wrapper = (['sent', 'received'] as const).find((direction) =>
    stanza.getChild(direction, 'urn:xmpp:carbons:2'),
  )
  const message = wrapper
    ? stanza.getChild(wrapper)?.getChild('forwarded')?.getChild('message')
    : stanza
  return {
    kind: stanza.name as Received['kind'],
    from,
    to,
    type,
    id,
    body: message?.getChildText('body') ?? '',
    stamp: stanza.getChild('delay', 'urn:xmpp:delay')?.attrs.stamp ?? '',
    carbon: wrapper ?? '',
    xml: stanza.toString(),
  }
}

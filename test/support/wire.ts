import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import {
  type ConnectionOptions,
  connect as connectTls,
  TLSSocket,
  type TLSSocketOptions,
} from 'node:tls'
import { type SaxesAttributeNS, SaxesParser, type SaxesTagNS } from 'saxes'
import { Element, type Node } from '../../src/xmpp/xml.ts'

/** The stream's own start tag, as it came. */
export type Header = {
  readonly name: string
  readonly attributes: Readonly<Record<string, string>>
}

export type WireHandler = {
  onHeader(header: Header): void
  onElement(element: Element): void
  onStreamEnd(): void
  onClose(): void
}

type Address = {
  readonly host: string
  readonly port: number
  /** Whether this side is open still when the other one is closed. */
  readonly keepsOpen: boolean
}

type Open = { readonly name: string; readonly ns: string; attributes: Record<string, string> } & {
  readonly children: Node[]
}

const TOP_LEVEL = 1

/**
 * A socket that speaks XMPP's framing, by an XML parser that is not the server's. Whatever the
 * server sends that is not well-formed fails the test.
 */
export class Wire {
  socket: Socket | TLSSocket
  readonly #handler: WireHandler
  #parser: SaxesParser<{ xmlns: true }>
  #open: Open[] = []
  #text = ''
  #decoder = new TextDecoder('utf-8', { fatal: true })
  /** All text received so far, for failures. */
  received = ''
  isClosed = false

  private constructor(socket: Socket | TLSSocket, handler: WireHandler) {
    this.socket = socket
    this.#handler = handler
    this.#parser = this.#newParser()
    this.#listen()
  }

  static async open(
    { host, port, keepsOpen }: Address,
    tls: ConnectionOptions | undefined,
    handler: WireHandler,
  ): Promise<Wire> {
    if (tls !== undefined) {
      const socket = connectTls({ ...tls, host, port })
      await once(socket, 'secureConnect')
      return new Wire(socket, handler)
    }
    const socket = connect({ host, port, noDelay: true, allowHalfOpen: keepsOpen })
    await once(socket, 'connect')
    return new Wire(socket, handler)
  }

  /** On a connection that came in. */
  static accept(socket: Socket, handler: WireHandler): Wire {
    return new Wire(socket, handler)
  }

  write(text: string | Uint8Array): void {
    this.socket.write(text)
  }

  /** Goes on over TLS. */
  async secure(options: ConnectionOptions): Promise<void> {
    const plain = this.#release()
    const socket = connectTls({ ...options, socket: plain })
    await once(socket, 'secureConnect')
    this.#useInstead(socket, plain)
  }

  /** The same as the side that was connected to. */
  async secureAsServer(options: TLSSocketOptions): Promise<void> {
    const plain = this.#release()
    const socket = new TLSSocket(plain, { ...options, isServer: true })
    await once(socket, 'secure')
    this.#useInstead(socket, plain)
  }

  #release(): Socket {
    this.socket.removeAllListeners('data')
    return this.socket
  }

  #useInstead(socket: TLSSocket, plain: Socket): void {
    plain.removeAllListeners('close')
    this.socket = socket
    this.restart()
    this.#listen()
  }

  /** The next thing the server sends is a stream's header. */
  restart(): void {
    this.#parser = this.#newParser()
    this.#open = []
    this.#text = ''
  }

  end(): void {
    this.socket.end()
  }

  destroy(): void {
    this.socket.destroy()
  }

  #listen(): void {
    const { socket } = this
    socket.on('data', (chunk: Buffer) => {
      const text = this.#decoder.decode(chunk, { stream: true })
      this.received += text
      this.#parser.write(text)
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      this.isClosed = true
      this.#handler.onClose()
    })
  }

  #newParser(): SaxesParser<{ xmlns: true }> {
    const parser = new SaxesParser({ xmlns: true })
    // Of a stream that is over, nothing is wanted any more.
    const isCurrent = () => this.#parser === parser
    parser.on('error', (error) => {
      if (!isCurrent() || /unclosed tag/.test(error.message)) return
      this.socket.destroy(error)
      throw new Error(`the server sent what is not well-formed: ${error.message}\n${this.received}`)
    })
    parser.on('opentag', (tag) => this.#opened(tag))
    parser.on('text', (text) => {
      this.#text += text
    })
    parser.on('closetag', () => this.#closed(isCurrent))
    return parser
  }

  #opened(tag: SaxesTagNS): void {
    const attributes: Record<string, string> = {}
    for (const [name, attribute] of Object.entries(tag.attributes)) {
      if (name !== 'xmlns' && !name.startsWith('xmlns:'))
        attributes[name] = textOfAttribute(attribute)
    }
    if (this.#open.length > TOP_LEVEL) this.#takeText()
    this.#text = ''
    this.#open.push({ name: tag.local, ns: tag.uri, attributes, children: [] })
    if (this.#open.length === TOP_LEVEL) this.#handler.onHeader({ name: tag.name, attributes })
  }

  #closed(isCurrent: () => boolean): void {
    if (this.#open.length > TOP_LEVEL) this.#takeText()
    const done = this.#open.pop()
    if (done === undefined) return
    if (this.#open.length === 0) return this.#handler.onStreamEnd()
    const element = new Element(done.name, done.ns, done.attributes, done.children)
    if (this.#open.length > TOP_LEVEL) this.#open.at(-1)?.children.push(element)
    else if (isCurrent()) this.#handler.onElement(element)
  }

  #takeText(): void {
    if (this.#text !== '') this.#open.at(-1)?.children.push(this.#text)
    this.#text = ''
  }
}

function textOfAttribute(attribute: SaxesAttributeNS | string): string {
  return typeof attribute === 'string' ? attribute : attribute.value
}

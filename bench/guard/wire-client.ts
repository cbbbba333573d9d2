import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { PASSWORD } from '../targets/target.ts'

const SM = 'urn:xmpp:sm:3'
const HEADER =
  "<?xml version='1.0'?><stream:stream to='localhost' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"

/** Asks for an acknowledgement (XEP-0198 §4). */
export const REQUEST = `<r xmlns='${SM}'/>`

/**
 * A client that sends text and waits for text, and never does anything by itself: what a server does
 * for it depends on nothing else.
 */
export class WireClient {
  readonly #socket: Socket
  /** What came and was not expected yet; ends with a whole tag. */
  #text = ''
  #rest = ''
  /** Stanzas since stream management was enabled. */
  #received = 0
  #sent = 0
  #check: () => void = () => {}

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.setNoDelay(true).setEncoding('latin1')
    socket.on('data', (chunk: string) => this.#read(chunk))
  }

  /** A session with SASL PLAIN; with stream management and carbons if it is `typical`. */
  static async logIn(port: number, account: string, isTypical: boolean): Promise<WireClient> {
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    const client = new WireClient(socket)
    await client.#ask(HEADER, '</stream:features>')
    const credentials = Buffer.from(`\0${account}\0${PASSWORD}`).toString('base64')
    const auth = `<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${credentials}</auth>`
    await client.#ask(auth, '<success')
    await client.#ask(HEADER, '</stream:features>')
    await client.#iq(
      'set',
      "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>r</resource></bind>",
    )
    if (isTypical) {
      await client.#ask(`<enable xmlns='${SM}' resume='true'/>`, '<enabled')
      client.#received = 0
      client.#sent = 0
      await client.#iq('set', "<enable xmlns='urn:xmpp:carbons:2'/>")
    }
    client.write('<presence/>')
    await client.#iq('get', "<ping xmlns='urn:xmpp:ping'/>")
    return client
  }

  write(text: string): void {
    this.#sent += stanzasIn(text)
    this.#socket.write(text)
  }

  /** Resolves once `part` came `count` times since what was expected before. */
  async expect(part: string, count = 1): Promise<void> {
    await this.#until((text) => endOf(text, part, count))
  }

  /** Resolves once the server has acknowledged all that was sent. */
  async acknowledged(): Promise<void> {
    await this.#until((text) => {
      for (const answer of text.matchAll(/<a [^>]*\bh=['"](\d+)['"][^>]*>/g)) {
        if (Number(answer[1]) >= this.#sent) return answer.index + answer[0].length
      }
      return undefined
    })
  }

  /** Acknowledges all that came, and waits until the server has read this. */
  async acknowledge(): Promise<void> {
    this.write(`<a xmlns='${SM}' h='${this.#received}'/>${REQUEST}`)
    await this.acknowledged()
  }

  /** `endIn` finds where that ends which is waited for; all before it is dropped. */
  async #until(endIn: (text: string) => number | undefined): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#check = () => {
      const end = endIn(this.#text)
      if (end === undefined) return
      this.#text = this.#text.slice(end)
      this.#check = () => {}
      resolve()
    }
    this.#check()
    await promise
  }

  async close(): Promise<void> {
    const closed = once(this.#socket, 'close')
    this.#socket.end('</stream:stream>')
    await closed
  }

  async #ask(text: string, answer: string): Promise<void> {
    this.write(text)
    await this.expect(answer)
  }

  async #iq(type: 'get' | 'set', payload: string): Promise<void> {
    await this.#ask(`<iq type='${type}' id='asked'>${payload}</iq>`, 'asked')
  }

  #read(chunk: string): void {
    const text = this.#rest + chunk
    const end = text.lastIndexOf('>') + 1
    const tags = text.slice(0, end)
    this.#rest = text.slice(end)
    this.#received += stanzasIn(tags)
    this.#text += tags
    this.#check()
  }
}

function stanzasIn(text: string): number {
  return text.match(/<(?:message|presence|iq)[ />]/g)?.length ?? 0
}

/** Where the part that comes for the `count`th time ends. */
function endOf(text: string, part: string, count: number): number | undefined {
  let end = 0
  for (let found = 0; found < count; found++) {
    const at = text.indexOf(part, end)
    if (at < 0) return undefined
    end = at + part.length
  }
  return end
}

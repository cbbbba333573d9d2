import { connect, type Socket } from 'node:net'
import { type Frame, XmlStreamParser } from '../../src/xmpp/xml-parser.ts'
import type { Cut } from './plan.ts'
import type { Door } from './stage.ts'

export const DOMAIN = 'im.example.com'
export const PASSWORD = 'wherefore art thou'

const SM_NS = 'urn:xmpp:sm:3'
const STREAMS_NS = 'http://etherx.jabber.org/streams'
/** Stream errors that a client may get without having done anything wrong. */
const BLAMELESS = ['system-shutdown', 'internal-server-error', 'resource-constraint']
const BIND_NS = 'urn:ietf:params:xml:ns:xmpp-bind'
const WRAP = 2 ** 32
const RETRY = 20
const LIMITS = { maxDepth: 20, maxAttributes: 20, maxStanzaSize: 2 ** 20 }

const HEADER = `<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='${STREAMS_NS}' version='1.0' to='${DOMAIN}'>`

/** What the client waits for on its connection. */
type Step = 'features' | 'success' | 'session features' | 'resumed' | 'bound' | 'enabled' | 'none'

export type Figures = {
  cuts: number
  resumed: number
  /** Sessions begun. */
  sessions: number
}

export type ClientOptions = {
  /** Of the account; `s3`. */
  readonly name: string
  readonly door: Door
  readonly figures: Figures
  /** The server broke the protocol. */
  readonly complain: (text: string) => void
}

/** One TCP connection of a client, and how far it got. */
class Link {
  readonly socket: Socket
  readonly parser: XmlStreamParser
  step: Step = 'features'
  /** Called when the server has closed a stream that the client closed. */
  onFarewell: (() => void) | undefined
  /** Whether to begin another session though there is one to resume. */
  readonly isFresh: boolean

  constructor(port: number, isFresh: boolean, handle: (link: Link, frame: Frame) => void) {
    this.isFresh = isFresh
    this.socket = connect({ host: '127.0.0.1', port, noDelay: true })
    this.parser = new XmlStreamParser(
      {
        onStreamStart() {},
        onElement: (frame) => handle(this, frame),
        onStreamEnd: () => {
          this.onFarewell?.()
          this.socket.end()
        },
      },
      LIMITS,
    )
  }

  write(text: string): void {
    this.socket.write(text, 'latin1')
  }
}

/**
 * A client with stream management (XEP-0198) that wants to be online, and comes back as long as it
 * does: it resumes its session if it can, else it begins another.
 */
export abstract class Client {
  readonly name: string
  readonly door: Door
  readonly #options: ClientOptions
  #wantsOnline = false
  #link: Link | undefined
  /** Of the session to be resumed; undefined if there is none. */
  #previd: string | undefined
  #isConnecting = false
  #retry: NodeJS.Timeout | undefined
  /** Stanzas got on this stream, not wrapped. */
  #got = 0
  isOnline = false

  constructor(options: ClientOptions) {
    this.name = options.name
    this.door = options.door
    this.#options = options
    this.door.onForsaken = () => this.cut('dead', RETRY)
  }

  protected get h(): number {
    return this.#got
  }

  /** What is sent with a new session. */
  protected abstract readonly greeting: string

  protected abstract onStanza(frame: Frame): void
  /** Of this stream's stanzas the server has handled `h`. */
  protected abstract onHandled(h: number): void
  protected abstract onAsked(): void
  protected abstract onOnline(isResumed: boolean): void
  /** The stream cannot be resumed. */
  protected abstract onSessionLost(): void
  protected onOffline(): void {}
  /** From now on it may get what is lost with its connection, until it is online. */
  protected onUnprotected(): void {}
  /** A stanza came before stream management was enabled. */
  protected abstract onStray(frame: Frame): void
  /** The last chance to write; the returned function is called if the server got all of that. */
  protected onLeaving(): (() => void) | undefined {
    return undefined
  }

  protected write(text: string): void {
    this.#link?.write(text)
  }

  protected complain(text: string): void {
    this.#options.complain(`${this.name}: ${text}`)
  }

  // --- What happens to it.

  goOnline(): void {
    this.#wantsOnline = true
    if (this.#link === undefined) this.#connect(false)
  }

  /** The socket dies; it comes back after `away` milliseconds. */
  cut(how: Cut, away: number): void {
    const link = this.#link
    if (link === undefined) return
    this.#options.figures.cuts++
    this.#stayAway(away)
    if (how === 'dead') {
      // The server does not notice, and goes on sending to where nobody reads.
      link.socket.pause()
      this.#drop(link)
      setTimeout(() => link.socket.destroy(), away)
      return
    }
    if (how === 'half-sent') {
      link.write(`<message type='chat' to='r0@${DOMAIN}'><body>this is not all of`)
      link.socket.end()
    }
    this.#drop(link)
    if (how === 'reset') link.socket.resetAndDestroy()
    else if (how === 'close') link.socket.destroy()
    // What was written goes out still.
    else setTimeout(() => link.socket.destroy(), RETRY)
  }

  /** Another connection, on which to resume the session, or to begin another. */
  connectAnew(isFresh: boolean): void {
    if (!this.isOnline) return
    this.#connect(isFresh)
  }

  leave(away: number): void {
    const link = this.#link
    if (link === undefined) return
    this.#stayAway(away)
    if (this.isOnline) link.onFarewell = this.onLeaving()
    link.write('</stream:stream>')
    this.#drop(link)
    link.socket.resume()
    this.#endSession()
  }

  offend(away: number): void {
    const link = this.#link
    if (link === undefined) return
    this.#stayAway(away)
    link.write('<message></presence>')
    this.#drop(link)
    link.socket.resume()
    this.#endSession()
  }

  /** For good. */
  stop(): void {
    this.#wantsOnline = false
    clearTimeout(this.#retry)
    const link = this.#link
    if (link === undefined) return
    this.#drop(link)
    link.socket.destroy()
  }

  /** It does not read. */
  stall(lasting: number): void {
    const socket = this.#link?.socket
    if (socket === undefined) return
    socket.pause()
    setTimeout(() => socket.resume(), lasting).unref()
  }

  // --- Connecting.

  #stayAway(away: number): void {
    this.#wantsOnline = false
    setTimeout(() => this.goOnline(), away)
  }

  #connect(isFresh: boolean): void {
    if (this.#isConnecting || (this.#link !== undefined && !this.isOnline)) return
    if (this.#link !== undefined && !isFresh && this.#previd === undefined) return
    this.#isConnecting = true
    clearTimeout(this.#retry)
    void this.door.address().then((port) => {
      this.#isConnecting = false
      const old = this.#link
      if (!this.#wantsOnline || (old !== undefined && !this.isOnline)) return
      if (old !== undefined) this.#leaveBehind(old)
      const link = new Link(port, isFresh, (of, frame) => this.#handle(of, frame))
      this.#link = link
      link.socket.on('data', (chunk: Buffer) => this.#read(link, chunk))
      link.socket.on('error', () => {})
      link.socket.on('close', () => this.#closed(link))
      link.write(HEADER)
      this.#expect(link)
    })
  }

  /** A node that says nothing is left for another. */
  #expect(link: Link): void {
    const { patience } = this.door
    if (patience === 0) return
    const giveUp = () => {
      if (this.#link === link && !this.isOnline) link.socket.destroy()
    }
    setTimeout(giveUp, patience).unref()
  }

  /** The server is to find out by itself that the client has another connection. */
  #leaveBehind(link: Link): void {
    this.#drop(link)
    link.socket.resume()
    setTimeout(() => link.socket.destroy(), 10_000).unref()
  }

  #drop(link: Link): void {
    if (this.#link !== link) return
    this.#link = undefined
    const wasOnline = this.isOnline
    this.isOnline = false
    if (wasOnline) this.onOffline()
  }

  #closed(link: Link): void {
    if (this.#link !== link) return
    this.#drop(link)
    if (this.#wantsOnline) this.#retry = setTimeout(() => this.#connect(false), RETRY)
  }

  #read(link: Link, chunk: Buffer): void {
    if (this.#link !== link && link.onFarewell === undefined) return
    try {
      link.parser.push(chunk)
    } catch (error) {
      this.complain(`got what is no XMPP: ${error}`)
      link.socket.destroy()
    }
    if (this.#link === link && this.isOnline) this.onChunk()
  }

  /** All of what came at once was handled. */
  protected onChunk(): void {}

  #handle(link: Link, frame: Frame): void {
    if (this.#link !== link) return
    if (frame.name === 'error' && frame.ns === STREAMS_NS) return this.#failed(frame)
    if (this.isOnline) return this.#handleOnline(link, frame)
    if (frame.ns === 'jabber:client' && frame.attribute('id') !== 'bind') return this.onStray(frame)
    switch (link.step) {
      case 'features': {
        const initial = Buffer.from(`\0${this.name}\0${PASSWORD}`).toString('base64')
        link.write(
          `<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${initial}</auth>`,
        )
        link.step = 'success'
        return
      }
      case 'success':
        if (frame.name !== 'success') {
          if (!frame.payload.includes('temporary-auth-failure')) this.#refused('log in', frame)
          link.socket.destroy()
          return
        }
        link.parser.reset()
        link.write(HEADER)
        link.step = 'session features'
        return
      case 'session features':
        if (this.#previd !== undefined && !link.isFresh) {
          link.write(`<resume xmlns='${SM_NS}' h='${this.#got % WRAP}' previd='${this.#previd}'/>`)
          link.step = 'resumed'
        } else this.#bind(link)
        return
      case 'resumed':
        if (frame.name === 'resumed') this.#resumed(link, frame)
        else if (frame.name === 'failed') {
          const h = frame.attribute('h')
          if (h !== undefined) this.onHandled(Number(h))
          this.#bind(link)
        } else this.#refused('resume', frame)
        return
      case 'bound':
        if (frame.attribute('type') !== 'result') return this.#refused('bind', frame)
        link.step = 'enabled'
        return
      case 'enabled':
        if (frame.name === 'enabled') this.#enabled(link, frame)
        else this.#refused('enable', frame)
    }
  }

  #refused(what: string, { name, payload }: Frame): void {
    this.complain(`cannot ${what}: <${name}>${payload}</${name}>`)
  }

  #failed({ payload }: Frame): void {
    // Nodes that cannot reach one another may find out late that it has gone from one to the other.
    const blameless = this.door.patience === 0 ? BLAMELESS : [...BLAMELESS, 'conflict']
    if (!blameless.some((condition) => payload.includes(`<${condition} `))) {
      this.complain(`got a stream error: ${payload}`)
    }
  }

  #bind(link: Link): void {
    this.#endSession()
    // In one go, so that nothing comes that is not counted.
    link.write(
      `<iq type='set' id='bind'><bind xmlns='${BIND_NS}'><resource>here</resource></bind></iq>` +
        `<enable xmlns='${SM_NS}' resume='true'/>`,
    )
    link.step = 'bound'
    this.onUnprotected()
  }

  #enabled(link: Link, frame: Frame): void {
    this.#previd = frame.attribute('id')
    this.#got = 0
    this.#options.figures.sessions++
    link.step = 'none'
    link.write(this.greeting)
    this.isOnline = true
    this.onOnline(false)
  }

  #resumed(link: Link, frame: Frame): void {
    this.#options.figures.resumed++
    link.step = 'none'
    const h = Number(frame.attribute('h'))
    // Nothing of this stream was handled: not even what it began with.
    if (h === 0) link.write(this.greeting)
    this.onHandled(h)
    this.isOnline = true
    this.onOnline(true)
  }

  #endSession(): void {
    if (this.#previd === undefined) return
    this.#previd = undefined
    this.onSessionLost()
  }

  #handleOnline(link: Link, frame: Frame): void {
    const { name, ns } = frame
    if (ns === 'jabber:client') {
      this.#got++
      if (name === 'iq' && frame.attribute('type') === 'get') {
        link.write(`<iq type='result' id='${frame.attribute('id')}' to='${DOMAIN}'/>`)
        this.onAnswered()
      } else this.onStanza(frame)
    } else if (ns === SM_NS) {
      if (name === 'r') this.onAsked()
      else if (name === 'a') this.onHandled(Number(frame.attribute('h')))
    }
  }

  /** It sent one stanza by itself. */
  protected onAnswered(): void {}
}

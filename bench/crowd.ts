import { connect, type Socket } from 'node:net'
import { performance } from 'node:perf_hooks'
import { setTimeout as delay } from 'node:timers/promises'
import { decode } from '../src/xmpp/octets.ts'
import { type Frame, type StreamHandler, XmlStreamParser } from '../src/xmpp/xml-parser.ts'
import { ScramClient } from '../test/support/scram-client.ts'
import { PASSWORD } from './targets/target.ts'

const DOMAIN = 'localhost'
const SM = "xmlns='urn:xmpp:sm:3'"
const LIMITS = { maxStanzaSize: 1_000_000, maxDepth: 100, maxAttributes: 100 }
const SASL = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'"
const MECHANISM = 'SCRAM-SHA-256'
/** Logins, and resumptions, that one process has under way at a time. */
const AT_ONCE = 64
const RETRY = 20

/** What clients remember of their passwords. */
const salted = new Map<string, Buffer>()

export type Heard = {
  readonly kind: 'message' | 'presence'
  readonly type: string | undefined
  /** Localpart of the sender. */
  readonly from: string
  readonly id: string | undefined
}

export type MemberOptions = {
  readonly name: string
  readonly port: number
  /** Where it goes when its connection ends; without, it stays away. */
  readonly elsewhere?: number
  readonly hasStreamManagement: boolean
  readonly onHeard?: (heard: Heard, by: Member) => void
}

/**
 * A client of which one process has thousands: SCRAM, no TLS, stream management if wanted, and a session
 * that it resumes elsewhere when its connection ends (XEP-0198 §5).
 */
export class Member implements StreamHandler {
  readonly name: string
  /** Milliseconds from the end of the connection to `<resumed/>`; undefined as long as there was none. */
  resumedAfter: number | undefined
  /** What went wrong: a refused login or resumption. */
  failure: string | undefined
  readonly #options: MemberOptions
  #socket: Socket | undefined
  #parser: XmlStreamParser | undefined
  #port: number
  #scram: ScramClient | undefined
  #previous: string | undefined
  #handled = 0
  #isCounting = false
  #isAuthenticated = false
  #lostAt = 0
  #isLeaving = false
  #ready = Promise.withResolvers<void>()

  constructor(options: MemberOptions) {
    this.name = options.name
    this.#options = options
    this.#port = options.port
  }

  /** Resolves when its presence was handled. */
  async logIn(): Promise<void> {
    this.#connect()
    await this.#ready.promise
  }

  send(text: string): void {
    this.#socket?.write(text)
  }

  leave(): void {
    this.#isLeaving = true
    this.#socket?.destroy()
  }

  #connect(): void {
    this.#isAuthenticated = false
    this.#isCounting = false
    const socket = connect(this.#port, '127.0.0.1')
    const parser = new XmlStreamParser(this, LIMITS)
    this.#socket = socket
    this.#parser = parser
    socket.setNoDelay(true)
    socket.on('connect', () => this.#openStream())
    socket.on('data', (chunk: Buffer) => {
      if (this.#socket === socket) parser.push(chunk)
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      if (this.#socket === socket) void this.#onLost()
    })
  }

  #openStream(): void {
    this.send(
      `<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' ` +
        `to='${DOMAIN}' version='1.0'>`,
    )
  }

  async #onLost(): Promise<void> {
    const { elsewhere } = this.#options
    if (this.#isLeaving || elsewhere === undefined || this.failure !== undefined) return
    if (this.#lostAt === 0) this.#lostAt = performance.now()
    this.#port = elsewhere
    await resumptions.take()
    this.#connect()
  }

  onStreamStart(): void {}

  onStreamEnd(): void {
    this.#socket?.end()
  }

  onElement(frame: Frame): void {
    switch (frame.name) {
      case 'features':
        return this.#onFeatures()
      case 'challenge': {
        const first = Buffer.from(decode(frame.payload), 'base64').toString()
        return this.send(`<response ${SASL}>${base64(this.#scram?.final(first) ?? '')}</response>`)
      }
      case 'success':
        this.#isAuthenticated = true
        this.#parser?.reset()
        return this.#openStream()
      case 'enabled':
        this.#previous = frame.attribute('id')
        this.#isCounting = true
        this.#handled = 0
        return this.send(`<presence/><iq type='get' id='ready'><ping xmlns='urn:xmpp:ping'/></iq>`)
      case 'resumed':
        this.#isCounting = true
        this.resumedAfter = performance.now() - this.#lostAt
        resumptions.giveBack()
        return
      case 'r':
        return this.send(`<a ${SM} h='${this.#handled}'/>`)
      case 'failure':
      case 'failed':
        return this.#fail(`${frame.name}: ${frame.payload}`)
      case 'iq':
      case 'message':
      case 'presence':
        return this.#onStanza(frame)
    }
  }

  #onFeatures(): void {
    if (!this.#isAuthenticated) {
      const credentials = { localpart: this.name, password: PASSWORD }
      this.#scram = new ScramClient(MECHANISM, credentials, undefined, salted)
      this.send(`<auth ${SASL} mechanism='${MECHANISM}'>${base64(this.#scram.first)}</auth>`)
    } else if (this.#previous !== undefined) {
      this.send(`<resume ${SM} previd='${this.#previous}' h='${this.#handled}'/>`)
    } else {
      this.send(
        `<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>` +
          `<resource>crowd</resource></bind></iq>`,
      )
    }
  }

  #onStanza(frame: Frame): void {
    if (this.#isCounting) this.#handled++
    const { name } = frame
    const id = frame.attribute('id')
    if (name === 'iq') return this.#onIq(id)
    const from = frame.attribute('from')?.split('@')[0] ?? ''
    const heard = { kind: name as 'message' | 'presence', type: frame.attribute('type'), from, id }
    this.#options.onHeard?.(heard, this)
  }

  #onIq(id: string | undefined): void {
    if (id === 'ready') return this.#ready.resolve()
    if (id !== 'bind') return
    if (this.#options.hasStreamManagement) return this.send(`<enable ${SM} resume='true'/>`)
    this.send(`<presence/><iq type='get' id='ready'><ping xmlns='urn:xmpp:ping'/></iq>`)
  }

  #fail(failure: string): void {
    this.failure = failure
    this.#ready.reject(new Error(`${this.name}: ${failure}`))
    if (this.#lostAt > 0) resumptions.giveBack()
    this.#socket?.destroy()
  }
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64')
}

/** So many may do something at a time. */
class Turns {
  #free: number
  readonly #waiting: (() => void)[] = []

  constructor(free: number) {
    this.#free = free
  }

  take(): Promise<void> {
    if (this.#free > 0) {
      this.#free--
      return Promise.resolve()
    }
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  giveBack(): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#free++
    else next()
  }
}

const resumptions = new Turns(AT_ONCE)

export async function logInAll(members: readonly Member[]): Promise<void> {
  let next = 0
  const work = async () => {
    while (next < members.length) await (members[next++] as Member).logIn()
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
}

/** Looks now and then until it is so. False: it was not in time. */
export async function comesTrue(
  isSo: () => boolean | Promise<boolean>,
  seconds: number,
): Promise<boolean> {
  const end = performance.now() + seconds * 1_000
  while (!(await isSo())) {
    if (performance.now() > end) return false
    await delay(RETRY)
  }
  return true
}

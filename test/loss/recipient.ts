import type { Frame } from '../../src/xmpp/xml-parser.ts'
import { Client, type ClientOptions, DOMAIN } from './client.ts'
import type { Ledger } from './ledger.ts'
import type { AckHabit } from './plan.ts'
import type { Random } from './random.ts'

const OTHER = -1
const WRAP = 2 ** 32
const MAM_NS = 'urn:xmpp:mam:2'
const PAGE = 250
/** How long a tardy client takes to answer, milliseconds. */
const TARDINESS = 200

export type RecipientOptions = ClientOptions & {
  readonly index: number
  readonly ledger: Ledger
  readonly random: Random
  readonly habit: AckHabit
}

/**
 * Shows messages, and acknowledges stanzas once they are processed. Behind an acknowledgement it
 * pings: the answer proves that the server has seen it.
 */
export class Recipient extends Client {
  protected readonly greeting = '<presence/>'
  readonly #options: RecipientOptions
  #stream = 0
  /** Whether its presence has taken effect. */
  #isAvailable = false
  /** Transmissions by place in the stream, from the first that the server may not know of. */
  #unknown: number[] = []
  /** Count of stanzas before those. */
  #known = 0
  #acknowledged = 0
  /** The count that the open ping proves; undefined: none is open. */
  #pinged: number | undefined
  #protect: (() => void) | undefined
  #answering: NodeJS.Timeout | undefined
  #audit: PromiseWithResolvers<void> | undefined
  #pong: PromiseWithResolvers<void> | undefined

  constructor(options: RecipientOptions) {
    super(options)
    this.#options = options
  }

  /** Pages through the archive. */
  audit(): Promise<void> {
    this.#audit = Promise.withResolvers()
    this.#askForPage('')
    return this.#audit.promise
  }

  /** Resolves when all that the server has for it has come. */
  roundTrip(): Promise<void> {
    this.#pong = Promise.withResolvers()
    this.write(`<iq type='get' id='last' to='${DOMAIN}'><ping xmlns='urn:xmpp:ping'/></iq>`)
    return this.#pong.promise
  }

  protected onStanza(frame: Frame): void {
    const { payload } = frame
    if (frame.name === 'message' && payload.startsWith('<body>')) {
      this.#unknown.push(this.#show(frame, this.#stream))
      return
    }
    this.#unknown.push(OTHER)
    if (frame.name === 'presence') this.#isAvailable = true
    else if (frame.name === 'message' && payload.startsWith('<result')) this.#archived(payload)
    else if (frame.name === 'iq') this.#answered(frame)
  }

  protected onStray(frame: Frame): void {
    if (!frame.payload.startsWith('<body>')) return
    const { ledger } = this.#options
    const stream = ledger.beginStream()
    ledger.endStream(stream)
    this.#show(frame, stream)
  }

  #show({ payload }: Frame, stream: number): number {
    const transmission = Number.parseInt(payload.slice('<body>'.length, 20), 10)
    const { ledger, index } = this.#options
    ledger.show(transmission, { recipient: index, stream, isAvailable: this.#isAvailable })
    return transmission
  }

  // --- Acknowledgements.

  protected override onChunk(): void {
    if (this.#options.habit === 'eager' && this.h > this.#acknowledged) this.#acknowledge()
  }

  protected onAsked(): void {
    const { habit, random } = this.#options
    if (habit !== 'tardy') return this.#acknowledge()
    this.#answering ??= setTimeout(() => this.#acknowledge(), random.skewed(TARDINESS))
  }

  #acknowledge(): void {
    clearTimeout(this.#answering)
    this.#answering = undefined
    if (!this.isOnline) return
    const { h } = this
    this.#acknowledged = h
    for (const transmission of this.#unknown) {
      if (transmission !== OTHER) this.#options.ledger.told(transmission)
    }
    this.write(`<a xmlns='urn:xmpp:sm:3' h='${h % WRAP}'/>`)
    if (this.#pinged !== undefined || this.#unknown.every((place) => place === OTHER)) return
    this.#pinged = h
    this.write(`<iq type='get' id='p${h}' to='${DOMAIN}'><ping xmlns='urn:xmpp:ping'/></iq>`)
  }

  #answered(frame: Frame): void {
    const id = frame.attribute('id') ?? ''
    if (id === `p${this.#pinged}`) {
      this.#prove(this.#pinged as number)
      this.#pinged = undefined
    } else if (id === 'last') this.#pong?.resolve()
    else if (id === 'audit') this.#endOfPage(frame)
  }

  /** The server knows that the client has got so many stanzas. */
  #prove(count: number): void {
    const proven = this.#unknown.splice(0, count - this.#known)
    this.#known = count
    this.#know(proven)
  }

  #know(transmissions: readonly number[]): void {
    for (const transmission of transmissions) {
      if (transmission !== OTHER) this.#options.ledger.known(transmission)
    }
  }

  // --- Sessions.

  protected override onUnprotected(): void {
    this.#protect = this.#options.ledger.expose(this.#options.index)
  }

  protected onOnline(isResumed: boolean): void {
    this.#protect?.()
    this.#pinged = undefined
    if (isResumed) return this.#prove(this.h)
    this.#known = 0
    this.#acknowledged = 0
    this.#stream = this.#options.ledger.beginStream()
  }

  protected onSessionLost(): void {
    this.#options.ledger.endStream(this.#stream)
    this.#unknown = []
    this.#isAvailable = false
  }

  protected override onLeaving(): () => void {
    this.#acknowledge()
    const all = this.#unknown
    return () => this.#know(all)
  }

  /** A client neither acknowledges nor claims anything but with its own stanzas. */
  protected onHandled(): void {}

  // --- Archive.

  #askForPage(after: string): void {
    const from = after === '' ? '' : `<after>${after}</after>`
    this.write(
      `<iq type='set' id='audit'><query xmlns='${MAM_NS}'>` +
        `<set xmlns='http://jabber.org/protocol/rsm'><max>${PAGE}</max>${from}</set></query></iq>`,
    )
  }

  #archived(payload: string): void {
    const body = payload.indexOf('<body>')
    const transmission = Number.parseInt(payload.slice(body + '<body>'.length, body + 20), 10)
    this.#options.ledger.archive(transmission, this.#options.index)
  }

  #endOfPage({ payload }: Frame): void {
    const last = /<last>([^<]*)<\/last>/.exec(payload)?.[1]
    if (!payload.includes('<fin ')) this.complain(`archive: ${payload}`)
    else if (!/complete=.true/.test(payload) && last !== undefined) return this.#askForPage(last)
    this.#audit?.resolve()
  }
}

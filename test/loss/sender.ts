import type { Frame } from '../../src/xmpp/xml-parser.ts'
import { Client, type ClientOptions, DOMAIN } from './client.ts'
import type { Ledger } from './ledger.ts'
import type { Random } from './random.ts'

/** What takes a place in the stream and is no message. */
const OTHER = -1
const WRAP = 2 ** 32
const REQUEST = "<r xmlns='urn:xmpp:sm:3'/>"
const LONGEST_BATCH = 30
const FILLING = 'lorem ipsum dolor sit amet '.repeat(10)

export type SenderOptions = ClientOptions & {
  readonly index: number
  readonly ledger: Ledger
  readonly random: Random
  readonly window: number
  /** The recipient of one more message; undefined: none is to be sent now. */
  readonly nextRecipient: () => number | undefined
}

/** Sends messages, and those again that were not acknowledged. */
export class Sender extends Client {
  protected readonly greeting = ''
  readonly #options: SenderOptions
  /** Transmissions on this stream that are not acknowledged, oldest first. */
  #unacknowledged: number[] = []
  #handled = 0
  /** Messages to be sent again, oldest first. */
  #again: number[] = []
  #isPumping = false

  constructor(options: SenderOptions) {
    super(options)
    this.#options = options
  }

  /** All that was sent is acknowledged. */
  get isDone(): boolean {
    return this.#unacknowledged.length === 0 && this.#again.length === 0
  }

  /** Sends as much as it may. */
  pump(): void {
    if (!this.isOnline || this.#isPumping) return
    this.#isPumping = true
    const { window, random } = this.#options
    while (this.isOnline && this.#unacknowledged.length < window) {
      const room = window - this.#unacknowledged.length
      const text = this.#batch(Math.min(room, random.whole(1, LONGEST_BATCH)))
      if (text === '') break
      this.write(text + REQUEST)
    }
    this.#isPumping = false
  }

  #batch(size: number): string {
    let text = ''
    for (let i = 0; i < size; i++) {
      const message = this.#next()
      if (message === undefined) break
      const isDirect = this.#options.random.next() < 0.5
      const transmission = this.#options.ledger.transmit(message, isDirect, this.door.node)
      this.#unacknowledged.push(transmission)
      text += this.#message(message, transmission, isDirect)
    }
    return text
  }

  #next(): number | undefined {
    const { ledger, index, nextRecipient } = this.#options
    while (this.#again.length > 0) {
      const message = this.#again.shift() as number
      if (!ledger.isDone(message)) return message
    }
    const recipient = nextRecipient()
    return recipient === undefined ? undefined : ledger.compose(index, recipient)
  }

  #message(message: number, transmission: number, isDirect: boolean): string {
    const { ledger, random } = this.#options
    const to = `r${ledger.recipientOf(message)}@${DOMAIN}${isDirect ? '/here' : ''}`
    const filling = FILLING.slice(0, random.skewed(FILLING.length))
    return `<message type='chat' id='${this.name}-${message}' to='${to}'><body>${transmission} ${filling}</body></message>`
  }

  protected onHandled(h: number): void {
    const count = (h - (this.#handled % WRAP) + WRAP) % WRAP
    if (!(count <= this.#unacknowledged.length)) {
      this.complain(`h=${h}, but ${this.#handled + this.#unacknowledged.length} were sent`)
      return
    }
    for (let i = 0; i < count; i++) {
      const transmission = this.#unacknowledged[i] as number
      if (transmission !== OTHER) this.#options.ledger.acknowledge(transmission)
    }
    this.#unacknowledged.splice(0, count)
    this.#handled += count
    this.pump()
  }

  protected onOnline(isResumed: boolean): void {
    if (isResumed) {
      for (const transmission of this.#unacknowledged) {
        if (transmission !== OTHER) this.#options.ledger.disown(transmission)
      }
    } else this.#handled = 0
    this.#sendAgain()
    this.pump()
  }

  protected onSessionLost(): void {
    this.#sendAgain()
  }

  protected onStanza(frame: Frame): void {
    if (frame.name !== 'message' || frame.attribute('type') !== 'error') return
    const message = Number(frame.attribute('id')?.split('-')[1])
    const condition = /<([a-z-]+) xmlns=.urn:ietf:params:xml:ns:xmpp-stanzas/.exec(frame.payload)
    this.#options.ledger.bounce(message, condition?.[1] ?? frame.payload)
  }

  protected onStray(frame: Frame): void {
    this.onStanza(frame)
  }

  protected onAsked(): void {
    this.write(`<a xmlns='urn:xmpp:sm:3' h='${this.h % WRAP}'/>`)
  }

  protected override onAnswered(): void {
    this.#unacknowledged.push(OTHER)
    this.write(REQUEST)
  }

  #sendAgain(): void {
    const { ledger } = this.#options
    const messages = this.#unacknowledged
      .filter((transmission) => transmission !== OTHER)
      .map((transmission) => ledger.messageOf(transmission))
    this.#again = [...messages, ...this.#again]
    this.#unacknowledged = []
  }
}

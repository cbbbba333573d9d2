import type { Connection } from '../connection/connection.ts'
import { PairLanes } from '../core/pair-lanes.ts'
import type { Octets } from '../xmpp/octets.ts'
import { StreamError } from '../xmpp/stream-error.ts'
import { ENABLE, readCount, resume, SM_NS } from '../xmpp/stream-management.ts'
import type { Frame } from '../xmpp/xml-parser.ts'
import { isTrue } from '../xmpp/xml-schema.ts'
import type { Features } from './features.ts'
import { acknowledge, finish, Ledger } from './ledger.ts'
import type { Pair } from './proofs.ts'
import { Traffic, type TrafficParts } from './traffic.ts'

/** Whose stanzas are sent. */
export interface Sender {
  /** What an earlier stream has sent and not had acknowledged. */
  readonly ledger: Ledger | undefined
  /** The peer is asked to go on with that, and answers later. */
  onResuming(): void
  /** The earlier stream cannot be gone on with, and what of it arrived will not be known. */
  onNotResumed(): void
}

type Options = {
  readonly connection: Connection
  readonly pair: Pair
  readonly sender: Sender
  readonly features: Features
  readonly lang: Octets | undefined
  /** Stanzas may come, too (XEP-0288). */
  readonly isTwoWay: boolean
  readonly parts: TrafficParts
  /** Closes the stream in order. */
  readonly close: () => void
  /** Stanzas may flow. What `ledger` held is settled: sent again, or not to be had back. */
  readonly onOpen: (traffic: Traffic) => void
}

/** How long what came in on an earlier stream may take to settle, milliseconds. */
const PATIENCE = 5_000

/**
 * The stanzas of a stream that we have opened, from when the other server has let us in: counted, if it
 * can (XEP-0198), and as an earlier stream was, if there is one to go on with.
 */
export class OutgoingTraffic {
  readonly #options: Options
  readonly #lanes = new PairLanes()
  #state: 'resuming' | 'enabling' | 'open' = 'open'
  /** When the state began, milliseconds since the epoch. */
  #since = Date.now()
  /** What comes the other way, also before we may send. */
  #incoming: Traffic
  /** From when we may send. */
  current: Traffic | undefined

  constructor(options: Options) {
    this.#options = options
    this.#incoming = this.#newTraffic()
  }

  /** Stanzas have gone either way. */
  get wasUsed(): boolean {
    const { sent, received } = this.current?.ledger ?? {}
    return (sent?.sent ?? 0) > 0 || (received?.h ?? 0) > 0
  }

  /** The peer owes an answer since then. */
  isStuckSince(time: number): boolean {
    return this.#state !== 'open' && this.#since <= time
  }

  begin(): void {
    const { sender, features, connection } = this.#options
    const { ledger } = sender
    if (!features.has('sm', SM_NS)) {
      if (ledger !== undefined) sender.onNotResumed()
      return this.#open()
    }
    if (ledger?.id === undefined) return this.#enable()
    this.#state = 'resuming'
    sender.onResuming()
    const previd = ledger.id
    // What is being decided upon is not to come again.
    const ready = ledger.received.settle(PATIENCE)
    void ready.then(() => {
      const { h } = ledger.received
      connection.write(resume(previd, h))
    })
  }

  receive(frame: Frame): void {
    this.#incoming.receive(frame)
  }

  /** Stream management. */
  manage(frame: Frame): void {
    const traffic = this.current
    if (traffic === undefined) return this.#agree(frame)
    if (frame.name === 'r') return traffic.answerRequest()
    if (frame.name === 'a') return traffic.takeAnswer(readCount(frame.attribute('h')))
    throw new StreamError('unsupported-stanza-type', `<${frame.name}/> is not supported`)
  }

  #enable(): void {
    this.#state = 'enabling'
    this.#since = Date.now()
    this.#options.connection.write(ENABLE)
  }

  #agree(frame: Frame): void {
    const { sender } = this.#options
    const { ledger } = sender
    const h = readCount(frame.attribute('h'))
    if (this.#state === 'enabling') {
      if (frame.name === 'failed') return this.#open()
      if (frame.name !== 'enabled') throw new StreamError('policy-violation')
      const fresh = new Ledger()
      fresh.id = isTrue(frame.attribute('resume')) ? frame.attribute('id') : undefined
      return this.#open(fresh)
    }
    if (this.#state !== 'resuming' || ledger === undefined) {
      throw new StreamError('policy-violation')
    }
    if (frame.name === 'resumed') {
      acknowledge(ledger.sent, h)
      return this.#open(ledger)
    }
    if (frame.name !== 'failed') throw new StreamError('policy-violation')
    if (h !== undefined && ledger.sent.covers(h)) ledger.sent.acknowledge(h, finish)
    sender.onNotResumed()
    this.#enable()
  }

  #open(ledger?: Ledger): void {
    this.#state = 'open'
    const traffic = this.#newTraffic(ledger)
    this.#incoming = traffic
    this.current = traffic
    if (ledger !== undefined) traffic.manage()
    this.#options.onOpen(traffic)
  }

  #newTraffic(ledger = new Ledger()): Traffic {
    const { connection, parts, pair, lang, isTwoWay, features, close } = this.#options
    const accepts = (from: string, to: string) => this.#accept(from, to)
    const { maxSize } = features
    const lanes = this.#lanes
    const options = { pair, accepts, lang, lanes, close, maxSize, ledger, isTwoWay }
    return new Traffic(connection, parts, options)
  }

  #accept(from: string, to: string): void {
    const { pair, isTwoWay } = this.#options
    if (!isTwoWay) throw new StreamError('not-authorized')
    if (from !== pair.remote) throw new StreamError('invalid-from')
    if (to !== pair.local) throw new StreamError('host-unknown')
  }
}

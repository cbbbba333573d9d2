import type { Connection } from '../connection/connection.ts'
import type { Maybe } from '../core/maybe.ts'
import { PairLanes } from '../core/pair-lanes.ts'
import type { Octets } from '../xmpp/octets.ts'
import { StreamError } from '../xmpp/stream-error.ts'
import { enabled, failed, readCount, resumed } from '../xmpp/stream-management.ts'
import type { Frame } from '../xmpp/xml-parser.ts'
import { isTrue } from '../xmpp/xml-schema.ts'
import type { Accepts } from './addresses.ts'
import { type Ending, finish, Ledger } from './ledger.ts'
import type { Pair } from './proofs.ts'
import type { Resumptions } from './resumptions.ts'
import { Traffic, type TrafficParts } from './traffic.ts'

/** Whose stanzas go the other way. */
export interface WayBack {
  /** Whether stanzas of ours may go out on a connection. */
  maySendOn(connection: Connection): boolean
  /** Within so many milliseconds there may be a connection for stanzas of the pair. */
  expect(pair: Pair, ms: number): void
  /** Stanzas for the pair may be sent on this connection, too. */
  adopt(pair: Pair, traffic: Traffic): void
}

type Options = {
  readonly connection: Connection
  /** The first that was proved: the one that management and the way back are for. */
  readonly pair: Pair
  readonly accepts: Accepts
  readonly lang: Octets | undefined
  readonly parts: TrafficParts
  readonly resumptions: Resumptions
  /** If the peer wants it, and may have it on this connection. */
  readonly wayBack: WayBack | undefined
  /** Closes the stream in order. */
  readonly close: () => void
}

/** How long a peer may take to enable stream management before stanzas go to it without, */
const DECISION = 250
/** and what came in on an earlier stream to settle, milliseconds. */
const PATIENCE = 5_000

/**
 * The stanzas of a stream that another server has opened, from when it has proved a domain: counted
 * from when the peer wants that (XEP-0198), or as an earlier stream was.
 */
export class IncomingTraffic {
  readonly #options: Options
  /** The last one is in use; what was sent on earlier ones may not have arrived yet. */
  readonly #all: Traffic[] = []
  readonly #lanes = new PairLanes()

  constructor(options: Options) {
    this.#options = options
    const traffic = this.#begin(new Ledger())
    const { wayBack, pair } = options
    if (wayBack === undefined) return
    wayBack.expect(pair, DECISION)
    setTimeout(() => this.#offer(traffic), DECISION).unref()
  }

  get current(): Traffic {
    return this.#all.at(-1) as Traffic
  }

  /** Stanzas flow from here on, under this count. */
  #begin(ledger: Ledger): Traffic {
    const { connection, pair, parts, accepts, lang, close } = this.#options
    const lanes = this.#lanes
    const traffic = new Traffic(connection, parts, { pair, accepts, lang, lanes, close, ledger })
    this.#all.push(traffic)
    return traffic
  }

  /** The way back, if the peer wants it. */
  #offer(traffic: Traffic): void {
    if (traffic !== this.current || traffic.isOver) return
    this.#options.wayBack?.adopt(this.#options.pair, traffic)
  }

  /** Stream management. A promise while the stream has to wait. */
  manage(frame: Frame): Maybe<void> {
    const traffic = this.current
    switch (frame.name) {
      case 'r':
        if (!traffic.isManaged) throw new StreamError('policy-violation')
        return traffic.answerRequest()
      case 'a':
        traffic.takeAnswer(readCount(frame.attribute('h')))
        // It has read what came before the count began.
        for (const earlier of this.#all) if (earlier !== traffic) earlier.allArrived()
        // Only now it is certain that the peer knows by what to resume.
        if (traffic.owner === undefined) this.#offer(traffic)
        return
      case 'enable':
        return this.#enable(frame, traffic)
      case 'resume':
        return this.#resume(frame, traffic)
      default:
        throw new StreamError('unsupported-stanza-type')
    }
  }

  #enable(frame: Frame, before: Traffic): void {
    const { connection, resumptions, pair } = this.#options
    // XEP-0198 §3.
    if (before.isManaged) {
      throw new StreamError('policy-violation', 'Stream management is enabled already')
    }
    const ledger = new Ledger()
    if (isTrue(frame.attribute('resume'))) ledger.id = resumptions.newId()
    connection.write(enabled({ id: ledger.id, max: Math.floor(resumptions.patience / 1_000) }))
    const traffic = this.#begin(ledger)
    traffic.manage()
    resumptions.put(pair, traffic)
    // What is on its way is counted by the peer from here on, too.
    if (before.owner !== undefined) this.#offer(traffic)
    traffic.request()
  }

  #resume(frame: Frame, before: Traffic): Maybe<void> {
    const { connection, resumptions, pair, wayBack } = this.#options
    const h = readCount(frame.attribute('h'))
    if (before.isManaged || h === undefined) return connection.write(failed('unexpected-request'))
    const id = frame.attribute('previd') ?? ''
    const ledger = resumptions.take(pair, id)
    if (ledger === undefined || !ledger.sent.covers(h)) {
      return connection.write(failed('item-not-found'))
    }
    ledger.sent.acknowledge(h, finish)
    // What would have to be sent again has no way on this connection.
    const isRefused = ledger.sent.size > 0 && wayBack === undefined
    // What is being decided upon is not to come again.
    return ledger.received.settle(PATIENCE).then(() => {
      if (!isRefused) return this.#resumed(id, ledger)
      connection.write(failed('item-not-found', ledger.received.h))
    })
  }

  #resumed(previd: string, ledger: Ledger): void {
    const { connection, resumptions, pair } = this.#options
    connection.write(resumed(previd, ledger.received.h))
    const traffic = this.#begin(ledger)
    traffic.manage()
    if (connection.isClosed) traffic.over('lost')
    this.#offer(traffic)
    resumptions.put(pair, traffic)
  }

  over(ending: Ending): void {
    for (const traffic of this.#all) traffic.over(ending)
  }
}

import type { Envelope } from './envelope.ts'
import { Lanes } from './lanes.ts'
import type { Maybe } from './maybe.ts'

/**
 * The stanzas of each pair of sender and recipient keep their order (RFC 6120 §10.1); those of others
 * go on. Of whom they are is only looked at while something is going on: mostly nothing is.
 */
export class PairLanes {
  readonly #lanes = new Lanes()

  /** Does `work` when all that was given of the same pair before is done. */
  run<T>(envelope: Envelope, work: (envelope: Envelope) => Maybe<T>): Maybe<T> {
    const lanes = this.#lanes
    if (lanes.size > 0) return lanes.run(laneOf(envelope), () => work(envelope))
    const result = work(envelope)
    if (result instanceof Promise) lanes.follow(laneOf(envelope), result)
    return result
  }

  /** Does `work` behind what is going on of the same pair; what comes later does not wait for it. */
  runAside<T>(envelope: Envelope, work: (envelope: Envelope) => Maybe<T>): Maybe<T> {
    const lanes = this.#lanes
    if (lanes.size === 0) return work(envelope)
    return lanes.runAside(laneOf(envelope), () => work(envelope))
  }
}

function laneOf({ from, to }: Envelope): string {
  return `${from.bare} ${to.bare}`
}

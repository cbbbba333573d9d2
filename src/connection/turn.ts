import type { Connection } from './connection.ts'

/**
 * Output that is not held back until the end of the turn, in octets. More of it lives so long that it is
 * copied by one collection after the other.
 */
const MOST = 64 * 1024
/**
 * Input that is taken in one turn from whomever it comes, and from each peer when there is more, in octets. Who
 * takes all that waits on many connections makes so much of it at once that it outlives young collections:
 * it then costs twice as much, and a server that is behind stays so.
 */
const PLENTY = 64 * 1024
const SHARE = 4 * 1024

/**
 * What is taken of sockets and given to them in one turn of the event loop. Gathers the connections that got
 * output and flushes each once, after all sockets that were readable have been read; earlier where there is
 * much.
 */
export class Turn {
  #waiting: Connection[] = []
  #spare: Connection[] = []
  #isScheduled = false
  /** Octets of input in this turn. */
  #taken = 0
  /** Octets that were written since the last flush. */
  written = 0
  readonly #run = () => {
    this.#isScheduled = false
    this.#taken = 0
    this.flush()
  }

  add(connection: Connection): void {
    this.#waiting.push(connection)
    this.#schedule()
  }

  /** How many of so many octets, which have come in on one connection, are to be taken in this turn. */
  shareOf(octets: number): number {
    const share = this.#taken < PLENTY ? octets : Math.min(octets, SHARE)
    this.#taken += share
    this.#schedule()
    return share
  }

  #schedule(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    setImmediate(this.#run)
  }

  /** All that came in on one connection is dealt with, as far as it can be. */
  relieve(): void {
    if (this.written >= MOST) this.flush()
  }

  flush(): void {
    const connections = this.#waiting
    this.#waiting = this.#spare
    this.written = 0
    for (const connection of connections) connection.flush()
    connections.length = 0
    this.#spare = connections
  }
}

import type { Connection } from './connection.ts'

/**
 * Output that is not held back until the end of the turn, in octets. More of it lives so long that it is
 * copied by one collection after the other.
 */
const MOST = 64 * 1024

/**
 * Gathers the connections that got output in this turn of the event loop and flushes each once,
 * after all sockets that were readable have been read; earlier where there is much.
 */
export class WriteTurn {
  #waiting: Connection[] = []
  #spare: Connection[] = []
  #isScheduled = false
  /** Octets that were written since the last flush. */
  written = 0
  readonly #run = () => {
    this.#isScheduled = false
    this.flush()
  }

  add(connection: Connection): void {
    this.#waiting.push(connection)
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

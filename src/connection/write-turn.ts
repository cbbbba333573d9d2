import type { Connection } from './connection.ts'

/**
 * Gathers the connections that got output in this turn of the event loop and flushes each once,
 * after all sockets that were readable have been read.
 */
export class WriteTurn {
  #waiting: Connection[] = []
  #spare: Connection[] = []
  readonly #run = () => this.flush()

  add(connection: Connection): void {
    if (this.#waiting.push(connection) === 1) setImmediate(this.#run)
  }

  flush(): void {
    const connections = this.#waiting
    this.#waiting = this.#spare
    for (const connection of connections) connection.flush()
    connections.length = 0
    this.#spare = connections
  }
}

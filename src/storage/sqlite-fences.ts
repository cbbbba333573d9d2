import type { NodeRun } from '../core/cluster.ts'
import type { Fences } from '../core/fences.ts'
import { lastShutOut, SHUT_OUT } from './fences.ts'
import type { SqliteQueue } from './sqlite-queue.ts'

/**
 * Whoever shuts a run out says so in a table. Each transaction of a run that writes looks into that table
 * first. As SQLite has one writer at a time, the transaction is over when the run is shut out, or sees that
 * it is.
 */
export class SqliteFences implements Fences {
  readonly #queue: SqliteQueue

  constructor(queue: SqliteQueue) {
    this.#queue = queue
  }

  lastOf(node: string): Promise<number> {
    return lastShutOut(this.#queue, node)
  }

  async enter(run: NodeRun, onShutOut: () => void): Promise<void> {
    await this.#queue.enter(run, onShutOut)
    if ((await this.lastOf(run.node)) >= run.epoch) onShutOut()
  }

  leave(): Promise<void> {
    return this.#queue.leave()
  }

  async shutOut({ node, epoch }: NodeRun): Promise<void> {
    await this.#queue.write(SHUT_OUT, [node, epoch], () => {})
  }
}

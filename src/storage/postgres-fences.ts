import type { NodeRun } from '../core/cluster.ts'
import type { Fences } from '../core/fences.ts'
import { StorageError } from '../core/storage.ts'
import { lastShutOut, SHUT_OUT } from './fences.ts'
import type { PostgresLink } from './postgres-link.ts'
import { END_TIMEOUT, runLock } from './postgres-session.ts'
import type { StorageQueue } from './queued-storage.ts'
import { toRows } from './statements.ts'

const [RUN, SCHEMA] = runLock('?')
const ENTER = `select pg_advisory_lock_shared(${RUN}, ${SCHEMA})::text as entered`
const LEAVE = `select pg_advisory_unlock_shared(${RUN}, ${SCHEMA})::text as has_left`
const BEGIN = 'insert into node_run (node, epoch) values (?, ?) on conflict do nothing'
const FORGET = 'delete from node_run where node = ? and epoch <= ?'
const [EACH_RUN] = runLock("node || ' ' || epoch")
const END = `select pg_terminate_backend(pid, ${END_TIMEOUT})::text as ended from pg_locks
  where locktype = 'advisory' and objid = cast(${SCHEMA} as oid) and objsubid = 2
    and classid in (select cast(${EACH_RUN} as oid) from node_run where node = ? and epoch <= ?)
    and database = (select oid from pg_database where datname = current_database())`

/**
 * A run's connection that writes holds a lock named after it. Whoever shuts the run out says so in a
 * table, and then has the server end the connection that holds the lock. Each new connection takes the lock
 * first and looks into the table then; so one that is not ended has seen what the table says. Earlier runs of
 * the node, which may be paused, are known from another table, and meant as well. To those that are not shut
 * out all this costs nothing.
 */
export class PostgresFences implements Fences {
  readonly #queue: StorageQueue
  readonly #link: PostgresLink
  #run: NodeRun | undefined

  constructor(queue: StorageQueue, link: PostgresLink) {
    this.#queue = queue
    this.#link = link
  }

  lastOf(node: string): Promise<number> {
    return lastShutOut(this.#queue, node)
  }

  async enter(run: NodeRun, onShutOut: () => void): Promise<void> {
    this.#run = run
    this.#link.enter(run, onShutOut)
    await this.#queue.write(BEGIN, [run.node, run.epoch], () => {})
    await this.#queue.write(ENTER, [nameOf(run)], () => {})
    if ((await this.lastOf(run.node)) < run.epoch) return
    onShutOut()
    // There is no other for it.
    this.#link.session?.destroy()
  }

  async leave(): Promise<void> {
    if (this.#run === undefined) return
    const name = nameOf(this.#run)
    this.#run = undefined
    this.#link.leave()
    await this.#queue.write(LEAVE, [name], () => {})
  }

  async shutOut(run: NodeRun): Promise<void> {
    const upTo = [run.node, run.epoch]
    await this.#queue.write(SHUT_OUT, upTo, () => {})
    // One of an earlier release has not said that it is there.
    await this.#queue.write(BEGIN, upTo, () => {})
    const ended = await this.#queue.write(END, upTo, toRows<{ ended: string }>)
    if (ended.every((row) => row.ended === 'true')) {
      await this.#queue.write(FORGET, upTo, () => {})
      return
    }
    throw new StorageError('busy', `A connection of the node ${run.node} does not end`)
  }
}

export function nameOf({ node, epoch }: NodeRun): string {
  return `${node} ${epoch}`
}

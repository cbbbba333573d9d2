import type { Envelope } from '../../core/envelope.ts'
import type { Logger } from '../../core/log.ts'
import type { Storage } from '../../core/storage.ts'
import { fromStored, toStored } from './stored-envelope.ts'

declare module '../../core/envelope.ts' {
  interface Notes {
    /** Key of the durable copy of a message that nothing else keeps until it is acknowledged. */
    readonly kept?: number
  }
}

declare module '../../core/storage.ts' {
  interface Schema {
    /**
     * Messages whose senders were told that they are handled, and whose recipients have not
     * acknowledged them. `id` ascends in the order in which they came. For `stanza` and `notes` see
     * `StoredEnvelope`.
     */
    sm_kept: { id: number; account: string; stanza: string; notes: string }
  }
}

const ADD = 'insert into sm_kept (id, account, stanza, notes) values (?, ?, ?, ?)'
const REMOVE = 'delete from sm_kept where id = ?'
const REMOVE_ALL = 'delete from sm_kept where account = ?'
const PAGE = 'select id, stanza, notes from sm_kept where id > ? order by id limit ?'
const PAGE_SIZE = 500

/**
 * How long a message waits at least for its recipient's acknowledgement before it is written, and
 * half of how long at most, milliseconds. Most clients are quicker; then the disk has nothing to do.
 */
const PATIENCE = 40

type Waiting = {
  readonly envelope: Envelope
  readonly round: number
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

type Clock = { now(): number }

/**
 * Keeps messages safe that are in the hands of a client and nowhere else. The sender's
 * acknowledgement waits until the recipient has acknowledged the message, or else until it is on
 * the disk.
 */
export class KeptMessages {
  readonly #storage: Storage
  readonly #clock: Clock
  readonly #log: Logger
  /** Not written, oldest first. */
  readonly #waiting = new Map<number, Waiting>()
  readonly #writing = new Set<Promise<unknown>>()
  #timer: NodeJS.Timeout | undefined
  /** Of the timer: what was there before the last is to be written. */
  #round = 0
  #lastId = 0

  constructor(storage: Storage, clock: Clock, log: Logger) {
    this.#storage = storage
    this.#clock = clock
    this.#log = log
  }

  /** The envelope to be delivered. */
  keep(envelope: Envelope): Envelope {
    // Of a later run it is greater, though that starts at 0 again.
    this.#lastId = Math.max(this.#lastId + 1, this.#clock.now() * 1000)
    const kept = envelope.noted({ kept: this.#lastId })
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#waiting.set(this.#lastId, { envelope: kept, round: this.#round, resolve, reject })
    envelope.settlement?.waitFor(promise)
    this.#timer ??= this.#nextRound()
    return kept
  }

  /** Somebody has it, or has been told that it did not arrive. */
  release(id: number): void {
    const waiting = this.#waiting.get(id)
    if (waiting === undefined) return this.#write(REMOVE, [id])
    this.#waiting.delete(id)
    waiting.resolve()
  }

  releaseAll(account: string): void {
    for (const [id, { envelope }] of this.#waiting) {
      if (envelope.to.bare === account) this.release(id)
    }
    this.#write(REMOVE_ALL, [account])
  }

  /** What an earlier run of the server has left, oldest first. */
  async *left(): AsyncGenerator<Envelope> {
    let after = 0
    while (true) {
      const rows = await this.#storage.read<{ id: number; stanza: string; notes: string }>(PAGE, [
        after,
        PAGE_SIZE,
      ])
      for (const row of rows) {
        after = row.id
        this.#lastId = Math.max(this.#lastId, row.id)
        try {
          yield fromStored(row).noted({ kept: row.id })
        } catch (error) {
          this.#log.error('kept_message_unreadable', { id: row.id, error })
        }
      }
      if (rows.length < PAGE_SIZE) return
    }
  }

  /** Writes what still waits, and waits for all that is being written. */
  async stop(): Promise<void> {
    clearTimeout(this.#timer)
    for (const id of [...this.#waiting.keys()]) this.#add(id)
    await Promise.all(this.#writing)
  }

  #nextRound(): NodeJS.Timeout {
    return setTimeout(() => {
      for (const [id, { round }] of this.#waiting) {
        if (round === this.#round) break
        this.#add(id)
      }
      this.#round++
      this.#timer = this.#waiting.size === 0 ? undefined : this.#nextRound()
    }, PATIENCE).unref()
  }

  #add(id: number): void {
    const { envelope, resolve, reject } = this.#waiting.get(id) as Waiting
    this.#waiting.delete(id)
    const { stanza, notes } = toStored(envelope)
    this.#track(
      this.#storage.write(ADD, [id, envelope.to.bare, stanza, notes]).then(resolve, reject),
    )
  }

  #write(sql: string, parameters: readonly (string | number)[]): void {
    this.#track(
      this.#storage.write(sql, parameters).then(
        () => {},
        // It comes again after a restart: better twice than never.
        (error) => this.#log.error('kept_message_not_removed', { error }),
      ),
    )
  }

  #track(work: Promise<unknown>): void {
    this.#writing.add(work)
    work.finally(() => this.#writing.delete(work)).catch(() => {})
  }
}

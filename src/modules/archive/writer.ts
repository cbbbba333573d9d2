import type { Logger } from '../../core/log.ts'
import type { Settlement } from '../../core/settlement.ts'
import { StorageError } from '../../core/storage.ts'
import type { ArchivedMessage } from './store.ts'

/** What a message weighs beside its octets. */
const OVERHEAD = 200
/** With so much of what may wait, senders are held back, */
const HIGH_MARK = 0.5
/** and until so much. */
const LOW_MARK = 0.25
const FIRST_PAUSE_MS = 100
const LAST_PAUSE_MS = 10_000

type Parts = {
  /** Resolves when all are safe. What is there already stays as it is. */
  readonly insert: (messages: readonly ArchivedMessage[]) => Promise<void>
  /** What may wait for a store that does not take it, in bytes. */
  readonly maxBytes: number
  readonly log: Logger
}

type Batch = {
  readonly messages: ArchivedMessage[]
  readonly settlements: Settlement[]
  readonly written: PromiseWithResolvers<void>
  bytes: number
}

/**
 * Brings messages into the store in the order in which they come: while one batch is under way, the
 * next gathers. A batch that fails is tried again until the store takes it.
 *
 * What may wait is bounded. Whoever can hold back what comes next asks for `room` first; so a store
 * that is slower than the senders slows them down. What comes on top all the same, or while the store
 * takes nothing, is refused over the bound: then its sender is not told that it arrived.
 */
export class ArchiveWriter {
  readonly #parts: Parts
  #gathering: Batch | undefined
  #underWay: Batch | undefined
  #running: Promise<void> | undefined
  #bytes = 0
  /** As it was when the last batch began to gather. */
  #maxBytes: number
  /** Resolves when the batch under way is written, or was not. */
  #attempt = Promise.withResolvers<void>()
  /** While the store takes nothing: how many messages were refused. */
  #outage: { refused: number } | undefined
  #isClosed = false
  #onRoom: PromiseWithResolvers<void> | undefined
  #wake: () => void = () => {}

  constructor(parts: Parts) {
    this.#parts = parts
    this.#maxBytes = parts.maxBytes
  }

  /**
   * Resolves when the message is safe; the messages of one batch share the promise. A settlement waits
   * for it without one of its own.
   */
  add(message: ArchivedMessage, settlement?: Settlement): Promise<void> {
    const bytes = OVERHEAD + message.xml.length
    if (this.#isClosed || this.#bytes + bytes > this.#maxBytes) {
      return this.#refuse(settlement)
    }
    this.#bytes += bytes
    const batch = this.#batch()
    batch.messages.push(message)
    batch.bytes += bytes
    // One for all of a message's archives.
    if (settlement !== undefined && settlement !== batch.settlements.at(-1)) {
      settlement.begin()
      batch.settlements.push(settlement)
    }
    return batch.written.promise
  }

  /**
   * Resolves when there is room for more, or the store takes nothing, so that waiting is in vain;
   * `undefined` if that is so.
   */
  get room(): Promise<void> | undefined {
    if (!this.#isOver(HIGH_MARK)) return undefined
    this.#onRoom ??= Promise.withResolvers()
    return this.#onRoom.promise
  }

  /** Resolves when what was added so far can be read, or the store does not take it. */
  async written(): Promise<void> {
    const last = this.#gathering ?? this.#underWay
    const isWaiting = () => last === this.#gathering || last === this.#underWay
    while (last !== undefined && isWaiting() && this.#outage === undefined) {
      await this.#attempt.promise
    }
  }

  /** Tries once more to write what waits; what cannot be written is refused. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#checkRoom()
    this.#wake()
    await this.#running
  }

  #batch(): Batch {
    if (this.#gathering === undefined) {
      const written = Promise.withResolvers<void>()
      // Not everybody who adds a message waits for it.
      written.promise.catch(() => {})
      this.#gathering = { messages: [], settlements: [], written, bytes: 0 }
      this.#maxBytes = this.#parts.maxBytes
      this.#running ??= this.#run()
    }
    return this.#gathering
  }

  async #run(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve))
    while (this.#gathering !== undefined) {
      this.#underWay = this.#gathering
      this.#gathering = undefined
      await this.#write(this.#underWay)
      this.#underWay = undefined
      this.#attempted()
    }
    this.#running = undefined
  }

  async #write({ messages, settlements, written, bytes }: Batch): Promise<void> {
    for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(2 * pause, LAST_PAUSE_MS)) {
      try {
        await this.#parts.insert(messages)
        this.#bytes -= bytes
        this.#recovered()
        this.#checkRoom()
        written.resolve()
        for (const settlement of settlements) settlement.finish()
        return
      } catch (error) {
        this.#failed(error)
        if (this.#isClosed || isFinal(error)) {
          this.#bytes -= bytes
          written.reject(error)
          for (const settlement of settlements) settlement.fail(error)
          return
        }
        this.#attempted()
        await this.#sleep(pause)
      }
    }
  }

  #attempted(): void {
    this.#attempt.resolve()
    this.#attempt = Promise.withResolvers()
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms)
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  #isOver(share: number): boolean {
    if (this.#isClosed || this.#outage !== undefined) return false
    return this.#bytes > this.#maxBytes * share
  }

  #checkRoom(): void {
    if (this.#onRoom === undefined || this.#isOver(LOW_MARK)) return
    this.#onRoom.resolve()
    this.#onRoom = undefined
  }

  #refuse(settlement: Settlement | undefined): Promise<never> {
    if (this.#outage !== undefined) this.#outage.refused++
    const error = new StorageError('busy', 'more waits for the archive than is kept')
    settlement?.fail(error)
    const refused = Promise.reject(error)
    refused.catch(() => {})
    return refused
  }

  #failed(error: unknown): void {
    if (this.#outage !== undefined) return
    this.#outage = { refused: 0 }
    this.#checkRoom()
    this.#parts.log.error('archive_not_written', { error })
  }

  #recovered(): void {
    if (this.#outage === undefined) return
    this.#parts.log.info('archive_written_again', this.#outage)
    this.#outage = undefined
  }
}

function isFinal(error: unknown): boolean {
  return error instanceof StorageError && error.kind === 'closed'
}

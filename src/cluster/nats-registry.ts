import { JetStreamApiError, type JetStreamClient, type JetStreamManager } from '@nats-io/jetstream'
import type { Bucket, KvWatchEntry } from '@nats-io/kv'
import { headers, type QueuedIterator } from '@nats-io/transport-node'
import type { Logger } from '../core/log.ts'
import { type Change, type Registry, RegistryConflict } from './transport.ts'

type Parts = {
  readonly bucket: string
  readonly node: string
  readonly kv: Bucket
  readonly js: JetStreamClient
  readonly manager: JetStreamManager
  readonly log: Logger
}

/** As the newest change of a key has it. */
type Known = { readonly revision: number; readonly isThere: boolean }

/** `wrong last sequence` of JetStream. */
const WRONG_SEQUENCE = 10071
const OPERATION = 'KV-Operation'
const WRITE_TIMEOUT = 5_000
/** How long marks of removed keys stay, milliseconds: those who were away must see them. */
const MARKS = 30 * 60_000
const RETRY = 500

/**
 * The registry as a bucket of JetStream's key-value store. Revisions are the sequence numbers of its
 * stream, so all keys share one count.
 */
export class NatsRegistry implements Registry {
  isConnected = true
  readonly #parts: Parts
  readonly #known = new Map<string, Known>()
  #onChange: ((change: Change) => void) | undefined
  #watch: QueuedIterator<KvWatchEntry> | undefined
  #generation = 0
  #purge: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(parts: Parts) {
    this.#parts = parts
  }

  async put(key: string, value: string, expected: number): Promise<number> {
    return this.#write(key, value, undefined, expected)
  }

  async remove(key: string, expected: number): Promise<number> {
    return this.#write(key, '', 'DEL', expected)
  }

  /** A key that is not there may have a mark that it was removed, with a revision of its own. */
  async #write(key: string, value: string, operation: string | undefined, expected: number) {
    const known = this.#known.get(key)
    const mark = expected === 0 && known?.isThere === false ? known.revision : expected
    try {
      return await this.#publish(key, value, operation, mark)
    } catch (error) {
      if (!(error instanceof RegistryConflict) || expected !== 0) throw error
      const current = await this.get(key)
      if (current?.value !== undefined || current?.revision === mark) throw error
      return this.#publish(key, value, operation, current?.revision ?? 0)
    }
  }

  async #publish(key: string, value: string, operation: string | undefined, expected: number) {
    const { js, bucket } = this.#parts
    const options = { expect: { lastSubjectSequence: expected }, timeout: WRITE_TIMEOUT }
    try {
      if (operation === undefined) {
        return (await js.publish(`$KV.${bucket}.${key}`, value, options)).seq
      }
      const marked = headers()
      marked.set(OPERATION, operation)
      return (await js.publish(`$KV.${bucket}.${key}`, '', { ...options, headers: marked })).seq
    } catch (error) {
      if (error instanceof JetStreamApiError && error.code === WRONG_SEQUENCE) {
        throw new RegistryConflict(key)
      }
      throw error
    }
  }

  async get(key: string): Promise<Change | undefined> {
    const { manager, bucket } = this.#parts
    const subject = `$KV.${bucket}.${key}`
    const message = await manager.streams.getMessage(`KV_${bucket}`, { last_by_subj: subject })
    if (message === null) return undefined
    const isThere = !message.header?.get(OPERATION)
    return { key, value: isThere ? message.string() : undefined, revision: message.seq }
  }

  async watch(onChange: (change: Change) => void): Promise<void> {
    this.#onChange = onChange
    await this.#rewatch()
    const purge = () => {
      for (const [key, { isThere }] of this.#known) if (!isThere) this.#known.delete(key)
      this.#parts.kv
        .purgeDeletes(MARKS)
        .catch((error) => this.#parts.log.warn('registry_not_purged', { error }))
    }
    this.#purge = setInterval(purge, MARKS * (1 + Math.random())).unref()
  }

  /** Changes may have been missed. */
  onReconnected(): void {
    if (this.#onChange === undefined) return
    this.#rewatch().catch((error) => {
      this.#parts.log.warn('registry_not_watched', { error })
      setTimeout(() => {
        if (this.isConnected && !this.#isClosed) this.onReconnected()
      }, RETRY).unref()
    })
  }

  async close(): Promise<void> {
    this.#isClosed = true
    clearInterval(this.#purge)
    this.#generation++
    this.#watch?.stop()
  }

  /** Watches anew. Resolves when all is seen that was there; keys that are not are removed. */
  async #rewatch(): Promise<void> {
    const generation = ++this.#generation
    this.#watch?.stop()
    const { kv, node } = this.#parts
    const watch = await kv.watch()
    this.#watch = watch
    const before = new Set(this.#known.keys())
    const mark = `sync.${node}`
    const reached = Promise.withResolvers<void>()
    let target = Number.POSITIVE_INFINITY
    let newest = 0
    const look = () => {
      if (newest >= target) reached.resolve()
    }
    void this.#follow(watch, generation, (entry) => {
      before.delete(entry.key)
      newest = Math.max(newest, entry.revision)
      look()
    })
    target = await this.#mark(mark)
    look()
    await reached.promise
    for (const key of before) {
      const known = this.#known.get(key)
      if (known?.isThere !== true || known.revision > target) continue
      this.#known.delete(key)
      this.#onChange?.({ key, value: undefined, revision: target })
    }
  }

  /** Its revision is greater than those of all changes before. */
  async #mark(key: string): Promise<number> {
    const { js, bucket } = this.#parts
    const ack = await js.publish(`$KV.${bucket}.${key}`, '', { timeout: WRITE_TIMEOUT })
    return ack.seq
  }

  async #follow(
    watch: QueuedIterator<KvWatchEntry>,
    generation: number,
    onEntry: (entry: KvWatchEntry) => void,
  ): Promise<void> {
    try {
      for await (const entry of watch) {
        if (generation !== this.#generation) return
        this.#see(entry)
        onEntry(entry)
      }
    } catch (error) {
      this.#parts.log.warn('registry_watch_failed', { error })
    }
    if (generation === this.#generation && this.isConnected && !this.#isClosed) this.onReconnected()
  }

  #see(entry: KvWatchEntry): void {
    const { key, revision } = entry
    const known = this.#known.get(key)
    // What is watched anew shows what was seen before.
    if (known !== undefined && known.revision >= revision) return
    const isThere = entry.operation === 'PUT'
    this.#known.set(key, { revision, isThere })
    this.#onChange?.({ key, value: isThere ? entry.string() : undefined, revision })
  }
}

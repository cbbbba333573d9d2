import { randomUUID } from 'node:crypto'
import { JetStreamApiError, type JetStreamClient, type JetStreamManager } from '@nats-io/jetstream'
import type { KvWatchEntry } from '@nats-io/kv'
import type { NatsConnection, QueuedIterator } from '@nats-io/transport-node'
import type { Logger } from '../core/log.ts'
import { isThere, moveLeader, type NatsBucket, openBucket, streamOf } from './nats-bucket.ts'
import { OPERATION, type StreamWriter, WrongSequence } from './stream-writer.ts'
import { type Change, type Registry, RegistryConflict } from './transport.ts'

type Parts = {
  /** Of the bucket. */
  readonly name: string
  readonly replicas: number
  readonly node: string
  readonly connection: NatsConnection
  readonly js: JetStreamClient
  readonly manager: JetStreamManager
  readonly writer: StreamWriter
  readonly log: Logger
}

/** What a write is, if not a value. */
type Operation = 'DEL' | undefined

/** As the newest change of a key has it. */
type Known = { readonly revision: number; readonly isThere: boolean }

/** How long a write waits for its acknowledgement before it is sent again, milliseconds. */
const WRITE_TIMEOUTS = [300, 500, 700, 1_000, 1_000, 1_500] as const
/** How often a read is tried; each time takes up to five seconds. */
const READS = 3
const MARK_TIMEOUT = 3_000
/** How long nothing can be written before another server is to lead, milliseconds. */
const MUTE = 5_000
/** How long a watch that has something to show may show nothing, milliseconds. */
const SHOW_TIMEOUT = 2_000
/** How long the first reading is tried, milliseconds. */
const START_TIMEOUT = 30_000
/** How long marks of removed keys stay, milliseconds: those who were away must see them. */
const MARKS = 30 * 60_000
const RETRY = 500
/** How often to look whether what is written still comes back through the watch, milliseconds. */
const LOOK = 3_000

/**
 * The registry as a bucket of JetStream's key-value store. Revisions are the sequence numbers of its
 * stream behind where the bucket begins, so all keys share one count.
 *
 * A NATS server may lose its files, all or the newest. Then the bucket is made anew, with revisions behind
 * all before; every key that it had and has no more is told as lost, so each node writes its own again.
 */
export class NatsRegistry implements Registry {
  isConnected = true
  readonly #parts: Parts
  #bucket: NatsBucket
  readonly #known = new Map<string, Known>()
  /** Keys that were written here and not seen yet, with their revisions. */
  readonly #written = new Map<string, number>()
  /** The greatest revision seen or written here. */
  #newest = 0
  #onChange: ((change: Change) => void) | undefined
  readonly #caughtUp = Promise.withResolvers<void>()
  #watch: QueuedIterator<KvWatchEntry> | undefined
  /** Settles when the last watch has begun, or has failed to. */
  #beginning: Promise<unknown> = Promise.resolve()
  /** The greatest revision that this watch has shown. */
  #shown = 0
  #onShown: (() => void) | undefined
  /** Since when nothing could be written, as far as marks tell. */
  #muteSince: number | undefined
  #generation = 0
  #purge: NodeJS.Timeout | undefined
  #look: NodeJS.Timeout | undefined
  #isCatchingUp = false
  #isLooking = false
  #isClosed = false

  constructor(bucket: NatsBucket, parts: Parts) {
    this.#bucket = bucket
    this.#parts = parts
  }

  async put(key: string, value: string, expected: number): Promise<number> {
    return this.#write(key, value, undefined, expected)
  }

  async remove(key: string, expected: number): Promise<number> {
    return this.#write(key, '', 'DEL', expected)
  }

  /** A key that is not there may have a mark that it was removed, with a revision of its own. */
  async #write(key: string, value: string, operation: Operation, expected: number) {
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

  /**
   * Sent again if it may have been lost. JetStream knows it by its id, so that it is written once, and the
   * answer is that of the first time.
   */
  async #publish(key: string, value: string, operation: Operation, expected: number) {
    const { writer } = this.#parts
    const bucket = this.#bucket
    const { base } = bucket
    // What an earlier bucket had is not in this one.
    if (expected !== 0 && expected <= base) throw new RegistryConflict(key)
    const subject = this.#subjectOf(key)
    const options = { id: randomUUID(), expected: expected === 0 ? 0 : expected - base, operation }
    for (let attempt = 0; ; attempt++) {
      const timeout = WRITE_TIMEOUTS[attempt] as number
      try {
        const revision = base + (await writer.write(subject, value, timeout, options))
        // All that it had was told as gone before this answer came: nobody would say so of this.
        if (revision <= this.#bucket.base) throw new Error('the bucket that has it is gone')
        return this.#wrote(key, revision)
      } catch (error) {
        if (error instanceof WrongSequence) throw new RegistryConflict(key)
        const isLast = attempt === WRITE_TIMEOUTS.length - 1
        if (isLast || this.#isClosed || this.#bucket !== bucket) throw error
      }
    }
  }

  #wrote(key: string, revision: number): number {
    this.#newest = Math.max(this.#newest, revision)
    if ((this.#known.get(key)?.revision ?? 0) < revision) this.#written.set(key, revision)
    return revision
  }

  /** Asked again if no answer comes: NATS may have begun anew meanwhile. */
  async get(key: string): Promise<Change | undefined> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#read(key)
      } catch (error) {
        const isAnswer = error instanceof JetStreamApiError
        if (isAnswer || attempt === READS || this.#isClosed) throw error
      }
    }
  }

  async #read(key: string): Promise<Change | undefined> {
    const { manager, name } = this.#parts
    const { base } = this.#bucket
    const query = { last_by_subj: this.#subjectOf(key) }
    const message = await manager.streams.getMessage(streamOf(name), query)
    if (message === null) return undefined
    const isThere = !message.header?.get(OPERATION)
    const revision = base + message.seq
    return { key, value: isThere ? message.string() : undefined, revision }
  }

  #subjectOf(key: string): string {
    return `$KV.${this.#parts.name}.${key}`
  }

  async watch(onChange: (change: Change) => void): Promise<void> {
    this.#onChange = onChange
    await this.#catchUp(performance.now() + START_TIMEOUT)
    await this.#caughtUp.promise
    const purge = () => {
      for (const [key, { isThere }] of this.#known) if (!isThere) this.#known.delete(key)
      this.#bucket.kv
        .purgeDeletes(MARKS)
        .catch((error) => this.#parts.log.warn('registry_not_purged', { error }))
    }
    this.#purge = setInterval(purge, MARKS * (1 + Math.random())).unref()
    this.#look = setInterval(() => void this.#lookAfter(), LOOK).unref()
  }

  /** Changes may have been missed, and the bucket may be another one. */
  onReconnected(): void {
    if (this.#onChange !== undefined) void this.#catchUp()
  }

  async close(): Promise<void> {
    this.#isClosed = true
    clearInterval(this.#purge)
    clearInterval(this.#look)
    this.#generation++
    this.#watch?.stop()
    // One that begins on a closed connection fails, but its heartbeats are looked after for ever.
    if (this.isConnected) await this.#beginning
    this.#parts.writer.close()
  }

  /**
   * A watch that has lost what fed it, with the server that did, looks like one that has nothing to show. So
   * each node writes now and then, and takes its watch for dead when it does not see that.
   */
  async #lookAfter(): Promise<void> {
    const generation = this.#generation
    if (!this.isConnected || this.#isCatchingUp || this.#isLooking) return
    this.#isLooking = true
    try {
      const { base } = this.#bucket
      const shown = this.#shown
      const target = base + (await this.mark())
      if (target <= shown) throw new Error('the bucket is another one')
      await this.#shows(target)
    } catch (error) {
      if (generation !== this.#generation || !this.isConnected || this.#isClosed) return
      this.#parts.log.warn('registry_watch_silent', { error })
      this.onReconnected()
    } finally {
      this.#isLooking = false
    }
  }

  /** Rejects if it fails later than at `until`. */
  async #catchUp(until = Number.POSITIVE_INFINITY): Promise<void> {
    const generation = ++this.#generation
    this.#isCatchingUp = true
    while (generation === this.#generation && this.isConnected && !this.#isClosed) {
      try {
        await this.#rewatch(generation)
        break
      } catch (error) {
        if (generation !== this.#generation) return
        if (performance.now() > until) throw error
        this.#parts.log.warn('registry_not_watched', { error })
        await new Promise((resolve) => void setTimeout(resolve, RETRY).unref())
      }
    }
    if (generation === this.#generation) this.#isCatchingUp = false
  }

  /** Watches anew. Resolves when all is seen that was there; keys that are not are removed. */
  async #rewatch(generation: number): Promise<void> {
    this.#watch?.stop()
    await this.#findBucket()
    if (generation !== this.#generation) return this.#caughtUp.promise
    const { kv, base } = this.#bucket
    const newest = this.#newest
    const beginning = kv.watch()
    this.#beginning = beginning.catch(() => {})
    const watch = await beginning
    if (generation !== this.#generation) {
      watch.stop()
      return this.#caughtUp.promise
    }
    this.#watch = watch
    this.#shown = 0
    const before = new Set([...this.#known.keys(), ...this.#written.keys()])
    void this.#follow(watch, generation, base, (key) => void before.delete(key))
    const target = base + (await this.mark())
    if (generation !== this.#generation) return this.#caughtUp.promise
    if (target <= newest) await this.#dropBucket()
    await this.#shows(target)
    for (const key of before) this.#isGone(key, target)
    this.#caughtUp.resolve()
  }

  /** Resolves when the watch has got as far as this revision. Rejects when it does not get any further. */
  async #shows(target: number): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    let last = this.#shown
    const timer = setInterval(() => {
      if (this.#shown === last) reject(new Error('the watch does not show what is written'))
      last = this.#shown
    }, SHOW_TIMEOUT).unref()
    this.#onShown = () => {
      if (this.#shown >= target) resolve()
    }
    this.#onShown()
    try {
      await promise
    } finally {
      clearInterval(timer)
    }
  }

  async #findBucket(): Promise<void> {
    const { log, name } = this.#parts
    const { description } = this.#bucket
    this.#bucket = await openBucket(this.#parts, this.#newest)
    if (this.#bucket.description !== description) log.warn('registry_begins_anew', { name })
  }

  /** It has lost the newest, so its revisions were given before: others are made anew. */
  async #dropBucket(): Promise<never> {
    const { manager, name } = this.#parts
    if (await isThere(manager, name, this.#bucket)) await manager.streams.delete(streamOf(name))
    throw new Error('NATS has lost what it had acknowledged')
  }

  /** A key that the bucket had, when it had got as far as `target`, and has not any more. */
  #isGone(key: string, target: number): void {
    const known = this.#known.get(key)
    const revision = Math.max(known?.revision ?? 0, this.#written.get(key) ?? 0)
    if (revision > target) return
    const wasThere = known?.isThere === true || this.#written.has(key)
    this.#known.delete(key)
    this.#written.delete(key)
    if (wasThere) this.#onChange?.({ key, value: undefined, revision: target, isLost: true })
  }

  /** The sequence number of a change that comes after all there were. */
  async mark(): Promise<number> {
    const { writer, node } = this.#parts
    const begun = performance.now()
    try {
      const sequence = await writer.write(this.#subjectOf(`sync.${node}`), '', MARK_TIMEOUT)
      this.#muteSince = undefined
      return sequence
    } catch (error) {
      if (this.isConnected && !this.#isClosed) await this.#onMute(begun)
      throw error
    }
  }

  async #onMute(since: number): Promise<void> {
    const { log, replicas, name } = this.#parts
    const now = performance.now()
    this.#muteSince ??= since
    if (replicas === 1 || now - this.#muteSince < MUTE) return
    this.#muteSince = now
    log.warn('registry_leader_mute', { name })
    await moveLeader(this.#parts).catch((error) => log.warn('registry_leader_stays', { error }))
  }

  async #follow(
    watch: QueuedIterator<KvWatchEntry>,
    generation: number,
    base: number,
    onEntry: (key: string) => void,
  ): Promise<void> {
    try {
      for await (const entry of watch) {
        if (generation !== this.#generation) return
        const revision = base + entry.revision
        this.#see(entry, revision)
        onEntry(entry.key)
        this.#shown = Math.max(this.#shown, revision)
        this.#onShown?.()
      }
    } catch (error) {
      this.#parts.log.warn('registry_watch_failed', { error })
    }
    if (generation === this.#generation && this.isConnected && !this.#isClosed) this.onReconnected()
  }

  #see(entry: KvWatchEntry, revision: number): void {
    const { key } = entry
    const known = this.#known.get(key)
    // What is watched anew shows what was seen before.
    if (known !== undefined && known.revision >= revision) return
    this.#newest = Math.max(this.#newest, revision)
    if ((this.#written.get(key) ?? 0) <= revision) this.#written.delete(key)
    // What has a value is no mark; its headers need not be read for that.
    const isThere = entry.value.length > 0 || entry.operation === 'PUT'
    this.#known.set(key, { revision, isThere })
    this.#onChange?.({ key, value: isThere ? entry.string() : undefined, revision })
  }
}

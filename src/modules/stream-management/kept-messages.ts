import type { NodeRun } from '../../core/cluster.ts'
import { Envelope, type Notes } from '../../core/envelope.ts'
import type { Logger } from '../../core/log.ts'
import type { Places } from '../../core/places.ts'
import { Settlement } from '../../core/settlement.ts'
import type { Schema, Statement, Storage } from '../../core/storage.ts'
import type { Eventually } from './eventually.ts'
import { fromStored, toStored } from './stored-envelope.ts'

declare module '../../core/storage.ts' {
  interface Schema {
    /**
     * Messages whose senders were told that they are handled, and whose recipients have not
     * acknowledged them. `node` and `epoch`: the run that keeps it; `id` ascends in the order in which
     * they came to that run. For `stanza` and `notes` see `StoredEnvelope`.
     */
    sm_kept: {
      node: string
      epoch: number
      id: number
      account: string
      stanza: string
      notes: string
    }
  }
}

const ADD = `insert into sm_kept (node, epoch, id, account, stanza, notes)
  values (?, ?, ?, ?, ?, ?)`
const RENOTE = 'update sm_kept set notes = ? where node = ? and epoch = ? and id = ?'
const REMOVE = 'delete from sm_kept where node = ? and epoch = ? and id = ?'
const REMOVE_ALL = 'delete from sm_kept where account = ?'
const LEFT = `select epoch, id, account, notes from sm_kept
  where node = ? and epoch <= ? and (epoch, id) > (?, ?) order by epoch, id limit ?`
const TAKE = `update sm_kept set node = ?, epoch = ?, id = ? where node = ? and epoch = ? and id = ?`
const TAKE_WITH = `${TAKE} and exists (select 1 from sm_session
  where sm_session.id = ? and sm_session.node = ? and sm_session.epoch = ?)`
const PAGE = `select id, stanza, notes from sm_kept
  where node = ? and epoch = ? and id > ? and id <= ? order by id limit ?`
const RUNS = 'select node, max(epoch) as epoch from sm_kept group by node'
const PAGE_SIZE = 500

/**
 * How long at least a message waits for its recipient's acknowledgement before it is written, and
 * half of how long at most, milliseconds. Most clients are quicker; then the disk has nothing to do.
 */
const PATIENCE = 40

const NONE: readonly Envelope[] = []
/** Of messages that have no place. */
const NOWHERE = -1

/** A message of another run becomes one of this run, under another number. */
type Move = { readonly id: number; readonly own: number; readonly statement: Statement }

type LeftRow = Pick<Schema['sm_kept'], 'epoch' | 'id' | 'account' | 'notes'>
type Left = LeftRow & { readonly place: number }

type Parts = {
  readonly storage: Storage
  /** This run of the node. */
  readonly self: () => NodeRun
  readonly eventually: Eventually
  readonly places: Places
  readonly clock: { now(): number }
  readonly log: Logger
}

/**
 * Keeps messages safe that are in the hands of a client and nowhere else. The sender's
 * acknowledgement waits until the recipient has acknowledged the message, or else until it is on
 * the disk.
 *
 * Their numbers ascend, so those not written yet stand in one row, with gaps where one was released.
 */
export class KeptMessages {
  readonly #storage: Storage
  readonly #self: () => NodeRun
  readonly #eventually: Eventually
  readonly #places: Places
  readonly #log: Logger
  #waiting: (Envelope | undefined)[] = []
  /** Of the first that waits. */
  #firstId: number
  /** How many waited already when the timer rang last. */
  #old = 0
  #timer: NodeJS.Timeout | undefined
  readonly #writing = new Set<Promise<unknown>>()
  /** Being written, and not released meanwhile. */
  readonly #adding = new Map<number, Envelope>()
  /** What the disk did not take: their senders wait, unless the recipient acknowledges first. */
  #unwritten = new Map<number, Envelope>()
  /** By account: somebody else is storing them, which may fail. */
  readonly #handingOver = new Map<string, Promise<unknown>>()
  /** Acknowledged to their senders, and nobody could store or deliver them; on the disk if it took them. */
  readonly #homeless = new Map<number, Envelope>()

  constructor({ storage, self, eventually, places, clock, log }: Parts) {
    this.#storage = storage
    this.#self = self
    this.#eventually = eventually
    this.#places = places
    this.#log = log
    this.#firstId = clock.now() * 1000
  }

  /** The envelope to be delivered. */
  keep(envelope: Envelope): Envelope {
    const id = this.#firstId + this.#waiting.length
    const place = envelope.notes.place ?? this.#places.next()
    const kept = envelope.noted({ kept: id, place })
    this.#waiting.push(kept)
    envelope.settlement?.begin()
    this.#timer ??= this.#nextRound()
    return kept
  }

  /**
   * Writes what is kept under these numbers without further waiting, for another node is to take it over
   * from the disk. Resolves to whether that has all of it.
   */
  async secure(ids: readonly number[]): Promise<boolean> {
    for (const id of ids) {
      const index = id - this.#firstId
      const envelope = index < 0 ? undefined : this.#waiting[index]
      if (envelope === undefined) continue
      this.#waiting[index] = undefined
      if (this.#unwritten.size > 0) this.#unwritten.set(id, envelope)
      else this.#add(envelope)
    }
    if (ids.some((id) => this.#adding.has(id))) await Promise.allSettled(this.#writing)
    return !ids.some((id) => this.#unwritten.has(id))
  }

  /**
   * From now on this run, or whoever takes over what it has, answers alone for messages that others were given as well:
   * nobody is to ask who handed them over. Resolves when the disk knows.
   */
  async answerAlone(envelopes: readonly Envelope[]): Promise<void> {
    const statements = envelopes.flatMap((envelope): Statement[] => {
      const { kept, handed } = envelope.notes
      if (kept === undefined || handed === undefined) return []
      const { notes } = toStored(envelope.unnoted('handed'))
      return [{ sql: RENOTE, parameters: [notes, ...this.#keyOf(kept)] }]
    })
    while (statements.length > 0) await this.#storage.writeAll(statements.splice(0, PAGE_SIZE))
  }

  /** Somebody has it, or has been told that it did not arrive. */
  release(id: number): void {
    if (!this.#letGo(id)) this.#removeOne(id)
  }

  /**
   * Somebody else stores it, or it goes back to its sender. That was begun in this turn, and what is
   * written in one turn is there after a crash altogether or not at all: so it comes back once, as
   * it would not if the one write waited for the other.
   */
  handOver(envelope: Envelope, id: number): void {
    if (this.#letGo(id)) return
    const removed = this.#storage.write(REMOVE, this.#keyOf(id))
    const { bare } = envelope.to
    const over = Promise.allSettled([
      this.#handingOver.get(bare),
      this.#handedOver(envelope, id, removed),
    ]).then(() => {
      if (this.#handingOver.get(bare) === over) this.#handingOver.delete(bare)
    })
    this.#handingOver.set(bare, over)
    this.#track(over)
  }

  /** Resolves when all that others are storing for the account is stored, or is homeless. */
  handingOver(account: string): Promise<unknown> | undefined {
    return this.#handingOver.get(account)
  }

  /** Tries again what the disk did not take. */
  retry(): void {
    const unwritten = this.#unwritten
    this.#unwritten = new Map()
    for (const envelope of unwritten.values()) this.#add(envelope)
  }

  /** Whose messages nobody could store or deliver. */
  get homelessAccounts(): ReadonlySet<string> {
    return new Set([...this.#homeless.values()].map(({ to }) => to.bare))
  }

  hasHomeless(account: string): boolean {
    for (const { to } of this.#homeless.values()) if (to.bare === account) return true
    return false
  }

  /** Those of an account, to be routed anew, oldest first. */
  takeHomeless(account: string): readonly Envelope[] {
    if (this.#homeless.size === 0) return NONE
    const own = [...this.#homeless.values()].filter(({ to }) => to.bare === account)
    for (const { notes } of own) this.#homeless.delete(notes.kept as number)
    return own.sort((a, b) => placeOf(a) - placeOf(b)).map(unsettled)
  }

  /** The sender need not wait for us any more. True: the disk has nothing of it, nor will it. */
  #letGo(id: number): boolean {
    const index = id - this.#firstId
    const waiting = index < 0 ? undefined : this.#waiting[index]
    if (waiting !== undefined) this.#waiting[index] = undefined
    const unwritten = waiting ?? this.#unwritten.get(id)
    this.#unwritten.delete(id)
    const envelope = unwritten ?? this.#adding.get(id)
    this.#adding.delete(id)
    envelope?.settlement?.finish()
    return unwritten !== undefined
  }

  async #handedOver(envelope: Envelope, id: number, removing: Promise<unknown>): Promise<void> {
    const [stored, removed] = await Promise.allSettled([envelope.settlement?.done, removing])
    if (stored.status === 'fulfilled') {
      if (removed.status === 'rejected') this.#removeOne(id)
      return
    }
    this.#log.warn('message_stays_kept', { id, error: stored.reason })
    if (removed.status === 'fulfilled') {
      // What the disk does not take again is safe in nobody's hands but ours: all the more it is tried anew.
      await this.#insert(envelope).catch((error) =>
        this.#log.error('message_not_kept', { id, error }),
      )
    }
    this.#homeless.set(id, envelope)
  }

  releaseAll(account: string): void {
    for (const envelope of [...this.#waiting, ...this.#unwritten.values()]) {
      if (envelope?.to.bare === account) this.#letGo(envelope.notes.kept as number)
    }
    for (const [id, { to }] of this.#homeless) if (to.bare === account) this.#homeless.delete(id)
    this.#eventually.do(() => this.#storage.write(REMOVE_ALL, [account]))
  }

  /**
   * Takes over what a run has left, and those before it: killed in the midst of that, another does. So
   * a message is known by its place, which nobody changes, and has a number of ours in that order.
   */
  async takeAll(run: NodeRun): Promise<TakenOver> {
    const self = this.#self()
    const rows = (await this.#leftBy(run)).sort((a, b) => a.place - b.place)
    const taken = new TakenOver()
    const statements = rows.map(({ epoch, id, account, place }) => {
      const number = this.#firstId + this.#waiting.push(undefined) - 1
      taken.add(keyOf(account, place), number)
      return { sql: TAKE, parameters: [self.node, self.epoch, number, run.node, epoch, id] }
    })
    if (rows.length > 0) this.#timer ??= this.#nextRound()
    while (statements.length > 0) await this.#storage.writeAll(statements.splice(0, PAGE_SIZE))
    return taken
  }

  async #leftBy({ node, epoch }: NodeRun): Promise<Left[]> {
    const all: Left[] = []
    let last = { epoch: -1, id: -1 }
    while (true) {
      const parameters = [node, epoch, last.epoch, last.id, PAGE_SIZE]
      const rows = await this.#storage.read<LeftRow>(LEFT, parameters)
      for (const row of rows) {
        all.push({ ...row, place: placeIn(row.notes) })
        last = row
      }
      if (rows.length < PAGE_SIZE) return all
    }
  }

  /** Whose messages the disk has: the last run of each node. */
  runs(): Promise<readonly NodeRun[]> {
    return this.#storage.read<NodeRun>(RUNS, [])
  }

  /** What takes over messages of a session's queue, once this run has taken over the session. */
  movesWith(session: string, from: NodeRun, ids: readonly number[]): Move[] {
    const self = this.#self()
    if (ids.length > 0) this.#timer ??= this.#nextRound()
    return ids.map((id) => {
      const own = this.#firstId + this.#waiting.push(undefined) - 1
      const parameters = [...this.#keyOf(own), from.node, from.epoch, id]
      const owner = [session, self.node, self.epoch]
      return { id, own, statement: { sql: TAKE_WITH, parameters: [...parameters, ...owner] } }
    })
  }

  /** What was taken over, oldest first. */
  async *left(taken: TakenOver): AsyncGenerator<Envelope> {
    const { node, epoch } = this.#self()
    const { first, last } = taken
    let after = first - 1
    while (after < last) {
      const parameters = [node, epoch, after, last, PAGE_SIZE]
      const rows = await this.#storage.read<{ id: number; stanza: string; notes: string }>(
        PAGE,
        parameters,
      )
      for (const row of rows) {
        after = row.id
        if (!taken.has(row.id)) continue
        try {
          yield unsettled(fromStored(row).noted({ kept: row.id }))
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
    this.#write(this.#waiting.length)
    this.retry()
    while (this.#writing.size > 0) await Promise.allSettled(this.#writing)
    for (const { settlement } of this.#unwritten.values()) settlement?.fail(new Error('not kept'))
  }

  #nextRound(): NodeJS.Timeout {
    return setTimeout(() => {
      this.#write(this.#old)
      this.#old = this.#waiting.length
      this.#timer = this.#old === 0 ? undefined : this.#nextRound()
    }, PATIENCE).unref()
  }

  /** The first `count` of those that wait. */
  #write(count: number): void {
    for (const envelope of this.#waiting.splice(0, count)) {
      if (envelope === undefined) continue
      // Behind what is to be tried again: killed meanwhile, we would come back with the later one.
      if (this.#unwritten.size > 0) this.#unwritten.set(envelope.notes.kept as number, envelope)
      else this.#add(envelope)
    }
    this.#firstId += count
  }

  #add(envelope: Envelope): void {
    const id = envelope.notes.kept as number
    this.#adding.set(id, envelope)
    this.#track(
      this.#insert(envelope).then(
        () => {
          if (this.#adding.delete(id)) envelope.settlement?.finish()
        },
        (error) => {
          if (!this.#adding.delete(id)) return
          if (this.#unwritten.size === 0) this.#log.error('message_not_kept', { id, error })
          this.#unwritten.set(id, envelope)
        },
      ),
    )
  }

  #insert(envelope: Envelope): Promise<unknown> {
    const { stanza, notes } = toStored(envelope)
    const key = this.#keyOf(envelope.notes.kept as number)
    return this.#storage.write(ADD, [...key, envelope.to.bare, stanza, notes])
  }

  #removeOne(id: number): void {
    this.#eventually.do(() => this.#storage.write(REMOVE, this.#keyOf(id)))
  }

  #keyOf(id: number): readonly [string, number, number] {
    const { node, epoch } = this.#self()
    return [node, epoch, id]
  }

  #track(work: Promise<unknown>): void {
    this.#writing.add(work)
    work.finally(() => this.#writing.delete(work)).catch(() => {})
  }
}

function placeOf({ notes: { place = 0 } }: Envelope): number {
  return place
}

/** Messages that another run kept, with the numbers they have now. */
export class TakenOver {
  /** Undefined if several have the same key: other nodes have given the same places. */
  readonly #numbers = new Map<string, number | undefined>()
  readonly #all = new Set<number>()
  first = 0
  last = -1

  /** In ascending order. */
  add(key: string, number: number): void {
    this.#numbers.set(key, this.#numbers.has(key) ? undefined : number)
    if (this.#all.size === 0) this.first = number
    this.#all.add(number)
    this.last = number
  }

  has(id: number): boolean {
    return this.#all.has(id)
  }

  /** The number of a message that was kept; `undefined` if it is no more, or cannot be told from others. */
  numberOf({ to, notes: { place = NOWHERE } }: Envelope): number | undefined {
    return this.#numbers.get(keyOf(to.bare, place))
  }
}

function keyOf(account: string, place: number): string {
  return `${place} ${account}`
}

/** A damaged row is found to be so when it is read. */
function placeIn(notes: string): number {
  try {
    return (JSON.parse(notes) as Notes).place ?? NOWHERE
  } catch {
    return NOWHERE
  }
}

/** Whatever its settlement waited for before has come to an end. */
function unsettled({ from, to, stanza, origin, notes }: Envelope): Envelope {
  return new Envelope(from, to, stanza, origin, notes, new Settlement())
}

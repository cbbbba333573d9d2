import type { NodeRun, NodeState } from '../core/cluster.ts'
import type { Logger } from '../core/log.ts'
import { rendezvous } from '../core/rendezvous.ts'
import { isUnderstood, PROTOCOL } from './message.ts'
import { type Change, type Clock, type Registry, RegistryConflict } from './transport.ts'

/** What the registry has of a node, as JSON. */
type NodeRecord = {
  readonly epoch: number
  readonly state: NodeState
  /** The greatest epoch that is over; 0 if none. */
  readonly dead: number
  /** The greatest epoch of which nothing is left to take care of. */
  readonly cleaned: number
  readonly version: string
  /** Which language it speaks; absent for 1. */
  readonly protocol?: number
}

type Member = {
  readonly node: string
  record: NodeRecord
  /** When it was last heard of. */
  heardAt: number
  sessions: number
}

export interface MemberListener {
  /** A run of a node begins, here seen for the first time. */
  onAlive(run: NodeRun): void
  /** A run is over: nothing of it is accepted any more. `isNews`: it was not when this node began. */
  onLost(run: NodeRun, isNews: boolean): void
  /** What it left is taken care of. */
  onCleaned(run: NodeRun): void
  /** The others have given this run up. */
  onFenced(): void
}

type Parts = {
  readonly node: string
  readonly version: string
  readonly registry: Registry
  readonly clock: Clock
  readonly log: Logger
  readonly listener: MemberListener
  /** Whether messages between nodes get through at all. */
  readonly isConnected: () => boolean
  /** The greatest epoch of this node that the storage takes nothing of any more. */
  readonly lastShutOut: () => Promise<number>
  readonly sendHeartbeat: () => void
  /** A node not heard of for so long is lost, milliseconds. */
  readonly lease: number
}

/** How long to wait before a write is tried again, milliseconds. */
const RETRY = 500

export const NODE_PREFIX = 'node.'
/** Names that are part of keys and subjects. */
export const NODE_NAME = /^[A-Za-z0-9_-]{1,63}$/

/**
 * Which nodes there are. Each has a record in the registry; each says now and then that it is alive.
 * Who is not heard of for the time of a lease is given up by the first that writes so: then its epoch
 * is over for all, whether it is dead, paused or cut off. One of those left, the same for all, takes
 * care of what it had, and says when that is done.
 */
export class Members {
  readonly #parts: Parts
  readonly #members = new Map<string, Member>()
  readonly #heardOf = new Set<string>()
  #self: NodeRun
  #lookedAt = 0
  #isMinding = false
  #stop: (() => void) | undefined
  #isLeaving = false

  constructor(parts: Parts) {
    this.#parts = parts
    this.#self = { node: parts.node, epoch: 0 }
  }

  /** Epoch 0 before it has joined; one object for each run. */
  get self(): NodeRun {
    return this.#self
  }

  get #epoch(): number {
    return this.#self.epoch
  }

  /** Writes this node's record; the one of its last run, if there is any, is over by that. */
  async join(): Promise<void> {
    const { node, registry, version, clock } = this.#parts
    const key = NODE_PREFIX + node
    const shutOut = await this.#parts.lastShutOut()
    while (this.#epoch === 0) {
      const before = await registry.get(key)
      const last =
        before?.value === undefined ? undefined : (JSON.parse(before.value) as NodeRecord)
      // Beyond every earlier run, even if the registry has forgotten them and the clock was set back.
      const known = Math.max(last?.epoch ?? 0, last?.dead ?? 0, shutOut)
      const epoch = Math.max(known + 1, clock.wallTime())
      const dead = Math.max(last?.dead ?? 0, last?.epoch ?? epoch - 1)
      const record: NodeRecord = {
        epoch,
        state: 'alive',
        dead,
        // Once more, should it have been given up while it still wrote.
        cleaned: Math.min(last?.cleaned ?? 0, dead - 1),
        version,
        protocol: PROTOCOL,
      }
      try {
        await registry.put(key, JSON.stringify(record), before?.revision ?? 0)
        this.#self = { node, epoch }
        this.#members.set(node, { node, record, heardAt: clock.now(), sessions: 0 })
      } catch (error) {
        if (!(error instanceof RegistryConflict)) throw error
      }
    }
    this.#lookedAt = this.#parts.clock.now()
  }

  /** Begins to say that this node is alive: from then on who does not hear so gives it up. */
  announce(): void {
    const interval = this.#parts.lease / 6
    const tick = () => {
      this.#parts.sendHeartbeat()
      if (this.#isMinding) this.#look()
      this.#stop = this.#parts.clock.after(interval, tick)
    }
    tick()
  }

  /** Begins to mind whether others are alive, once it is known who there is. */
  start(): void {
    // It may have been lost before anybody saw it.
    this.#sayAgain(this.#parts.node)
    this.#lookedAt = this.#parts.clock.now()
    this.#isMinding = true
  }

  stop(): void {
    this.#isLeaving = true
    this.#stop?.()
    this.#stop = undefined
  }

  /** No sessions are given to this node any more. */
  async drain(): Promise<void> {
    this.#isLeaving = true
    await this.#rewrite(this.#parts.node, (record) =>
      record.state === 'gone' ? record : { ...record, state: 'leaving' },
    )
  }

  /** This run is over, by its own will. */
  async leave(): Promise<void> {
    this.stop()
    await this.#rewrite(this.#parts.node, over)
  }

  async cleaned({ node, epoch }: NodeRun): Promise<void> {
    await this.#rewrite(node, (record) => ({
      ...record,
      cleaned: Math.max(record.cleaned, epoch),
    }))
  }

  // --- What is known.

  get all(): readonly Member[] {
    return [...this.#members.values()]
  }

  stateOf(node: string): NodeState | undefined {
    return this.#members.get(node)?.record.state
  }

  silentFor(node: string): number {
    const heardAt = this.#members.get(node)?.heardAt ?? 0
    return node === this.#parts.node ? 0 : this.#parts.clock.now() - heardAt
  }

  /** The run of a node that is not over, if there is one. */
  aliveRun(node: string): NodeRun | undefined {
    const member = this.#members.get(node)
    if (member === undefined || member.record.state === 'gone') return undefined
    return { node, epoch: member.record.epoch }
  }

  /** Nodes that speak what this one does not understand. Who is not heard of is given up. */
  get strangers(): readonly {
    readonly node: string
    readonly version: string
    readonly isHeard: boolean
  }[] {
    return this.all.flatMap(({ node, record: { state, version, protocol = 1 } }) =>
      state === 'gone' || isUnderstood(protocol)
        ? []
        : [{ node, version, isHeard: this.#heardOf.has(node) }],
    )
  }

  get others(): readonly NodeRun[] {
    return this.all.flatMap(({ node }) => {
      const run = node === this.#parts.node ? undefined : this.aliveRun(node)
      return run === undefined ? [] : [run]
    })
  }

  isOver({ node, epoch }: NodeRun): boolean {
    return epoch <= (this.#members.get(node)?.record.dead ?? 0)
  }

  isCleaned({ node, epoch }: NodeRun): boolean {
    return epoch <= (this.#members.get(node)?.record.cleaned ?? 0)
  }

  /** Runs that left something for this node to take care of. */
  get remains(): readonly NodeRun[] {
    return this.all.flatMap(({ node, record: { dead, cleaned } }) =>
      dead > cleaned && this.isCleaner(node) ? [{ node, epoch: dead }] : [],
    )
  }

  /** Whether this node takes care of what that one has left. */
  isCleaner(node: string): boolean {
    return this.#cleanerOf(node) === this.#parts.node
  }

  /** The node itself, if it runs again; else one of the others. */
  #cleanerOf(node: string): string | undefined {
    const alive = this.all.filter(({ record }) => record.state === 'alive')
    if (alive.some((member) => member.node === node)) return node
    return rendezvous(node, alive, (member) => member.node)?.node
  }

  // --- What is heard.

  onChange({ key, value }: Change): void {
    const node = key.slice(NODE_PREFIX.length)
    const { clock, listener } = this.#parts
    const known = this.#members.get(node)
    if (value === undefined) {
      // The registry has lost it. Its node says again what it is, or else it is given up.
      if (node === this.#parts.node && this.#epoch > 0) this.#sayAgain(node)
      return
    }
    const told = JSON.parse(value) as NodeRecord
    const before = known?.record
    const record = before === undefined ? told : together(told, before)
    const member = known ?? { node, record, heardAt: clock.now(), sessions: 0 }
    this.#members.set(node, member)
    member.record = record
    if (record.state === 'gone') member.sessions = 0
    // Whatever was heard of it before this record, such as its sessions.
    const deadBefore = before?.dead ?? 0
    if (record.dead > deadBefore)
      listener.onLost({ node, epoch: record.dead }, before !== undefined)
    if (node === this.#parts.node) {
      const isOver = this.#epoch > 0 && this.#epoch <= record.dead && !this.#isLeaving
      if (isOver || (this.#epoch > 0 && record.epoch > this.#epoch)) listener.onFenced()
    } else this.#compare(node, before, member)
    if (told.epoch !== record.epoch || told.state !== record.state) this.#sayAgain(node)
    const cleanedBefore = before?.cleaned ?? 0
    if (record.cleaned > cleanedBefore) listener.onCleaned({ node, epoch: record.cleaned })
  }

  /** The registry has lost what is known here of a node. */
  #sayAgain(node: string): void {
    const { clock, log } = this.#parts
    if (this.#isLeaving) return
    this.#rewrite(node, (record) => record).catch((error) => {
      log.warn('cluster_node_not_known', { node, error })
      clock.after(RETRY, () => this.#sayAgain(node))
    })
  }

  #compare(node: string, before: NodeRecord | undefined, member: Member): void {
    const { listener, clock } = this.#parts
    const { record } = member
    if (record.state !== 'gone' && before?.epoch !== record.epoch) {
      member.heardAt = clock.now()
      listener.onAlive({ node, epoch: record.epoch })
    }
  }

  /** It has a record, or was heard of. */
  isKnown(node: string): boolean {
    return this.#members.has(node) || this.#heardOf.has(node)
  }

  onHeartbeat(node: string, epoch: number, sessions: number): void {
    this.#heardOf.add(node)
    const member = this.#members.get(node)
    if (member === undefined || member.record.epoch !== epoch) return
    member.heardAt = this.#parts.clock.now()
    member.sessions = sessions
  }

  /** Nobody could be heard for a while. */
  forgive(): void {
    const now = this.#parts.clock.now()
    for (const member of this.#members.values()) member.heardAt = now
  }

  #look(): void {
    const { clock, lease, registry, isConnected, node: self } = this.#parts
    const now = clock.now()
    // Whoever has slept has heard nobody.
    if (now - this.#lookedAt > lease / 2) this.forgive()
    this.#lookedAt = now
    if (!registry.isConnected || !isConnected()) return this.forgive()
    for (const { node, record, heardAt } of this.#members.values()) {
      if (node === self || record.state === 'gone' || now - heardAt < lease) continue
      this.#giveUp(node, record.epoch)
    }
  }

  /** Gives up a run that has left something, and no record. */
  async giveUpUnknown(run: NodeRun): Promise<void> {
    const { node } = run
    const { registry, version } = this.#parts
    // 0: from before there were runs.
    const epoch = Math.max(run.epoch, 1)
    const record = { epoch, state: 'alive', dead: 0, cleaned: 0, version } as const
    try {
      await registry.put(NODE_PREFIX + node, JSON.stringify(over(record)), 0)
    } catch (error) {
      // It has one by now.
      if (!(error instanceof RegistryConflict)) throw error
    }
  }

  #giveUp(node: string, epoch: number): void {
    const { log } = this.#parts
    const member = this.#members.get(node) as Member
    // Once per lease, should it fail.
    member.heardAt = this.#parts.clock.now()
    log.warn('cluster_node_lost', { node, epoch })
    const given = (record: NodeRecord) => (record.epoch === epoch ? over(record) : record)
    this.#rewrite(node, given).catch((error) => {
      log.error('cluster_node_not_given_up', { node, error })
    })
  }

  /** Changes a record, whoever else does, and adds what the registry has lost of it. */
  async #rewrite(node: string, change: (record: NodeRecord) => NodeRecord): Promise<void> {
    const { registry } = this.#parts
    const key = NODE_PREFIX + node
    while (true) {
      const { value, revision = 0 } = (await registry.get(key)) ?? {}
      const told = value === undefined ? undefined : (JSON.parse(value) as NodeRecord)
      const known = this.#members.get(node)?.record
      const record =
        told !== undefined && known !== undefined ? together(told, known) : (told ?? known)
      if (record === undefined) return
      const text = JSON.stringify(change(record))
      if (text === value) return
      try {
        await registry.put(key, text, told === undefined ? 0 : revision)
        return
      } catch (error) {
        if (!(error instanceof RegistryConflict)) throw error
      }
    }
  }
}

/** The run of a node is over, as whoever holds the registry knows before anybody misses it. */
export function runOver(
  registry: {
    get(key: string): Change | undefined
    put(key: string, value: string, expected: number): number
  },
  node: string,
): void {
  const current = registry.get(NODE_PREFIX + node)
  if (current?.value === undefined) return
  const record = over(JSON.parse(current.value) as NodeRecord)
  registry.put(current.key, JSON.stringify(record), current.revision)
}

/**
 * What the registry tells of a node, and what was known of it before. A registry that has lost what it had
 * brings nobody back to life, and nobody's earlier run: what is over, or taken care of, is so for good.
 */
function together(told: NodeRecord, known: NodeRecord): NodeRecord {
  const newer = told.epoch < known.epoch ? known : told
  const earlier = told.epoch === known.epoch ? 0 : Math.min(told.epoch, known.epoch)
  const dead = Math.max(told.dead, known.dead, earlier)
  const cleaned = Math.max(told.cleaned, known.cleaned)
  return { ...newer, dead, cleaned, state: newer.epoch <= dead ? 'gone' : newer.state }
}

function over(record: NodeRecord): NodeRecord {
  if (record.state === 'gone') return record
  return { ...record, state: 'gone', dead: record.epoch }
}

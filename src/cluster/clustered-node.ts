import {
  type Answer,
  type Cluster,
  ClusterError,
  type Failure,
  type NodeRun,
  type NodeStatus,
  type Question,
  type Topic,
  type TopicHandler,
} from '../core/cluster.ts'
import type { Component } from '../core/components.ts'
import type { Envelope } from '../core/envelope.ts'
import type { Fences } from '../core/fences.ts'
import { type Hooks, resultOf } from '../core/hooks.ts'
import type { IqDispatcher } from '../core/iq.ts'
import type { LocalRoutes } from '../core/local-routes.ts'
import type { Logger } from '../core/log.ts'
import { after, type Maybe } from '../core/maybe.ts'
import type { Router } from '../core/router.ts'
import { isLocalSession, type Session } from '../core/session.ts'
import type { SessionManager } from '../core/session-manager.ts'
import { parseJid } from '../xmpp/jid.ts'
import type { StreamError } from '../xmpp/stream-error.ts'
import { HAND_OFF_ENTRIES, HandOff, readHanded, type Taker } from './hand-off.ts'
import { Link } from './link.ts'
import { LOCK_PREFIX, Locks } from './locks.ts'
import { type MemberListener, Members, NODE_PREFIX } from './members.ts'
import { PROTOCOL, readMessage } from './message.ts'
import { QUESTION_ENTRIES, Questions } from './questions.ts'
import {
  COMPONENT_PREFIX,
  type ComponentTable,
  fromText,
  RemoteComponents,
  type StreamErrorText,
  toText,
} from './remote-components.ts'
import { RemoteResource } from './remote-resource.ts'
import { SESSION_PREFIX, SessionTable } from './session-table.ts'
import {
  type Change,
  type Clock,
  keyOf,
  type Registry,
  RegistryConflict,
  type Transport,
} from './transport.ts'

declare module '../core/cluster.ts' {
  interface Topics {
    /** Ends a session of the node that is asked, if it has it. Answered when it has ended. */
    session_close: {
      readonly question: {
        readonly jid: string
        readonly id: string
        readonly error?: StreamErrorText
      }
      readonly answer: null
    }
    component_close: {
      readonly question: { readonly id: string; readonly error: StreamErrorText }
      readonly answer: null
    }
    /** What was found at the place of lost nodes, named as in `Notes.handed`. */
    remains_found: { readonly question: readonly string[]; readonly answer: null }
    /**
     * One that was found there in nobody's hands, and others have as well. Answered when whoever gave it
     * to all of them has settled what becomes of it.
     */
    remains_returned: { readonly question: string; readonly answer: null }
  }
}

export type ClusterSettings = {
  readonly node: string
  readonly version: string
  /** A node not heard of for so long is lost, milliseconds. */
  readonly lease: number
  /** How long stanzas wait for a node out of reach, milliseconds. */
  readonly patience: number
}

type Parts = {
  readonly transport: Transport
  readonly registry: Registry
  readonly clock: Clock
  readonly log: Logger
  readonly hooks: Hooks
  readonly router: Router
  readonly iq: Pick<IqDispatcher, 'accept'>
  readonly routes: LocalRoutes
  readonly sessionManager: SessionManager
  readonly components: ComponentTable
  /** Of the storage that all share; processes of one machine have none. */
  readonly fences?: Fences | undefined
  /** The others have given this run up: whatever it has is theirs. It must end at once. */
  readonly onFenced: () => void
}

type Peer = {
  readonly run: NodeRun
  readonly link: Link
  readonly handOff: HandOff
  isLost: boolean
}

/** How often a stanza is handed on before it is taken for undeliverable. */
const MAX_HOPS = 5
const HEARTBEAT = 'H'
/** How long a message waits for the registry to show what its sender had written, milliseconds. */
const SEEN_TIMEOUT = 3_000
const CLEAN_RETRY = 1_000
/** When a node looks again what its last run has left, milliseconds after its start. */
const SECOND_LOOK = 10_000
/** How long who handed a stanza to the wrong node waits for the right one, milliseconds. */
const PASSING = 3_000
/** Sessions of a lost node that are unregistered together. */
const AT_ONCE = 200

/**
 * A node among others. What it knows of them comes from the registry (who is there, which sessions
 * they have), what it has for them goes over links; see `docs/decisions/0021-cluster.md`.
 */
export class ClusteredNode implements Cluster, MemberListener {
  readonly isShared = true
  readonly #settings: ClusterSettings
  readonly #parts: Parts
  readonly #members: Members
  readonly #sessions: SessionTable
  readonly #components: RemoteComponents
  readonly #locks: Locks
  readonly #questions: Questions
  readonly #peers = new Map<string, Peer>()
  /** Lost runs whose remains are not taken care of yet. */
  readonly #lost = new Map<string, Peer>()
  readonly #cleaned = new Map<string, PromiseWithResolvers<void>>()
  readonly #found = new Map<string, Set<number>>()
  readonly #cleaning = new Set<string>()
  readonly #takingOver = new Set<Promise<void>>()
  readonly #watchers: { readonly revision: number; readonly resolve: () => void }[] = []
  #written = 0
  #seen = 0
  #isReady = false
  /** Nothing is taken from other nodes any more. */
  #isClosing = false
  #stopExpiry: (() => void) | undefined

  constructor(settings: ClusterSettings, parts: Parts) {
    this.#settings = settings
    this.#parts = parts
    const { registry, clock, log, transport, sessionManager } = parts
    this.#questions = new Questions(log)
    const self = () => this.self
    this.#members = new Members({
      node: settings.node,
      version: settings.version,
      registry,
      clock,
      log,
      listener: this,
      isConnected: () => transport.isConnected,
      lastShutOut: async () => (await parts.fences?.lastOf(settings.node)) ?? 0,
      sendHeartbeat: () => this.#sendHeartbeat(),
      lease: settings.lease,
    })
    const handOffTo = (run: NodeRun) => this.#peer(run).handOff
    this.#sessions = new SessionTable({
      self,
      registry,
      clock,
      log,
      sessions: sessionManager.sessions,
      handOffTo,
      closeRemote: (resource, error) => this.#closeRemote(resource, error),
      remains: (run) => this.#remainsOf(run),
      isCleaned: (run) => this.#members.isCleaned(run),
      isCleaner: (node) => this.#members.isCleaner(node),
      holdBack: (jid, until) => sessionManager.holdBack(jid, until),
      onSeenLate: (session) => this.#seenLate(session),
      onLess: (resource) => this.#tellLess(resource),
      wrote: (revision) => this.#wrote(revision),
    })
    this.#components = new RemoteComponents({
      self,
      registry,
      clock,
      log,
      table: parts.components,
      handOffTo,
      closeRemote: async (run, id, error) => {
        await this.#askUnlessLost(run, 'component_close', { id, error: toText(error) })
      },
      isCleaned: (run) => this.#members.isCleaned(run),
      isCleaner: (node) => this.#members.isCleaner(node),
    })
    this.#locks = new Locks({
      self,
      registry,
      clock,
      log,
      isOver: (run) => this.#members.isOver(run),
    })
    transport.onMessage = (message) => this.#onMessage(message)
    transport.onReconnected = () => this.#onReconnected()
    this.#answerOthers()
  }

  // --- This node comes and goes.

  async start(): Promise<void> {
    await this.#members.join()
    await this.#parts.fences?.enter(this.self, () => this.onFenced())
    // NATS may take its time to show what there is.
    this.#members.announce()
    await this.#parts.registry.watch((change) => this.#onChange(change))
    this.#members.start()
    await this.#refuseStrangers()
    const expire = () => {
      for (const peer of this.#peers.values()) if (!peer.isLost) peer.handOff.expire()
      void this.#sessions.removeStray()
      this.#stopExpiry = this.#parts.clock.after(1_000, expire)
    }
    expire()
    this.#isReady = true
    await this.#cleanUp()
    this.#parts.clock.after(this.#settings.lease, () => void this.#takeOverOrphans())
    this.#parts.clock.after(SECOND_LOOK, () => void this.#takeOverOwn())
  }

  /** Who is there says so at least once in half a lease. */
  async #refuseStrangers(): Promise<void> {
    const { clock } = this.#parts
    const { lease, version } = this.#settings
    if (this.#members.strangers.length === 0) return
    await new Promise<void>((resolve) => void clock.after(lease / 2, resolve))
    const stranger = this.#members.strangers.find(({ isHeard }) => isHeard)
    if (stranger === undefined) return
    throw new Error(
      `The node ${stranger.node} runs ${stranger.version}, which ${version} does not understand: upgrade from one release to the next, one node after the other`,
    )
  }

  async drain(): Promise<void> {
    if (this.self.epoch > 0 && this.#parts.registry.isConnected) await this.#members.drain()
    // What this node is taking over is its own when it is sent elsewhere.
    await Promise.allSettled(this.#takingOver)
  }

  async closeIntake(): Promise<void> {
    this.#isClosing = true
    for (const { handOff } of this.#peers.values()) await handOff.decidedAll
    for (const { link } of this.#peers.values()) link.acknowledgeNow()
  }

  async handedOver(): Promise<void> {
    for (const { handOff, isLost } of this.#peers.values()) if (!isLost) await handOff.safe
  }

  async leave(): Promise<void> {
    this.#stopExpiry?.()
    this.#isReady = false
    const { registry, transport, log, fences } = this.#parts
    try {
      await fences?.leave()
    } catch (error) {
      log.warn('storage_not_left', { error })
    }
    try {
      const hasJoined = this.self.epoch > 0
      if (hasJoined && registry.isConnected) await this.#members.leave()
      else this.#members.stop()
    } catch (error) {
      log.warn('cluster_not_left', { error })
    }
    for (const { link } of this.#peers.values()) link.close()
    await registry.close()
    await transport.close()
  }

  get self(): NodeRun {
    return this.#members.self
  }

  get nodes(): readonly NodeStatus[] {
    return this.#members.all.map(({ node, record, sessions }) => {
      const isSelf = node === this.self.node
      const peer = this.#peers.get(keyOf({ node, epoch: record.epoch }))
      return {
        node,
        epoch: record.epoch,
        state: record.state,
        isSelf,
        silentFor: this.#members.silentFor(node),
        version: record.version,
        sessions: isSelf ? this.#sessions.own : sessions,
        waiting: peer?.link.waiting ?? 0,
      }
    })
  }

  // --- Sessions and components of this node.

  opened(session: Session): Maybe<void> {
    return this.#sessions.opened(session)
  }

  changed(session: Session): void {
    this.#sessions.changed(session)
  }

  released(session: Session): void {
    this.#sessions.released(session)
  }

  closed(session: Session): Promise<void> {
    return this.#sessions.closed(session)
  }

  componentConnected(component: Component): void {
    this.#components.connected(component)
  }

  componentChanged(component: Component): void {
    this.#components.changed(component)
  }

  componentGone(component: Component): void {
    this.#components.gone(component)
  }

  forward(node: string, envelope: Envelope): boolean {
    const run = this.#members.aliveRun(node)
    return run !== undefined && this.#peer(run).handOff.deliverToNode(envelope)
  }

  // --- Questions.

  on<T extends Topic>(topic: T, handler: TopicHandler<T>): () => void {
    return this.#questions.on(topic, handler)
  }

  async ask<T extends Topic>(node: string, topic: T, question: Question<T>): Promise<Answer<T>> {
    if (node === this.self.node) return this.#questions.askSelf(topic, question, node)
    const run = this.#members.aliveRun(node)
    if (run === undefined) throw new ClusterError('lost', `there is no node ${node}`)
    return this.#questions.ask(this.#peer(run).link, topic, question)
  }

  tell<T extends Topic>(topic: T, question: Question<T>): Maybe<readonly Failure[]> {
    const { others } = this.#members
    if (others.length === 0) return []
    return Promise.all(others.map((run) => this.#askUnlessLost(run, topic, question))).then(
      (failures) => failures.filter((failure) => failure !== undefined),
    )
  }

  exclusively<R>(key: string, work: () => Promise<R>): Promise<R> {
    return this.#locks.exclusively(key, work)
  }

  async agreeOn(name: string, proposal: string): Promise<string> {
    const { registry } = this.#parts
    const key = `value.${name}`
    while (true) {
      const known = await registry.get(key)
      if (known?.value !== undefined) return known.value
      try {
        await registry.put(key, proposal, known?.revision ?? 0)
        return proposal
      } catch (error) {
        if (!(error instanceof RegistryConflict)) throw error
      }
    }
  }

  /** Whoever is gone need not be told. */
  async #askUnlessLost<T extends Topic>(
    { node, epoch }: NodeRun,
    topic: T,
    question: Question<T>,
  ): Promise<Failure | undefined> {
    const peer = this.#peer({ node, epoch })
    if (peer.isLost) return undefined
    try {
      await this.#questions.ask(peer.link, topic, question)
      return undefined
    } catch (error) {
      if (error instanceof ClusterError && error.kind === 'lost') return undefined
      this.#parts.log.warn('cluster_not_told', { topic, node, error })
      return { node, reason: error instanceof Error ? error.message : String(error) }
    }
  }

  #answerOthers(): void {
    const { sessionManager } = this.#parts
    this.on('session_close', async ({ jid, id, error }) => {
      const session = sessionManager.sessions.get(parseJid(jid))
      const stream = error === undefined ? undefined : fromText(error)
      if (session?.id === id && isLocalSession(session)) await session.close(stream)
      await sessionManager.leaving(parseJid(jid).bare)
      return null
    })
    this.on('component_close', async ({ id, error }) => {
      await this.#components.find(id)?.close(fromText(error))
      return null
    })
    this.on('remains_found', (all) => {
      this.#note(all)
      return null
    })
    this.on('remains_returned', async (handed) => {
      const { to, number } = readHanded(handed)
      await this.#lost.get(to)?.handOff.returned(number)
      return null
    })
  }

  /** A session of a lost node counts as ended when what it had is taken care of. */
  async #closeRemote(resource: RemoteResource, error?: StreamError): Promise<void> {
    const { owner, jid, id } = resource
    const question = { jid: jid.full, id, ...(error && { error: toText(error) }) }
    await this.#askUnlessLost(owner, 'session_close', question)
    await this.#remainsOf(owner)
  }

  // --- Links.

  #peer(run: NodeRun): Peer {
    const key = keyOf(run)
    let peer = this.#peers.get(key)
    if (peer !== undefined) return peer
    const { clock, log, transport } = this.#parts
    const link: Link = new Link({
      self: this.self,
      peer: run,
      clock,
      log,
      isConnected: () => transport.isConnected,
      send: (message) => transport.send(run.node, message),
      take: (entry, number) => this.#take(entry, number, link),
      onAcknowledged: (upTo) => handOff.onAcknowledged(upTo),
      written: () => this.#written,
      seen: (revision) => this.#whenSeen(revision),
    })
    const { patience } = this.#settings
    const isClosing = () => this.#isClosing
    const handOff = new HandOff({ link, clock, taker: this.#taker, patience, isClosing })
    peer = { run, link, handOff, isLost: false }
    this.#peers.set(key, peer)
    if (this.#members.isOver(run)) this.#lose(peer)
    return peer
  }

  #take(entry: string, number: number, link: Link): Maybe<unknown> {
    const kind = entry[0] as string
    if (HAND_OFF_ENTRIES.includes(kind)) {
      return this.#peers.get(keyOf(link.peer))?.handOff.take(entry, number)
    }
    if (QUESTION_ENTRIES.includes(kind)) this.#questions.take(entry, link)
    else this.#parts.log.warn('cluster_entry_unknown', { from: link.peer.node, kind })
    return undefined
  }

  readonly #taker: Taker = {
    toSession: (target, envelope) => {
      const { sessionManager } = this.#parts
      const taken = sessionManager.take(target, envelope, this.#domainType(envelope))
      return after(taken, (isTaken) => {
        if (isTaken) return false
        // Others have it, too: whoever gave it to all of them decides.
        if (envelope.delivery?.giveBack(envelope) === false) return false
        // What the session that was here gives back comes first.
        const again = () => this.#taker.again(envelope.shared(undefined))
        return after(sessionManager.afterLeaving(envelope.to.bare, again), () => true)
      })
    },
    passedOn: (envelope) => this.#passedOn(envelope),
    toComponent: (target, envelope) => {
      const component = this.#components.find(target)
      return component === undefined ? this.#taker.again(envelope) : component.handle(envelope)
    },
    toNode: (envelope) => void this.#parts.iq.accept(envelope),
    again: (envelope) => {
      const hops = (envelope.notes.hops ?? 0) + 1
      if (hops > MAX_HOPS) return this.#taker.unreachable(envelope)
      return this.#parts.router.route(envelope.noted({ isRetry: true, hops }))
    },
    keptElsewhere: (envelope) => {
      const { hooks, log } = this.#parts
      const point = hooks.at('message_kept_elsewhere', this.#domainType(envelope))
      const told = point.run(envelope, {})
      if (told instanceof Promise) told.catch((error) => log.error('message_stays_kept', { error }))
    },
    unreachable: (envelope) =>
      this.#parts.sessionManager.unreachable(envelope, this.#domainType(envelope)),
  }

  /**
   * Resolves when the node that has the session has dealt with it. Before that, whoever handed it to this
   * one must not take it for decided: what it hands to that node itself would overtake it.
   */
  #passedOn({ to }: Envelope): Promise<unknown> | undefined {
    const waits: Promise<void>[] = []
    for (const resource of this.#parts.sessionManager.sessions.of(to.bare)) {
      const wait = resource instanceof RemoteResource ? resource.undecided : undefined
      if (wait !== undefined) waits.push(wait)
    }
    if (waits.length === 0) return undefined
    // Nodes that pass something on to each other do not wait for each other for ever.
    return new Promise((resolve) => {
      const cancel = this.#parts.clock.after(PASSING, () => resolve(undefined))
      void Promise.all(waits).then(() => {
        cancel()
        resolve(undefined)
      })
    })
  }

  #domainType({ to }: Envelope): string {
    return this.#parts.routes.find(to.domain)?.domainType ?? ''
  }

  #onMessage(message: string): void {
    if (message[0] === HEARTBEAT) return this.#onHeartbeat(message)
    const read = readMessage(message)
    if (read === undefined) return
    const { header, entries } = read
    const { from: node, fromEpoch: epoch, toEpoch } = header
    if (node === this.self.node || toEpoch !== this.self.epoch) return
    const run = { node, epoch }
    // One that is not known yet repeats what it said.
    if (this.#members.isOver(run) || this.#members.aliveRun(node)?.epoch !== epoch) return
    this.#peer(run).link.receive(header, entries)
  }

  #sendHeartbeat(): void {
    const { node, epoch } = this.self
    this.#parts.transport.broadcast(
      `${HEARTBEAT} ${PROTOCOL} ${node} ${epoch} ${this.#sessions.own}`,
    )
  }

  #onHeartbeat(message: string): void {
    const [, , node = '', epoch, sessions] = message.split(' ')
    this.#members.onHeartbeat(node, Number(epoch), Number(sessions))
  }

  #onReconnected(): void {
    this.#members.forgive()
    for (const { link, isLost } of this.#peers.values()) if (!isLost) link.resend()
    this.#sessions.rewrite()
    this.#components.rewrite()
  }

  // --- The registry.

  #onChange(change: Change): void {
    const { key, revision } = change
    if (key.startsWith(SESSION_PREFIX)) this.#sessions.onChange(change)
    else if (key.startsWith(NODE_PREFIX)) this.#onNodeChange(change)
    else if (key.startsWith(COMPONENT_PREFIX)) this.#components.onChange(change)
    else if (key.startsWith(LOCK_PREFIX)) this.#locks.onChange(change)
    if (revision <= this.#seen) return
    this.#seen = revision
    while (this.#watchers.length > 0 && (this.#watchers[0]?.revision as number) <= revision) {
      this.#watchers.shift()?.resolve()
    }
  }

  #onNodeChange(change: Change): void {
    this.#members.onChange(change)
    // Whoever is to take care of what others left may have changed, too.
    if (this.#isReady) this.#cleanUpSoon()
  }

  #wrote(revision: number): void {
    if (revision > this.#written) this.#written = revision
  }

  #whenSeen(revision: number): Promise<void> | undefined {
    if (revision <= this.#seen) return undefined
    return new Promise((resolve) => {
      const cancel = this.#parts.clock.after(SEEN_TIMEOUT, () => resolve())
      const watcher = {
        revision,
        resolve: () => {
          cancel()
          resolve()
        },
      }
      const index = this.#watchers.findLastIndex((other) => other.revision <= revision)
      this.#watchers.splice(index + 1, 0, watcher)
    })
  }

  /** Others may have stored what it could have had. */
  #seenLate(session: Session): void {
    if (session.isClosed || (session.priority ?? -1) < 0) return
    const { hooks, log } = this.#parts
    const point = hooks.at('resend_offline_messages', session.domainType)
    const told = point.run(session.jid, { session })
    if (told instanceof Promise) told.catch((error) => log.error('offline_not_resent', { error }))
  }

  #tellLess(resource: RemoteResource): void {
    const domainType = this.#parts.routes.find(resource.jid.domain)?.domainType
    const told = this.#parts.hooks.at('remote_session_left', domainType).run(resource, {})
    if (told instanceof Promise) told.catch(() => {})
  }

  // --- Nodes come and go.

  onAlive(run: NodeRun): void {
    this.#parts.log.info('cluster_node_joined', { ...run })
    this.#peer(run)
    this.#sendHeartbeat()
    const told = this.#parts.hooks.at('node_joined').run({}, { clusterNode: run.node })
    if (told instanceof Promise) told.catch(() => {})
  }

  onLost({ node, epoch }: NodeRun, isNews: boolean): void {
    for (const peer of this.#peers.values()) {
      if (peer.run.node === node && peer.run.epoch <= epoch && !peer.isLost) this.#lose(peer)
    }
    this.#locks.onLost()
    if (!isNews) return
    this.#parts.log.warn('cluster_node_gone', { node, epoch })
    const told = this.#parts.hooks.at('node_cleanup').run({}, { clusterNode: node })
    if (told instanceof Promise) told.catch(() => {})
  }

  onFenced(): void {
    this.#parts.log.fatal('cluster_fenced', { ...this.self })
    this.#parts.onFenced()
  }

  onCleaned({ node, epoch }: NodeRun): void {
    for (const [key, peer] of this.#lost) {
      if (peer.run.node !== node || peer.run.epoch > epoch) continue
      this.#lost.delete(key)
      this.#peers.delete(key)
      const decided = peer.handOff.settleRemains(this.#found.get(key) ?? new Set())
      this.#found.delete(key)
      const over = () => {
        this.#cleaned.get(key)?.resolve()
        this.#cleaned.delete(key)
      }
      if (decided instanceof Promise) decided.then(over, over)
      else over()
    }
    this.#sessions.onCleaned({ node, epoch })
    this.#components.onCleaned({ node, epoch })
  }

  #lose(peer: Peer): void {
    peer.isLost = true
    peer.link.close()
    peer.handOff.lose()
    this.#questions.lose(peer.link)
    const key = keyOf(peer.run)
    if (this.#members.isCleaned(peer.run)) {
      this.#peers.delete(key)
      void peer.handOff.settleRemains(new Set())
      return
    }
    this.#lost.set(key, peer)
    this.#cleaned.set(key, Promise.withResolvers())
  }

  /** Resolves when what a lost run left is taken care of; `undefined` if it is, or is not lost. */
  #remainsOf(run: NodeRun): Promise<void> | undefined {
    return this.#cleaned.get(keyOf(run))?.promise
  }

  #note(found: readonly string[]): void {
    const own = keyOf(this.self)
    for (const { from, to, number } of found.map(readHanded)) {
      if (from !== own || !this.#lost.has(to)) continue
      const numbers = this.#found.get(to) ?? new Set()
      this.#found.set(to, numbers.add(number))
    }
  }

  /**
   * What is left of nodes that nobody knows: they were called something else, or the registry was lost. Who
   * is alive has been heard of by now.
   */
  async #takeOverOrphans(): Promise<void> {
    const { hooks, log } = this.#parts
    try {
      await this.exclusively('orphans', async () => {
        const left = resultOf(await hooks.at('nodes_with_remains').run([], {}), [])
        for (const node of left) {
          if (!this.#isReady || this.#members.isKnown(node)) continue
          log.warn('cluster_node_unknown', { node })
          const nobody = {
            unregister: async () => {},
            found: () => {},
            giveBack: async () => false,
          }
          const remains = { node, epoch: Number.MAX_SAFE_INTEGER, ...nobody }
          await hooks.at('node_remains').run(remains, {})
        }
      })
    } catch (error) {
      log.warn('cluster_orphans_left', { error })
    }
  }

  /** What an earlier run of this node has still written when it was given up, paused or cut off. */
  async #takeOverOwn(): Promise<void> {
    const { node, epoch } = this.self
    if (!this.#isReady) return
    try {
      const found: string[] = []
      await this.#takeOver({ node, epoch: epoch - 1 }, found)
      this.#note(found)
      await this.tell('remains_found', found)
    } catch (error) {
      this.#parts.log.warn('cluster_own_remains_left', { error })
    }
  }

  /** Takes care of what lost nodes left, as far as that is this node's turn. */
  #cleanUpSoon(): void {
    const work = this.#cleanUp().finally(() => this.#takingOver.delete(work))
    this.#takingOver.add(work)
  }

  async #cleanUp(): Promise<void> {
    const runs = this.#members.remains.filter((run) => !this.#cleaning.has(keyOf(run)))
    if (runs.length === 0) return
    for (const run of runs) this.#cleaning.add(keyOf(run))
    try {
      const found: string[] = []
      for (const run of runs) await this.#takeOver(run, found)
      // What one of them had taken over from another is found before anybody decides about it.
      this.#note(found)
      await this.tell('remains_found', found)
      for (const run of runs) {
        await this.#members.cleaned(run)
        this.#parts.log.info('cluster_node_cleaned', { ...run })
      }
    } catch (error) {
      this.#parts.log.error('cluster_cleanup_failed', { runs, error })
      this.#parts.clock.after(CLEAN_RETRY, () => {
        if (this.#isReady) this.#cleanUpSoon()
      })
    } finally {
      for (const run of runs) this.#cleaning.delete(keyOf(run))
    }
  }

  async #takeOver(run: NodeRun, found: string[]): Promise<void> {
    const remains = {
      ...run,
      unregister: () => this.#unregister(run),
      found: (handed: string) => void found.push(handed),
      giveBack: async (handed: string) => {
        if (await this.#isAnsweredFor(handed)) return true
        found.push(handed)
        return false
      },
    }
    // From here on it has what it has.
    await this.#parts.fences?.shutOut(run)
    await this.#parts.hooks.at('node_remains').run(remains, {})
    await this.#unregister(run)
    await this.#components.removeLost(run)
  }

  /** Whether whoever handed it to several resources has settled what becomes of it. */
  async #isAnsweredFor(handed: string): Promise<boolean> {
    const { from, isShared } = readHanded(handed)
    if (!isShared) return false
    const origin = [this.self, ...this.#members.others].find((run) => keyOf(run) === from)
    if (origin === undefined) return false
    try {
      await this.ask(origin.node, 'remains_returned', handed)
      return true
    } catch {
      return false
    }
  }

  async #unregister(run: NodeRun): Promise<void> {
    const { hooks, routes } = this.#parts
    const rows = this.#sessions.of(run)
    for (let i = 0; i < rows.length; i += AT_ONCE) {
      const some = rows.slice(i, i + AT_ONCE)
      const removals = some.map(({ key, row }) => this.#removeLost(key, row.revision))
      const removed = await Promise.all(removals)
      await this.#whenSeen(this.#written)
      for (const [index, { row }] of some.entries()) {
        if (removed[index] !== true) continue
        const { resource } = row
        const domainType = routes.find(resource.jid.domain)?.domainType
        await hooks.at('session_cleanup', domainType).run(resource, {})
      }
    }
  }

  /** Tries until it is known whether the row is gone, for who asks has begun what cannot begin anew. */
  async #removeLost(key: string, revision: number): Promise<boolean> {
    while (true) {
      try {
        return await this.#sessions.removeLost(key, revision)
      } catch (error) {
        if (!this.#isReady) throw error
        this.#parts.log.warn('session_row_not_removed', { error })
        await new Promise<void>((resolve) => void this.#parts.clock.after(CLEAN_RETRY, resolve))
      }
    }
  }
}

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
import type { Hooks } from '../core/hooks.ts'
import type { IqDispatcher } from '../core/iq.ts'
import type { LocalRoutes } from '../core/local-routes.ts'
import type { Logger } from '../core/log.ts'
import type { Maybe } from '../core/maybe.ts'
import type { Router } from '../core/router.ts'
import { isLocalSession, type Session } from '../core/session.ts'
import type { SessionManager } from '../core/session-manager.ts'
import { overWithin } from '../core/timers.ts'
import { parseJid } from '../xmpp/jid.ts'
import type { StreamError } from '../xmpp/stream-error.ts'
import { LOCK_PREFIX, Locks } from './locks.ts'
import { LostRuns } from './lost-runs.ts'
import { type MemberListener, Members, NODE_PREFIX } from './members.ts'
import { PROTOCOL, readMessage } from './message.ts'
import { Peers } from './peers.ts'
import { Questions } from './questions.ts'
import { Reception } from './reception.ts'
import {
  COMPONENT_PREFIX,
  type ComponentTable,
  fromText,
  RemoteComponents,
  type StreamErrorText,
  toText,
} from './remote-components.ts'
import type { RemoteResource } from './remote-resource.ts'
import { Revisions } from './revisions.ts'
import { SESSION_PREFIX, SessionTable } from './session-table.ts'
import {
  type Change,
  type Clock,
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
  /** Of the storage that all share. */
  readonly fences: Fences
  /** The others have given this run up: whatever it has is theirs. It must end at once. */
  readonly onFenced: () => void
}

const HEARTBEAT = 'H'
/** How long whoever begins a session in another's place waits for what that has sent others, milliseconds. */
const LAST_WORDS = 2_000

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
  readonly #revisions: Revisions
  readonly #lostRuns: LostRuns
  readonly #peers: Peers
  #stopExpiry: (() => void) | undefined

  constructor(settings: ClusterSettings, parts: Parts) {
    this.#settings = settings
    this.#parts = parts
    const { registry, clock, log, transport, sessionManager } = parts
    const self = () => this.self
    this.#questions = new Questions(log)
    this.#revisions = new Revisions(clock)
    this.#members = new Members({
      node: settings.node,
      version: settings.version,
      registry,
      clock,
      log,
      listener: this,
      isConnected: () => transport.isConnected,
      lastShutOut: () => parts.fences.lastOf(settings.node),
      sendHeartbeat: () => this.#sendHeartbeat(),
      lease: settings.lease,
    })
    const handOffTo = (run: NodeRun) => this.#peers.of(run).handOff
    this.#sessions = new SessionTable({
      self,
      registry,
      clock,
      log,
      sessions: sessionManager.sessions,
      handOffTo,
      closeRemote: (resource, error) => this.#closeRemote(resource, error),
      remains: (run) => this.#lostRuns.remainsOf(run),
      isCleaned: (run) => this.#members.isCleaned(run),
      isCleaner: (node) => this.#members.isCleaner(node),
      holdBack: (jid, until) => sessionManager.holdBack(jid, until, true),
      onSeenLate: (session) => this.#seenLate(session),
      onLess: (resource) => this.#tellLess(resource),
      wrote: (revision) => this.#revisions.wrote(revision),
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
    this.#peers = new Peers({
      self,
      transport,
      clock,
      log,
      taker: new Reception({ ...parts, connections: this.#components }),
      questions: this.#questions,
      revisions: this.#revisions,
      patience: settings.patience,
      isOver: (run) => this.#members.isOver(run),
      onLost: ({ run, handOff }) => this.#lostRuns.onLost(run, handOff),
    })
    this.#lostRuns = new LostRuns({
      ...parts,
      self,
      nodes: this,
      members: this.#members,
      sessions: this.#sessions,
      components: this.#components,
      locks: this.#locks,
      revisions: this.#revisions,
      lease: settings.lease,
    })
    transport.onMessage = (message) => this.#onMessage(message)
    transport.onReconnected = () => this.#onReconnected()
    this.#answerOthers()
  }

  // --- This node comes and goes.

  async start(): Promise<void> {
    await this.#members.join()
    await this.#parts.fences.enter(this.self, () => this.onFenced())
    // NATS may take its time to show what there is.
    this.#members.announce()
    await this.#parts.registry.watch((change) => this.#onChange(change))
    this.#members.start()
    await this.#refuseStrangers()
    const expire = () => {
      this.#peers.expire()
      void this.#sessions.removeStray()
      void this.#sessions.restoreLost()
      this.#stopExpiry = this.#parts.clock.after(1_000, expire)
    }
    expire()
    await this.#lostRuns.start()
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
    await this.#lostRuns.takenOver()
  }

  closeIntake(): Promise<void> {
    return this.#peers.closeIntake()
  }

  handedOver(): Promise<void> {
    return this.#peers.handedOver()
  }

  async leave(): Promise<void> {
    this.#stopExpiry?.()
    this.#lostRuns.stop()
    const { registry, transport, log, fences } = this.#parts
    try {
      await fences.leave()
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
    this.#peers.close()
    await registry.close()
    await transport.close()
  }

  get self(): NodeRun {
    return this.#members.self
  }

  get nodes(): readonly NodeStatus[] {
    return this.#members.all.map(({ node, record, sessions }) => {
      const isSelf = node === this.self.node
      return {
        node,
        epoch: record.epoch,
        state: record.state,
        isSelf,
        silentFor: this.#members.silentFor(node),
        version: record.version,
        sessions: isSelf ? this.#sessions.own : sessions,
        waiting: this.#peers.waitingFor({ node, epoch: record.epoch }),
      }
    })
  }

  isTakenCareOf(run: NodeRun): boolean {
    return this.#members.isCleaned(run) && this.#lostRuns.remainsOf(run) === undefined
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
    return run !== undefined && this.#peers.of(run).handOff.deliverToNode(envelope)
  }

  // --- Questions.

  on<T extends Topic>(topic: T, handler: TopicHandler<T>): () => void {
    return this.#questions.on(topic, handler)
  }

  async ask<T extends Topic>(node: string, topic: T, question: Question<T>): Promise<Answer<T>> {
    if (node === this.self.node) return this.#questions.askSelf(topic, question, node)
    const run = this.#members.aliveRun(node)
    if (run === undefined) throw new ClusterError('lost', `there is no node ${node}`)
    return this.#questions.ask(this.#peers.of(run).link, topic, question)
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
    const peer = this.#peers.of({ node, epoch })
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
    const { sessionManager, clock } = this.#parts
    this.on('session_close', async ({ jid, id, error }, asking) => {
      const session = sessionManager.sessions.get(parseJid(jid))
      const stream = error === undefined ? undefined : fromText(error)
      if (session?.id === id && isLocalSession(session)) await session.close(stream)
      // It was left for others with all it had, and is over when they have taken care of that.
      else if (this.#peers.isClosing) return new Promise<never>(() => {})
      const { bare, full } = parseJid(jid)
      // Not for other nodes: sessions that change places would wait for each other.
      await sessionManager.leavingHere(bare)
      await sessionManager.lastSent(full)
      // The other gets what it was handed before this answer; a third one need not, before what comes by way of it.
      await overWithin(clock, LAST_WORDS, this.#peers.decided(asking))
      return null
    })
    this.on('component_close', async ({ id, error }) => {
      await this.#components.find(id)?.close(fromText(error))
      return null
    })
  }

  /**
   * A session has ended when its node says so, and has dealt with what it was handed for it; that of a lost one when
   * what it had is taken care of.
   */
  async #closeRemote(resource: RemoteResource, error?: StreamError): Promise<void> {
    const { owner, jid, id } = resource
    const question = { jid: jid.full, id, ...(error && { error: toText(error) }) }
    await this.#askUnlessLost(owner, 'session_close', question)
    await resource.undecided
    await this.#lostRuns.remainsOf(owner)
  }

  // --- Messages of others.

  #onMessage(message: string): void {
    if (message[0] === HEARTBEAT) return this.#onHeartbeat(message)
    const read = readMessage(message)
    if (read === undefined) return
    const { from: node, fromEpoch: epoch, toEpoch } = read.header
    if (node === this.self.node || toEpoch !== this.self.epoch) return
    const run = { node, epoch }
    // One that is not known yet repeats what it said.
    if (this.#members.isOver(run) || this.#members.aliveRun(node)?.epoch !== epoch) return
    this.#peers.receive(run, read)
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
    this.#peers.resend()
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
    this.#revisions.saw(revision)
  }

  #onNodeChange(change: Change): void {
    this.#members.onChange(change)
    this.#lostRuns.onNodeChange()
  }

  /** Others may have stored what it could have had. */
  #seenLate(session: Session): void {
    if (session.isClosed || (session.priority ?? -1) < 0) return
    const point = this.#parts.hooks.at('resend_offline_messages', session.domainType)
    point.tell(session.jid, { session })
  }

  #tellLess(resource: RemoteResource): void {
    const domainType = this.#parts.routes.find(resource.jid.domain)?.domainType
    this.#parts.hooks.at('remote_session_left', domainType).tell(resource, {})
  }

  // --- Nodes come and go.

  onAlive(run: NodeRun): void {
    this.#parts.log.info('cluster_node_joined', { ...run })
    this.#peers.of(run)
    this.#sendHeartbeat()
    this.#parts.hooks.at('node_joined').tell({}, { clusterNode: run.node })
  }

  onLost(run: NodeRun, isNews: boolean): void {
    this.#peers.lose(run)
    this.#locks.onLost()
    if (!isNews) return
    this.#parts.log.warn('cluster_node_gone', { ...run })
    this.#parts.hooks.at('node_cleanup').tell({}, { clusterNode: run.node })
  }

  onFenced(): void {
    this.#parts.log.fatal('cluster_fenced', { ...this.self })
    this.#parts.onFenced()
  }

  onCleaned(run: NodeRun): void {
    for (const cleaned of this.#lostRuns.onCleaned(run)) this.#peers.forget(cleaned)
    this.#sessions.onCleaned(run)
    this.#components.onCleaned(run)
    this.#parts.hooks.at('node_cleaned').tell({}, { clusterNode: run.node })
  }
}

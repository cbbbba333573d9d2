import { ClusteredNode } from '../../src/cluster/clustered-node.ts'
import { Hooks } from '../../src/core/hooks.ts'
import { IqDispatcher } from '../../src/core/iq.ts'
import { Local } from '../../src/core/local.ts'
import { LocalDelivery } from '../../src/core/local-delivery.ts'
import { LocalRoutes } from '../../src/core/local-routes.ts'
import type { Logger } from '../../src/core/log.ts'
import { Router } from '../../src/core/router.ts'
import { isLocalSession } from '../../src/core/session.ts'
import { SessionManager } from '../../src/core/session-manager.ts'
import { localDomain } from '../../src/routing/localdomain.ts'
import type { FullJid } from '../../src/xmpp/jid.ts'
import { Keeping } from './keeping.ts'
import type { Line, Network } from './network.ts'
import type { SimulatedRegistry } from './registry.ts'
import type { Resumption } from './resumption.ts'
import { Process, type Scheduler } from './scheduler.ts'
import { type Client, SimulatedSession } from './session.ts'
import type { SimulatedStore } from './store.ts'

export const DOMAIN = 'im.example.com'
const LEASE = 3_000
const PATIENCE = 6_000
/** How long what is on its way, and other nodes, may hold up the end of a node, milliseconds. */
const STOPPING = 10_000
const HAND_OVER = 2_000

const LIMITS = {
  maxSessionsPerUser: 10,
  normalToGoneResource: 'as-bare',
  unknownRecipientsPerMinute: 100,
} as const

export type Ground = {
  readonly scheduler: Scheduler
  readonly network: Network
  readonly registry: SimulatedRegistry
  readonly store: SimulatedStore
  readonly log: (node: string) => Logger
}

/** One run of a node: the real core and the real cluster layer on simulated ground. */
export class SimulatedNode {
  readonly name: string
  readonly process: Process
  readonly #ground: Ground
  readonly #line: Line
  readonly hooks: Hooks
  readonly router: Router
  readonly sessionManager: SessionManager
  readonly cluster: ClusteredNode
  readonly #resumption: Resumption
  #isServing = false
  #sessions = 0

  constructor(name: string, ground: Ground, onFenced: (node: SimulatedNode) => void) {
    const { scheduler, network, registry, store } = ground
    this.name = name
    this.#ground = ground
    this.process = new Process(scheduler)
    const log = ground.log(name)
    const { clock } = this.process
    const line = network.open(name, this.process)
    this.#line = line
    const client = registry.open(line)
    const transport = network.transport(line)
    const disk = store.open(this.process)
    const hooks = new Hooks(log)
    const router = new Router(log, hooks.at('message_routed'))
    const routes = new LocalRoutes()
    const { underWay } = hooks
    const iq = new IqDispatcher({ router, log, domainTypeOf: () => 'main', underWay })
    const sessionManager = new SessionManager({
      cluster: () => this.cluster,
      hooks,
      router,
      iq,
      limits: LIMITS,
      timers: clock,
    })
    router.use([localDomain(routes, new LocalDelivery(hooks, router, log))])
    routes.add(new Local(DOMAIN, 'main', { hooks, router, iq, sessionManager }))
    this.hooks = hooks
    this.router = router
    this.sessionManager = sessionManager
    this.cluster = new ClusteredNode(
      { node: name, version: 'test', lease: LEASE, patience: PATIENCE },
      {
        transport,
        registry: client,
        clock,
        log,
        hooks,
        router,
        iq,
        routes,
        sessionManager,
        components: { register: () => {}, unregister: () => {} },
        fences: disk,
        onFenced: () => onFenced(this),
      },
    )
    const parts = { hooks, router, sessionManager, cluster: this.cluster, clock }
    this.#resumption = new Keeping({ ...parts, store: disk }).resumption
  }

  get run(): string {
    return `${this.name}-${this.cluster.self.epoch}`
  }

  get isServing(): boolean {
    return this.#isServing && !this.process.isDead
  }

  async start(): Promise<void> {
    await this.cluster.start()
    this.#isServing = true
  }

  /** A client binds a resource, and becomes available when that is done. */
  async open(jid: FullJid, priority: number, client: Client): Promise<SimulatedSession> {
    const id = `${this.run}-${++this.#sessions}`
    const { clock } = this.process
    const session = new SimulatedSession(jid, id, clock.wallTime(), client, this)
    await this.sessionManager.register(session)
    session.becomesAvailable(priority)
    return session
  }

  /** The client has lost its connection. */
  detach(session: SimulatedSession): void {
    this.#resumption.detach(session)
  }

  /** A client comes back for its session; `undefined` if that is no more. */
  resume(
    jid: FullJid,
    id: string,
    client: Client,
    got: ReadonlySet<string>,
  ): Promise<SimulatedSession | undefined> {
    return this.#resumption.resume(jid.full, id, client, got)
  }

  get ownSessions(): SimulatedSession[] {
    const all = [...this.sessionManager.sessions.values()]
    return all.filter(isLocalSession) as unknown as SimulatedSession[]
  }

  /** Ends in order, as the server does. */
  async stop(): Promise<void> {
    const { cluster, sessionManager } = this
    this.#isServing = false
    await this.#within(STOPPING, sessionManager.allLeft())
    await this.#within(STOPPING, cluster.closeIntake())
    await Promise.all(this.ownSessions.map((session) => session.end('shutdown')))
    await this.#within(HAND_OVER, cluster.handedOver())
    await cluster.leave()
  }

  #within(ms: number, work: Promise<void>): Promise<void> {
    const { promise: late, resolve } = Promise.withResolvers<void>()
    const cancel = this.process.clock.after(ms, resolve)
    return Promise.race([work, late]).finally(cancel)
  }

  kill(): void {
    this.#isServing = false
    this.process.isDead = true
    this.#ground.network.close(this.#line)
  }
}

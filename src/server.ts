import { Administrators } from './admin/administrators.ts'
import type { Reload } from './admin/commands/reload.ts'
import type { AdminProcess } from './admin/commands/server.ts'
import { Tokens } from './admin/tokens.ts'
import { ClientSession, type SessionEnvironment } from './c2s/client-session.ts'
import type { ClientListener } from './c2s/listener.ts'
import type { ComponentListener } from './component/listener.ts'
import { ComponentRegistry } from './component/registry.ts'
import { type ConfigChange, configChanges } from './config/diff.ts'
import type { Config, LoadedConfig } from './config.ts'
import { TlsCertificates } from './connection/tls.ts'
import { Turn } from './connection/turn.ts'
import { AccountLifecycle } from './core/account-lifecycle.ts'
import { Accounts } from './core/accounts.ts'
import { oncePerChunk } from './core/chunk-time.ts'
import type { Cluster } from './core/cluster.ts'
import { Coherence } from './core/coherence.ts'
import { ModuleCommands } from './core/command.ts'
import { DryRun } from './core/dry-run.ts'
import { Hooks } from './core/hooks.ts'
import { IqDispatcher } from './core/iq.ts'
import { LocalRoutes } from './core/local-routes.ts'
import type { Logger } from './core/log.ts'
import { ModuleHost } from './core/module-host.ts'
import { PasswordGuesses } from './core/password-guesses.ts'
import { Places } from './core/places.ts'
import { enforcePrivacy } from './core/privacy.ts'
import { Router } from './core/router.ts'
import { isLocalSession } from './core/session.ts'
import { SessionManager } from './core/session-manager.ts'
import type { Storage } from './core/storage.ts'
import { Tracing } from './core/tracing.ts'
import { within } from './core/within.ts'
import type { HttpListener } from './http/server.ts'
import { modules as builtinModules } from './modules.ts'
import type { Federation } from './s2s/federation.ts'
import type { ServerListener } from './s2s/listener.ts'
import { keepAdministrators } from './server/administrators.ts'
import { certificateStep } from './server/certificates.ts'
import { clientListeners } from './server/client-listener.ts'
import { clusterOf, type Ground, openGround, type Worker } from './server/cluster.ts'
import { ClusterLinks } from './server/cluster-links.ts'
import { ClusterTallies } from './server/cluster-tallies.ts'
import { ClusterTraces } from './server/cluster-traces.ts'
import { componentListeners, expectedComponents } from './server/component-listener.ts'
import { Domains } from './server/domains.ts'
import { Drain } from './server/drain.ts'
import { DynamicDomains } from './server/dynamic-domains.ts'
import { FederationPart, serverListeners } from './server/federation.ts'
import { HttpPart } from './server/http.ts'
import { Listeners } from './server/listeners.ts'
import { coreMigrations } from './server/migrations.ts'
import { chooseModules, DEFAULT_TYPE, type ExtraModule } from './server/module-choice.ts'
import type { Plan } from './server/plan.ts'
import { RoutingChain, type RoutingModuleFactory } from './server/routing-chain.ts'
import { SessionActivity } from './server/session-activity.ts'
import { SharedClock } from './server/shared-clock.ts'
import { type Step, Steps } from './server/step.ts'
import { TraceExport } from './server/tracing.ts'
import { WorkerMetrics } from './server/worker-metrics.ts'
import { offerAdministration } from './server-adhoc.ts'
import { sqlAccountStore } from './storage/account-store.ts'
import { openStorage } from './storage/open.ts'
import { parseBare } from './xmpp/jid.ts'
import { StreamError } from './xmpp/stream-error.ts'

export type { ExtraModule } from './server/module-choice.ts'
export type { RoutingModuleFactory } from './server/routing-chain.ts'

export type ServerOptions = {
  readonly loaded: LoadedConfig
  readonly log: Logger
  readonly extraModules?: readonly ExtraModule[]
  /** In place of `routing_modules`: names as there, and routing modules in code. */
  readonly routing?: readonly (string | RoutingModuleFactory)[]
  /** Called when the other nodes have given this one up: it must end as if killed. */
  readonly onFenced?: () => void
  /** Which of several processes of one server this is. */
  readonly worker?: Worker | undefined
}

/** What a reload is to change cannot change while the server runs; nothing was changed. */
export class NeedsRestartError extends Error {
  override readonly name = 'NeedsRestartError'
  readonly keys: readonly string[]

  constructor(keys: readonly string[]) {
    super(`${keys.join(', ')}: cannot change while the server runs`)
    this.keys = keys
  }
}

/** Exit code of a node that the others have given up (`EX_TEMPFAIL`). */
export const FENCED = 75
/** How long a graceful stop waits for sessions to end, milliseconds. */
const STOP_TIMEOUT = 10_000
/** And for other nodes to answer for what they were handed, milliseconds. */
const HAND_OVER = 2_000

/**
 * The composition root: builds every part and connects them. Nothing listens before `start`.
 *
 * What the configuration says of the parts is applied in one way, at the start and whenever it changes:
 * a plan is made of it, every part makes ready what it needs for that, and all are committed in one step.
 */
export class Server {
  readonly log: Logger
  readonly storage: Storage
  readonly hooks: Hooks
  readonly router: Router
  readonly tracing: Tracing
  /** What is followed on all nodes. */
  readonly traces: ClusterTraces
  /** What is counted on all nodes. */
  readonly tallies: ClusterTallies
  /** The ways to other servers that all nodes have. */
  readonly links: ClusterLinks
  /** What all workers of this machine count; `undefined` if this is none of several. */
  readonly workerMetrics: WorkerMetrics | undefined
  readonly activity: SessionActivity
  /** Sends clients elsewhere. */
  readonly drain: Drain
  readonly iq: IqDispatcher
  readonly routes = new LocalRoutes()
  readonly accounts: Accounts
  readonly sessionManager: SessionManager
  readonly cluster: Cluster
  readonly modules: ModuleHost
  readonly dryRun: DryRun
  /** What loaded modules do on command. */
  readonly commands = new ModuleCommands()
  readonly lifecycle: AccountLifecycle
  readonly components: ComponentRegistry
  readonly tokens: Tokens
  readonly administrators: Administrators
  /** Passwords that were tried by clients of this node. */
  readonly guesses: PasswordGuesses
  /** Reads the configuration again, where there is a file to read it from. */
  reloadFile: Reload | undefined
  /** Ends the process that the server runs in, where that is its own. */
  process: AdminProcess | undefined
  readonly domains: Domains
  /** Those that were added while the server ran. */
  readonly dynamicDomains: DynamicDomains
  readonly certificates = new TlsCertificates()
  /** Milliseconds since the epoch; 0 before `start`. */
  startedAt = 0
  readonly #options: ServerOptions
  readonly #clock: SharedClock
  readonly #knownAccounts: Coherence
  readonly #turn = new Turn()
  readonly #listeners = new Listeners()
  readonly #http: HttpPart
  readonly #traceExport: TraceExport
  readonly #federation: FederationPart
  readonly #chain: RoutingChain
  #loaded: LoadedConfig
  #config: Config
  /** Changes are made one after the other. */
  #changing: Promise<unknown> = Promise.resolve()
  #stopped: Promise<void> | undefined
  #isStopping = false

  private constructor(options: ServerOptions, storage: Storage, ground: Ground | undefined) {
    const { loaded, log, onFenced = endAtOnce } = options
    this.#options = options
    this.#loaded = loaded
    this.#config = loaded.config
    this.log = log
    this.storage = storage
    this.#clock = new SharedClock(storage, log)
    this.hooks = new Hooks(log)
    this.dryRun = new DryRun(this.hooks)
    this.router = new Router(log, this.hooks.at('message_routed'))
    this.tracing = new Tracing({
      hooks: this.hooks,
      router: this.router,
      node: () => (this.cluster.isShared ? this.cluster.self.node : undefined),
    })
    // The cluster needs the parts that need it.
    const cluster = () => this.cluster
    this.iq = new IqDispatcher({
      router: this.router,
      cluster,
      log,
      domainTypeOf: (domain) => this.routes.find(domain)?.domainType,
      underWay: this.hooks.underWay,
    })
    const config = () => this.#config
    this.accounts = new Accounts(sqlAccountStore(storage), {
      get iterations() {
        return config().auth.scram_iterations
      },
      onChanged: (account) => this.#knownAccounts.changed(account.full),
    })
    const { hooks, router, iq, routes, accounts } = this
    this.components = new ComponentRegistry({ routes, hooks, log, cluster })
    this.tokens = new Tokens({ storage, now: () => Date.now() })
    this.administrators = new Administrators({
      storage,
      fixed: () => config().admin.jids,
      onChanged: () => this.cluster.tell('administrators', null),
    })
    this.guesses = new PasswordGuesses({
      limits: {
        get perAccount() {
          return config().auth.wrong_passwords_per_account
        },
        get perAddress() {
          return config().auth.wrong_passwords_per_address
        },
        get window() {
          return config().auth.wrong_passwords_window
        },
      },
      now: () => performance.now(),
    })
    const limits = {
      get maxSessionsPerUser() {
        return config().limits.max_sessions_per_user
      },
      get normalToGoneResource() {
        return config().delivery.normal_to_gone_resource
      },
      get unknownRecipientsPerMinute() {
        return config().limits.unknown_recipients_per_minute
      },
    }
    const places = new Places(oncePerChunk(this.#clock.now))
    this.sessionManager = new SessionManager({ hooks, router, iq, limits, cluster, places })
    const { sessionManager } = this
    this.cluster = clusterOf(this, ground, onFenced)
    this.traces = new ClusterTraces(this.tracing, this.cluster)
    this.tallies = new ClusterTallies(this)
    this.links = new ClusterLinks(this)
    this.workerMetrics = options.worker && new WorkerMetrics(this, options.worker)
    this.activity = new SessionActivity(sessionManager.sessions, this.cluster)
    this.drain = new Drain(this, {
      worker: options.worker,
      stopListening: () => this.#stopListening(),
      inTurn: (work) => this.#inTurn(work),
    })
    this.#knownAccounts = new Coherence(this.cluster, 'accounts')
    this.#knownAccounts.keep({ forget: (account) => accounts.forget(parseBare(account)) })
    this.lifecycle = new AccountLifecycle({
      accounts,
      hooks,
      sessionManager,
      domainTypeOf: (domain) => routes.find(domain)?.domainType ?? DEFAULT_TYPE,
      log,
      cluster: this.cluster,
    })
    this.domains = new Domains({ hooks, router, iq, routes, accounts, sessionManager, log })
    this.modules = new ModuleHost({
      hooks,
      iq,
      router,
      routes,
      accounts,
      storage,
      cluster: this.cluster,
      log,
      lifecycle: this.lifecycle,
      commands: this.commands,
      sessions: sessionManager,
      introduce: (to) => this.components.introduce(to),
      restoreSession: (opening) => {
        const environment: SessionEnvironment = this.domains.environmentOf(opening.jid.domain)
        return new ClientSession(opening, undefined, environment)
      },
      clock: this.#clock,
      places,
    })
    this.dynamicDomains = new DynamicDomains({
      server: this,
      modules: () => [...new Set([...builtinModules, ...this.modules.modules])],
      inTurn: (work) => this.#inTurn(work),
      prepare: () => this.#prepare(this.#loaded),
    })
    this.#federation = new FederationPart(this, this.#turn)
    this.#chain = new RoutingChain(this)
    this.#http = new HttpPart(this)
    this.#traceExport = new TraceExport(this)
    hooks.on('does_user_exist', (known, { account }) => known || accounts.exists(account), {
      by: 'accounts',
      explain: 'pure',
    })
    enforcePrivacy(hooks, routes)
    keepAdministrators(this)
    offerAdministration(this)
  }

  /** Opens the storage and loads all modules. */
  static async create(options: ServerOptions): Promise<Server> {
    const { loaded, log } = options
    const { storage: settings } = loaded.config
    const storage = await openStorage(settings.url, { ...settings, log })
    let server: Server
    try {
      const { worker, onFenced: onLost = endAtOnce } = options
      server = new Server(
        options,
        storage,
        await openGround(loaded.config, { worker, log, onLost }),
      )
    } catch (error) {
      await storage.close()
      throw error
    }
    try {
      await server.#clock.start()
      await storage.migrate([...coreMigrations])
      await server.administrators.load()
      await server.dynamicDomains.load()
      const steps = await server.#prepare(loaded)
      await steps.commit()
      await steps.finish()
    } catch (error) {
      await server.stop()
      throw error
    }
    return server
  }

  get loaded(): LoadedConfig {
    return this.#loaded
  }

  /** In force. */
  get config(): Config {
    return this.#config
  }

  /** In the order of the configuration. */
  get listeners(): readonly ClientListener[] {
    return this.#listeners.of('c2s')
  }

  get serverListeners(): readonly ServerListener[] {
    return this.#listeners.of('s2s')
  }

  get componentListeners(): readonly ComponentListener[] {
    return this.#listeners.of('component')
  }

  get httpListeners(): readonly HttpListener[] {
    return this.#http.listeners
  }

  /** Started, and neither drained nor about to stop. */
  get isServing(): boolean {
    return this.startedAt > 0 && !this.#isStopping && !this.drain.hasBegun
  }

  /** The ways to other servers; `undefined` when this one speaks with none. */
  get federation(): Federation | undefined {
    return this.#federation.current
  }

  /** Rejects when an address cannot be listened on; then nothing is left open. */
  async start(): Promise<void> {
    try {
      await this.cluster.start()
      for (const listener of this.#listeners.all) await listener.listen()
      await this.#http.start(this.#config)
    } catch (error) {
      await this.stop()
      throw error
    }
    this.startedAt = Date.now()
    await this.dynamicDomains.catchUp()
    this.lifecycle
      .finishRemovals(() => this.#isStopping)
      .catch((error) => this.log.error('account_removals_not_finished', { error }))
  }

  /** What is not the same in this configuration as in the one in force. */
  changesTo(loaded: LoadedConfig): ConfigChange[] {
    return configChanges(this.#loaded, loaded)
  }

  /**
   * Another configuration takes the place of the one in force. Whatever of it cannot be had rejects,
   * and nothing has changed then. Certificates are read again in any case. A dry run makes everything
   * ready and lets go of it.
   */
  reload(
    loaded: LoadedConfig,
    { isDry = false }: { readonly isDry?: boolean } = {},
  ): Promise<void> {
    return this.#inTurn(async () => {
      const fixed = this.changesTo(loaded).filter(({ needsRestart }) => needsRestart)
      if (fixed.length > 0 && !isDry) throw new NeedsRestartError(fixed.map(({ key }) => key))
      const steps = await this.#prepare(loaded)
      if (isDry) return await steps.abandon()
      await steps.commit()
      await steps.finish()
    })
  }

  /**
   * Stops gracefully: no new connections, every session told `system-shutdown`, what it had not
   * received routed elsewhere, the storage closed behind its last write. `timeout` is what
   * sessions get for that, in milliseconds.
   */
  stop({ timeout = STOP_TIMEOUT }: { readonly timeout?: number } = {}): Promise<void> {
    this.#stopped ??= this.dynamicDomains.stop().then(() => this.#inTurn(() => this.#stop(timeout)))
    return this.#stopped
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#changing.then(work)
    this.#changing = turn.catch(() => {})
    return turn
  }

  #stopListening(): void {
    for (const listener of this.#listeners.all) listener.stopListening()
  }

  async #stop(timeout: number): Promise<void> {
    this.#isStopping = true
    // What others leave from now on is not for this one to take care of.
    await this.cluster.drain().catch((error) => this.log.warn('cluster_not_told', { error }))
    this.#stopListening()
    // Who is told that something has not left is still there.
    await this.federation?.drain()
    const shutdown = new StreamError('system-shutdown')
    const sessions = [...this.sessionManager.sessions.values()].filter(isLocalSession)
    await within(timeout, Promise.all(sessions.map((session) => session.close(shutdown))))
    // What sessions said as they ended may be for components.
    for (const component of this.components.connections) {
      if (component.isLocal) await component.close(shutdown)
    }
    await this.federation?.close(timeout)
    for (const listener of this.serverListeners) await listener.shutDown()
    const listeners = this.#listeners.all
    await within(timeout, Promise.all(listeners.map((listener) => listener.drained())))
    for (const listener of listeners) listener.destroy()
    await Promise.all(listeners.map((listener) => listener.drained()))
    // Last: whoever watches learns from it that the server stops.
    for (const listener of this.httpListeners) await listener.close()
    // Nobody answers any more, and whoever waits for that keeps modules from stopping.
    this.iq.close()
    // Modules decide about what is on its way, and forget what others answer for.
    await within(timeout, this.sessionManager.allLeft())
    await within(timeout, this.cluster.closeIntake())
    await within(HAND_OVER, this.cluster.handedOver())
    await this.modules.unloadAll()
    await this.#traceExport.close()
    await this.cluster.leave().catch((error) => this.log.warn('cluster_not_left', { error }))
    this.iq.close()
    this.#clock.stop()
    await this.storage.close()
    if (this.startedAt > 0) this.log.info('stopped')
  }

  /** Everything that a configuration asks for, ready to be put in force. */
  async #prepare(loaded: LoadedConfig): Promise<Steps> {
    const { config } = loaded
    const { extraModules = [], routing = config.routing_modules } = this.#options
    const isRunning = this.startedAt > 0
    const before = isRunning ? this.#config : undefined
    const { domains, closed } = this.dynamicDomains.with(config.domains)
    const leaving = this.routes.hosted.filter((domain) => !domains.includes(domain))
    const { modules, types } = await chooseModules(loaded, extraModules, [...domains, ...leaving])
    const plan: Plan = { loaded, config, domains, closed, types }
    const steps = new Steps()
    try {
      await steps.prepare(() => certificateStep(this.certificates, plan, this.log))
      await steps.prepare(() => this.#settings(loaded))
      await steps.prepare(() => this.#traceExport.prepare(plan))
      const migrations = [...new Set(modules.flatMap(({ module }) => module.migrations ?? []))]
      await this.storage.migrate([...coreMigrations, ...migrations])
      await steps.prepare(() => this.#federation.prepare(plan))
      await steps.prepare(() => expectedComponents(before, plan, this))
      // Components that serve a name under each domain follow, also where all is taken back.
      const follow = () => this.components.follow()
      await steps.prepare(() => ({ revert: follow }))
      await steps.prepare(() => this.domains.prepare(plan))
      await steps.prepare(() => ({ commit: follow, finish: async () => follow() }))
      await steps.prepare(() => this.modules.prepare(modules, types))
      await steps.prepare(() => this.#chain.prepare(routing, plan))
      await steps.prepare(() => this.#listeners.prepare(this.#wantedListeners(plan), isRunning))
      if (isRunning) await steps.prepare(() => this.#http.prepare(config))
    } catch (error) {
      await steps.abandon()
      throw error
    }
    return steps
  }

  /** What parts look up whenever they need it. */
  #settings(loaded: LoadedConfig): Step {
    const before = this.#loaded
    const use = (settings: LoadedConfig) => {
      this.#loaded = settings
      this.#config = settings.config
      this.log.setLevel?.(settings.config.log.level)
    }
    return { commit: () => use(loaded), revert: () => use(before) }
  }

  #wantedListeners(plan: Plan) {
    const { certificates } = this
    return [
      ...clientListeners(plan, this, certificates, this.#turn),
      ...serverListeners(plan, this, this.#turn),
      ...componentListeners(plan, this, certificates, this.#turn),
    ]
  }
}

/** Whoever supervises the process starts it again. */
function endAtOnce(): void {
  process.exit(FENCED)
}

import { readFile } from 'node:fs/promises'
import { Tokens, tokenMigrations } from './admin/tokens.ts'
import { ClientSession, type SessionEnvironment } from './c2s/client-session.ts'
import type { Host, StreamPolicy } from './c2s/environment.ts'
import { ClientListener } from './c2s/listener.ts'
import { outboundStages } from './c2s/outbound.ts'
import { SessionPoints } from './c2s/session-points.ts'
import type { ComponentListener } from './component/listener.ts'
import { ComponentRegistry } from './component/registry.ts'
import type { Config, ClientListener as ListenerSettings, LoadedConfig } from './config.ts'
import type { Listener } from './connection/listener.ts'
import { ensureSelfSigned } from './connection/self-signed.ts'
import { certificateProblem, TlsCertificates } from './connection/tls.ts'
import { WriteTurn } from './connection/write-turn.ts'
import { AccountLifecycle } from './core/account-lifecycle.ts'
import { Accounts } from './core/accounts.ts'
import { ModuleCommands } from './core/command.ts'
import { Hooks } from './core/hooks.ts'
import { IqDispatcher } from './core/iq.ts'
import { Local } from './core/local.ts'
import { LocalDelivery } from './core/local-delivery.ts'
import { LocalRoutes } from './core/local-routes.ts'
import type { Logger } from './core/log.ts'
import type { Module } from './core/module.ts'
import { ModuleHost } from './core/module-host.ts'
import { Places } from './core/places.ts'
import { enforcePrivacy } from './core/privacy.ts'
import { NoRemoteServers } from './core/remote-servers.ts'
import { Router, type RoutingModule } from './core/router.ts'
import { SessionManager } from './core/session-manager.ts'
import type { Storage } from './core/storage.ts'
import { Tracing } from './core/tracing.ts'
import type { HttpListener } from './http/server.ts'
import { modules as builtinModules } from './modules.ts'
import { external } from './routing/external.ts'
import { externalLocal } from './routing/external-local.ts'
import { globalRouting } from './routing/global.ts'
import { localDomain } from './routing/localdomain.ts'
import { s2s } from './routing/s2s.ts'
import type { Federation } from './s2s/federation.ts'
import type { ServerListener } from './s2s/listener.ts'
import { componentListener } from './server-components.ts'
import { federation, serverListeners } from './server-federation.ts'
import { accountMigrations, sqlAccountStore } from './storage/account-store.ts'
import { openStorage } from './storage/open.ts'
import { StreamError } from './xmpp/stream-error.ts'
import type { ElementLimits } from './xmpp/xml-outline.ts'

/** A module in code, for those who embed the server. */
export type ExtraModule = { readonly module: Module; readonly settings?: unknown }

/** What a routing module of the operator's own exports by default. */
export type RoutingModuleFactory = (parts: {
  readonly router: Router
  readonly routes: LocalRoutes
  readonly hooks: Hooks
}) => RoutingModule

export type ServerOptions = {
  readonly loaded: LoadedConfig
  readonly log: Logger
  readonly extraModules?: readonly ExtraModule[]
  /** In place of `routing_modules`: names as there, and routing modules in code. */
  readonly routing?: readonly (string | RoutingModuleFactory)[]
}

/** Domain types let hooks differ between domains; the domains of one file share one. */
const DOMAIN_TYPE = 'default'
/** How long a graceful stop waits for sessions to end, milliseconds. */
const STOP_TIMEOUT = 10_000
/** How long a client may leave output unread, milliseconds. */
const BLOCKED_TIMEOUT = 60_000

/**
 * The composition root: builds every part and connects them. Nothing listens before `start`.
 */
export class Server {
  readonly config: Config
  readonly log: Logger
  /** Of each element that anybody sends. */
  readonly parsing: ElementLimits
  readonly storage: Storage
  readonly hooks: Hooks
  readonly router: Router
  readonly tracing: Tracing
  readonly iq: IqDispatcher
  readonly routes = new LocalRoutes()
  readonly accounts: Accounts
  readonly sessionManager: SessionManager
  readonly modules: ModuleHost
  /** What loaded modules do on command. */
  readonly commands = new ModuleCommands()
  readonly lifecycle: AccountLifecycle
  readonly components: ComponentRegistry
  readonly tokens: Tokens
  /** In the order of the configuration. */
  listeners: readonly ClientListener[] = []
  serverListeners: readonly ServerListener[] = []
  componentListeners: readonly ComponentListener[] = []
  httpListeners: readonly HttpListener[] = []
  /** The ways to other servers; `undefined` when this one speaks with none. */
  federation: Federation | undefined
  /** Milliseconds since the epoch; 0 before `start`. */
  startedAt = 0
  readonly #turn = new WriteTurn()
  readonly #session: SessionEnvironment
  #certificates: TlsCertificates | undefined
  #stopped: Promise<void> | undefined
  #isStopping = false

  private constructor(config: Config, storage: Storage, log: Logger) {
    this.config = config
    this.log = log
    const { max_depth, max_attributes } = config.limits
    this.parsing = { maxDepth: max_depth, maxAttributes: max_attributes }
    this.storage = storage
    this.hooks = new Hooks(log)
    this.router = new Router(log, this.hooks.at('message_routed'))
    this.tracing = new Tracing({ hooks: this.hooks, router: this.router })
    this.iq = new IqDispatcher({
      router: this.router,
      log,
      domainTypeOf: (domain) => this.routes.find(domain)?.domainType,
      underWay: this.hooks.underWay,
    })
    this.accounts = new Accounts(sqlAccountStore(storage), {
      iterations: config.auth.scram_iterations,
    })
    const { hooks, router, iq, routes, accounts } = this
    this.components = new ComponentRegistry({ routes, hooks, log })
    this.tokens = new Tokens({ storage, now: () => Date.now() })
    const limits = {
      maxSessionsPerUser: config.limits.max_sessions_per_user,
      normalToGoneResource: config.delivery.normal_to_gone_resource,
      unknownRecipientsPerMinute: config.limits.unknown_recipients_per_minute,
    }
    this.sessionManager = new SessionManager({ hooks, router, iq, limits })
    this.lifecycle = new AccountLifecycle({
      accounts,
      hooks,
      sessionManager: this.sessionManager,
      domainTypeOf: () => DOMAIN_TYPE,
    })
    const points = new SessionPoints(hooks, DOMAIN_TYPE)
    const { sessionManager } = this
    this.#session = { router, sessionManager, points, stages: outboundStages(points), log }
    this.modules = new ModuleHost({
      hooks,
      iq,
      router,
      routes,
      accounts,
      storage,
      log,
      lifecycle: this.lifecycle,
      commands: this.commands,
      sessions: sessionManager,
      introduce: (to) => this.components.introduce(to),
      restoreSession: (opening) => new ClientSession(opening, undefined, this.#session),
      clock: Date,
      places: new Places(Date.now),
    })
  }

  /** Opens the storage and loads all modules. */
  static async create(options: ServerOptions): Promise<Server> {
    const { loaded, log } = options
    const { config } = loaded
    const storage = await openStorage(config.storage.url, { ...config.storage, log })
    const server = new Server(config, storage, log)
    try {
      await server.#build(options)
    } catch (error) {
      await server.stop()
      throw error
    }
    return server
  }

  /** Rejects when an address cannot be listened on; then nothing is left open. */
  async start(): Promise<void> {
    try {
      for (const listener of this.#allListeners) await listener.listen()
      await this.#startHttp()
    } catch (error) {
      await this.stop()
      throw error
    }
    this.startedAt = Date.now()
  }

  /** Started, and not about to stop. */
  get isServing(): boolean {
    return this.startedAt > 0 && !this.#isStopping
  }

  /** New connections get what the certificate files hold now. */
  async reloadCertificates(): Promise<void> {
    await this.#certificates?.reload()
  }

  /**
   * Stops gracefully: no new connections, every session told `system-shutdown`, what it had not
   * received routed elsewhere, the storage closed behind its last write. `timeout` is what
   * sessions get for that, in milliseconds.
   */
  stop({ timeout = STOP_TIMEOUT }: { readonly timeout?: number } = {}): Promise<void> {
    this.#stopped ??= this.#stop(timeout)
    return this.#stopped
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  /** Who has none configured need not load all that it takes. */
  async #startHttp(): Promise<void> {
    if (this.config.listen.http.length === 0) return
    const { httpListeners } = await import('./server-http.ts')
    this.httpListeners = httpListeners(this, this.#certificates)
    for (const listener of this.httpListeners) await listener.listen()
  }

  get #allListeners(): readonly Listener[] {
    return [...this.listeners, ...this.serverListeners, ...this.componentListeners]
  }

  async #stop(timeout: number): Promise<void> {
    this.#isStopping = true
    const listeners = this.#allListeners
    for (const listener of listeners) listener.stopListening()
    this.federation?.drain()
    const shutdown = new StreamError('system-shutdown')
    const sessions = [...this.sessionManager.sessions.values()]
    await within(timeout, Promise.all(sessions.map((session) => session.close(shutdown))))
    // What sessions said as they ended may be for components.
    for (const component of this.components.connections) await component.close(shutdown)
    await this.federation?.close(timeout)
    for (const listener of this.serverListeners) await listener.shutDown()
    await within(timeout, Promise.all(listeners.map((listener) => listener.drained())))
    for (const listener of listeners) listener.destroy()
    await Promise.all(listeners.map((listener) => listener.drained()))
    // Last: whoever watches learns from it that the server stops.
    for (const listener of this.httpListeners) await listener.close()
    await this.modules.unloadAll()
    this.iq.close()
    await this.storage.close()
    if (this.startedAt > 0) this.log.info('stopped')
  }

  async #build(options: ServerOptions): Promise<void> {
    const { config, storage, hooks, accounts } = this
    hooks.on('does_user_exist', (known, { account }) => known || accounts.exists(account), {
      by: 'accounts',
    })
    enforcePrivacy(hooks, this.routes)
    this.#serveDomains()
    const ca = config.s2s?.ca === undefined ? undefined : await readFile(config.s2s.ca)
    this.#certificates = await this.#loadCertificates(ca)
    if (config.s2s !== undefined) {
      const certificates = this.#certificates
      this.federation = federation(config.s2s, this, this.#turn, { certificates, ca })
    }
    this.router.use(await this.#chain(options.routing ?? config.routing_modules))
    const chosen = await this.#chooseModules(options)
    const migrations = chosen.flatMap(({ module }) => module.migrations ?? [])
    await storage.migrate([...accountMigrations, ...tokenMigrations, ...migrations])
    for (const { module, settings } of chosen) await this.modules.load(module, settings)
    this.listeners = config.listen.c2s.map((settings) => this.#listener(settings))
    this.serverListeners = serverListeners(config, this.federation, this, this.#turn)
    this.componentListeners = config.listen.component.map((settings) =>
      componentListener(settings, this, this.#certificates, this.#turn),
    )
  }

  #serveDomains(): void {
    const { hooks, router, iq, sessionManager } = this
    for (const domain of this.config.domains) {
      this.routes.add(new Local(domain, DOMAIN_TYPE, { hooks, router, iq, sessionManager }))
    }
  }

  /** Names that are not ours are imported. */
  async #chain(wanted: readonly (string | RoutingModuleFactory)[]): Promise<RoutingModule[]> {
    const { hooks, router, routes, log } = this
    const delivery = new LocalDelivery(hooks, router, log)
    const servers = this.federation ?? new NoRemoteServers(router)
    const allow = hooks.at('s2s_allow_host')
    const send = hooks.at('s2s_send_packet')
    const builtin = new Map<string, () => RoutingModule>([
      ['global', () => globalRouting(hooks.at('filter_packet'))],
      ['external_local', () => externalLocal(this.components)],
      ['external', () => external(this.components, router)],
      ['localdomain', () => localDomain(routes, delivery)],
      ['s2s', () => s2s({ router, servers, allow, send })],
    ])
    const chain: RoutingModule[] = []
    for (const entry of wanted) {
      const ours = typeof entry === 'string' ? builtin.get(entry) : undefined
      if (ours !== undefined) {
        chain.push(ours())
        continue
      }
      const make = typeof entry === 'string' ? await importRouting(entry) : entry
      chain.push(make({ router, routes, hooks }))
    }
    return chain
  }

  async #chooseModules(options: ServerOptions): Promise<ExtraModule[]> {
    const { loaded, extraModules = [] } = options
    const chosen: ExtraModule[] = []
    for (const [name, { settings, from }] of loaded.config.modules) {
      if (from === undefined) {
        const module = builtinModules.find((candidate) => candidate.name === name)
        if (module !== undefined)
          chosen.push({ module, settings: this.#settingsOf(name, settings) })
        continue
      }
      const module = await importModule(from)
      chosen.push({ module, settings: loaded.checkModule(name, module.config) })
    }
    for (const { module, settings } of extraModules) {
      chosen.push({ module, settings: module.config.parse(settings ?? {}) })
    }
    return chosen
  }

  /** `[auth] registration` is the switch of the module that does it. */
  #settingsOf(name: string, settings: unknown): unknown {
    if (name !== 'register') return settings
    return { ...(settings as object), enabled: this.config.auth.registration }
  }

  async #loadCertificates(ca: Buffer | undefined): Promise<TlsCertificates | undefined> {
    const { certificates, domains, listen, data_dir } = this.config
    const listening = Object.values(listen).flat()
    if (listening.every(({ tls }) => tls === 'none')) return undefined
    const byFile = new Map<string, { certificate: string; key: string; domains: string[] }>()
    for (const domain of domains) {
      const files = certificates.get(domain) ?? (await selfSigned(data_dir))
      const known = byFile.get(files.certificate) ?? { ...files, domains: [] }
      known.domains.push(domain)
      byFile.set(files.certificate, known)
    }
    const loaded = await TlsCertificates.load([...byFile.values()], { ca })
    for (const domain of domains) {
      const problem = certificateProblem(loaded.certificateFor(domain), domain, Date.now())
      if (problem !== undefined) this.log.warn('certificate_problem', { domain, problem })
    }
    return loaded
  }

  #listener(settings: ListenerSettings): ClientListener {
    const { hooks, log, accounts } = this
    const session = this.#session
    const hosts = new Map<string, Host>()
    for (const domain of this.config.domains) hosts.set(domain, { domain, accounts, session })
    const [defaultHost] = hosts.values()
    if (defaultHost === undefined) throw new Error('no domain is configured')
    const options = {
      host: settings.address === '*' ? undefined : settings.address,
      port: settings.port,
      backlog: settings.backlog,
      tls: settings.tls,
      shaper: settings.shaper === 'none' ? undefined : settings.shaper,
      maxConnections: settings.max_connections,
      maxConnectionsPerAddress: settings.max_connections_per_address,
      preAuthTimeout: settings.pre_auth_timeout,
      blockedTimeout: BLOCKED_TIMEOUT,
    }
    const policy = this.#policy(settings)
    const certificates = settings.tls === 'none' ? undefined : this.#certificates
    const environment = { hosts, defaultHost, policy, certificates, hooks, log }
    return new ClientListener(options, environment, this.#turn)
  }

  #policy(settings: ListenerSettings): StreamPolicy {
    const { auth } = this.config
    const startTls = { required: 'required', starttls: 'offered', direct: 'none', none: 'none' }
    return {
      startTls: startTls[settings.tls] as StreamPolicy['startTls'],
      sasl: {
        mechanisms: auth.anonymous ? [...auth.mechanisms, 'ANONYMOUS'] : auth.mechanisms,
        allowPlainWithoutTls: settings.allow_plain_without_tls,
        downgradeProtection: true,
      },
      preAuthBytes: settings.pre_auth_bytes,
      preAuthLimits: {
        ...this.parsing,
        maxStanzaSize: Math.min(settings.pre_auth_bytes, settings.max_stanza_size),
      },
      limits: { ...this.parsing, maxStanzaSize: settings.max_stanza_size },
    }
  }
}

async function selfSigned(dataDir: string): Promise<{ certificate: string; key: string }> {
  const path = await ensureSelfSigned(dataDir, Date.now())
  return { certificate: path, key: path }
}

async function importModule(from: string): Promise<Module> {
  const { default: module } = await import(from)
  if (typeof module?.start === 'function' && typeof module.name === 'string') return module
  throw new Error(`${from}: the default export is not a module made with defineModule`)
}

async function importRouting(from: string): Promise<RoutingModuleFactory> {
  const { default: factory } = await import(from)
  if (typeof factory === 'function') return factory
  throw new Error(`${from}: the default export is not a function that makes a routing module`)
}

/** Waits for `work`, but no longer than `ms`. */
async function within(ms: number, work: Promise<unknown>): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, ms)
  await Promise.race([work, promise])
  clearTimeout(timer)
}

import { isDeepStrictEqual } from 'node:util'
import { ofAccountsThere } from './command.ts'
import { announceFeatures } from './disco.ts'
import type { DomainScope } from './hooks.ts'
import type { Leaving, Module, ModuleContext } from './module.ts'
import type { ModuleServices, WantedModule } from './module-host.ts'

/** The domain types that an instance serves. */
export class Scope implements DomainScope {
  /** All of them when absent. */
  types: ReadonlySet<string> | undefined

  constructor(types: ReadonlySet<string> | undefined) {
    this.types = types
  }

  has(domainType: string): boolean {
    return this.types === undefined || this.types.has(domainType)
  }
}

/** What outlives the instances of a module, until none is left. */
export class Lasting {
  #users = 0
  #kept: { readonly state: unknown; readonly release: () => unknown } | undefined

  use<T>(make: () => T, release: (state: T) => void | Promise<void>): T {
    if (this.#kept === undefined) {
      const state = make()
      this.#kept = { state, release: () => release(state) }
    }
    return this.#kept.state as T
  }

  enter(): void {
    this.#users++
  }

  async exit(): Promise<void> {
    if (--this.#users > 0) return
    const kept = this.#kept
    this.#kept = undefined
    await kept?.release()
  }
}

type Parts = {
  readonly module: Module
  readonly config: unknown
  readonly isRetired: boolean
  readonly rank: number
  readonly scope: Scope
  readonly lasting: Lasting
  readonly services: ModuleServices
  /** The settings of this module that are in force for a domain. */
  readonly configFor: (domain?: string) => unknown
}

type Work = () => void | Promise<void>

/** A module as it runs with one set of settings. */
export class ModuleInstance {
  readonly #parts: Parts
  /** What it has registered; each returns its undo. */
  readonly #registrations: (() => () => void)[] = []
  readonly #undo: (() => void)[] = []
  readonly #ready: Work[] = []
  readonly #leave: ((leaving: Leaving) => void | Promise<void>)[] = []
  readonly #stop: Work[] = []
  #isActive = false

  constructor(parts: Parts) {
    this.#parts = parts
  }

  get module(): Module {
    return this.#parts.module
  }

  get config(): unknown {
    return this.#parts.config
  }

  get scope(): Scope {
    return this.#parts.scope
  }

  /** Whether it is switched off, and only keeps what it has promised. */
  get isRetired(): boolean {
    return this.#parts.isRetired
  }

  /** Whether what it has registered is in force. */
  get isActive(): boolean {
    return this.#isActive
  }

  /** Whether it can go on as what is wanted. */
  isLike({ module, config, isRetired = false }: WantedModule): boolean {
    return (
      this.module === module &&
      this.isRetired === isRetired &&
      isDeepStrictEqual(this.config, config)
    )
  }

  async start(): Promise<void> {
    const { module, lasting } = this.#parts
    lasting.enter()
    try {
      const context = this.#context()
      if (this.isRetired) return await module.retire?.(context)
      announceFeatures(context.hooks.on, module)
      await module.start(context)
    } catch (error) {
      throw new Error(`module ${module.name} could not start: ${messageOf(error)}`, {
        cause: error,
      })
    }
  }

  /** Puts in force what it has registered. Throws, with nothing in force, if that is taken. */
  activate(): void {
    this.#isActive = true
    try {
      for (const register of this.#registrations) this.#undo.push(register())
    } catch (error) {
      this.deactivate()
      throw error
    }
  }

  deactivate(): void {
    this.#isActive = false
    for (const undo of this.#undo.splice(0).reverse()) undo()
  }

  async ready(): Promise<void> {
    this.#parts.services.introduce?.(this.scope)
    for (const work of this.#ready) await work()
  }

  async leave(leaving: Leaving): Promise<void> {
    for (const work of this.#leave) await this.#attempt(() => work(leaving))
  }

  async stop(): Promise<void> {
    for (const work of this.#stop.splice(0).reverse()) await this.#attempt(work)
    await this.#attempt(() => this.#parts.lasting.exit())
  }

  async #attempt(work: Work): Promise<void> {
    try {
      await work()
    } catch (error) {
      const { services, module } = this.#parts
      services.log.error('module_stop_failed', { module: module.name, error })
    }
  }

  #register(registration: () => () => void): void {
    this.#registrations.push(registration)
    if (this.#isActive) this.#undo.push(registration())
  }

  #context(): ModuleContext<unknown> {
    const { config, module, rank, scope, lasting, services, configFor } = this.#parts
    const { hooks, iq, commands, routes, cluster, log, ...others } = services
    const { name } = module
    const own = log.child({ module: name })
    const at = { scope, rank }
    return {
      ...others,
      config,
      configFor,
      serves: (domain) => {
        if (scope.types === undefined) return true
        const domainType = routes.find(domain)?.domainType
        return domainType === undefined || scope.has(domainType)
      },
      routes,
      log: own,
      hooks: {
        on: (hook, handler, options) =>
          this.#register(() => hooks.on(hook, handler, { by: name, ...options, ...at })),
        at: (hook, domainType) => hooks.at(hook, domainType),
      },
      iq: {
        on: (...registration) => this.#register(() => iq.on(...registration, at)),
        intercept: (interceptor) => this.#register(() => iq.intercept(interceptor, at)),
        ask: (...asked) => iq.ask(...asked),
        request: (...request) => iq.request(...request),
        namespaces: (target) => iq.namespaces(target),
      },
      commands: {
        on: (command, handler) =>
          this.#register(() =>
            commands.on(command, ofAccountsThere(command, handler, services.accounts)),
          ),
      },
      cluster: {
        get self() {
          return cluster.self
        },
        isShared: cluster.isShared,
        isTakenCareOf: (run) => cluster.isTakenCareOf(run),
        on: (topic, handler) => this.#register(() => cluster.on(topic, handler)),
        ask: (...asked) => cluster.ask(...asked),
        tell: (...told) => cluster.tell(...told),
        exclusively: (...work) => cluster.exclusively(...work),
        handedOver: () => cluster.handedOver(),
      },
      every: (ms, work) => {
        const run = async () => {
          try {
            await work()
          } catch (error) {
            own.error('module_timer_failed', { error })
          }
        }
        this.#register(() => {
          const timer = setInterval(run, ms)
          timer.unref()
          return () => clearInterval(timer)
        })
      },
      serve: (route) => this.#register(() => routes.add(route)),
      lasting: (make, release = () => {}) => lasting.use(make, release),
      onReady: (work) => void this.#ready.push(work),
      onLeave: (work) => void this.#leave.push(work),
      onStop: (work) => void this.#stop.push(work),
    }
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

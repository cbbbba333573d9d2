import type { Cluster } from './cluster.ts'
import type { ModuleCommands } from './command.ts'
import type { DomainScope, Hooks } from './hooks.ts'
import type { IqDispatcher } from './iq.ts'
import type { Module, ModuleContext } from './module.ts'
import { ModuleChange, soon } from './module-change.ts'
import { Lasting, ModuleInstance, Scope } from './module-instance.ts'

/** What all modules share; each gets a context of its own made from it. */
export type ModuleServices = Pick<
  ModuleContext<unknown>,
  | 'routes'
  | 'router'
  | 'sessions'
  | 'restoreSession'
  | 'accounts'
  | 'lifecycle'
  | 'storage'
  | 'log'
  | 'clock'
  | 'places'
> & {
  readonly hooks: Hooks
  readonly iq: IqDispatcher
  readonly cluster: Cluster
  readonly commands: ModuleCommands
  /** Tells the handlers registered with a scope what they have missed: who is connected already. */
  readonly introduce?: (to: DomainScope) => void
}

/** A module that is to run, with settings that its schema has checked. */
export type WantedModule = {
  readonly module: Module
  readonly config: unknown
  /** The domain types that it serves with these settings; all when absent. */
  readonly types?: ReadonlySet<string> | undefined
  /** It is switched off there, and only keeps what it has promised. */
  readonly isRetired?: boolean
}

/**
 * Runs modules, once for each of their distinct settings, and undoes what each has registered. What is
 * to run is told as a whole: those that are there already with the same settings go on, the others are
 * started and stopped, all in one step as far as stanzas can tell.
 */
export class ModuleHost {
  readonly #services: ModuleServices
  readonly #lasting = new Map<string, Lasting>()
  /** In the order in which they were told. */
  #running: readonly ModuleInstance[] = []

  constructor(services: ModuleServices) {
    this.#services = services
  }

  /** The modules that run, in the order in which they were told; each once. */
  get modules(): readonly Module[] {
    return [...new Set(this.loaded.map(({ module }) => module))]
  }

  /** The same with the settings with which they run, those of single domains included. */
  get loaded(): readonly { readonly module: Module; readonly config: unknown }[] {
    return this.#running.filter(({ isRetired }) => !isRetired)
  }

  /**
   * What is to run from now on instead, and the types that domains are going to have where those change.
   * Starts what is new; nobody sees it before `commit`.
   */
  async prepare(
    wanted: readonly WantedModule[],
    types: ReadonlyMap<string, string> = new Map(),
  ): Promise<ModuleChange> {
    const before = this.#running
    const after: ModuleInstance[] = []
    const started: ModuleInstance[] = []
    const scopes = new Map<ModuleInstance, WantedModule['types']>()
    try {
      for (const [rank, each] of wanted.entries()) {
        const same = before.find((one) => !scopes.has(one) && one.isLike(each))
        const instance = same ?? this.#instance(each, rank)
        scopes.set(instance, each.types)
        after.push(instance)
        if (same !== undefined) continue
        started.push(instance)
        await instance.start()
      }
    } catch (error) {
      for (const instance of started.reverse()) await instance.stop()
      throw error
    }
    const { hooks, routes, log } = this.#services
    return new ModuleChange({
      before,
      after,
      scopes,
      hooks,
      routes,
      types,
      log,
      use: (running) => {
        this.#running = running
      },
    })
  }

  /** Starts one more module. What a failed start left is undone. */
  async load(module: Module, config: unknown): Promise<void> {
    const { name } = module
    if (this.#running.some((other) => other.module.name === name)) {
      throw new Error(`module ${name} is loaded already`)
    }
    await this.#become([...this.#wanted, { module, config }])
  }

  async unload(name: string): Promise<void> {
    await this.#become(this.#wanted.filter(({ module }) => module.name !== name))
  }

  /** When the server stops. The last one first, so that each has those it was started after. */
  async unloadAll(): Promise<void> {
    const { hooks, log } = this.#services
    for (const instance of [...this.#running].reverse()) {
      await instance.leave({ isShutdown: true, leaves: () => true })
      instance.deactivate()
      this.#running = this.#running.filter((other) => other !== instance)
      await soon(hooks.underWay.ended(), log)
      await instance.stop()
    }
  }

  get #wanted(): WantedModule[] {
    return this.#running.map(({ module, config, scope, isRetired }) => ({
      module,
      config,
      types: scope.types,
      isRetired,
    }))
  }

  async #become(wanted: readonly WantedModule[]): Promise<void> {
    const change = await this.prepare(wanted)
    await change.leave()
    try {
      change.commit()
      await change.settle()
    } catch (error) {
      change.revert()
      await change.abandon()
      throw error
    }
    await change.finish()
  }

  #instance(
    { module, config, types, isRetired = false }: WantedModule,
    rank: number,
  ): ModuleInstance {
    const { name } = module
    let lasting = this.#lasting.get(name)
    if (lasting === undefined) {
      lasting = new Lasting()
      this.#lasting.set(name, lasting)
    }
    return new ModuleInstance({
      module,
      config,
      isRetired,
      rank,
      scope: new Scope(types),
      lasting,
      services: this.#services,
      configFor: (domain) => this.#configFor(name, domain),
    })
  }

  /** Asked for each message. */
  #configFor(name: string, domain?: string): unknown {
    const domainType = domain && this.#services.routes.find(domain)?.domainType
    let first: ModuleInstance | undefined
    for (const one of this.#running) {
      if (one.module.name !== name || one.isRetired) continue
      if (domainType === undefined || one.scope.has(domainType)) return one.config
      first ??= one
    }
    return first?.config
  }
}

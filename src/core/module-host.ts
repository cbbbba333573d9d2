import type { ModuleCommands } from './command.ts'
import { announceFeatures } from './disco.ts'
import type { Hooks } from './hooks.ts'
import type { IqDispatcher } from './iq.ts'
import type { Module, ModuleContext } from './module.ts'

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
> & {
  readonly hooks: Hooks
  readonly iq: IqDispatcher
  readonly commands: ModuleCommands
}

type Loaded = {
  readonly module: Module
  readonly config: unknown
  readonly release: (() => void | Promise<void>)[]
}

/** Loads and unloads modules, and undoes on unloading what each has registered. */
export class ModuleHost {
  readonly #services: ModuleServices
  readonly #loaded = new Map<string, Loaded>()

  constructor(services: ModuleServices) {
    this.#services = services
  }

  /** The modules that run, in the order in which they were loaded. */
  get modules(): readonly Module[] {
    return [...this.#loaded.values()].map(({ module }) => module)
  }

  /** The same with the settings with which they were started. */
  get loaded(): readonly { readonly module: Module; readonly config: unknown }[] {
    return [...this.#loaded.values()]
  }

  /** Starts a module with settings that its schema has checked. What a failed start left is undone. */
  async load(module: Module, config: unknown): Promise<void> {
    const { name } = module
    if (this.#loaded.has(name)) throw new Error(`module ${name} is loaded already`)
    const release: Loaded['release'] = []
    this.#loaded.set(name, { module, config, release })
    try {
      const context = this.#context(module, config, release)
      announceFeatures(context.hooks.on, module)
      await module.start(context)
    } catch (error) {
      await this.unload(name)
      throw new Error(`module ${name} could not start: ${messageOf(error)}`, { cause: error })
    }
  }

  async unload(name: string): Promise<void> {
    const loaded = this.#loaded.get(name)
    if (loaded === undefined) return
    this.#loaded.delete(name)
    for (const undo of loaded.release.reverse()) {
      try {
        await undo()
      } catch (error) {
        this.#services.log.error('module_stop_failed', { module: name, error })
      }
    }
  }

  /** The last loaded first. */
  async unloadAll(): Promise<void> {
    for (const name of [...this.#loaded.keys()].reverse()) await this.unload(name)
  }

  #context(module: Module, config: unknown, release: Loaded['release']): ModuleContext<unknown> {
    const { hooks, iq, commands, routes, log, ...services } = this.#services
    const { name } = module
    const own = log.child({ module: name })
    return {
      ...services,
      config,
      routes,
      log: own,
      hooks: {
        on: (hook, handler, options) =>
          void release.push(hooks.on(hook, handler, { by: name, ...options })),
        at: (hook, domainType) => hooks.at(hook, domainType),
      },
      iq: {
        on: (...registration) => void release.push(iq.on(...registration)),
        intercept: (interceptor) => void release.push(iq.intercept(interceptor)),
        ask: (...asked) => iq.ask(...asked),
        request: (...request) => iq.request(...request),
        namespaces: (target) => iq.namespaces(target),
      },
      commands: {
        on: (command, handler) => void release.push(commands.on(command, handler)),
      },
      every(ms, work) {
        const run = async () => {
          try {
            await work()
          } catch (error) {
            own.error('module_timer_failed', { error })
          }
        }
        const timer = setInterval(run, ms)
        timer.unref()
        release.push(() => clearInterval(timer))
      },
      serve: (route) => void release.push(routes.add(route)),
      onStop: (undo) => void release.push(undo),
    }
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

import type { Hooks } from './hooks.ts'
import type { LocalRoutes } from './local-routes.ts'
import type { Logger } from './log.ts'
import type { ModuleInstance } from './module-instance.ts'

type Types = ReadonlySet<string> | undefined

type Parts = {
  readonly before: readonly ModuleInstance[]
  readonly after: readonly ModuleInstance[]
  /** What those of `after` are to serve. */
  readonly scopes: ReadonlyMap<ModuleInstance, Types>
  readonly hooks: Hooks
  readonly routes: LocalRoutes
  /** The type that a domain is going to have; as before when absent. */
  readonly types: ReadonlyMap<string, string>
  readonly log: Logger
  readonly use: (running: readonly ModuleInstance[]) => void
}

/** How long is waited for stanzas that old handlers still have, milliseconds. */
const PATIENCE = 10_000

/**
 * Other modules, or other settings of them, are ready to take over. In this order: `leave`, `commit`,
 * `settle`, then `finish`; or `revert` after `commit`, and `abandon`.
 */
export class ModuleChange {
  readonly #parts: Parts
  /** Resolves when nobody is inside of what was taken out. */
  #left: Promise<void> | undefined
  readonly #scopesBefore: ReadonlyMap<ModuleInstance, Types>

  constructor(parts: Parts) {
    this.#parts = parts
    this.#scopesBefore = new Map(parts.before.map((one) => [one, one.scope.types]))
  }

  get #started(): ModuleInstance[] {
    const { before, after } = this.#parts
    return after.filter((one) => !before.includes(one))
  }

  get #stopped(): ModuleInstance[] {
    const { before, after } = this.#parts
    return before.filter((one) => !after.includes(one))
  }

  /** Those that serve a domain no longer, in no instance, say goodbye while they still can. */
  async leave(): Promise<void> {
    const { before, after, scopes } = this.#parts
    for (const instance of [...before].reverse()) {
      const heirs = after.filter(({ module }) => module.name === instance.module.name)
      const isServed = (domainType: string) =>
        heirs.some((heir) => {
          const types = scopes.get(heir)
          return types === undefined || types.has(domainType)
        })
      if (heirs.some((heir) => scopes.get(heir) === undefined)) continue
      await instance.leave({
        isShutdown: false,
        leaves: (domain) => {
          const domainType = this.#parts.routes.find(domain)?.domainType
          if (domainType === undefined) return heirs.length === 0
          const after = this.#parts.types.get(domain) ?? domainType
          return instance.scope.has(domainType) && !isServed(after)
        },
      })
    }
  }

  /** All in one step. Throws, with nothing changed, if something that is registered is taken. */
  commit(): void {
    this.#switch(this.#stopped, this.#started, this.#parts.scopes, this.#parts.after)
    this.#left = this.#parts.hooks.underWay.ended()
  }

  /** As it was before `commit`. */
  revert(): void {
    const running = this.#started.filter((one) => one.isActive)
    const stopped = this.#stopped.filter((one) => !one.isActive)
    this.#switch(running, stopped, this.#scopesBefore, this.#parts.before)
  }

  async settle(): Promise<void> {
    for (const instance of this.#started) await instance.ready()
  }

  /** Lets go of those that are no longer needed, once nobody uses them. */
  async finish(): Promise<void> {
    await this.#stop(this.#stopped)
  }

  /** It is not to be: instead of `leave` and all that follows, or after `revert`. */
  async abandon(): Promise<void> {
    await this.#stop(this.#started)
  }

  #switch(
    off: readonly ModuleInstance[],
    on: readonly ModuleInstance[],
    scopes: ReadonlyMap<ModuleInstance, Types>,
    running: readonly ModuleInstance[],
  ): void {
    const done: ModuleInstance[] = []
    for (const instance of off) instance.deactivate()
    try {
      for (const instance of on) {
        instance.activate()
        done.push(instance)
      }
    } catch (error) {
      for (const instance of done) instance.deactivate()
      for (const instance of off) instance.activate()
      throw error
    }
    for (const [instance, types] of scopes) instance.scope.types = types
    this.#parts.use(running)
    this.#parts.hooks.refresh()
  }

  async #stop(instances: readonly ModuleInstance[]): Promise<void> {
    if (instances.length === 0) return
    await soon(this.#left ?? Promise.resolve(), this.#parts.log)
    for (const instance of [...instances].reverse()) await instance.stop()
  }
}

/** Waits for those who are inside of handlers that were taken out, but not too long. */
export async function soon(left: Promise<void>, log: Logger): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<'late'>()
  const timer = setTimeout(resolve, PATIENCE, 'late')
  const first = await Promise.race([left, promise])
  clearTimeout(timer)
  if (first === 'late') log.warn('module_stopped_in_use')
}

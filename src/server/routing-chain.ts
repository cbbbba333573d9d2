/** The routing modules in the order of the configuration. */
import type { Hooks } from '../core/hooks.ts'
import { LocalDelivery } from '../core/local-delivery.ts'
import type { LocalRoutes } from '../core/local-routes.ts'
import { NoRemoteServers } from '../core/remote-servers.ts'
import type { Router, RoutingModule } from '../core/router.ts'
import type { Server } from '../server.ts'
import { builtinRouting } from './builtin-routing.ts'
import type { Plan } from './plan.ts'
import type { Step } from './step.ts'

/** What a routing module of the operator's own exports by default. */
export type RoutingModuleFactory = (parts: {
  readonly router: Router
  readonly routes: LocalRoutes
  readonly hooks: Hooks
}) => RoutingModule

type Parts = Pick<Server, 'hooks' | 'router' | 'routes' | 'components' | 'log'>

export class RoutingChain {
  readonly #parts: Parts
  readonly #delivery: LocalDelivery
  /** Those of the operator's own that were made before go on. */
  readonly #own = new Map<string | RoutingModuleFactory, RoutingModule>()

  constructor(parts: Parts) {
    this.#parts = parts
    this.#delivery = new LocalDelivery(parts.hooks, parts.router, parts.log)
  }

  /** Names that are not ours are imported. */
  async prepare(
    wanted: readonly (string | RoutingModuleFactory)[],
    { federation }: Plan,
  ): Promise<Step> {
    const { hooks, router, routes, components, log } = this.#parts
    const servers = federation ?? new NoRemoteServers(router)
    const builtin = builtinRouting({
      hooks,
      router,
      routes,
      components,
      log,
      servers,
      delivery: this.#delivery,
    })
    const chain: RoutingModule[] = []
    for (const entry of wanted) chain.push(builtin.get(entry)?.() ?? (await this.#make(entry)))
    const before = router.chain
    return { commit: () => router.use(chain), revert: () => router.use(before) }
  }

  async #make(entry: string | RoutingModuleFactory): Promise<RoutingModule> {
    const known = this.#own.get(entry)
    if (known !== undefined) return known
    const { hooks, router, routes } = this.#parts
    const make = typeof entry === 'string' ? await importRouting(entry) : entry
    const made = make({ router, routes, hooks })
    this.#own.set(entry, made)
    return made
  }
}

async function importRouting(from: string): Promise<RoutingModuleFactory> {
  const { default: factory } = await import(from)
  if (typeof factory === 'function') return factory
  throw new Error(`${from}: the default export is not a function that makes a routing module`)
}

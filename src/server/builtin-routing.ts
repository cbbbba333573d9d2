import type { Components } from '../core/components.ts'
import type { Hooks } from '../core/hooks.ts'
import { LocalDelivery } from '../core/local-delivery.ts'
import type { LocalRoutes } from '../core/local-routes.ts'
import type { Logger } from '../core/log.ts'
import type { RemoteServers } from '../core/remote-servers.ts'
import type { Router, RoutingModule } from '../core/router.ts'
import { external } from '../routing/external.ts'
import { externalLocal } from '../routing/external-local.ts'
import { globalRouting } from '../routing/global.ts'
import { localDomain } from '../routing/localdomain.ts'
import { s2s } from '../routing/s2s.ts'

type Parts = {
  readonly hooks: Hooks
  readonly router: Router
  readonly routes: LocalRoutes
  readonly components: Components
  readonly servers: RemoteServers
  readonly log: Logger
  readonly delivery?: LocalDelivery
}

/** The routing modules that come with the server, by the names that `routing_modules` has for them. */
export function builtinRouting(parts: Parts): ReadonlyMap<unknown, () => RoutingModule> {
  const { hooks, router, routes, components, servers, log } = parts
  const { delivery = new LocalDelivery(hooks, router, log) } = parts
  const allow = hooks.at('s2s_allow_host')
  const send = hooks.at('s2s_send_packet')
  const makers: [string, () => RoutingModule][] = [
    ['global', () => globalRouting(hooks.at('filter_packet'))],
    ['external_local', () => externalLocal(components)],
    ['external', () => external(components, router)],
    ['localdomain', () => localDomain(routes, delivery)],
    ['s2s', () => s2s({ router, servers, allow, send })],
  ]
  return new Map(
    makers.map(([name, make]) => {
      const remember = () => {
        const module = make()
        ours.add(module)
        return module
      }
      return [name, remember]
    }),
  )
}

const ours = new WeakSet<RoutingModule>()

/** Whether it comes with the server, whatever its name. */
export function isBuiltin(module: RoutingModule): boolean {
  return ours.has(module)
}

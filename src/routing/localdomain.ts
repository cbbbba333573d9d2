import type { LocalDelivery } from '../core/local-delivery.ts'
import type { LocalRoutes } from '../core/local-routes.ts'
import type { RoutingModule } from '../core/router.ts'

/** Route step 5. Hands stanzas for the domains we serve to local delivery. */
export function localDomain(routes: LocalRoutes, delivery: LocalDelivery): RoutingModule {
  return {
    name: 'localdomain',
    route(envelope) {
      const route = routes.find(envelope.to.domain)
      return route === undefined ? envelope : delivery.deliver(envelope, route)
    },
  }
}

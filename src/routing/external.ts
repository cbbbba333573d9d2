import type { Components } from '../core/components.ts'
import type { RoutingModule } from '../core/router.ts'

/** Hands stanzas for a component to a connection of it on whichever node of the cluster. */
export function external(components: Components): RoutingModule {
  return {
    name: 'external',
    route: (envelope) => components.onAnyNode(envelope)?.handle(envelope) ?? envelope,
  }
}

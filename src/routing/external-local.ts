import type { Components } from '../core/components.ts'
import type { RoutingModule } from '../core/router.ts'

/** Hands stanzas for a component to its connection on this node. */
export function externalLocal(components: Components): RoutingModule {
  return {
    name: 'external_local',
    route: (envelope) => components.onThisNode(envelope)?.handle(envelope) ?? envelope,
  }
}

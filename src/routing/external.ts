import type { Components } from '../core/components.ts'
import type { Router, RoutingModule } from '../core/router.ts'
import { StanzaError } from '../xmpp/stanza-error.ts'

/**
 * Hands stanzas for a component to a connection of it on whichever node of the cluster. What is for
 * one that is not connected goes no further: its domain is ours all the same.
 */
export function external(components: Components, router: Router): RoutingModule {
  return {
    name: 'external',
    route(envelope) {
      const component = components.onAnyNode(envelope)
      if (component !== undefined) return component.handle(envelope)
      if (!components.isAway(envelope.to.domain)) return envelope
      return router.bounce(envelope, new StanzaError('service-unavailable'), 'external')
    },
  }
}

import type { Envelope } from '../core/envelope.ts'
import { type DROP, type HookPoint, Stop } from '../core/hooks.ts'
import type { RoutingModule } from '../core/router.ts'

/** Runs `filter_packet` over everything that is routed, whoever it is for. */
export function globalRouting(filter: HookPoint<'filter_packet'>): RoutingModule {
  return {
    name: 'global',
    filter(envelope) {
      const verdict = filter.run(envelope, NO_PARAMS)
      return verdict instanceof Promise ? verdict.then(decide) : decide(verdict)
    },
    route: (envelope) => envelope,
  }
}

const NO_PARAMS = {}

function decide(verdict: Envelope | Stop<Envelope> | typeof DROP): Envelope | typeof DROP {
  return verdict instanceof Stop ? verdict.acc : verdict
}

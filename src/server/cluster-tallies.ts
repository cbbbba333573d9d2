/** What is counted on the route, on all nodes. */
import type { AdminTallies } from '../admin/tallies.ts'
import { askEverywhere, type Everywhere } from '../core/everywhere.ts'
import type { Tally } from '../core/tally.ts'
import type { Server } from '../server.ts'

declare module '../core/cluster.ts' {
  interface Topics {
    /** What a node has counted since its start. */
    tally: { readonly question: null; readonly answer: Tally }
  }
}

export class ClusterTallies implements AdminTallies {
  readonly #cluster: Server['cluster']

  constructor(server: Server) {
    this.#cluster = server.cluster
    server.cluster.on('tally', () => tallyOf(server))
  }

  of(node?: string): Promise<Everywhere<Tally>> {
    const isMeant = (one: string) => node === undefined || one === node
    return askEverywhere(this.#cluster, 'tally', null, isMeant)
  }
}

function tallyOf({ cluster, components, federation, router, hooks }: Server): Tally {
  const isOpen = ({ status }: { readonly status: { readonly state: string } }) =>
    status.state === 'open'
  return {
    sessions: cluster.nodes.find(({ isSelf }) => isSelf)?.sessions ?? 0,
    components: [...components.connections].filter(({ isLocal }) => isLocal).length,
    servers: [...(federation?.links ?? [])].filter(isOpen).length,
    received: router.counts.received,
    sent: router.counts.sent,
    stages: router.stages.all,
    handlers: hooks.all.map(({ hook, by, order, onError, runs, failures }) => ({
      hook,
      by,
      order,
      onError,
      runs,
      failures,
    })),
    outcomes: Object.fromEntries(router.outcomes),
  }
}

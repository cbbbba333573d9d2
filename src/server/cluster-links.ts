/** The ways to other servers, on all nodes: each has its own. */
import type { AdminFederation } from '../admin/commands/s2s.ts'
import { askEverywhere, type Everywhere } from '../core/everywhere.ts'
import type { LinkStatus } from '../core/remote-servers.ts'
import type { Server } from '../server.ts'

declare module '../core/cluster.ts' {
  interface Topics {
    s2s_links: { readonly question: null; readonly answer: readonly LinkStatus[] }
    /** Ends the connections to this server. Answered with how many there were. */
    s2s_disconnect: { readonly question: string; readonly answer: number }
  }
}

export class ClusterLinks implements AdminFederation {
  readonly #cluster: Server['cluster']

  constructor(server: Server) {
    this.#cluster = server.cluster
    const links = () => [...(server.federation?.links ?? [])]
    server.cluster.on('s2s_links', () => links().map(({ status }) => status))
    server.cluster.on('s2s_disconnect', (domain) => {
      const meant = links().filter(({ remote }) => remote === domain)
      return meant.filter((link) => link.disconnect()).length
    })
  }

  list(): Promise<Everywhere<readonly LinkStatus[]>> {
    return askEverywhere(this.#cluster, 's2s_links', null)
  }

  disconnect(remote: string): Promise<Everywhere<number>> {
    return askEverywhere(this.#cluster, 's2s_disconnect', remote)
  }
}

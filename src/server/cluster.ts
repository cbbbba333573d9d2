/** The other nodes, as configured. */
import { ClusteredNode } from '../cluster/clustered-node.ts'
import { openNats } from '../cluster/nats.ts'
import { SingleNode } from '../cluster/single-node.ts'
import { type Registry, systemClock, type Transport } from '../cluster/transport.ts'
import type { Config } from '../config.ts'
import type { Cluster } from '../core/cluster.ts'
import type { Logger } from '../core/log.ts'
import { SOFTWARE } from '../core/software.ts'
import type { Server } from '../server.ts'

/** What a cluster stands on. */
export type Ground = { readonly transport: Transport; readonly registry: Registry }

/** `undefined` for a server alone. Rejects when the other nodes cannot be reached. */
export async function openGround({ cluster }: Config, log: Logger): Promise<Ground | undefined> {
  if (cluster === undefined) return undefined
  const { nats: servers, name, node, user, password, token, credentials, tls, replicas } = cluster
  const settings = { servers, name, node, user, password, token, credentials, tls, replicas }
  return openNats(settings, log)
}

export function clusterOf(
  server: Pick<
    Server,
    'config' | 'hooks' | 'router' | 'routes' | 'iq' | 'sessionManager' | 'components' | 'log'
  >,
  ground: Ground | undefined,
  onFenced: () => void,
): Cluster {
  const { version } = SOFTWARE
  const { config, hooks, router, routes, iq, sessionManager, components, log } = server
  if (ground === undefined || config.cluster === undefined) return new SingleNode(hooks, version)
  const { node, lease, patience } = config.cluster
  return new ClusteredNode(
    { node, version, lease, patience },
    {
      ...ground,
      clock: systemClock,
      log,
      hooks,
      router,
      routes,
      iq,
      sessionManager,
      components,
      onFenced,
    },
  )
}

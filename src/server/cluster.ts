/** The other nodes, as configured, and the other processes of this one. */
import { join } from 'node:path'
import { ClusteredNode } from '../cluster/clustered-node.ts'
import { MachineRegistry } from '../cluster/machine-registry.ts'
import { MachineTransport } from '../cluster/machine-transport.ts'
import { openNats } from '../cluster/nats.ts'
import { SingleNode } from '../cluster/single-node.ts'
import { type Registry, systemClock, type Transport } from '../cluster/transport.ts'
import type { Config } from '../config.ts'
import type { Cluster } from '../core/cluster.ts'
import type { Logger } from '../core/log.ts'
import { SOFTWARE } from '../core/software.ts'
import type { Server } from '../server.ts'

/** One of the processes that share the work. */
export type Worker = {
  /** What it is called among them. */
  readonly name: string
  /** All of them. */
  readonly names: readonly string[]
  /** Where their sockets are, that of the hub (`hub.sock`) among them. */
  readonly directory: string
}

/** What a cluster stands on. */
export type Ground = {
  readonly transport: Transport
  readonly registry: Registry
  readonly node: string
}

const LEASE = 3_000
const PATIENCE = 30_000

/** What a worker is called as a node. */
export function nodeOf({ cluster }: Pick<Config, 'cluster'>, worker: string): string {
  return cluster === undefined ? worker : `${cluster.node}-${worker}`
}

/**
 * `undefined` for a server alone. Rejects when the other nodes cannot be reached. `onLost` is called when
 * there is nothing to stand on any more.
 */
export async function openGround(
  { cluster }: Config,
  { worker, log, onLost }: { worker: Worker | undefined; log: Logger; onLost: () => void },
): Promise<Ground | undefined> {
  if (cluster !== undefined) {
    const { nats: servers, name, user, password, token, credentials, tls, replicas } = cluster
    const node = worker === undefined ? cluster.node : nodeOf({ cluster }, worker.name)
    const settings = { servers, name, node, user, password, token, credentials, tls, replicas }
    return { ...(await openNats(settings, log)), node }
  }
  if (worker === undefined) return undefined
  const { name: node, names, directory } = worker
  const registry = await MachineRegistry.connect(join(directory, 'hub.sock'), onLost)
  return { registry, transport: await MachineTransport.open(directory, node, names), node }
}

export function clusterOf(
  server: Pick<
    Server,
    | 'config'
    | 'hooks'
    | 'router'
    | 'routes'
    | 'iq'
    | 'sessionManager'
    | 'components'
    | 'log'
    | 'storage'
  >,
  ground: Ground | undefined,
  onFenced: () => void,
): Cluster {
  const { version } = SOFTWARE
  const { config, hooks, router, routes, iq, sessionManager, components, log } = server
  if (ground === undefined) return new SingleNode(hooks, version, sessionManager.sessions)
  const { lease = LEASE, patience = PATIENCE } = config.cluster ?? {}
  return new ClusteredNode(
    { node: ground.node, version, lease, patience },
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
      fences: server.storage.fences,
      onFenced,
    },
  )
}

/** What all processes of one server count: they share the address at which one of them tells it. */
import { askEverywhere } from '../core/everywhere.ts'
import type { Snapshot } from '../metrics/index.ts'
import type { Server } from '../server.ts'
import { nodeOf, type Worker } from './cluster.ts'

declare module '../core/cluster.ts' {
  interface Topics {
    /** What a worker has counted. */
    worker_metrics: { readonly question: null; readonly answer: Snapshot }
  }
}

export class WorkerMetrics {
  readonly #server: Server
  readonly #worker: Worker

  constructor(server: Server, worker: Worker) {
    this.#server = server
    this.#worker = worker
    server.cluster.on('worker_metrics', async () => {
      const { snapshotOf } = await import('../metrics/index.ts')
      const { metricSources } = await import('../server-metrics.ts')
      return await snapshotOf(metricSources(server))
    })
  }

  /** By the names of workers. Those that do not answer are left out. */
  async all(): Promise<ReadonlyMap<string, Snapshot>> {
    const { cluster, config } = this.#server
    const names = new Map(this.#worker.names.map((name) => [nodeOf(config, name), name]))
    const isOurs = (node: string) => names.has(node)
    const { answers } = await askEverywhere(cluster, 'worker_metrics', null, isOurs)
    return new Map(answers.map(({ node, answer }) => [names.get(node) ?? node, answer]))
  }
}

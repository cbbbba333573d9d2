/**
 * Numbers for Prometheus at `/metrics`. The server counts in plain cells; these are read when
 * somebody asks, so that counting costs next to nothing. `docs/metrics.md` says what each means.
 */
import {
  Counter,
  collectDefaultMetrics,
  Gauge,
  type Metric,
  type MetricObjectWithValues,
  type MetricValue,
  Registry,
} from 'prom-client'
import type { HttpService } from '../core/http.ts'

/** One number with its labels. */
export type Sample = { readonly labels?: Readonly<Record<string, string>>; readonly value: number }

export type Source = {
  /** `meerkat_` and a noun; counters end in `_total`. */
  readonly name: string
  readonly help: string
  readonly kind: 'counter' | 'gauge'
  readonly labels: readonly string[]
  /** Called whenever somebody asks. */
  read(): Iterable<Sample>
}

/** What one process has counted, in plain values. */
export type Snapshot = readonly MetricObjectWithValues<MetricValue<string>>[]

/** Of this process, or of several by their names: then each number has the label `worker`. */
export function metrics(
  sources: readonly Source[],
  workers?: () => Promise<ReadonlyMap<string, Snapshot>>,
): HttpService {
  const registry = registryOf(sources)
  return (app) => {
    app.get('/metrics', async (_, reply) => {
      const shown = workers === undefined ? registry : registryOfWorkers(await workers())
      return reply.type(shown.contentType).send(await shown.metrics())
    })
  }
}

export function snapshotOf(sources: readonly Source[]): Promise<Snapshot> {
  return registryOf(sources).getMetricsAsJSON()
}

/**
 * Not their sums: those would fall when a worker begins anew, and whoever computes rates of them would
 * take that for a new beginning of all.
 */
function registryOfWorkers(snapshots: ReadonlyMap<string, Snapshot>): Registry {
  const all = new Map<string, MetricObjectWithValues<MetricValue<string>>>()
  for (const [worker, snapshot] of snapshots) {
    for (const metric of snapshot) {
      const values = metric.values.map((each) => ({
        ...each,
        // What is no number has no text of its own in JSON.
        value: each.value ?? Number.NaN,
        labels: { ...each.labels, worker },
      }))
      const others = all.get(metric.name)?.values ?? []
      all.set(metric.name, { ...metric, values: [...others, ...values] })
    }
  }
  const registry = new Registry()
  for (const metric of all.values()) {
    registry.registerMetric({ ...metric, get: async () => metric } as unknown as Metric)
  }
  return registry
}

let ofProcess: Registry | undefined

/**
 * With those of the process: processor, memory, event loop, garbage collection. These are observed from
 * when they are first asked for, once, however many servers there are.
 */
export function registryOf(sources: readonly Source[]): Registry {
  if (ofProcess === undefined) {
    ofProcess = new Registry()
    collectDefaultMetrics({ register: ofProcess })
  }
  const own = new Registry()
  for (const source of sources) add(own, source)
  return Registry.merge([own, ofProcess])
}

function add(registry: Registry, { name, help, kind, labels, read }: Source): void {
  const options = { name, help, labelNames: [...labels], registers: [registry] }
  if (kind === 'gauge') {
    const gauge = new Gauge({
      ...options,
      collect() {
        gauge.reset()
        for (const { labels = {}, value } of read()) gauge.set(labels, value)
      },
    })
    return
  }
  const counter = new Counter({
    ...options,
    collect() {
      counter.reset()
      for (const { labels = {}, value } of read()) counter.inc(labels, value)
    },
  })
}

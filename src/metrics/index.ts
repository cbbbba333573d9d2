/**
 * Numbers for Prometheus at `/metrics`. The server counts in plain cells; these are read when
 * somebody asks, so that counting costs next to nothing. `docs/metrics.md` says what each means.
 */
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client'
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

export function metrics(sources: readonly Source[]): HttpService {
  const registry = registryOf(sources)
  return (app) => {
    app.get('/metrics', async (_, reply) => {
      return reply.type(registry.contentType).send(await registry.metrics())
    })
  }
}

/** With those of the process: processor, memory, event loop, garbage collection. */
export function registryOf(sources: readonly Source[]): Registry {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  for (const source of sources) add(registry, source)
  return registry
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

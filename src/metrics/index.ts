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

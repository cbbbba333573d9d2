import { isDeepStrictEqual } from 'node:util'
import type { Server } from '../server.ts'
import type { OtlpSpans } from '../tracing/otlp.ts'
import type { Plan } from './plan.ts'
import type { Step } from './step.ts'

/** How long what is going on is waited for, milliseconds. */
const PATIENCE = 1_000

/** Exports spans while that is configured; who does not want any need not load all that it takes. */
export class TraceExport {
  readonly #server: Pick<Server, 'tracing' | 'cluster' | 'log'>
  #current: { readonly spans: OtlpSpans; readonly end: () => void } | undefined
  /** What that was made from. */
  #settings: Plan['config']['tracing'] | undefined

  constructor(server: Pick<Server, 'tracing' | 'cluster' | 'log'>) {
    this.#server = server
  }

  async prepare({ config }: Plan): Promise<Step> {
    // Spans of what is still under way are remembered where they are made.
    if (isDeepStrictEqual(config.tracing, this.#settings)) return {}
    const { otlp, ratio, service_name } = config.tracing
    const before = this.#current
    const earlier = this.#settings
    const spans = otlp === undefined ? undefined : await this.#make(otlp, ratio, service_name)
    return {
      commit: () => {
        const end = spans && this.#server.tracing.observe(spans)
        this.#current = spans && end && { spans, end }
        this.#settings = config.tracing
        before?.end()
      },
      revert: () => {
        this.#current?.end()
        const again = before && this.#server.tracing.observe(before.spans)
        this.#current = before && again && { spans: before.spans, end: again }
        this.#settings = earlier
      },
      finish: async () => before?.spans.close(),
      abandon: async () => spans?.close(),
    }
  }

  /** What is over by now is exported. */
  async close(): Promise<void> {
    const current = this.#current
    if (current === undefined) return
    this.#current = undefined
    await this.#server.tracing.told(PATIENCE)
    current.end()
    await current.spans.close()
  }

  async #make(url: string, ratio: number, serviceName: string): Promise<OtlpSpans> {
    const { OtlpSpans } = await import('../tracing/otlp.ts')
    const { cluster, log } = this.#server
    const node = cluster.isShared ? cluster.self.node : undefined
    return new OtlpSpans({ url, ratio, serviceName, node, log })
  }
}

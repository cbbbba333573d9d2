/**
 * Loaded into a server with `--import` before anything else, this answers what only its own process
 * can tell. It does nothing until it is asked, over the channel to the parent process.
 */
import { monitorEventLoopDelay, performance } from 'node:perf_hooks'
import process from 'node:process'
import { promiseHooks } from 'node:v8'

export type Question = 'used' | 'heap' | 'count promises' | 'promises' | 'watch delay' | 'delay'

/** What it answers; octets, milliseconds, or how many. */
export interface Answers {
  /** Of the main thread's heap, garbage included. */
  readonly used: { readonly bytes: number }
  /** After a full collection, for which the process needs `--expose-gc`. */
  readonly heap: {
    readonly used: number
    readonly external: number
    readonly rss: number
    /** How long the collection took. */
    readonly took: number
  }
  /** Begins to count. */
  readonly 'count promises': Record<string, never>
  /** Those made since it began to count; ends counting. */
  readonly promises: { readonly count: number }
  /** Begins to watch the event loop. */
  readonly 'watch delay': Record<string, never>
  /** How late the event loop was since the last question; begins anew. */
  readonly delay: {
    readonly p50: number
    readonly p99: number
    readonly p999: number
    readonly max: number
  }
}

const DELAY_RESOLUTION_MS = 1

let promises = 0
let stopCounting: (() => void) | undefined
const delay = monitorEventLoopDelay({ resolution: DELAY_RESOLUTION_MS })

const answers: { readonly [Q in Question]: () => Answers[Q] } = {
  used: () => ({ bytes: process.memoryUsage().heapUsed }),
  heap: () => {
    // This collection is not the server's own: the event loop is not watched meanwhile.
    const wasWatched = delay.disable()
    const begun = performance.now()
    globalThis.gc?.()
    const took = performance.now() - begun
    if (wasWatched) delay.enable()
    const { heapUsed, external, rss } = process.memoryUsage()
    return { used: heapUsed, external, rss, took }
  },
  'count promises': () => {
    promises = 0
    stopCounting = promiseHooks.onInit(() => promises++) as unknown as () => void
    return {}
  },
  promises: () => {
    stopCounting?.()
    return { count: promises }
  },
  'watch delay': () => {
    delay.enable()
    return {}
  },
  delay: () => {
    // The histogram has nanoseconds, and the period of its own timer in every value.
    const late = (nanoseconds: number) => Math.max(0, nanoseconds / 1e6 - DELAY_RESOLUTION_MS)
    const told = {
      p50: late(delay.percentile(50)),
      p99: late(delay.percentile(99)),
      p999: late(delay.percentile(99.9)),
      max: late(delay.max),
    }
    delay.reset()
    return told
  },
}

process.on('message', (question: Question) => process.send?.(answers[question]()))
// The channel alone does not keep the server running.
process.channel?.unref()

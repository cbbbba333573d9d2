/** How somebody has things done later: a parameter, so that time can be simulated. */
export interface Timers {
  /** Calls `work` in `ms` milliseconds. Returns how to prevent it. */
  after(ms: number, work: () => void): () => void
}

/** Nobody stays up for them: a process ends though something is still to be done later. */
export const systemTimers: Timers = {
  after(ms, work) {
    const timer = setTimeout(work, ms).unref()
    return () => clearTimeout(timer)
  },
}

/** Resolves when `work` is over, whatever it comes to, or after `ms` milliseconds. */
export function overWithin(timers: Timers, ms: number, work: Promise<unknown>): Promise<void> {
  return new Promise((resolve) => {
    const cancel = timers.after(ms, resolve)
    const over = () => {
      cancel()
      resolve()
    }
    work.then(over, over)
  })
}

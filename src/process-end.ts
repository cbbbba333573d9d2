import type { AdminProcess } from './admin/commands/server.ts'
import type { Logger } from './core/log.ts'

/** Whoever asks for the end is answered before it begins, milliseconds. */
const ANSWERED_WITHIN = 100

type Parts = { readonly log: Logger; readonly kill?: (signal: NodeJS.Signals) => void }

/** Ends this process by the signals that `main.ts` knows, at the moment that was asked for last. */
export class ProcessEnd implements AdminProcess {
  readonly #log: Logger
  readonly #kill: (signal: NodeJS.Signals) => void
  #timer: NodeJS.Timeout | undefined

  constructor({ log, kill = (signal) => process.kill(process.pid, signal) }: Parts) {
    this.#log = log
    this.#kill = kill
  }

  end(how: 'shutdown' | 'restart', delay: number): void {
    clearTimeout(this.#timer)
    this.#log.info('end_asked_for', { how, delay })
    const signal = how === 'restart' ? 'SIGUSR2' : 'SIGTERM'
    this.#timer = setTimeout(() => this.#kill(signal), Math.max(delay, ANSWERED_WITHIN)).unref()
  }
}

/** What a worker says to the process that has started it. */
export type EndMessage = { readonly end: Parameters<AdminProcess['end']> }

/** Workers end together, by the process that has started them: whichever is asked, and may be gone by then. */
export const endOfAll: AdminProcess = {
  end: (...end) => void process.send?.({ end } satisfies EndMessage),
}

import type { Progress } from '../core/command.ts'

const INTERVAL_MS = 5000

/** How far long work is, where nobody sees a bar: a line every few seconds. */
export class ProgressLog {
  readonly #write: (line: string) => void
  readonly #now: () => number
  readonly #startedAt: number
  #shownAt = Number.NEGATIVE_INFINITY
  #before: number | undefined

  /** `now` in milliseconds. */
  constructor(write: (line: string) => void, now: () => number) {
    this.#write = write
    this.#now = now
    this.#startedAt = now()
  }

  show({ done, total = 0, of }: Progress): void {
    const now = this.#now()
    // What was done in an earlier attempt says nothing of today's speed.
    this.#before ??= done
    if (now < this.#shownAt + INTERVAL_MS) return
    this.#shownAt = now
    const part = total === 0 ? 1 : Math.min(1, done / total)
    const left = this.#left(total - done, done - this.#before, now - this.#startedAt)
    this.#write(`${Math.floor(part * 100)} %  ${done} of ${total} ${of}${left}\n`)
  }

  #left(missing: number, achieved: number, elapsed: number): string {
    if (achieved <= 0 || missing <= 0) return ''
    const seconds = Math.ceil((missing * elapsed) / achieved / 1000)
    return `, about ${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')} left`
  }
}

/**
 * How far a command is, told before its answer: lines of JSON, `{"progress": …}`, then the one with
 * `result` or `error`. What is done at once is answered with that alone.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Progress } from '../core/command.ts'
import { linesOf } from './control-stream.ts'

/** How often it is told, milliseconds, */
const EVERY = 250
/** and how often at least, for whoever wonders whether the server is there. */
const AT_LEAST_EVERY = 10_000

export class ProgressLines {
  readonly #response: ServerResponse
  readonly #timer: NodeJS.Timeout
  #last: Progress | null = null
  #lastAt = Number.NEGATIVE_INFINITY

  constructor(response: ServerResponse) {
    this.#response = response
    this.#timer = setInterval(() => this.#write(), AT_LEAST_EVERY)
    this.#timer.unref()
  }

  tell(progress: Progress): void {
    this.#last = progress
    const now = performance.now()
    if (now - this.#lastAt < EVERY) return
    this.#lastAt = now
    this.#write()
  }

  /** Whether the answer is but one more line. */
  get hasBegun(): boolean {
    return this.#response.headersSent
  }

  end(): void {
    clearInterval(this.#timer)
  }

  #write(): void {
    const response = this.#response
    if (!response.headersSent) {
      response.writeHead(200, { 'content-type': 'application/x-ndjson', connection: 'close' })
    }
    // Who does not read will see the next one.
    if (!response.writableNeedDrain) response.write(`${JSON.stringify({ progress: this.#last })}\n`)
  }
}

/** The line with the answer; '' where the connection was lost before. */
export async function readAnswer(
  response: IncomingMessage,
  onProgress: (progress: Progress) => void,
): Promise<string> {
  let answer = ''
  for await (const line of linesOf(response)) {
    const { progress } = JSON.parse(line) as { readonly progress?: Progress | null }
    if (progress === undefined) answer = line
    else if (progress !== null) onProgress(progress)
  }
  return answer
}

import { once } from 'node:events'
import type { FastifyReply } from 'fastify'
import { HttpProblem } from '../core/http.ts'

/** How often what is only the latest is sent, milliseconds. */
const EVERY = 250

/**
 * Server-sent events (HTML Living Standard §9.2) in place of an answer. What a slow reader leaves
 * unread waits with whoever makes the events; news that others replace is left out.
 */
export class EventStream {
  readonly #reply: FastifyReply
  readonly #signal: AbortSignal
  readonly #beat: NodeJS.Timeout
  #lastAt = Number.NEGATIVE_INFINITY

  /** A comment is sent each `heartbeat` milliseconds. */
  constructor(reply: FastifyReply, signal: AbortSignal, heartbeat: number) {
    this.#reply = reply
    this.#signal = signal
    reply.hijack()
    // Whoever is between ends what says nothing, and who is gone without a word is found out (§9.2.7).
    this.#beat = setInterval(() => {
      if (!reply.raw.writableNeedDrain) reply.raw.write(':\n\n')
    }, heartbeat)
    const headers = reply.getHeaders() as Record<string, string>
    reply.raw.writeHead(200, { ...headers, 'content-type': 'text/event-stream; charset=utf-8' })
    reply.raw.flushHeaders()
  }

  /** Resolves when there is room for more. */
  async send(event: string, data: unknown): Promise<void> {
    const { raw } = this.#reply
    if (this.#signal.aborted || this.#write(event, data)) return
    try {
      await once(raw, 'drain', { signal: this.#signal })
    } catch (error) {
      if (!this.#signal.aborted) throw error
    }
  }

  /** False: nothing more is to be written for now. */
  #write(event: string, data: unknown): boolean {
    const { raw } = this.#reply
    return raw.destroyed || raw.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`)
  }

  /** Left out where one has been sent just now, or is not read. */
  sendLatest(event: string, data: unknown): void {
    const now = performance.now()
    if (now - this.#lastAt < EVERY || this.#reply.raw.writableNeedDrain) return
    this.#lastAt = now
    void this.send(event, data)
  }

  /** Ends behind `work`; what it throws is sent as `error`, and so is why it was aborted. */
  async ends(work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      const unknown = new HttpProblem(500, 'internal', 'the server failed; its log says why')
      await this.send('error', (error instanceof HttpProblem ? error : unknown).body)
    }
    clearInterval(this.#beat)
    const { reason } = this.#signal
    if (reason instanceof HttpProblem) this.#write('error', reason.body)
    this.#reply.raw.end()
  }
}

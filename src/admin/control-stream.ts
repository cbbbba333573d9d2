/**
 * Items over the control socket: one JSON value a line, `{"item": …}`. The last line of a stream that
 * the server ends is `{"end": true}`; without it, the connection was lost.
 */
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { z } from 'zod'

/**
 * Sends items until there are no more, nobody reads on, or `stopping` is aborted. What a slow reader
 * leaves unread waits with whoever makes the items. A reader so slow that it does not even take the
 * last line keeps no server from stopping.
 */
export async function sendItems(
  response: ServerResponse,
  items: AsyncIterable<unknown>,
  stopping: AbortSignal,
): Promise<void> {
  response.writeHead(200, { 'content-type': 'application/x-ndjson', connection: 'close' })
  response.flushHeaders()
  for await (const item of items) {
    if (response.destroyed) return
    if (response.write(`${JSON.stringify({ item })}\n`)) continue
    await drained(response, stopping)
  }
  if (response.destroyed) return
  const isRead = !response.writableNeedDrain
  response.end(`${JSON.stringify({ end: true })}\n`)
  if (!isRead) response.destroy()
}

async function drained(response: ServerResponse, stopping: AbortSignal): Promise<void> {
  if (response.destroyed || stopping.aborted) return
  const over = new AbortController()
  const end = () => over.abort()
  response.once('close', end)
  stopping.addEventListener('abort', end)
  try {
    await once(response, 'drain', { signal: over.signal })
  } catch (error) {
    if (!over.signal.aborted) throw error
  } finally {
    response.off('close', end)
    stopping.removeEventListener('abort', end)
  }
}

const lineSchema = z.union([z.object({ item: z.unknown() }), z.object({ end: z.literal(true) })])

/** Whether the server has ended the stream; otherwise the connection did. */
export async function readItems(
  response: IncomingMessage,
  onItem: (item: unknown) => void | Promise<void>,
): Promise<boolean> {
  for await (const line of linesOf(response)) {
    const message = lineSchema.parse(JSON.parse(line))
    if ('end' in message) return true
    await onItem(message.item)
  }
  return false
}

/** Complete lines, as far as they come. */
export async function* linesOf(response: IncomingMessage): AsyncGenerator<string> {
  response.setEncoding('utf8')
  let begun = ''
  try {
    for await (const text of response as AsyncIterable<string>) {
      const lines = (begun + text).split('\n')
      begun = lines.pop() ?? ''
      yield* lines
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ECONNRESET') throw error
  }
}

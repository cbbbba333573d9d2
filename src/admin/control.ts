/**
 * The socket on which a running server takes commands from its own machine: HTTP with JSON over a
 * Unix socket that only the server's user may open. Having it also means owning the data directory.
 *
 *     GET /                          {"pid": 1234}
 *     POST /commands/account/list    arguments in, {"result": …} or {"error": {"code", "message"}} out
 *
 * A command that takes long tells how far it is in lines before (`control-progress.ts`); one that
 * yields items answers with lines (`control-stream.ts`).
 */
import { lstat, unlink } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { isMainThread } from 'node:worker_threads'
import type { CommandCall } from '../core/command.ts'
import { OPERATOR } from '../core/command-access.ts'
import type { Logger } from '../core/log.ts'
import { StorageError } from '../core/storage.ts'
import { type Command, CommandError } from './command.ts'
import type { AdminContext } from './context.ts'
import { pathOf, pidOf } from './control-client.ts'
import { ProgressLines } from './control-progress.ts'
import { sendItems } from './control-stream.ts'
import { give } from './giving.ts'
import { STATUS } from './http-status.ts'
import type { StreamCommand } from './stream-command.ts'

/** Another process serves this socket, and so this data directory. */
export class AlreadyRunningError extends Error {
  override readonly name = 'AlreadyRunningError'
}

export interface Control extends AsyncDisposable {
  /** Carries commands out from now on; until then they are answered `unavailable`. */
  serve(context: AdminContext): void
  /** Answers what has begun, then removes the socket. */
  close(): Promise<void>
}

type ControlOptions = {
  readonly path: string
  /** Asked for each request: modules come and go. */
  readonly commands: () => readonly Command[]
  readonly streams?: readonly StreamCommand[]
  readonly log: Logger
}

const MAX_BODY = 65_536
const MAX_CONNECTIONS = 64
const REQUEST_TIMEOUT_MS = 10_000

/**
 * Takes the socket; one left over from a dead server is replaced. Throws AlreadyRunningError when
 * its server lives.
 */
export async function openControl(options: ControlOptions): Promise<Control> {
  const { path, commands, streams = [], log } = options
  let context: AdminContext | undefined
  const stopping = new AbortController()
  const server = createServer((incoming, response) => {
    const stream = streams.find(({ name }) => incoming.url === pathOf(name))
    const answered =
      stream === undefined
        ? answer(incoming, response, {
            commands: commands(),
            context,
            stopping: stopping.signal,
            log,
          })
        : follow(incoming, response, { stream, context, stopping: stopping.signal })
    answered.then(
      (reply) => reply && send(response, reply.status, reply.body),
      (error: unknown) => {
        log.error('control_request_failed', { url: incoming.url, error })
        if (response.headersSent) return void response.destroy()
        send(response, 500, failure('internal', whatFailed(error)))
      },
    )
  })
  server.maxConnections = MAX_CONNECTIONS
  server.requestTimeout = REQUEST_TIMEOUT_MS
  server.headersTimeout = REQUEST_TIMEOUT_MS

  await removeStale(path)
  await listen(server, path)

  const close = () =>
    new Promise<void>((resolve) => {
      stopping.abort()
      server.close(() => resolve())
      server.closeIdleConnections()
    })
  return {
    serve(opened) {
      context = opened
    },
    close,
    [Symbol.asyncDispose]: close,
  }
}

async function removeStale(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined)
  if (found === undefined) return
  if (!found.isSocket()) throw new Error(`${path} is in the way: it is not a socket of ours`)
  const pid = await pidOf(path)
  if (pid !== undefined) throw new AlreadyRunningError(`already running (pid ${pid})`)
  await unlink(path)
}

/** A socket is bound at once, so that the mask is in force for no other file. */
function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    const mask = isMainThread ? process.umask(0o177) : undefined
    try {
      server.listen(path, () => {
        server.off('error', reject)
        resolve()
      })
    } finally {
      if (mask !== undefined) process.umask(mask)
    }
  })
}

type Answer = { readonly status: number; readonly body: unknown }

type Carrier = {
  readonly commands: readonly Command[]
  readonly context: AdminContext | undefined
  readonly stopping: AbortSignal
  readonly log: Logger
}

async function answer(
  incoming: IncomingMessage,
  response: ServerResponse,
  carrier: Carrier,
): Promise<Answer | undefined> {
  try {
    const { method, url = '' } = incoming
    if (method === 'GET' && url === '/') return { status: 200, body: { pid: process.pid } }
    const command = carrier.commands.find(({ name }) => url === pathOf(name))
    if (!command) throw new CommandError('not-found', `there is no command at ${url}`)
    const { args, context } = await accept(incoming, carrier.context)
    return await carryOut(command, { context, args }, response, carrier)
  } catch (error) {
    return refusal(error)
  }
}

/** The answer, unless it was sent behind what was told before. */
async function carryOut(
  command: Command,
  given: { readonly context: AdminContext; readonly args: unknown },
  response: ServerResponse,
  { log, stopping }: Carrier,
): Promise<Answer | undefined> {
  const gone = new AbortController()
  response.once('close', () => gone.abort())
  const lines = new ProgressLines(response)
  const call: CommandCall = {
    caller: OPERATOR,
    signal: AbortSignal.any([gone.signal, stopping]),
    progress: (progress) => lines.tell(progress),
  }
  const work = async (): Promise<Answer> => {
    try {
      return { status: 200, body: { result: await give(command, { ...given, call, log }) } }
    } catch (error) {
      if (error instanceof CommandError || !lines.hasBegun) return refusal(error)
      log.error('control_request_failed', { command: command.name, error })
      return { status: 500, body: failure('internal', whatFailed(error)) }
    }
  }
  try {
    const answer = await work()
    if (!lines.hasBegun) return answer
    response.end(`${JSON.stringify(answer.body)}\n`)
    return undefined
  } finally {
    lines.end()
  }
}

type Following = {
  readonly stream: StreamCommand
  readonly context: AdminContext | undefined
  readonly stopping: AbortSignal
}

/** The answer, if it is a refusal; else the items are sent, until nobody reads on or the server stops. */
async function follow(
  incoming: IncomingMessage,
  response: ServerResponse,
  { stream, stopping, ...carrier }: Following,
): Promise<Answer | undefined> {
  const gone = new AbortController()
  response.once('close', () => gone.abort())
  const signal = AbortSignal.any([gone.signal, stopping])
  let items: AsyncIterable<unknown>
  try {
    const { args, context } = await accept(incoming, carrier.context)
    items = await stream.open(context, args, signal)
  } catch (error) {
    return refusal(error)
  }
  await sendItems(response, items, stopping)
  return undefined
}

async function accept(incoming: IncomingMessage, context: AdminContext | undefined) {
  if (incoming.method !== 'POST') throw new CommandError('invalid', 'expected POST')
  const args = await readJson(incoming)
  if (!context) throw new CommandError('unavailable', 'the server is starting')
  return { args, context }
}

function refusal(error: unknown): Answer {
  if (!(error instanceof CommandError)) throw error
  return { status: STATUS[error.code], body: failure(error.code, error.message) }
}

async function readJson(incoming: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > MAX_BODY) throw new CommandError('invalid', 'the arguments are too long')
    chunks.push(chunk)
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'))
  } catch (cause) {
    throw new CommandError('invalid', 'expected arguments as JSON', { cause })
  }
}

function failure(code: string, message: string) {
  return { error: { code, message } }
}

function whatFailed(error: unknown): string {
  if (error instanceof StorageError) return `storage: ${error.message}`
  return 'the server failed; its log says why'
}

function send(response: ServerResponse, status: number, body: unknown): void {
  const json = JSON.stringify(body)
  // One request per connection: nobody who waits keeps the server from stopping.
  response.writeHead(status, { 'content-type': 'application/json', connection: 'close' })
  response.end(`${json}\n`)
}

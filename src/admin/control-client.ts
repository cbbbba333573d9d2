/** The other side of the socket of a running server (`control.ts`): gives it commands. */
import { type IncomingMessage, request } from 'node:http'
import { z } from 'zod'
import type { Progress } from '../core/command.ts'
import { CommandError } from './command.ts'
import { readAnswer } from './control-progress.ts'
import { readItems } from './control-stream.ts'
import { isCode } from './http-status.ts'

/** Nobody serves this socket. */
export class NotRunningError extends Error {
  override readonly name = 'NotRunningError'
}

const PROBE_TIMEOUT_MS = 5_000
const COMMAND_TIMEOUT_MS = 60_000

/** Where a command is on the socket. */
export function pathOf(command: string): string {
  return `/commands/${command.replaceAll(' ', '/')}`
}

/** The process that serves the socket; undefined if there is none. */
export async function pidOf(path: string): Promise<number | undefined> {
  try {
    const body = await exchange(path, { method: 'GET', url: '/', timeout: PROBE_TIMEOUT_MS })
    return z.object({ pid: z.int() }).parse(JSON.parse(body)).pid
  } catch (error) {
    if (error instanceof NotRunningError) return undefined
    throw error
  }
}

const failureSchema = z.object({ error: z.object({ code: z.string(), message: z.string() }) })
const answerSchema = z.union([z.object({ result: z.unknown() }), failureSchema])

type Followed = {
  readonly signal: AbortSignal
  /** Called with each item; the next one waits for what it returns. */
  readonly onItem: (item: unknown) => void | Promise<void>
  /** Called when the server has begun: what happens from now on is told. */
  readonly onOpen?: () => void
}

/**
 * Has a running server carry out a command that yields items. Resolves when `signal` is aborted or the
 * server stops: to which of them it was. Throws NotRunningError, CommandError.
 */
export async function followCommand(
  path: string,
  name: string,
  args: unknown,
  { signal, onItem, onOpen }: Followed,
): Promise<'aborted' | 'stopped'> {
  try {
    const response = await begin(path, { url: pathOf(name), args, signal })
    if (response.statusCode !== 200) return thrown(await textOf(response))
    onOpen?.()
    if (await readItems(response, onItem)) return 'stopped'
    throw new CommandError('unavailable', 'the connection to the server was lost')
  } catch (error) {
    if (signal.aborted) return 'aborted'
    throw error
  }
}

/**
 * Has a running server carry out a command, and tells how far it is where that takes long. Throws
 * NotRunningError, CommandError.
 */
export async function callCommand(
  path: string,
  name: string,
  args: unknown,
  onProgress: (progress: Progress) => void = () => {},
): Promise<unknown> {
  const timeout = COMMAND_TIMEOUT_MS
  const body = await exchange(path, {
    method: 'POST',
    url: pathOf(name),
    timeout,
    args,
    read: (response) => readAnswer(response, onProgress),
  })
  if (body === '') throw new CommandError('unavailable', 'the connection to the server was lost')
  const reply = answerSchema.parse(JSON.parse(body))
  return 'result' in reply ? reply.result : thrown(body)
}

function thrown(body: string): never {
  const { error } = failureSchema.parse(JSON.parse(body))
  const code = isCode(error.code) ? error.code : 'unavailable'
  throw new CommandError(code, error.message)
}

type Exchange = {
  readonly method: string
  readonly url: string
  readonly timeout: number
  readonly args?: unknown
  readonly read?: (response: IncomingMessage) => Promise<string>
}

function exchange(
  path: string,
  { args, url, read = textOf, ...options }: Exchange,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      { socketPath: path, path: url, agent: false, ...options },
      (response) => read(response).then(resolve, reject),
    )
    outgoing.on('timeout', () => outgoing.destroy(new Error(`no answer at ${path}`)))
    outgoing.on('error', (error: NodeJS.ErrnoException) => reject(explained(error, path)))
    outgoing.end(args === undefined ? undefined : JSON.stringify(args))
  })
}

function begin(
  path: string,
  {
    url,
    args,
    signal,
  }: { readonly url: string; readonly args: unknown; readonly signal: AbortSignal },
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const options = { socketPath: path, path: url, method: 'POST', agent: false, signal } as const
    const outgoing = request(options, resolve)
    outgoing.on('error', (error: NodeJS.ErrnoException) => reject(explained(error, path)))
    outgoing.end(JSON.stringify(args))
  })
}

async function textOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks).toString('utf8')
}

function explained(error: NodeJS.ErrnoException, path: string): Error {
  switch (error.code) {
    case 'ENOENT':
    case 'ECONNREFUSED':
      return new NotRunningError(`nobody answers at ${path}`, { cause: error })
    case 'EACCES':
      return new CommandError('unavailable', `only the server's own user may open ${path}`)
    default:
      return error
  }
}

/**
 * Administration over HTTP: each command is `POST /api/` and its words, with its arguments as a JSON
 * object; the answer is its result. Who asks for `text/event-stream` is told how far it is meanwhile
 * (`progress`), then its `result` or `error`; commands that are followed yield `item`s.
 *
 * A token says who asks. There are no cookies and no CORS: a page of somebody else's cannot ask.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { type CommandCall, checkedArgs } from '../core/command.ts'
import { type Caller, ensureMayGive, mayEverGive } from '../core/command-access.ts'
import { CommandError } from '../core/command-error.ts'
import { HttpProblem, type HttpService } from '../core/http.ts'
import type { Logger } from '../core/log.ts'
import { networkOf } from '../core/network.ts'
import { RateLimit } from '../core/rate-limit.ts'
import { StorageError } from '../core/storage.ts'
import type { Command } from './command.ts'
import type { AdminContext } from './context.ts'
import { EventStream } from './event-stream.ts'
import { give } from './giving.ts'
import { STATUS } from './http-status.ts'
import { openApi, pathOf } from './openapi.ts'
import type { StreamCommand } from './stream-command.ts'
import { TOKEN_PATH, type TokenAnswer } from './token-answer.ts'
import type { Tokens } from './tokens.ts'

type ApiOptions = {
  readonly commands: readonly Command[]
  readonly streams: readonly StreamCommand[]
  readonly context: AdminContext
  readonly tokens: Pick<Tokens, 'verify'>
  /** Of one token. */
  readonly requestsPerMinute: number
  /** So often who follows something hears that the server is there, milliseconds; 15,000 unless told. */
  readonly heartbeat?: number
  readonly log: Logger
}

const MINUTE = 60_000
/** Wrong tokens from one address in a minute; who has the right one is not kept out by others' guesses. */
const WRONG_TOKENS = 20
const MAX_REMEMBERED = 10_000
const HEARTBEAT = 15_000

type Identity = Caller & { readonly id: string }

export function httpApi(options: ApiOptions): HttpService {
  const { commands, streams, context, tokens, log, heartbeat = HEARTBEAT } = options
  const now = () => performance.now()
  const window = { window: MINUTE, maxKeys: MAX_REMEMBERED, now }
  const perToken = new RateLimit({ ...window, limit: options.requestsPerMinute })
  const wrong = new RateLimit({ ...window, limit: WRONG_TOKENS })
  const document = openApi({ commands, streams, version: context.version })

  const verify = ({ headers }: FastifyRequest) => {
    const [, token = ''] = /^Bearer +(\S+)$/i.exec(headers.authorization ?? '') ?? []
    return told(tokens.verify(token), log)
  }

  const identify = async (request: FastifyRequest): Promise<Identity> => {
    const found = await verify(request)
    if (found === undefined) {
      if (!wrong.take(networkOf(request.ip))) throw tooMany()
      log.info('admin_token_refused', { address: request.ip })
      throw unauthorized()
    }
    if (!perToken.take(found.id)) throw tooMany()
    return found
  }

  return (app, stopping) => {
    app.get('/api/openapi.json', async (request, reply) => {
      await identify(request)
      return reply.type('application/json; charset=utf-8').send(document)
    })
    app.get(TOKEN_PATH, async (request, reply) => {
      const answer = allowedTo(await identify(request), [...commands, ...streams], context.domains)
      return reply.type(JSON_TYPE).send(JSON.stringify(answer))
    })
    for (const command of commands) {
      app.post(pathOf(command.name), async (request, reply) => {
        const caller = await identify(request)
        const { signal, isFollowed } = followed(request, reply, stopping)
        const run = (call: Omit<CommandCall, 'caller' | 'signal'>) =>
          give(command, { context, args: argsOf(request), log, call: { caller, signal, ...call } })
        if (!isFollowed) {
          return reply.type(JSON_TYPE).send(JSON.stringify(await told(run({ progress() {} }), log)))
        }
        const events = new EventStream(reply, signal, heartbeat)
        await events.ends(async () => {
          const result = run({ progress: (progress) => events.sendLatest('progress', progress) })
          await events.send('result', await told(result, log))
        })
        return reply
      })
    }
    for (const stream of streams) {
      app.post(pathOf(stream.name), async (request, reply) => {
        const caller = await identify(request)
        const { signal, end } = followed(request, reply, stopping)
        const items = await told(open(stream, argsOf(request), caller, signal), log)
        const events = new EventStream(reply, signal, heartbeat)
        // What was revoked, or is over, is not good for what was begun with it either.
        const check = setInterval(() => {
          ensureStill(stream, request).catch((error) => {
            if (error instanceof HttpProblem && error.status < 500) end(error)
          })
        }, heartbeat)
        const forward = async () => {
          for await (const item of items) await events.send('item', item)
        }
        // Not when the connection closes: it may have, before there was anything to follow.
        await events.ends(() => told(forward(), log)).finally(() => clearInterval(check))
        return reply
      })
    }
  }

  /** Throws what says so when who asked this may not ask it any more. */
  async function ensureStill(stream: StreamCommand, request: FastifyRequest): Promise<void> {
    const caller = await verify(request)
    if (caller === undefined) throw unauthorized()
    const ensured = async () => ensureAllowed(stream, argsOf(request), caller)
    await told(ensured(), log)
  }

  function ensureAllowed(stream: StreamCommand, args: unknown, caller: Caller): unknown {
    const checked = checkedArgs(stream.args, args)
    ensureMayGive({ ...stream, permission: stream.permissionFor(checked) }, checked, caller)
    return checked
  }

  async function open(stream: StreamCommand, args: unknown, caller: Caller, signal: AbortSignal) {
    ensureAllowed(stream, args, caller)
    log.info('admin_stream', { command: stream.name, by: caller.name })
    return await stream.open(context, args, signal)
  }
}

/** What a token is good for, so that programs need not offer what would be refused. */
function allowedTo(
  caller: Identity,
  all: readonly Pick<Command, 'name' | 'permission' | 'subjects'>[],
  hosted: readonly string[],
): TokenAnswer {
  const { id, role, domains } = caller
  return {
    id,
    role,
    domains: domains === undefined ? null : [...domains],
    hosted: hosted.filter((domain) => domains?.includes(domain) !== false),
    commands: all.filter((command) => mayEverGive(command, caller)).map(({ name }) => name),
    content: mayEverGive({ permission: 'messages:content', subjects: ['jid'] }, caller),
  }
}

const JSON_TYPE = 'application/json; charset=utf-8'

function unauthorized(): HttpProblem {
  return new HttpProblem(401, 'unauthorized', 'expected a token that is good', {
    'www-authenticate': 'Bearer realm="meerkat"',
  })
}

function tooMany(): HttpProblem {
  return new HttpProblem(429, 'too-many', 'too many requests; later', { 'retry-after': '60' })
}

/** Aborted when nobody waits for an answer any more. */
function followed(request: FastifyRequest, reply: FastifyReply, stopping: AbortSignal) {
  const gone = new AbortController()
  reply.raw.once('close', () => gone.abort())
  return {
    signal: AbortSignal.any([gone.signal, stopping]),
    end: (reason: HttpProblem) => gone.abort(reason),
    isFollowed: request.headers.accept?.includes('text/event-stream') === true,
  }
}

function argsOf({ body }: FastifyRequest): unknown {
  return body ?? {}
}

/** Throws what may be told: our bugs keep their text. */
async function told<T>(work: Promise<T>, log: Logger): Promise<T> {
  try {
    return await work
  } catch (error) {
    throw problemOf(error, log)
  }
}

function problemOf(error: unknown, log: Logger): HttpProblem {
  if (error instanceof CommandError) {
    return new HttpProblem(STATUS[error.code], error.code, error.message)
  }
  log.error('admin_command_failed', { error })
  if (error instanceof StorageError) {
    return new HttpProblem(503, 'unavailable', `storage: ${error.message}`)
  }
  return new HttpProblem(500, 'internal', 'the server failed; its log says why')
}

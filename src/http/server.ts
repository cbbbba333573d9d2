/**
 * HTTP on one address: a small thing that services are mounted onto. It bounds what strangers can
 * take up, says the same of itself in every answer, and tells what went wrong as problem details
 * (RFC 9457); everything else is the services'.
 */
import { createServer, type Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import fastify, { type FastifyError, type FastifyInstance, type FastifyReply } from 'fastify'
import { HttpProblem, type HttpService } from '../core/http.ts'
import type { Logger } from '../core/log.ts'

export type HttpListenerOptions = {
  /** All addresses when absent. */
  readonly host: string | undefined
  readonly port: number
  readonly maxConnections: number
  /** TLS over a new connection; absent: none. `undefined`: it cannot be had. */
  readonly secure?: ((socket: Socket) => Socket | undefined) | undefined
  readonly services: readonly HttpService[]
  readonly log: Logger
}

/** Of a request's body, in bytes. */
const MAX_BODY = 65_536
/** For a whole request to arrive, milliseconds. */
const REQUEST_TIMEOUT_MS = 10_000
const KEEP_ALIVE_MS = 15_000
/** How often it is looked for those that take longer, milliseconds. */
const CHECKED_EVERY_MS = 2_000

const HEADERS = {
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cache-control': 'no-store',
} as const

export class HttpListener {
  readonly #app: FastifyInstance
  readonly #options: HttpListenerOptions
  readonly #stopping = new AbortController()

  constructor(options: HttpListenerOptions) {
    const { services, secure, maxConnections, log } = options
    this.#options = options
    this.#app = fastify({
      bodyLimit: MAX_BODY,
      forceCloseConnections: 'idle',
      serverFactory: (handler) => {
        const server = createServer(
          {
            requestTimeout: REQUEST_TIMEOUT_MS,
            headersTimeout: REQUEST_TIMEOUT_MS,
            keepAliveTimeout: KEEP_ALIVE_MS,
            connectionsCheckingInterval: CHECKED_EVERY_MS,
          },
          handler,
        )
        server.maxConnections = maxConnections
        if (secure !== undefined) overTls(server, secure)
        return server
      },
    })
    // Only what is asked for is read.
    this.#app.removeContentTypeParser('text/plain')
    this.#app.addHook('onRequest', async (_, reply) => {
      reply.headers(HEADERS)
      if (secure !== undefined) reply.header('strict-transport-security', 'max-age=31536000')
    })
    this.#app.setNotFoundHandler((request, reply) => {
      send(reply, new HttpProblem(404, 'not-found', `there is nothing at ${pathOf(request.url)}`))
    })
    this.#app.setErrorHandler((error: FastifyError, request, reply) => {
      send(
        reply,
        problemOf(error, () => log.error('http_failed', { path: pathOf(request.url), error })),
      )
    })
    for (const service of services) service(this.#app, this.#stopping.signal)
  }

  /** Rejects when the address cannot be had. */
  async listen(): Promise<void> {
    const { host = '::', port } = this.#options
    await this.#app.ready()
    await this.#app.listen({ host, port })
  }

  get address(): { readonly host: string; readonly port: number } {
    const { address, port } = this.#app.server.address() as AddressInfo
    return { host: address, port }
  }

  get isListening(): boolean {
    return this.#app.server.listening
  }

  /** Answers what has begun, but waits for nobody who follows something. */
  async close(): Promise<void> {
    this.#stopping.abort()
    await this.#app.close()
  }
}

/** The server itself listens, so that its limits hold, but speaks on what `secure` makes. */
function overTls(server: Server, secure: (socket: Socket) => Socket | undefined): void {
  const [speak] = server.listeners('connection')
  server.removeAllListeners('connection')
  server.on('connection', (plain: Socket) => {
    const socket = secure(plain)
    if (socket === undefined) return void plain.destroy()
    plain.on('error', () => {})
    speak?.call(server, socket)
  })
}

function send(reply: FastifyReply, problem: HttpProblem): void {
  void reply
    .code(problem.status)
    .headers(problem.headers)
    .type('application/problem+json; charset=utf-8')
    .send(JSON.stringify(problem.body))
}

function problemOf(error: unknown, unexpected: () => void): HttpProblem {
  if (error instanceof HttpProblem) return error
  const { statusCode, code } = error as FastifyError
  if (statusCode === 413) return new HttpProblem(413, 'too-large', `at most ${MAX_BODY} bytes`)
  if (statusCode === 415) return new HttpProblem(415, 'invalid', 'expected application/json')
  if (statusCode === 400 || code === 'FST_ERR_CTP_INVALID_JSON_BODY') {
    return new HttpProblem(400, 'invalid', 'expected JSON')
  }
  unexpected()
  return new HttpProblem(500, 'internal', 'the server failed; its log says why')
}

function pathOf(url: string): string {
  return url.split('?', 1)[0]?.slice(0, 200) ?? ''
}

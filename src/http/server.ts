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
import { networkOf } from '../core/network.ts'

export type HttpListenerOptions = {
  /** All addresses when absent. */
  readonly host: string | undefined
  readonly port: number
  readonly maxConnections: number
  /** From one address, or one IPv6 network of 64 bits. */
  readonly maxConnectionsPerAddress: number
  /** TLS over a new connection; absent: none. `undefined`: it cannot be had. */
  readonly secure?: ((socket: Socket) => Socket | undefined) | undefined
  readonly services: readonly HttpService[]
  readonly log: Logger
  /** How long an answer may lie unread, milliseconds. */
  readonly unreadTimeout?: number
  /** How long what has begun is waited for at the end, milliseconds. */
  readonly closeTimeout?: number
}

/** Of a request's body, in bytes. */
const MAX_BODY = 65_536
/** For a whole request to arrive, milliseconds. */
const REQUEST_TIMEOUT_MS = 10_000
const KEEP_ALIVE_MS = 15_000
/** How often it is looked for those that take longer, milliseconds. */
const CHECKED_EVERY_MS = 2_000
const UNREAD_TIMEOUT_MS = 30_000
const CLOSE_TIMEOUT_MS = 5_000

/** What a path that is there may be asked with. */
const METHODS = ['GET', 'HEAD', 'POST'] as const

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
  /** Open connections, by where they come from. */
  readonly #perNetwork = new Map<string, number>()

  constructor(options: HttpListenerOptions) {
    const { services, secure, maxConnections, log } = options
    const { unreadTimeout = UNREAD_TIMEOUT_MS } = options
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
        this.#admit(server)
        return server
      },
    })
    // Only what is asked for is read.
    this.#app.removeContentTypeParser('text/plain')
    this.#app.addHook('onRequest', async (_, reply) => {
      reply.headers(HEADERS)
      if (secure !== undefined) reply.header('strict-transport-security', 'max-age=31536000')
    })
    // What nobody reads is not kept for ever. Who follows something is not sent an answer.
    this.#app.addHook('onSend', async ({ raw }) => void raw.socket.setTimeout(unreadTimeout))
    this.#app.setNotFoundHandler(({ url, method }, reply) => {
      send(reply, this.#nothingAt(pathOf(url), method))
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

  get connectionCount(): number {
    return this.#perNetwork.values().reduce((sum, count) => sum + count, 0)
  }

  /**
   * Answers what has begun, but waits for nobody who follows something, and not for ever for who does not
   * read.
   */
  async close(): Promise<void> {
    const { closeTimeout = CLOSE_TIMEOUT_MS } = this.#options
    this.#stopping.abort()
    const closed = this.#app.close()
    const timer = setTimeout(() => this.#app.server.closeAllConnections(), closeTimeout)
    await closed
    clearTimeout(timer)
  }

  /** The server itself listens, so that its limits hold, but speaks on what `secure` makes. */
  #admit(server: Server): void {
    const { secure = (plain: Socket) => plain, maxConnectionsPerAddress } = this.#options
    const [speak] = server.listeners('connection')
    server.removeAllListeners('connection')
    server.on('connection', (plain: Socket) => {
      const network = networkOf(plain.remoteAddress ?? '')
      const others = this.#perNetwork.get(network) ?? 0
      const socket = others >= maxConnectionsPerAddress ? undefined : secure(plain)
      if (socket === undefined) return void plain.destroy()
      this.#perNetwork.set(network, others + 1)
      plain.once('close', () => this.#forget(network))
      if (socket !== plain) plain.on('error', () => {})
      speak?.call(server, socket)
    })
  }

  #forget(network: string): void {
    const left = (this.#perNetwork.get(network) ?? 1) - 1
    if (left === 0) this.#perNetwork.delete(network)
    else this.#perNetwork.set(network, left)
  }

  /** RFC 9110 §15.5.5 and §15.5.6. */
  #nothingAt(path: string, method: string): HttpProblem {
    const allowed = METHODS.filter((each) => this.#app.hasRoute({ method: each, url: path }))
    if (allowed.length === 0)
      return new HttpProblem(404, 'not-found', `there is nothing at ${path}`)
    const detail = `${path} takes ${allowed.join(' and ')}, not ${method}`
    return new HttpProblem(405, 'method-not-allowed', detail, { allow: allowed.join(', ') })
  }
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

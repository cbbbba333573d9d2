/** What services that are reached by HTTP are made of; `http/` serves them. */
import type { FastifyInstance } from 'fastify'

/** Registers its routes. Answers that take long end when `stopping` is aborted. */
export type HttpService = (app: FastifyInstance, stopping: AbortSignal) => void

/** A refusal: told to the client as it is. Anything else thrown is our bug, and keeps its text. */
export class HttpProblem extends Error {
  override readonly name = 'HttpProblem'
  readonly status: number
  /** For programs; the name of the problem otherwise. */
  readonly code: string
  readonly headers: Readonly<Record<string, string>>

  constructor(
    status: number,
    code: string,
    detail: string,
    headers: Readonly<Record<string, string>> = {},
  ) {
    super(detail)
    this.status = status
    this.code = code
    this.headers = headers
  }

  /** RFC 9457 §3. */
  get body() {
    const { status, code, message } = this
    return { type: 'about:blank', title: TITLES[status] ?? 'Error', status, code, detail: message }
  }
}

const TITLES: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  409: 'Conflict',
  413: 'Content Too Large',
  415: 'Unsupported Media Type',
  429: 'Too Many Requests',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
}

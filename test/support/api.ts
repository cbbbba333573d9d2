import type { Role } from '../../src/core/command-access.ts'
import type { TestServer } from './server.ts'

/** A token of a role, made as an operator makes it. */
export async function tokenFor(
  { server }: TestServer,
  role: Role,
  domains?: readonly string[],
  expiresAt?: number,
): Promise<string> {
  const { token } = await server.tokens.create({ name: `for a ${role}`, role, domains, expiresAt })
  return token
}

export type ApiAnswer<Body = unknown> = {
  readonly status: number
  readonly headers: Headers
  /** As JSON; the text where it is none. */
  readonly body: Body
}

export type Ask = {
  readonly token?: string | undefined
  readonly args?: unknown
  readonly headers?: Readonly<Record<string, string>>
  readonly method?: string
}

/** The body of a refusal. */
export type Problem = {
  readonly status: number
  readonly title: string
  readonly detail: string
  readonly code: string
}

/** `Body`: what the test expects it to be; nobody checks. */
export async function ask<Body>(url: string, options: Ask = {}): Promise<ApiAnswer<Body>> {
  const { token, args, headers, method = 'POST' } = options
  const response = await fetch(url, {
    method,
    headers: {
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
      ...(args !== undefined && { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(args !== undefined && { body: typeof args === 'string' ? args : JSON.stringify(args) }),
  })
  const text = await response.text()
  const isJson = /json/.test(response.headers.get('content-type') ?? '')
  return {
    status: response.status,
    headers: response.headers,
    body: isJson ? JSON.parse(text) : text,
  }
}

/** Gives a command; rejects with an error whose `code` is that of the problem. */
export async function giveOverHttp(
  url: string,
  token: string | undefined,
  name: string,
  args: unknown,
): Promise<unknown> {
  const answer = await ask<unknown>(`${url}/api/${name.replaceAll(' ', '/')}`, { token, args })
  if (answer.status === 200) return answer.body
  const { code, detail } = answer.body as Problem
  throw Object.assign(new Error(`${name}: ${detail}`), { code })
}

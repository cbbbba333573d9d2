/**
 * The admin page: files that browsers get as they are; all that it shows it asks of the HTTP API, with
 * the token of whoever looks at it. So these files are no secret, and need no token.
 */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { extname } from 'node:path'
import type { HttpService } from '../core/http.ts'

const FILES = new URL('./page/', import.meta.url)
const PATH = '/admin/'
const INDEX = 'index.html'

const TYPES: Readonly<Record<string, string>> = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml; charset=utf-8',
}

/** Nothing but these files and the API; no text ever becomes markup or code. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ')

const HEADERS = {
  'content-security-policy': POLICY,
  'cross-origin-opener-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=(), payment=(), usb=()',
  // Kept, but asked for each time: names say nothing of the version, and a release changes them all.
  'cache-control': 'no-cache',
} as const

/** The files are read once. */
export function adminPage(): HttpService {
  const names = readdirSync(FILES).filter((name) => extname(name) in TYPES)
  return (app) => {
    app.get('/admin', async (_, reply) => reply.redirect(PATH, 308))
    for (const name of names) {
      const content = readFileSync(new URL(name, FILES))
      const etag = `"${createHash('sha256').update(content).digest('base64url')}"`
      const headers = { ...HEADERS, etag, 'content-type': TYPES[extname(name)] }
      app.get(`${PATH}${name === INDEX ? '' : name}`, async (request, reply) => {
        reply.headers(headers)
        if (request.headers['if-none-match']?.includes(etag)) return reply.code(304).send()
        return reply.send(content)
      })
    }
  }
}

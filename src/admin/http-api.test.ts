import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import fastify from 'fastify'
import { z } from 'zod'
import { emptyContext } from '../../test/support/admin.ts'
import { silentLogger } from '../core/log.ts'
import { StorageError } from '../core/storage.ts'
import { createLogger } from '../log.ts'
import { httpApi } from './http-api.ts'
import { defineStream } from './stream-command.ts'

async function* broken(): AsyncGenerator<number> {
  yield 1
  throw new Error('the abacus is broken')
}

/** Ends when nobody follows it any more. */
async function* quiet(signal: AbortSignal): AsyncGenerator<number> {
  yield 1
  await once(signal, 'abort')
}

function counting(open: (signal: AbortSignal) => AsyncGenerator<number>) {
  return defineStream({
    name: 'count',
    description: 'Count',
    permission: 'server:read',
    args: z.strictObject({}),
    positional: [],
    examples: [''],
    item: z.int(),
    text: String,
    open: async (_context, _args, signal) => open(signal),
  })
}

test('who follows what fails is told no more than that, and the log why', async () => {
  const stream = counting(broken)
  const lines: string[] = []
  const write = (line: string) => void lines.push(line)
  const log = createLogger({ level: 'info', format: 'json', write })
  const app = fastify()
  const service = httpApi({
    commands: [],
    streams: [stream],
    context: emptyContext,
    tokens: { verify: async () => ({ id: 'x', name: 'token x', role: 'admin' }) },
    requestsPerMinute: 100,
    log,
  })
  service(app, new AbortController().signal)
  const url = await app.listen({ port: 0 })
  try {
    const headers = { 'content-type': 'application/json' }
    const response = await fetch(`${url}/api/count`, { method: 'POST', headers, body: '{}' })
    const told = await response.text()
    assert.match(told, /^event: item\ndata: 1\n\nevent: error\ndata: \{.*"code":"internal"/)
    assert.ok(!told.includes('abacus'), told)
    assert.match(lines.join(''), /the abacus is broken.*admin_command_failed/)
  } finally {
    await app.close()
  }
})

test('who follows what is quiet hears of the server, until the token is good no more', async () => {
  let verify: Parameters<typeof httpApi>[0]['tokens']['verify'] = async () => {
    return { id: 'x', name: 'token x', role: 'read-only' }
  }
  const app = fastify()
  const service = httpApi({
    commands: [],
    streams: [counting(quiet)],
    context: emptyContext,
    tokens: { verify: (text) => verify(text) },
    // The checks are no requests.
    requestsPerMinute: 1,
    heartbeat: 5,
    log: silentLogger,
  })
  service(app, new AbortController().signal)
  const url = await app.listen({ port: 0 })
  try {
    const headers = { 'content-type': 'application/json' }
    const response = await fetch(`${url}/api/count`, { method: 'POST', headers, body: '{}' })
    let told = ''
    for await (const part of response.body ?? []) {
      told += Buffer.from(part).toString()
      if (told.split(':\n\n').length === 3) {
        // Where nobody can tell, who was let in stays.
        verify = async () => {
          throw new StorageError('busy', 'away')
        }
      }
      if (told.split(':\n\n').length === 6) verify = async () => undefined
    }
    assert.match(told, /^event: item\ndata: 1\n\n(:\n\n){5,}event: error\ndata: \{.*"status":401,/)
  } finally {
    await app.close()
  }
})

test('whoever goes away before there is anything to follow is looked after no more', async () => {
  let asked = 0
  const over = Promise.withResolvers<void>()
  const opening = Promise.withResolvers<void>()
  const stream = {
    ...counting(quiet),
    open: async (_context: unknown, _args: unknown, signal: AbortSignal) => {
      opening.resolve()
      await once(signal, 'abort')
      return (async function* () {
        over.resolve()
        yield* []
      })()
    },
  }
  const app = fastify()
  const verify = async () => {
    asked++
    return { id: 'x', name: 'token x', role: 'read-only' } as const
  }
  const options = { commands: [], context: emptyContext, tokens: { verify }, log: silentLogger }
  const service = httpApi({ ...options, streams: [stream], requestsPerMinute: 10, heartbeat: 2 })
  service(app, new AbortController().signal)
  const url = await app.listen({ port: 0 })
  try {
    const leaving = new AbortController()
    const headers = { 'content-type': 'application/json' }
    const init = { method: 'POST', headers, body: '{}', signal: leaving.signal }
    const asking = fetch(`${url}/api/count`, init)
    await opening.promise
    leaving.abort()
    await assert.rejects(asking)
    await over.promise
    const before = asked
    await new Promise((resolve) => setTimeout(resolve, 50))
    assert.ok(asked - before <= 1, `asked ${asked - before} times`)
  } finally {
    await app.close()
  }
})

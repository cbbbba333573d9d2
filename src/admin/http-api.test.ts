import assert from 'node:assert/strict'
import { test } from 'node:test'
import fastify from 'fastify'
import { z } from 'zod'
import { emptyContext } from '../../test/support/admin.ts'
import { createLogger } from '../log.ts'
import { httpApi } from './http-api.ts'
import { defineStream } from './stream-command.ts'

async function* broken(): AsyncGenerator<number> {
  yield 1
  throw new Error('the abacus is broken')
}

test('who follows what fails is told no more than that, and the log why', async () => {
  const stream = defineStream({
    name: 'count',
    description: 'Count',
    permission: 'server:read',
    args: z.strictObject({}),
    positional: [],
    examples: [''],
    item: z.int(),
    text: String,
    open: async () => broken(),
  })
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

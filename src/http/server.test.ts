import assert from 'node:assert/strict'
import { once } from 'node:events'
import { get } from 'node:http'
import { connect, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import type { HttpService } from '../core/http.ts'
import { silentLogger } from '../core/log.ts'
import { HttpListener, type HttpListenerOptions } from './server.ts'

/** More than the buffers of a connection hold. */
const BIG = 'x'.repeat(32 * 1024 * 1024)

const services: HttpService[] = [
  (app, stopping) => {
    app.get('/small', async () => ({ size: 'small' }))
    app.get('/big', async () => BIG)
    app.get('/follow', (_, reply) => {
      reply.hijack()
      reply.raw.write(BIG)
      stopping.addEventListener('abort', () => reply.raw.end())
    })
    app.post('/give/more', async () => ({}))
  },
]

async function listening(options: Partial<HttpListenerOptions> = {}) {
  const listener = new HttpListener({
    host: '127.0.0.1',
    port: 0,
    maxConnections: 100,
    maxConnectionsPerAddress: 100,
    services,
    log: silentLogger,
    ...options,
  })
  await listener.listen()
  const url = `http://127.0.0.1:${listener.address.port}`
  return { listener, url, [Symbol.asyncDispose]: () => listener.close() }
}

/** Asks for more than it takes in; resolves once there is something to read. */
async function asksAndReadsNothing(url: string, path: string): Promise<Socket> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  // A reset is an end as well.
  socket.on('error', () => {})
  socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`)
  await once(socket, 'readable')
  return socket
}

/** Over a connection of its own. */
async function statusOf(url: string): Promise<number | undefined> {
  const [response] = await once(get(url, { agent: false }), 'response')
  await text(response)
  return response.statusCode
}

function untilClosed(socket: Socket): Promise<unknown> {
  return new Promise((resolve) => socket.resume().once('close', resolve))
}

test('a path is told from a method that it does not take', async () => {
  await using server = await listening()
  const asked = async (method: string, path: string) => {
    const { status, headers } = await fetch(server.url + path, { method })
    return [status, headers.get('allow')]
  }
  assert.deepEqual(await asked('GET', '/give/more?x=1'), [405, 'POST'])
  assert.deepEqual(await asked('DELETE', '/small'), [405, 'GET, HEAD'])
  assert.deepEqual(await asked('POST', '/give'), [404, null])
  assert.deepEqual(await asked('POST', '/give/more'), [200, null])
})

test('whoever does not read the answer keeps no connection', { timeout: 10_000 }, async ({
  signal,
}) => {
  await using server = await listening({ unreadTimeout: 100, closeTimeout: 100 })
  const socket = await asksAndReadsNothing(server.url, '/big')
  // Those who ask for little go on.
  do assert.equal(await statusOf(`${server.url}/small`), 200)
  while (server.listener.connectionCount > 0 && !signal.aborted)
  await untilClosed(socket)
  assert.ok(socket.bytesRead < BIG.length)
})

test('whoever follows something and does not read keeps nobody from closing', {
  timeout: 20_000,
}, async () => {
  const { listener, url } = await listening({ closeTimeout: 100 })
  const socket = await asksAndReadsNothing(url, '/follow')
  await listener.close()
  await untilClosed(socket)
  assert.ok(socket.bytesRead < BIG.length)
})

test('connections of one address are bounded', { timeout: 10_000 }, async ({ signal }) => {
  await using server = await listening({ maxConnectionsPerAddress: 2 })
  const { port } = new URL(server.url)
  const open = () => connect({ port: Number(port), host: '127.0.0.1', localAddress: '127.0.0.2' })
  const [first, second] = [open(), open()]
  await Promise.all([once(first, 'connect'), once(second, 'connect')])
  const third = open()
  third.on('error', () => {})
  await untilClosed(third)
  // From elsewhere one gets in.
  assert.equal(await statusOf(`${server.url}/small`), 200)
  for (const socket of [first, second]) await untilClosed(socket.end())
  do await statusOf(`${server.url}/small`)
  while (server.listener.connectionCount > 0 && !signal.aborted)
  const fourth = open()
  fourth.write('GET /small HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
  const [answer] = await once(fourth, 'data')
  assert.match(String(answer), /^HTTP\/1.1 200 /)
})

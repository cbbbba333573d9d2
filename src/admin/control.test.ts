import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { z } from 'zod'
import { emptyContext } from '../../test/support/admin.ts'
import { silentLogger } from '../core/log.ts'
import { StorageError } from '../core/storage.ts'
import { CommandError, defineCommand } from './command.ts'
import { AlreadyRunningError, openControl } from './control.ts'
import { callCommand, followCommand, NotRunningError } from './control-client.ts'
import { defineStream } from './stream-command.ts'

const directory = mkdtempSync(join(tmpdir(), 'meerkat-control-'))
after(() => rmSync(directory, { recursive: true }))

let sockets = 0
const freshPath = () => join(directory, `${sockets++}.sock`)

const base = {
  description: 'For a test',
  permission: 'server:read',
  needsServer: true,
  positional: [],
  examples: [''],
  text: String,
} as const

const echo = defineCommand({
  ...base,
  name: 'say twice',
  args: z.strictObject({ word: z.string() }),
  result: z.string(),
  run: async ({ version }, { word }) => `${version} ${word}${word}`,
})

const work = defineCommand({
  ...base,
  name: 'work hard',
  args: z.strictObject({ fails: z.boolean().optional() }),
  result: z.string(),
  async run(_, { fails }, { progress, caller }) {
    for (let done = 1; done <= 1000; done++) progress({ done, total: 1000, of: 'things' })
    await new Promise(setImmediate)
    if (fails) throw new CommandError('conflict', 'too hard')
    return caller.name
  },
})

const fail = defineCommand({
  ...base,
  name: 'fail',
  args: z.strictObject({ how: z.string() }),
  result: z.null(),
  async run(_, { how }) {
    if (how === 'full') throw new StorageError('full', 'no room')
    if (how === 'bug') throw new Error('private matters')
    throw new CommandError('conflict', 'there already')
  },
})

/** Of each stream that was opened: whether it is over. */
const opened: { isOver: boolean }[] = []

const count = defineStream({
  name: 'count up',
  description: 'For a test',
  permission: 'server:read',
  args: z.strictObject({ from: z.int(), to: z.int().optional(), padding: z.int().optional() }),
  positional: [],
  examples: [''],
  item: z.strictObject({ number: z.int(), padding: z.string() }),
  text: ({ number }) => String(number),
  async open(_, { from, to = from, padding = 0 }, signal) {
    if (from < 0) throw new CommandError('not-found', 'no such number')
    const state = { isOver: false }
    opened.push(state)
    return counted(from, to, 'x'.repeat(padding), signal, state)
  },
})

/** Counts, then waits for its end. */
async function* counted(
  from: number,
  to: number,
  padding: string,
  signal: AbortSignal,
  state: { isOver: boolean },
) {
  try {
    for (let number = from; number <= to && !signal.aborted; number++) yield { number, padding }
    if (!signal.aborted) await once(signal, 'abort')
  } finally {
    state.isOver = true
  }
}

const options = { streams: [count], commands: () => [echo, work, fail], log: silentLogger }

test('a command goes over the socket and its result comes back', async () => {
  const path = freshPath()
  await using control = await openControl({ ...options, path })
  control.serve(emptyContext)
  assert.equal(await callCommand(path, 'say twice', { word: 'ha' }), '1.2.3 haha')
})

test('how far a command is comes before its result, now and then', async () => {
  const path = freshPath()
  await using control = await openControl({ ...options, path })
  control.serve(emptyContext)
  const told: unknown[] = []
  const onProgress = (progress: unknown) => void told.push(progress)
  assert.equal(await callCommand(path, 'work hard', {}, onProgress), 'operator')
  assert.deepEqual(told[0], { done: 1, total: 1000, of: 'things' })
  assert.ok(told.length < 100)
  await assert.rejects(callCommand(path, 'work hard', { fails: true }), {
    code: 'conflict',
    message: 'too hard',
  })
})

test('a server that dies at work is told as that', async () => {
  const path = freshPath()
  const dying = createServer((_, response) => {
    response.write(`${JSON.stringify({ progress: { done: 1, total: 2, of: 'things' } })}\n`, () =>
      response.destroy(),
    )
  })
  dying.listen(path)
  await once(dying, 'listening')
  try {
    await assert.rejects(callCommand(path, 'work hard', {}), {
      code: 'unavailable',
      message: 'the connection to the server was lost',
    })
  } finally {
    dying.close()
  }
})

test('what is followed comes item by item, until nobody follows', async () => {
  const path = freshPath()
  await using control = await openControl({ ...options, path })
  control.serve(emptyContext)
  const { signal, ...over } = abortable()
  const seen: unknown[] = []
  const end = await followCommand(
    path,
    'count up',
    { from: 1, to: 3 },
    {
      signal,
      onOpen: () => seen.push('open'),
      onItem(item) {
        seen.push((item as { number: number }).number)
        if (seen.length === 4) over.abort()
      },
    },
  )
  assert.deepEqual([end, seen], ['aborted', ['open', 1, 2, 3]])
  await until(() => opened.at(-1)?.isOver === true)
})

test('the end of the server is the end of what is followed', async () => {
  const path = freshPath()
  const control = await openControl({ ...options, path })
  control.serve(emptyContext)
  const { signal } = abortable()
  let closed: Promise<void> | undefined
  const end = await followCommand(
    path,
    'count up',
    { from: 1 },
    {
      signal,
      onItem() {
        closed = control.close()
      },
    },
  )
  assert.equal(end, 'stopped')
  await closed
})

test('who follows but does not read keeps no server from stopping', async () => {
  const path = freshPath()
  const control = await openControl({ ...options, path })
  control.serve(emptyContext)
  const { signal, abort } = abortable()
  const padding = 100_000
  const first = Promise.withResolvers<void>()
  const followed = followCommand(
    path,
    'count up',
    { from: 1, to: 1_000, padding },
    {
      signal,
      async onItem() {
        first.resolve()
        await once(signal, 'abort')
      },
    },
  )
  await first.promise
  await control.close()
  abort()
  assert.equal(await followed, 'aborted')
})

test('what cannot be followed is refused like any command', async () => {
  const path = freshPath()
  await using control = await openControl({ ...options, path })
  const { signal } = abortable()
  const follow = (args: object) =>
    followCommand(path, 'count up', args, { signal, onItem: () => assert.fail('no items') })
  await assert.rejects(follow({ from: 1 }), { code: 'unavailable' })
  control.serve(emptyContext)
  await assert.rejects(follow({ from: -1 }), { code: 'not-found', message: 'no such number' })
  await assert.rejects(follow({}), { code: 'invalid' })
  await control.close()
  await assert.rejects(follow({ from: 1 }), NotRunningError)
})

test('only the user of the server may open the socket, whatever the mask', async () => {
  const path = freshPath()
  const mask = process.umask(0)
  try {
    await using _ = await openControl({ ...options, path })
    assert.equal(statSync(path).mode & 0o777, 0o600)
    assert.equal(process.umask(), 0)
  } finally {
    process.umask(mask)
  }
})

test('what goes wrong is told with its code; our bugs keep their text', async () => {
  const path = freshPath()
  await using control = await openControl({ ...options, path })
  control.serve(emptyContext)
  const cases: [string, unknown, string, RegExp][] = [
    ['say twice', { word: 5 }, 'invalid', /^word: expected a text$/],
    ['say twice', { word: 'a', loud: true }, 'invalid', /^unknown argument loud$/],
    ['say twice', 'x'.repeat(70_000), 'invalid', /too long/],
    ['no such', {}, 'not-found', /^there is no command at \/commands\/no\/such$/],
    ['fail', { how: 'exists' }, 'conflict', /^there already$/],
    ['fail', { how: 'full' }, 'unavailable', /^storage: no room$/],
    ['fail', { how: 'bug' }, 'unavailable', /^the server failed; its log says why$/],
  ]
  for (const [name, args, code, message] of cases) {
    await assert.rejects(callCommand(path, name, args), { name: 'CommandError', code, message })
  }
})

test('while the server starts, commands are told to wait', async () => {
  const path = freshPath()
  await using _ = await openControl({ ...options, path })
  await assert.rejects(callCommand(path, 'say twice', { word: 'a' }), {
    code: 'unavailable',
    message: 'the server is starting',
  })
})

test('a second server is told the pid of the first', async () => {
  const path = freshPath()
  await using _ = await openControl({ ...options, path })
  await assert.rejects(openControl({ ...options, path }), (error) => {
    assert.ok(error instanceof AlreadyRunningError)
    assert.equal(error.message, `already running (pid ${process.pid})`)
    return true
  })
})

test('the socket of a dead server is replaced', async () => {
  const path = freshPath()
  leaveSocketBehind(path)
  await assert.rejects(callCommand(path, 'say twice', { word: 'a' }), NotRunningError)
  await using control = await openControl({ ...options, path })
  control.serve(emptyContext)
  assert.equal(await callCommand(path, 'say twice', { word: 'a' }), '1.2.3 aa')
})

test('a file that is no socket is left alone', async () => {
  const path = freshPath()
  writeFileSync(path, 'precious')
  await assert.rejects(openControl({ ...options, path }), /is in the way/)
  assert.equal(existsSync(path), true)
})

test('closing removes the socket; then nobody runs', async () => {
  const path = freshPath()
  const control = await openControl({ ...options, path })
  await control.close()
  assert.equal(existsSync(path), false)
  await assert.rejects(callCommand(path, 'say twice', {}), NotRunningError)
})

test('a request that is no JSON is refused', async () => {
  const path = freshPath()
  await using control = await openControl({ ...options, path })
  control.serve(emptyContext)
  const status = await new Promise((resolve, reject) => {
    const outgoing = request(
      { socketPath: path, method: 'POST', path: '/commands/fail' },
      (reply) => {
        reply.resume()
        resolve(reply.statusCode)
      },
    )
    outgoing.on('error', reject)
    outgoing.end('how=bug')
  })
  assert.equal(status, 400)
})

/** As a killed process does: its socket stays, and nobody answers. */
function leaveSocketBehind(path: string): void {
  const source = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`
  spawnSync(process.execPath, ['-e', source])
  assert.equal(statSync(path).isSocket(), true)
}

function abortable() {
  const controller = new AbortController()
  return { signal: controller.signal, abort: () => controller.abort() }
}

async function until(condition: () => boolean): Promise<void> {
  for (let turn = 0; turn < 10_000 && !condition(); turn++) {
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
  assert.ok(condition())
}

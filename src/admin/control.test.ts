import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { z } from 'zod'
import { emptyContext } from '../../test/support/admin.ts'
import { silentLogger } from '../core/log.ts'
import { StorageError } from '../core/storage.ts'
import { CommandError, defineCommand } from './command.ts'
import { AlreadyRunningError, callCommand, NotRunningError, openControl } from './control.ts'

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

const options = { commands: [echo, fail], log: silentLogger }

test('a command goes over the socket and its result comes back', async () => {
  const path = freshPath()
  await using control = await openControl({ ...options, path })
  control.serve(emptyContext)
  assert.equal(await callCommand(path, 'say twice', { word: 'ha' }), '1.2.3 haha')
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
    ['say twice', { word: 5 }, 'invalid', /^word: expected a string$/],
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

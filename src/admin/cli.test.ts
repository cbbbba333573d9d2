import assert from 'node:assert/strict'
import { test } from 'node:test'
import { z } from 'zod'
import { runCli } from './cli.ts'
import { CommandError, defineCommand } from './command.ts'
import { SecretInputError } from './secret-input.ts'
import { defineStream, plain } from './stream-command.ts'

const paint = defineCommand({
  name: 'wall paint',
  description: 'Paint a wall',
  permission: 'server:read',
  needsServer: true,
  args: z.strictObject({
    wall: z.string().describe('Which wall.'),
    coats: z.int().optional().describe('How many coats.'),
    and_floor: z.boolean().optional().describe('The floor, too.'),
    code: z.string().min(3).describe('The code of the door.'),
  }),
  positional: ['wall'],
  secret: 'code',
  examples: ['north'],
  result: z.string(),
  text: (result) => `painted: ${result}`,
  run: async () => 'done',
})

const watch = defineStream({
  name: 'wall watch',
  description: 'Watch paint dry',
  permission: 'server:read',
  args: z.strictObject({
    wall: z.string().describe('Which wall.'),
    closely: z.boolean().optional().describe('With a lens.'),
  }),
  positional: ['wall'],
  examples: ['north'],
  item: z.strictObject({ spot: z.int() }),
  text: ({ spot }, paint) => paint('bold', `spot ${spot}`),
  open: async () => (async function* () {})(),
})

type Outcome = {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
  readonly calls: readonly unknown[]
  /** How far it was. */
  readonly shown: readonly unknown[]
}

/** Runs a command line whose actions only note what they are called with. */
async function run(line: string, { fails }: { readonly fails?: Error } = {}): Promise<Outcome> {
  const calls: unknown[] = []
  const shown: unknown[] = []
  let stdout = ''
  let stderr = ''
  const note = async (...call: unknown[]) => {
    calls.push(...call)
    if (fails) throw fails
  }
  const code = await runCli(line === '' ? [] : line.split(' '), {
    version: '1.2.3',
    calledAs: 'npm run meerkat --',
    directory: '/',
    commands: [paint],
    streams: [watch],
    paint: plain,
    actions: {
      start: (options) => note('start', options),
      checkConfig: (file, options) => note('check', file, options),
      printConfigSchema: () => note('schema'),
      async copyStorage(from, to, { onProgress, ...options }) {
        await note('copy', from, to, options)
        return 'archive  3'
      },
      async restore(file, { onProgress, ...options }) {
        onProgress({ done: 1, total: 2, of: 'rows' })
        await note('restore', file, options)
        return { file: '/b.db', tables: [{ table: 'archive', rows: 1 }] }
      },
      async run(_, args, { onProgress, ...options }) {
        onProgress({ done: 1, total: 2, of: 'coats' })
        await note(args, options)
        return 'done'
      },
      async follow(_, args, { onItem, ...options }) {
        await note(args, options)
        for (const spot of [1, 2]) await onItem({ spot })
      },
      readFile: async (name) => `contents of ${name}`,
      async readSecret(name) {
        if (line.includes('nothing')) throw new SecretInputError(`no ${name} given`)
        return 'asked for'
      },
    },
    stdout: (text) => {
      stdout += text
    },
    progress: {
      show: (progress) => void shown.push(progress),
      clear: () => void shown.push('gone'),
    },
    stderr: (text) => {
      stderr += text
    },
  })
  return { code, stdout, stderr, calls, shown }
}

test('arguments and options of a command come from its schema', async () => {
  const cases: [line: string, args: object, options: object][] = [
    ['wall paint north', { wall: 'north', code: 'asked for' }, {}],
    ['wall paint north --code abc', { wall: 'north', code: 'abc' }, {}],
    [
      'wall paint north --coats 3 --and-floor --config f.toml',
      { wall: 'north', coats: 3, and_floor: true, code: 'asked for' },
      { config: 'f.toml' },
    ],
  ]
  for (const [line, args, options] of cases) {
    const { code, calls, stdout } = await run(line)
    assert.deepEqual([code, calls, stdout], [0, [args, options], 'painted: done\n'], line)
  }
  assert.equal((await run('wall paint north --json')).stdout, '"done"\n')
})

test('how far it is is shown until it is done, or fails', async () => {
  const expected = [{ done: 1, total: 2, of: 'coats' }, 'gone']
  assert.deepEqual((await run('wall paint north')).shown, expected)
  const fails = new CommandError('conflict', 'it is wet')
  assert.deepEqual((await run('wall paint north', { fails })).shown, expected)
})

test('what can be followed is printed item by item', async () => {
  const { stdout, calls } = await run('wall watch north --closely --config f.toml')
  assert.equal(stdout, 'spot 1\nspot 2\n')
  assert.deepEqual(calls, [{ wall: 'north', closely: true }, { config: 'f.toml' }])
  assert.equal((await run('wall watch north --json')).stdout, '{"spot":1}\n{"spot":2}\n')
  const wrong = await run('wall watch')
  assert.deepEqual([wrong.code, wrong.calls], [2, []])
})

test('the other commands', async () => {
  assert.deepEqual((await run('start --config f.toml')).calls, ['start', { config: 'f.toml' }])
  assert.deepEqual((await run('start')).calls, ['start', {}])
  assert.deepEqual((await run('config check f --json')).calls, ['check', 'f', { json: true }])
  assert.deepEqual((await run('config check')).calls, ['check', undefined, { json: false }])
  assert.deepEqual((await run('config schema')).calls, ['schema'])
  assert.equal((await run('--version')).stdout, '1.2.3\n')
})

test('wrong usage is exit code 2, and nothing is run or asked for', async () => {
  const cases: [string, RegExp][] = [
    ['wall paint', /^error: missing required argument 'wall'\n$/],
    ['wall paint north --code ab', /^error: code: expected a text of at least 3 characters\n$/],
    ['wall paint north --coats many', /^error: coats: expected a number\n$/],
    ['wall paint nothing', /^no code given\n$/],
    ['wall pain north', /^error: unknown command 'pain' \(Did you mean paint\?\)\n$/],
    ['start --conf f.toml', /^error: unknown option '--conf' \(Did you mean --config\?\)\n$/],
  ]
  for (const [line, stderr] of cases) {
    const outcome = await run(line)
    assert.deepEqual([outcome.code, outcome.calls], [2, []], line)
    assert.match(outcome.stderr, stderr)
  }
})

test('what fails is exit code 1 and one line', async () => {
  const outcome = await run('wall paint north', {
    fails: new CommandError('conflict', 'it is wet'),
  })
  assert.deepEqual([outcome.code, outcome.stdout, outcome.stderr], [1, '', 'it is wet\n'])
  const fails = new CommandError('conflict', 'it is wet')
  const json = await run('wall paint north --json', { fails })
  assert.deepEqual([json.code, json.stdout], [1, ''])
  assert.deepEqual(JSON.parse(json.stderr), { error: { code: 'conflict', message: 'it is wet' } })
  const wrong = await run('wall paint north --code ab --json')
  assert.equal(wrong.code, 2)
  assert.equal(JSON.parse(wrong.stderr).error.code, 'invalid')
})

test('help names every argument, and shows examples as one types them here', async () => {
  const { code, stdout } = await run('wall paint --help')
  assert.equal(code, 0)
  for (const text of ['Which wall.', '--coats <coats>', '--and-floor ', '--config <file>']) {
    assert.ok(stdout.includes(text), text)
  }
  assert.ok(stdout.endsWith('Example:\n  $ npm run meerkat -- wall paint north\n'))
})

test('a restoration tells what was in the backup', async () => {
  const restored = await run('restore b.db --config x.toml')
  assert.deepEqual(restored.calls, ['restore', 'b.db', { config: 'x.toml' }])
  assert.equal(restored.stdout, 'archive  1\n/b.db is restored: 1 row, counted on both sides.\n')
  assert.deepEqual(restored.shown, [{ done: 1, total: 2, of: 'rows' }, 'gone'])
  const { stdout } = await run('restore b.db --json')
  assert.deepEqual(JSON.parse(stdout).tables, [{ table: 'archive', rows: 1 }])
})

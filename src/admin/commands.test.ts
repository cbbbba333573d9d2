import assert from 'node:assert/strict'
import { test } from 'node:test'
import { z } from 'zod'
import { emptyContext } from '../../test/support/admin.ts'
import { checkedArgs, declareCommand, ModuleCommands, UNWATCHED } from '../core/command.ts'
import type { Resource } from '../core/session.ts'
import { type BareJid, parseBare, parseJid } from '../xmpp/jid.ts'
import { PrecisError } from '../xmpp/precis.ts'
import type { Command } from './command.ts'
import { commands, commandsWith } from './commands.ts'
import type { AdminContext } from './context.ts'

function command(name: string): Command {
  const found = commands.find((candidate) => candidate.name === name)
  assert.ok(found, name)
  return found
}

function context(localparts: readonly string[], running?: AdminContext['running']): AdminContext {
  const kept = new Map(localparts.map((local) => [local, parseBare(`${local}@a.example`)]))
  return {
    ...emptyContext,
    domains: ['a.example', 'b.example'],
    accounts: {
      ...emptyContext.accounts,
      async register(jid, password) {
        if (password.includes('\t')) throw new PrecisError('a character is not allowed')
        if (kept.has(jid.local)) return false
        kept.set(jid.local, jid)
        return true
      },
      remove: async (jid) => kept.delete(jid.local),
      setPassword: async (jid) => kept.has(jid.local),
      async list(domain, { after = '', limit }) {
        const jids: BareJid[] = [...kept.values()].filter((jid) => jid.domain === domain)
        return jids.filter(({ local }) => local > after).slice(0, limit)
      },
      count: async (domain) => [...kept.values()].filter((jid) => jid.domain === domain).length,
    },
    sessions: { size: 1, values: () => [resource], of: () => [resource] },
    running,
  }
}

const resource = {
  jid: parseJid('alice@a.example/phone'),
  priority: undefined,
  shared: {},
  info: {
    connection: 'tls',
    address: '192.0.2.1',
    mechanism: 'SCRAM-SHA-256',
    isAnonymous: false,
    openedAt: 0,
  },
} as unknown as Resource

test('accounts of all domains are listed, however many pages they fill', async () => {
  const localparts = Array.from({ length: 2_500 }, (_, i) => `u${String(i).padStart(4, '0')}`)
  const { accounts } = (await command('account list').run(context(localparts), {})) as {
    readonly accounts: string[]
  }
  assert.deepEqual(
    accounts,
    localparts.map((local) => `${local}@a.example`),
  )
  const none = await command('account list').run(context(localparts), { domain: 'B.example' })
  assert.deepEqual(none, { accounts: [] })
  assert.equal(command('account list').text(none), 'no accounts')
})

test('what cannot be done is refused with its reason', async () => {
  const password = 'hunter2'
  const cases: [string, object, string, RegExp][] = [
    ['account register', { jid: 'a@a.example', password }, 'conflict', /^a@a.example exists/],
    [
      'account register',
      { jid: 'a@c.example', password },
      'not-found',
      /has a.example, b.example$/,
    ],
    ['account register', { jid: 'b@a.example', password: '\t' }, 'invalid', /^password: a char/],
    ['account register', { jid: 'b@a.example', password: '' }, 'invalid', /^password: expected/],
    ['account register', { jid: 'b@a.example' }, 'invalid', /^password: expected a password$/],
    ['account remove', { jid: 'b@a.example' }, 'not-found', /^there is no account b@a.example$/],
    ['account password', { jid: 'b@a.example', password }, 'not-found', /^there is no account/],
    ['account list', { domain: 'c.example' }, 'not-found', /^c.example is not a domain/],
    ['account list', { colour: 5 }, 'invalid', /^unknown argument colour$/],
    ['status', {}, 'unavailable', /^the server does not run$/],
  ]
  for (const [name, args, code, message] of cases) {
    const ran = command(name).run(context(['a']), args)
    await assert.rejects(ran, { name: 'CommandError', code, message }, name)
  }
})

test('sessions are told with where they come from', async () => {
  const listed = await command('session list').run(context([]), {})
  assert.deepEqual(listed, {
    sessions: [
      {
        jid: 'alice@a.example/phone',
        node: 'local',
        priority: null,
        connection: 'tls',
        is_connected: null,
        address: '192.0.2.1',
        mechanism: 'SCRAM-SHA-256',
        opened_at: '1970-01-01T00:00:00.000Z',
      },
    ],
  })
  assert.equal(
    command('session list').text(listed),
    'alice@a.example/phone  local  -  tls  192.0.2.1  SCRAM-SHA-256  1970-01-01T00:00:00.000Z',
  )
})

test('a session without a connection is told as one that may be resumed', async () => {
  const interrupted = { ...resource, isConnected: false } as unknown as Resource
  const sessions = { size: 1, values: () => [interrupted], of: () => [interrupted] }
  const listed = await command('session list').run({ ...context([]), sessions }, {})
  assert.match(command('session list').text(listed), / interrupted /)
})

test('what is wrong with the arguments is told in the terms of JSON', () => {
  const schema = z.strictObject({ count: z.int().min(1), name: z.string().min(2) })
  const wrongs: [unknown, string][] = [
    [[], 'expected an object'],
    [
      { count: 0, name: 'a' },
      'count: expected a number of at least 1; name: expected a text of at least 2 characters',
    ],
    [{ count: 1.5, name: 5 }, 'count: expected a whole number; name: expected a text'],
  ]
  for (const [args, message] of wrongs) {
    assert.throws(() => checkedArgs(schema, args), { code: 'invalid', message })
  }
})

test('the status of a running server', async () => {
  const listeners = [{ kind: 'c2s', address: '::', port: 5222, tls: 'required' }]
  const status = await command('status').run(context(['a'], { startedAt: 0, listeners }), {})
  const { pid, node, memory, ...rest } = status as Record<string, unknown>
  assert.deepEqual([pid, node], [process.pid, process.versions.node])
  assert.equal(typeof memory, 'number')
  assert.deepEqual(rest, {
    version: '1.2.3',
    started_at: '1970-01-01T00:00:00.000Z',
    domains: [
      { name: 'a.example', accounts: 1 },
      { name: 'b.example', accounts: 0 },
    ],
    sessions: 1,
    listeners,
  })
  const text = command('status').text(status)
  assert.match(text, /^domain +a\.example, 1 account$/m)
  assert.match(text, /^c2s listener +:: port 5222, TLS required$/m)
})

test('names, examples and positions of all commands hold together', () => {
  const names = commands.map(({ name }) => name)
  assert.equal(new Set(names).size, names.length)
  for (const { name, args, positional, secret, examples, description } of commands) {
    assert.match(name, /^[a-z][a-z0-9]*( [a-z]+)*$/)
    assert.doesNotMatch(description, /\.$/)
    assert.ok(examples.length > 0, name)
    for (const argument of [...positional, ...(secret === undefined ? [] : [secret])]) {
      assert.ok(argument in args.shape, `${name}: ${argument}`)
    }
    for (const [argument, schema] of Object.entries(args.shape)) {
      assert.ok('description' in schema && schema.description, `${name}: ${argument}`)
    }
  }
})

test('what a module declares is carried out while it is loaded', async () => {
  const count = declareCommand({
    name: 'thing count',
    description: 'Count things',
    permission: 'server:read',
    needsServer: false,
    args: z.strictObject({ by: z.int().describe('The step.') }),
    positional: ['by'],
    examples: ['2'],
    result: z.int(),
    text: String,
  })
  const modules = new ModuleCommands()
  const [counting] = commandsWith([{ commands: [count] }, {}]).slice(commands.length)
  const here = { ...emptyContext, modules }
  await assert.rejects(counting?.run(here, { by: 1 }) ?? assert.fail(), { code: 'unavailable' })
  const undo = modules.on(count, ({ by }, { progress }) => {
    progress({ done: by, of: 'things' })
    return by * 2
  })
  assert.throws(() => modules.on({ ...count }, () => 0), /is there already/)
  // Another instance of the same module is asked when this one is gone.
  const undoOther = modules.on(count, () => 0)
  const seen: unknown[] = []
  const call = { ...UNWATCHED, progress: (progress: unknown) => void seen.push(progress) }
  assert.equal(await counting?.run(here, { by: 2 }, call), 4)
  assert.deepEqual(seen, [{ done: 2, of: 'things' }])
  await assert.rejects(counting?.run(here, { by: 'x' }) ?? assert.fail(), { code: 'invalid' })
  undo()
  assert.equal(await counting?.run(here, { by: 2 }, call), 0)
  undoOther()
  await assert.rejects(counting?.run(here, { by: 1 }) ?? assert.fail(), { code: 'unavailable' })
})

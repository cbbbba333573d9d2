import assert from 'node:assert/strict'
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { makeSelfSigned } from './connection/self-signed.ts'

const MAIN = fileURLToPath(new URL('main.ts', import.meta.url))

type Ran = { readonly code: number | null; readonly stdout: string; readonly stderr: string }

/** A directory of its own for one test, with a configuration that listens on any free port. */
function scratch(settings = '') {
  const directory = mkdtempSync(join(tmpdir(), 'meerkat-main-'))
  const listener = '[[listen.c2s]]\naddress = "127.0.0.1"\nport = 0\n'
  writeFileSync(join(directory, 'meerkat.toml'), `domains = ["localhost"]\n${settings}${listener}`)
  const launch = (...args: string[]) => {
    const env = { ...process.env, NODE_TEST_CONTEXT: '', npm_lifecycle_event: undefined }
    return spawn(process.execPath, [MAIN, ...args], { cwd: directory, env })
  }
  return {
    directory,
    launch,
    /** Runs to the end, with this for input. */
    async run(args: string, input = ''): Promise<Ran> {
      const child = launch(...args.split(' ').filter((word) => word !== ''))
      child.stdin.end(input)
      return await finished(child)
    },
    [Symbol.dispose]: () => rmSync(directory, { recursive: true }),
  }
}

async function finished(child: ChildProcessWithoutNullStreams): Promise<Ran> {
  const exit = new Promise<number | null>((resolve) => child.once('close', resolve))
  const [code, stdout, stderr] = await Promise.all([exit, text(child.stdout), text(child.stderr)])
  return { code, stdout, stderr }
}

/** What a server says until it is ready. */
async function untilReady(child: ChildProcessWithoutNullStreams): Promise<string[]> {
  const said: string[] = []
  const errors = text(child.stderr)
  for await (const line of createInterface({ input: child.stdout })) {
    said.push(line)
    if (line.startsWith('ready')) return said
  }
  throw new Error(`the server ended: ${said.join('\n')}\n${await errors}`)
}

async function stopped(child: ChildProcessWithoutNullStreams, signal: NodeJS.Signals) {
  const exit = new Promise((resolve) => {
    child.once('exit', (code, by) => resolve(code ?? by))
  })
  child.kill(signal)
  return await exit
}

test('accounts come, change and go without a server', async () => {
  using home = scratch()
  const expectRun = async (args: string, input: string, expected: Ran) =>
    assert.deepEqual(await home.run(args, input), expected, args)

  await expectRun('account register Alice@localhost', 'hunter2\n', {
    code: 0,
    stdout: 'alice@localhost is registered\n',
    stderr: '',
  })
  await expectRun('account register alice@localhost --password x', '', {
    code: 1,
    stdout: '',
    stderr: 'alice@localhost exists already\n',
  })
  await expectRun('account register bob@localhost --password x --json', '', {
    code: 0,
    stdout: '{"jid":"bob@localhost"}\n',
    stderr: '',
  })
  await expectRun('account password bob@localhost', 'correct horse', {
    code: 0,
    stdout: 'bob@localhost has a new password\n',
    stderr: '',
  })
  await expectRun('account list', '', {
    code: 0,
    stdout: 'alice@localhost\nbob@localhost\n',
    stderr: '',
  })
  await expectRun('account remove bob@localhost', '', {
    code: 0,
    stdout: 'bob@localhost is removed\n',
    stderr: '',
  })
  await expectRun('account list localhost --json', '', {
    code: 0,
    stdout: '{"accounts":["alice@localhost"]}\n',
    stderr: '',
  })
  assert.equal(statSync(join(home.directory, 'data')).mode & 0o777, 0o700)
})

const failures: [args: string, code: number, stderr: RegExp][] = [
  ['account remove nobody@localhost', 1, /^there is no account nobody@localhost\n$/],
  ['account register a@b.example --password x', 1, /^b\.example is not a domain of this server/],
  ['account register localhost', 2, /^error: jid: expected an account such as .+\n$/],
  ['account register alice@localhost', 2, /^no password given\n$/],
  ['account register', 2, /^error: missing required argument 'jid'\n$/],
  ['acount', 2, /^error: unknown command 'acount' \(Did you mean account\?\)\n$/],
  ['account list --jsno', 2, /^error: unknown option '--jsno' \(Did you mean --json\?\)\n$/],
  ['status', 1, /^no server is running with data in .+\/data: meerkat start\n$/],
  ['session list --config none.toml', 1, /^none\.toml: the configuration file does not exist\n$/],
]

test('what cannot be done is told in one line, with an exit code', async () => {
  using home = scratch()
  for (const [args, code, stderr] of failures) {
    const ran = await home.run(args)
    assert.deepEqual([ran.code, ran.stdout], [code, ''], args)
    assert.match(ran.stderr, stderr)
  }
})

test('a running server takes commands, and stops when told to', async () => {
  using home = scratch()
  const server = home.launch('start')
  const said = await untilReady(server)
  assert.match(said[0] ?? '', /^meerkat \d+\.\d+\.\d+, data in \/.+\/data$/)
  assert.match(said[1] ?? '', /^listening for clients on 127\.0\.0\.1:\d+ \(TLS: required\)$/)
  assert.equal(said[2], 'no accounts yet: meerkat account register alice@localhost')
  assert.equal(said[3], `ready for localhost (pid ${server.pid})`)

  const registered = await home.run('account register alice@localhost', 'hunter2')
  assert.equal(registered.stdout, 'alice@localhost is registered\n')
  const status = JSON.parse((await home.run('status --json')).stdout)
  assert.equal(status.pid, server.pid)
  assert.deepEqual(status.domains, [{ name: 'localhost', accounts: 1 }])
  assert.equal(said[1]?.includes(`127.0.0.1:${status.listeners[0].port} `), true)
  assert.equal((await home.run('session list')).stdout, 'no sessions\n')

  const second = await home.run('start')
  assert.equal(second.code, 1)
  assert.equal(second.stderr, `cannot start: already running (pid ${server.pid})\n`)

  assert.equal(await stopped(server, 'SIGTERM'), 0)
  assert.equal(existsSync(join(home.directory, 'data/meerkat.sock')), false)
})

test('a running server is stopped and started anew by command', async () => {
  using place = scratch()
  const child = place.launch('start')
  try {
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
    const readyWith = async () => {
      for (;;) {
        const { value, done } = await lines.next()
        const [, pid] = /^ready .*pid (\d+)/.exec(String(value)) ?? []
        if (pid !== undefined) return Number(pid)
        assert.notEqual(done, true, 'it has ended')
      }
    }
    assert.equal(await readyWith(), child.pid)
    const startedAt = async () =>
      JSON.parse((await place.run('status --json')).stdout).started_at as string
    const first = await startedAt()

    const restarted = await place.run('restart')
    assert.match(restarted.stdout, /^the server starts anew at /)
    // The same process, so whoever watches it notices nothing.
    assert.equal(await readyWith(), child.pid)
    assert.notEqual(await startedAt(), first)

    const exit = new Promise((resolve) => child.once('exit', (code, by) => resolve(code ?? by)))
    assert.match((await place.run('shutdown')).stdout, /^the server stops at /)
    assert.equal(await exit, 0)
  } finally {
    child.kill('SIGKILL')
  }
})

test('SIGHUP has the certificates read again; what cannot be read changes nothing', async () => {
  using home = scratch('tls.certificate = "tls.pem"\ntls.key = "tls.pem"\n')
  const file = join(home.directory, 'tls.pem')
  writeFileSync(file, makeSelfSigned(Date.now(), 'localhost'))
  const server = home.launch('start')
  const events = createInterface({ input: server.stderr })[Symbol.asyncIterator]()
  const logs = async (event: string) => {
    for (;;) {
      const { value, done } = await events.next()
      assert(!done, 'the server ended')
      if (JSON.parse(value).event === event) return
    }
  }
  for await (const line of createInterface({ input: server.stdout })) {
    if (line.startsWith('ready')) break
  }

  writeFileSync(file, makeSelfSigned(Date.now(), 'localhost'))
  server.kill('SIGHUP')
  await logs('reloaded')
  writeFileSync(file, 'torn')
  server.kill('SIGHUP')
  await logs('not_reloaded')

  assert.equal(await stopped(server, 'SIGTERM'), 0)
})

test('reload shows what changes, applies it, and refuses what cannot be', async () => {
  using home = scratch()
  const file = join(home.directory, 'meerkat.toml')
  const server = home.launch('start')
  const said = await untilReady(server)
  const listener = '[[listen.c2s]]\naddress = "127.0.0.1"\nport = 0\n'
  const write = (settings: string) =>
    writeFileSync(file, `domains = ["localhost"]\n${settings}\n${listener}`)

  write(
    'limits.max_depth = 70\nmodules.ping.interval = "5m"\ns2s.secret = "never shown to anybody"',
  )
  const changes = [
    '+ s2s.secret = (secret)',
    '~ s2s.enabled = false -> true',
    '~ limits.max_depth = 100 -> 70',
    '~ modules.ping.interval = 180000 -> "5m"',
  ]
  const dry = await home.run('reload --dry-run')
  const stdout = `${changes.join('\n')}\n4 changes; not applied\n`
  assert.deepEqual(dry, { code: 0, stdout, stderr: '' })
  const applied = await home.run('reload')
  assert.equal(applied.stdout, `${changes.join('\n')}\n4 changes; in force\n`)

  write('storage.url = "sqlite:other.db"')
  const refused = await home.run('reload')
  assert.equal(refused.code, 1)
  assert.match(refused.stderr, /^nothing was changed: storage\.url: cannot change while/)
  const told = await home.run('reload --dry-run')
  assert.match(told.stdout, /storage\.url = .* -> "sqlite:other\.db" \(needs a restart\)/)

  write('limits.max_depth = "deep"')
  const bad = await home.run('reload')
  assert.equal(bad.code, 1)
  const problem = 'limits.max_depth: found "deep", expected a number'
  assert.equal(bad.stderr, `meerkat.toml:2:8: ${problem}\n`)
  write('')
  const { listeners } = JSON.parse((await home.run('status --json')).stdout)
  assert.ok(said.some((line) => line.includes(`:${listeners[0].port} `)))
  assert.equal(await stopped(server, 'SIGTERM'), 0)
})

test('a server that was killed leaves nothing that keeps the next from starting', async () => {
  using home = scratch()
  const first = home.launch('start')
  await untilReady(first)
  assert.equal(await stopped(first, 'SIGKILL'), 'SIGKILL')
  assert.equal(existsSync(join(home.directory, 'data/meerkat.sock')), true)
  assert.match((await home.run('status')).stderr, /^no server is running/)

  const second = home.launch('start')
  await untilReady(second)
  assert.equal(await stopped(second, 'SIGINT'), 0)
})

test('a server that cannot start says why', async () => {
  const busy = createServer()
  await new Promise<void>((resolve) => busy.listen(0, '127.0.0.1', resolve))
  const address = busy.address()
  assert.ok(address !== null && typeof address === 'object')
  try {
    using home = scratch()
    const taken = `[[listen.c2s]]\naddress = "127.0.0.1"\nport = ${address.port}\n`
    writeFileSync(join(home.directory, 'busy.toml'), `domains = ["localhost"]\n${taken}`)
    const { code, stderr } = await home.run('start --config busy.toml')
    assert.equal(code, 1)
    const last = stderr.trimEnd().split('\n').at(-1)
    assert.equal(last, `cannot start: 127.0.0.1:${address.port} is in use by another process`)
  } finally {
    busy.close()
  }

  using home = scratch('data_dir = "meerkat.toml"\n')
  const { code, stderr } = await home.run('start')
  assert.equal(code, 1)
  assert.match(stderr, /^meerkat\.toml:2:1: data_dir: found "meerkat\.toml", which is no directory/)
})

test('the configuration is checked, and its schema printed', async () => {
  using home = scratch()
  const fine = await home.run('config check')
  assert.deepEqual([fine.code, fine.stdout], [0, 'meerkat.toml is fine\n'])

  writeFileSync(join(home.directory, 'bad.toml'), 'domains = []\nport = 5222\n')
  const bad = await home.run('config check bad.toml')
  assert.equal(bad.code, 1)
  assert.match(bad.stderr, /^bad\.toml:1:1: domains: .+\nbad\.toml:2:1: port: unknown key.+\n$/)
  const json = await home.run('config check bad.toml --json')
  assert.equal(json.code, 1)
  const { isFine, problems } = JSON.parse(json.stdout)
  assert.deepEqual([isFine, problems[1].path, problems[1].line], [false, ['port'], 2])

  const schema = await home.run('config schema')
  assert.equal(JSON.parse(schema.stdout).title, 'Meerkat')
})

test('alone it explains itself; help has examples', async () => {
  using home = scratch()
  const alone = await home.run('')
  assert.deepEqual([alone.code, alone.stderr], [0, ''])
  assert.match(alone.stdout, /^Usage: meerkat .+ account register alice@localhost\n$/s)
  const help = await home.run('account register --help')
  assert.equal(help.code, 0)
  assert.match(help.stdout, /Examples:\n {2}\$ meerkat account register alice@localhost\n/)
  assert.match((await home.run('--version')).stdout, /^\d+\.\d+\.\d+\n$/)
})

test('a module of one’s own has its commands, with a server and without', async () => {
  const module = fileURLToPath(new URL('../examples/tutorial/terms.ts', import.meta.url))
  using place = scratch(`[modules.terms]\nfrom = ${JSON.stringify(module)}\n`)
  const server = place.launch('start')
  await untilReady(server)
  const nobody = await place.run('terms accepted alice@localhost')
  assert.deepEqual([nobody.code, nobody.stderr], [1, 'there is no account alice@localhost\n'])
  assert.equal((await place.run('account register alice@localhost --password x')).code, 0)
  const running = await place.run('terms accepted alice@localhost')
  await stopped(server, 'SIGTERM')
  const alone = await place.run('terms accepted alice@localhost --json')

  assert.deepEqual(running, { code: 0, stdout: 'none\n', stderr: '' })
  assert.deepEqual(alone, { code: 0, stdout: '{"version":null,"at":null}\n', stderr: '' })
})

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { callCommand } from '../../src/admin/control-client.ts'
import type { Client } from '../support/client.ts'
import { emptyDirectory } from '../support/directory.ts'
import { freePort } from '../support/free-port.ts'
import { PASSWORD } from '../support/server.ts'
import { ServerProcess } from '../support/server-process.ts'
import { chat } from '../support/stanzas.ts'

const HEADER = `<?xml version='1.0'?><stream:stream to='im.example.com' version='1.0'
  xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>`

/** A module that the second worker does not always start. */
const MOODY = `
import { z } from '${import.meta.resolve('zod')}'
import { defineModule } from '${import.meta.resolve('../../src/core/module.ts')}'
export const moody = defineModule({
  name: 'moody',
  implements: [],
  config: z.strictObject({ mood: z.string() }),
  start({ config }) {
    const isSecond = process.env.MEERKAT_WORKER.includes('"name":"w2"')
    if (config.mood === 'bad' && isSecond) throw new Error('not in the mood')
  },
})
export default moody
`

/** Two processes of one server, with accounts for romeo and juliet. `extra`: more of the configuration file. */
async function open(extra = '') {
  const stack = new AsyncDisposableStack()
  const directory = stack.use(await emptyDirectory())
  const [port, http] = [await freePort(), await freePort()]
  const settings = `workers = 2\n[[listen.http]]\naddress = "127.0.0.1"\nport = ${http}\n${extra}`
  const database = `sqlite:${directory.path}/meerkat.db`
  const start = ServerProcess.start(directory.path, settings, '', database, port)
  const server = stack.use(await start)
  const socket = join(directory.path, 'meerkat.sock')
  for (const localpart of ['romeo', 'juliet']) {
    const jid = `${localpart}@im.example.com`
    await callCommand(socket, 'account register', { jid, password: PASSWORD })
  }
  const sessions = async () => {
    const { nodes } = (await callCommand(socket, 'cluster status', {})) as {
      readonly nodes: readonly { readonly name: string; readonly sessions: number }[]
    }
    return nodes
  }
  /** Which worker has each of so many sessions of an account, once the first one knows of all of them. */
  const nodesOf = async (localpart: string, count: number) => {
    for (let attempt = 0; attempt < 800; attempt++) {
      const jid = `${localpart}@im.example.com`
      const { sessions } = (await callCommand(socket, 'session list', { jid })) as {
        readonly sessions: readonly { readonly jid: string; readonly node: string }[]
      }
      if (sessions.length === count) return new Map(sessions.map(({ jid, node }) => [jid, node]))
      await new Promise((resolve) => setTimeout(resolve, 25))
    }
    throw new Error('a worker does not know of all sessions')
  }
  /** By its labels, what a metric stands at. */
  const metric = async (name: string) => {
    const text = await (await fetch(`http://127.0.0.1:${http}/metrics`)).text()
    const lines = text.split('\n').filter((line) => line.startsWith(`${name}{`))
    return new Map(
      lines.map((line) => {
        const space = line.lastIndexOf(' ')
        return [line.slice(name.length, space), Number(line.slice(space))] as const
      }),
    )
  }
  return {
    server,
    directory: directory.path,
    port,
    sessions,
    nodesOf,
    metric,
    socket,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

/** Clients of one account, some with each worker. */
async function connectBoth(
  { server, sessions }: Awaited<ReturnType<typeof open>>,
  localpart: string,
): Promise<Client[]> {
  const clients: Client[] = []
  for (let attempt = 0; attempt < 30; attempt++) {
    const client = await server.connect(localpart, `resource-${attempt}`)
    await client.becomesAvailable()
    clients.push(client)
    // Heartbeats tell how many sessions another worker has.
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  for (let attempt = 0; attempt < 800; attempt++) {
    const nodes = await sessions()
    if (nodes.length === 2 && nodes.every((node) => node.sessions > 0)) return clients
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
  throw new Error('one worker got all connections')
}

function workersOf({ pid }: ServerProcess): readonly number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
  return children.split(' ').filter(Boolean).map(Number)
}

function socketsOf(pid: number): number {
  const isSocket = (fd: string) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith('socket:')
    } catch {
      // Closed meanwhile.
      return false
    }
  }
  return readdirSync(`/proc/${pid}/fd`).filter(isSocket).length
}

/** Connections of several addresses, each of which a worker has answered. */
async function connectMany(port: number, count: number): Promise<readonly Socket[]> {
  const sockets: Socket[] = []
  while (sockets.length < count) {
    const some = Array.from({ length: 100 }, (_, index) => {
      const localAddress = `127.0.0.${2 + (index % 10)}`
      return connect({ port, host: '127.0.0.1', localAddress })
    })
    for (const socket of some) socket.write(HEADER)
    await Promise.all(some.map((socket) => once(socket, 'data')))
    sockets.push(...some)
  }
  return sockets
}

test('connections are shared evenly among the workers, to a tenth', async () => {
  await using stage = await open()
  const pids = workersOf(stage.server)
  const before = pids.map(socketsOf)
  const count = 2_000
  const sockets = await connectMany(stage.port, count)
  try {
    const shares = pids.map((pid, index) => socketsOf(pid) - (before[index] as number))
    // Whose share of 2,000 deviates by a tenth was given it on purpose: that is 4.5 standard deviations.
    for (const share of shares) {
      assert.ok(Math.abs(share - count / 2) <= count / 2 / 10, `${shares.join(' and ')}`)
    }
  } finally {
    for (const socket of sockets) socket.destroy()
  }
})

test('clients of one server are on several processes, and do not notice', async () => {
  await using stage = await open()
  const juliets = await connectBoth(stage, 'juliet')
  const romeo = await stage.server.connect('romeo', 'orchard')
  await romeo.becomesAvailable()
  for (const juliet of juliets) {
    romeo.send(chat(juliet.fullJid, `to ${juliet.fullJid}`))
    juliet.send(chat(romeo.fullJid, `from ${juliet.fullJid}`))
  }
  for (const juliet of juliets) {
    await juliet.receives({ body: `to ${juliet.fullJid}` })
    await romeo.receives({ body: `from ${juliet.fullJid}` })
  }
})

test('a worker that is killed is started again, and the others go on', async () => {
  await using stage = await open()
  const juliets = await connectBoth(stage, 'juliet')
  const pids = () => workersOf(stage.server)
  const before = pids()
  assert.equal(before.length, 2)
  const nodes = await stage.nodesOf('juliet', juliets.length)
  const at = (node: string) => juliets.filter(({ fullJid }) => nodes.get(fullJid) === node)
  process.kill(before[1] as number, 'SIGKILL')
  const until = async (condition: () => boolean) => {
    for (let attempt = 0; !condition(); attempt++) {
      assert.ok(attempt < 800, 'it did not come about')
      await new Promise((resolve) => setTimeout(resolve, 25))
    }
  }
  for (const one of at('w2')) await one.closes()
  const left = at('w1')
  for (const one of left) await one.roundTrip()
  await until(() => pids().length === 2 && !pids().includes(before[1] as number))
  const later = await stage.server.connect('romeo', 'street')
  await later.becomesAvailable()
  const [one] = left as [Client]
  later.send(chat(one.fullJid, 'still here?'))
  await one.receives({ body: 'still here?' })
})

test('an end that one worker was asked for comes, though it is gone', {
  timeout: 60_000,
}, async () => {
  await using stage = await open()
  const [, second] = workersOf(stage.server)
  await callCommand(`${stage.socket}.w2`, 'shutdown', { delay: '1s' })
  process.kill(second as number, 'SIGKILL')
  await stage.server.ended
})

test('where one worker cannot start none goes on', { timeout: 60_000 }, async () => {
  await using directory = await emptyDirectory()
  await writeFile(join(directory.path, 'meerkat.sock.w2'), 'in the way')
  const port = await freePort()
  const database = `sqlite:${directory.path}/meerkat.db`
  await assert.rejects(
    ServerProcess.start(directory.path, 'workers = 2', '', database, port),
    /meerkat\.sock\.w2 is in the way/,
  )
})

test('a reload tells which worker could not apply it', async () => {
  await using modules = await emptyDirectory()
  const file = join(modules.path, 'moody.ts')
  await writeFile(file, MOODY)
  await using stage = await open(`[modules.moody]\nfrom = "${file}"\nmood = "good"\n`)
  const configuration = join(stage.directory, 'meerkat.toml')
  const written = await readFile(configuration, 'utf8')
  const reloadWith = async (mood: string) => {
    await writeFile(configuration, written.replace('"good"', `"${mood}"`))
    return (await callCommand(stage.socket, 'reload', {})) as { readonly warnings: string[] }
  }
  assert.deepEqual((await reloadWith('fair')).warnings, [])
  const { warnings } = await reloadWith('bad')
  assert.equal(warnings.length, 1)
  assert.match(warnings[0] as string, /^not in force at w2: .*not in the mood/)
  assert.deepEqual((await reloadWith('good')).warnings, [])
})

test('metrics are those of all workers, each by its name', async () => {
  await using stage = await open()
  const juliets = await connectBoth(stage, 'juliet')
  const romeo = await stage.server.connect('romeo', 'orchard')
  for (const juliet of juliets) romeo.send(chat(juliet.fullJid, 'counted'))
  for (const juliet of juliets) await juliet.receives({ body: 'counted' })
  await romeo.roundTrip()

  const sum = (cells: ReadonlyMap<string, number>) =>
    [...cells.values()].reduce((all, each) => all + each, 0)
  const sessions = await stage.metric('meerkat_sessions')
  assert.equal(sum(sessions), juliets.length + 1)
  assert.deepEqual([...sessions.keys()].sort(), [
    '{domain="im.example.com",worker="w1"}',
    '{domain="im.example.com",worker="w2"}',
  ])
  assert.ok([...sessions.values()].every((count) => count > 0))
  const written = await stage.metric('meerkat_stanzas_sent_total')
  const messages = [...written].filter(([labels]) => labels.includes('to="c2s",kind="message"'))
  assert.equal(sum(new Map(messages)), juliets.length)
  for (const name of [
    'process_resident_memory_bytes',
    'meerkat_info',
    'nodejs_eventloop_lag_p99_seconds',
  ]) {
    const labels = [...(await stage.metric(name)).keys()]
    for (const worker of ['w1', 'w2']) {
      assert.ok(
        labels.some((each) => each.includes(`worker="${worker}"`)),
        `${name} of ${worker}`,
      )
    }
  }

  // The route is that of both, or of one.
  const route = async (args: object) => {
    const answer = await callCommand(stage.socket, 'route list', args)
    const { stages, silent } = answer as {
      readonly stages: readonly { readonly name: string; readonly stanzas: number }[]
      readonly silent: readonly string[]
    }
    assert.deepEqual(silent, [])
    return stages.find(({ name }) => name === 'c2s_out')?.stanzas ?? 0
  }
  const parts = [await route({ node: 'w1' }), await route({ node: 'w2' })] as const
  assert.ok(parts.every((each) => each > 0))
  assert.equal(await route({}), parts[0] + parts[1])
  await assert.rejects(route({ node: 'w3' }), /there is no node w3/)
})

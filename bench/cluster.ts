/**
 * What a message costs in a cluster, and on several processes of one machine, beside one server alone; and
 * what is seen when a node with many sessions leaves. Prints a line for each set-up and scenario, then JSON.
 *
 *   node bench/cluster.ts [--seconds 4] [--rounds 1] [--clients 200] [--setups alone,apart] [--scenarios login]
 *   node bench/cluster.ts --setups drain,death [--sessions 5000]
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { callCommand } from '../src/admin/control-client.ts'
import { freePort } from '../test/support/free-port.ts'
import { NatsServer } from '../test/support/nats.ts'
import { PostgresServer } from '../test/support/postgres.ts'
import { type Departure, death, drain } from './departures.ts'
import { buildGenerator, type Figures, generate } from './generator.ts'
import { describeMachine, gitCommit } from './machine.ts'
import { configuration } from './targets/meerkat.ts'
import { PASSWORD, type Variant } from './targets/target.ts'

const { values: options } = parseArgs({
  options: {
    seconds: { type: 'string', default: '4' },
    rounds: { type: 'string', default: '1' },
    clients: { type: 'string', default: '200' },
    setups: { type: 'string', default: 'alone,workers-1,workers-2,node-1,apart,node-3' },
    scenarios: { type: 'string', default: 'login,pairs-w1,pairs-w10,rate-1000' },
    variant: { type: 'string', default: 'bare' },
    sessions: { type: 'string', default: '5000' },
  },
})
const CLIENTS = Number(options.clients)
const PROGRAM = fileURLToPath(new URL('../src/main.ts', import.meta.url))
const SCHEMA = 'bench'
/** Logins are over by then, milliseconds. */
const SHARES_AFTER = 3_000
const LEFT_AFTER = 1_000
const variant = options.variant === 'typical' ? 'typical' : 'bare'

/** A server, or node, in processes of its own. */
type Running = { readonly child: ChildProcess; readonly port: number; readonly directory: string }

type Setup = {
  readonly nodes: number
  readonly workers: number
  readonly isCluster: boolean
  readonly departure?: (departure: Departure) => Promise<Figures>
}

const SETUPS: Readonly<Record<string, Setup>> = {
  /** One server, SQLite. */
  alone: { nodes: 1, workers: 1, isCluster: false },
  'workers-1': { nodes: 1, workers: 1, isCluster: false },
  /** Two processes that share a port: half of the pairs are apart. */
  'workers-2': { nodes: 1, workers: 2, isCluster: false },
  /** One node on NATS and PostgreSQL. */
  'node-1': { nodes: 1, workers: 1, isCluster: true },
  /** Two nodes: every sender at one, every recipient at the other. */
  apart: { nodes: 2, workers: 1, isCluster: true },
  /** Three nodes: every pair at two of them. */
  'node-3': { nodes: 3, workers: 1, isCluster: true },
  /** Two nodes: one of them is drained, its clients resume at the other. */
  drain: { nodes: 2, workers: 1, isCluster: true, departure: drain },
  /** Two nodes: one of them is killed, contacts of its clients are at the other. */
  death: { nodes: 2, workers: 1, isCluster: true, departure: death },
}

const LOAD = ['--clients', `${CLIENTS}`, '--body', '100', '--time', `${options.seconds}`]
const EXTENSIONS = variant === 'typical' ? ['--sm', '--carbons'] : []
const SCENARIOS: Readonly<Record<string, readonly string[]>> = {
  login: ['--clients', `${CLIENTS}`, ...EXTENSIONS, 'login'],
  'pairs-w1': [...LOAD, '--window', '1', ...EXTENSIONS, 'pairs'],
  'pairs-w10': [...LOAD, '--window', '10', ...EXTENSIONS, 'pairs'],
  'rate-1000': [...LOAD, '--rate', '1000', ...EXTENSIONS, 'rate'],
}

async function start(
  directory: string,
  variant: Variant,
  extra: string,
  top: string,
): Promise<Running> {
  mkdirSync(directory, { recursive: true })
  const port = await freePort()
  const file = join(directory, 'meerkat.toml')
  writeFileSync(file, top + configuration({ variant, port, directory }, extra))
  const child = spawn(process.execPath, [PROGRAM, 'start', '--config', file], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  for await (const line of createInterface({ input: child.stdout })) {
    if (line.startsWith('ready')) {
      child.stdout.resume()
      return { child, port, directory }
    }
  }
  throw new Error(`a server in ${directory} could not start`)
}

async function register({ directory }: Running): Promise<void> {
  const socket = join(directory, 'data', 'meerkat.sock')
  const all = Array.from({ length: CLIENTS }, (_, index) => `user${index}@localhost`)
  for (let i = 0; i < all.length; i += 8) {
    const some = all.slice(i, i + 8)
    await Promise.all(
      some.map((jid) => callCommand(socket, 'account register', { jid, password: PASSWORD })),
    )
  }
}

/** The process and its children. */
function familyOf(pid: number): number[] {
  const file = `/proc/${pid}/task/${pid}/children`
  const children = readFileSync(file, 'utf8').split(' ').filter(Boolean).map(Number)
  return [pid, ...children.flatMap(familyOf)]
}

/** How many sessions each process has, while clients are there. */
async function sharesOf({ directory }: Running): Promise<number[]> {
  await delay(SHARES_AFTER)
  const socket = join(directory, 'data', 'meerkat.sock')
  const { nodes } = (await callCommand(socket, 'cluster status', {})) as {
    nodes: readonly { readonly sessions: number }[]
  }
  return nodes.map(({ sessions }) => sessions)
}

/** Of each process: NATS first, if there is one, then each server. Microseconds for a message, */
function eachOf({ server_cpu_s_of, delivered }: Figures): string {
  return shared(server_cpu_s_of, 1e6 / Number(delivered), 1)
}

/** and milliseconds for a login. */
function eachOfLogin({ login_server_cpu_s_of, clients }: Figures): string {
  return shared(login_server_cpu_s_of, 1e3 / Number(clients), 2)
}

function shared(seconds: number | string | undefined, factor: number, digits: number): string {
  if (seconds === undefined) return ''
  const each = String(seconds).split(',').map(Number)
  return `of each ${each.map((s) => (s * factor).toFixed(digits)).join(' + ')}`
}

async function measure(name: string, setup: Setup): Promise<Figures[]> {
  const { nodes, workers, isCluster, departure } = setup
  const directory = mkdtempSync(join(tmpdir(), 'meerkat-bench-'))
  const running: Running[] = []
  await using stack = new AsyncDisposableStack()
  stack.defer(() => rmSync(directory, { recursive: true, force: true }))
  const pids: number[] = []
  let extra = ''
  let postgres: PostgresServer | undefined
  if (isCluster) {
    const nats = stack.use(await NatsServer.start())
    postgres = stack.use(await PostgresServer.start({ fsync: 'on' }))
    pids.push(nats.pid)
    extra = `[storage]\nurl = "${await postgres.createSchema(SCHEMA)}"\n[cluster]\nnats = ["${nats.url}"]\n`
  }
  // Before what they work with.
  stack.defer(async () => {
    for (const { child } of running) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      child.kill()
      await once(child, 'exit')
    }
  })
  for (let i = 0; i < nodes; i++) {
    const node = isCluster ? `${extra}node = "n${i}"\n` : extra
    const needed = departure === undefined ? variant : 'typical'
    running.push(await start(join(directory, `n${i}`), needed, node, `workers = ${workers}\n`))
  }
  if (departure !== undefined && postgres !== undefined) {
    const [leaving, staying] = running as [Running, Running]
    const sessions = Number(options.sessions)
    const seen = await departure({ sessions, leaving, staying, postgres, schema: SCHEMA })
    console.log(name.padEnd(10), JSON.stringify(seen))
    return [{ setup: name, ...seen }]
  }
  pids.push(...running.flatMap(({ child }) => familyOf(child.pid as number)))
  await register(running[0] as Running)
  const ports = running.map(({ port }) => port)
  const figures: Figures[] = []
  // V8 compiles anew in each process: each is to have had as many logins as one alone.
  for (let i = 0; i < nodes; i++) {
    await generate([...(SCENARIOS.login as string[]), '--ports', ports.join()], {
      port: ports[0] as number,
      pids,
    })
  }
  for (const scenario of options.scenarios.split(',')) {
    const load = SCENARIOS[scenario]
    if (load === undefined) throw new Error(`there is no scenario ${scenario}`)
    // The clients before have left, which is work, too.
    await delay(LEFT_AFTER)
    const where = ['--ports', ports.join()]
    const isShared = workers > 1 && scenario === 'rate-1000'
    const [result, shares] = await Promise.all([
      generate([...where, ...load], { port: ports[0] as number, pids }),
      isShared ? sharesOf(running[0] as Running) : undefined,
    ])
    figures.push({ setup: name, scenario, ...result, ...(shares && { shares: shares.join() }) })
    const cpu = Number(result.server_cpu_s_per_1000 ?? 0) * 1_000
    const login = Number(result.login_server_cpu_ms_each ?? 0)
    const line = [
      name.padEnd(10),
      scenario.padEnd(10),
      scenario === 'login'
        ? `${login.toFixed(2)} ms CPU a login`
        : `${cpu.toFixed(1)} ms CPU per 1,000`,
      `${result.msgs_per_s ?? result.logins_per_s}/s`,
      `p50 ${result.lat_p50_ms ?? result.login_p50_ms} ms`,
      `p99 ${result.lat_p99_ms ?? result.login_p99_ms} ms`,
      `other cores ${result.other_cores}`,
      scenario === 'login' ? eachOfLogin(result) : eachOf(result),
      shares === undefined ? '' : `sessions of each process ${shares.join(' ')}`,
    ]
    console.log(line.join('  '))
  }
  return figures
}

buildGenerator()
const all: Figures[] = []
for (let round = 0; round < Number(options.rounds); round++) {
  for (const name of options.setups.split(',')) {
    const setup = SETUPS[name]
    if (setup === undefined) throw new Error(`there is no set-up ${name}`)
    all.push(...(await measure(name, setup)))
  }
}
console.log(
  JSON.stringify(
    { machine: describeMachine(), commit: gitCommit(), variant, runs: all },
    undefined,
    1,
  ),
)

import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { freePort } from './free-port.ts'

const DEBIAN = '/usr/lib/postgresql'
/** `nobody`: the server refuses to run as root. */
const UNPRIVILEGED = 65_534

/** The newest that is installed. */
function programs(): string | undefined {
  if (!existsSync(DEBIAN)) return undefined
  const versions = readdirSync(DEBIAN).sort((a, b) => Number(b) - Number(a))
  const folders = versions.map((version) => join(DEBIAN, version, 'bin'))
  return folders.find((folder) => existsSync(join(folder, 'postgres')))
}

const folder = programs()

/** For the option of that name of a test. */
export const skipWithoutPostgres =
  folder === undefined ? 'PostgreSQL is not installed (Debian: postgresql)' : false

type Settings = Readonly<Record<string, string | number>>

/** What only an administrator of the machine may do: a file system in memory, for one process. */
const MOUNT = 'mount -t tmpfs -o size=2m,uid=65534,gid=65534,mode=700 tmpfs "$0" && exec "$@"'

export const skipWithoutSmallDisk =
  skipWithoutPostgres ||
  (spawnSync('unshare', ['-m', 'bash', '-c', MOUNT, tmpdir(), 'true']).status === 0
    ? false
    : 'this user may not mount')

/** A real server of a test's own, in a temporary directory, on a port of the loopback interface. */
export class PostgresServer implements AsyncDisposable {
  readonly directory: string
  readonly port: number
  readonly #settings: Settings
  /** A directory with room for 2 MiB, which only the server sees. */
  #smallDisk: string | undefined
  #process: ChildProcess | undefined

  private constructor(directory: string, port: number, settings: Settings) {
    this.directory = directory
    this.port = port
    this.#settings = settings
    process.once('exit', this.#remove)
  }

  /** One whose database `small` is in a tablespace on a disk with room for 2 MiB. */
  static async startOnSmallDisk(): Promise<PostgresServer> {
    const server = await PostgresServer.start()
    await server.stop('SIGINT')
    server.#smallDisk = join(server.directory, 'small')
    mkdirSync(server.#smallDisk)
    await server.begin()
    await server.run(`create tablespace small location '${server.#smallDisk}'`)
    await server.run('create database small')
    await server.run('alter database small set default_tablespace = small')
    return server
  }

  /** Not durable unless the settings say `fsync: 'on'`. */
  static async start(settings: Settings = {}): Promise<PostgresServer> {
    const directory = mkdtempSync(join(tmpdir(), 'meerkat-postgres-'))
    if (process.getuid?.() === 0) chownSync(directory, UNPRIVILEGED, UNPRIVILEGED)
    const server = new PostgresServer(directory, await freePort(), settings)
    const [command, ...options] = unprivileged([
      ...['initdb', '--pgdata', join(directory, 'data'), '--no-sync', '--no-instructions'],
      ...['--auth', 'trust', '--username', 'meerkat', '--encoding', 'UTF8', '--locale', 'C'],
    ])
    execFileSync(command, options, { cwd: directory, stdio: 'pipe' })
    await server.begin()
    return server
  }

  /** One that follows another, and may only be read until it is promoted. */
  static async startStandby(primary: PostgresServer): Promise<PostgresServer> {
    const directory = mkdtempSync(join(tmpdir(), 'meerkat-postgres-'))
    if (process.getuid?.() === 0) chownSync(directory, UNPRIVILEGED, UNPRIVILEGED)
    const server = new PostgresServer(directory, await freePort(), {})
    const [command, ...options] = unprivileged([
      ...['pg_basebackup', '--pgdata', join(directory, 'data'), '--write-recovery-conf'],
      ...['--checkpoint', 'fast', '--no-sync', '--dbname', primary.url('postgres')],
    ])
    execFileSync(command, options, { cwd: directory, stdio: 'pipe' })
    await server.begin()
    return server
  }

  /** It takes writes from now on. */
  async promote(): Promise<void> {
    await this.run('select pg_promote()')
  }

  /** From now on nothing is committed that a standby has not got. */
  async waitForStandbys(): Promise<void> {
    await this.run("alter system set synchronous_standby_names = '*'")
    await this.run('select pg_reload_conf()')
  }

  get pid(): number {
    assert.ok(this.#process?.pid, 'the server runs')
    return this.#process.pid
  }

  /** Over TCP. */
  url(database: string): string {
    return `postgres://meerkat@127.0.0.1:${this.port}/${database}`
  }

  /** A new, empty database for all intents; returns its URL. Quicker: a schema of one. */
  async createSchema(name: string): Promise<string> {
    await this.run(`create schema ${name}`)
    return `${this.url('postgres')}?options=-csearch_path%3D${name}`
  }

  async dropSchema(name: string): Promise<void> {
    await this.run(`drop schema ${name} cascade`)
  }

  /** One statement of an administrator; returns its rows. */
  async run(text: string, database = 'postgres'): Promise<readonly Record<string, unknown>[]> {
    const client = new pg.Client({ connectionString: this.url(database) })
    await client.connect()
    try {
      const { rows } = await client.query<Record<string, unknown>>(text)
      return rows
    } finally {
      await client.end()
    }
  }

  /** Starts it, once more after it was stopped or killed. */
  async begin(settings: Settings = {}): Promise<void> {
    const options = { fsync: 'off', autovacuum: 'off', ...this.#settings, ...settings }
    const [command, ...parameters] = unprivileged([
      ...['postgres', '-D', join(this.directory, 'data'), '-k', this.directory],
      ...['-h', '127.0.0.1', '-p', `${this.port}`],
      ...Object.entries(options).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
    ])
    const small = this.#smallDisk
    const [program, ...all] =
      small === undefined
        ? [command, ...parameters]
        : ['unshare', '-m', 'bash', '-c', MOUNT, small, command, ...parameters]
    const child = spawn(program, all, { cwd: this.directory, stdio: 'ignore' })
    this.#process = child
    const attempts = 400
    for (let attempt = 0; ; attempt++) {
      assert.equal(child.exitCode, null, 'PostgreSQL ended at once')
      try {
        await this.run('select 1')
        return
      } catch (error) {
        if (attempt === attempts) throw error
        await new Promise((resolve) => setTimeout(resolve, 25))
      }
    }
  }

  /** SIGQUIT: at once, as after a crash. SIGINT: in order. */
  async stop(signal: NodeJS.Signals = 'SIGQUIT'): Promise<void> {
    const child = this.#process
    if (child === undefined) return
    this.#process = undefined
    if (child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill(signal)
    await ended
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
    process.off('exit', this.#remove)
    this.#remove()
  }

  readonly #remove = (): void => {
    this.#process?.kill('SIGQUIT')
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 5 })
  }
}

/** The command of PostgreSQL as somebody who may run it; it ends with us, whatever happens. */
function unprivileged([program = '', ...options]: readonly string[]): [string, ...string[]] {
  assert.ok(folder, 'PostgreSQL is installed')
  const asNobody = [`--reuid=${UNPRIVILEGED}`, `--regid=${UNPRIVILEGED}`, '--clear-groups']
  return [
    'setpriv',
    ...(process.getuid?.() === 0 ? asNobody : []),
    ...['--pdeathsig', 'QUIT', join(folder, program), ...options],
  ]
}

import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from './free-port.ts'
import { pause } from './pause.ts'

/** On the path, or where Debian has it: only root's path leads there. */
const PROGRAM = ['nats-server', '/usr/sbin/nats-server'].find(
  (program) => spawnSync(program, ['--version']).error === undefined,
)

/** For the option of that name of a test. */
export const skipWithoutNats =
  PROGRAM === undefined ? 'NATS is not installed (Debian: nats-server)' : false

/** A real NATS server of a test's own, with JetStream, on a port of the loopback interface. */
export class NatsServer implements AsyncDisposable {
  readonly port: number
  readonly #directory: string
  readonly #options: readonly string[]
  #process: ChildProcess | undefined

  private constructor(port: number, directory: string, options: readonly string[]) {
    this.port = port
    this.#directory = directory
    this.#options = options
  }

  /** `options`: of its command line; JetStream unless told. */
  static async start(options: readonly string[] = ['-js']): Promise<NatsServer> {
    const directory = mkdtempSync(join(tmpdir(), 'meerkat-nats-'))
    const server = new NatsServer(await freePort(), directory, options)
    await server.begin()
    return server
  }

  /** Several that are one: what they keep outlives the loss of fewer than half of them. */
  static async startCluster(count: number): Promise<NatsServer[]> {
    if (count === 1) return [await NatsServer.start()]
    const routes = await Promise.all(Array.from({ length: count }, () => freePort()))
    const all = routes.map((port) => `nats-route://127.0.0.1:${port}`)
    const servers = await Promise.all(
      all.map(async (own, index) => {
        const options = ['-js', '-n', `n${index}`, '--cluster_name', 'test', '--cluster', own]
        const directory = mkdtempSync(join(tmpdir(), 'meerkat-nats-'))
        const routed = [...options, '--no_advertise', '--routes', all.join(',')]
        return new NatsServer(await freePort(), directory, routed)
      }),
    )
    try {
      await Promise.all(servers.map((server) => server.begin()))
      return servers
    } catch (error) {
      await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()))
      throw error
    }
  }

  get url(): string {
    return `nats://127.0.0.1:${this.port}`
  }

  /** Resolves when it does nothing any more. */
  async pause(): Promise<void> {
    await pause(this.pid)
  }

  goOn(): void {
    process.kill(this.pid, 'SIGCONT')
  }

  get pid(): number {
    assert.ok(this.#process?.pid, 'NATS runs')
    return this.#process.pid
  }

  /** Starts it, once more after it was stopped or killed, with what it had or without. */
  async begin({ isEmpty = false }: { readonly isEmpty?: boolean } = {}): Promise<void> {
    if (isEmpty) rmSync(this.#directory, { recursive: true, force: true })
    const child = spawn(
      PROGRAM ?? 'nats-server',
      ['-a', '127.0.0.1', '-p', `${this.port}`, '-sd', this.#directory, ...this.#options],
      { stdio: 'ignore' },
    )
    this.#process = child
    const attempts = 400
    for (let attempt = 0; !(await this.#answers()); attempt++) {
      assert.equal(child.exitCode, null, 'NATS ended at once')
      assert.ok(attempt < attempts, 'NATS does not answer')
      await new Promise((resolve) => setTimeout(resolve, 25))
    }
  }

  /** Of one that is stopped: what it has kept so far, for one that is to lose what comes later. */
  copyFiles(): { restore(): void } & Disposable {
    const copy = mkdtempSync(join(tmpdir(), 'meerkat-nats-copy-'))
    cpSync(this.#directory, copy, { recursive: true })
    return {
      restore: () => {
        rmSync(this.#directory, { recursive: true, force: true })
        cpSync(copy, this.#directory, { recursive: true })
      },
      [Symbol.dispose]: () => rmSync(copy, { recursive: true, force: true }),
    }
  }

  async stop(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.#process
    this.#process = undefined
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill(signal)
    await ended
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
    rmSync(this.#directory, { recursive: true, force: true })
  }

  /** It says `INFO` when it is ready. */
  #answers(): Promise<boolean> {
    return new Promise((resolve) => {
      const socket = connect(this.port, '127.0.0.1')
      socket.once('data', () => {
        socket.destroy()
        resolve(true)
      })
      socket.once('error', () => resolve(false))
    })
  }
}

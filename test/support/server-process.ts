import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { Client } from './client.ts'
import { pause } from './pause.ts'
import { DOMAIN, PASSWORD } from './server.ts'

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url))

const configuration = (directory: string, settings: string, storage: string, port: number) => `
domains = ["${DOMAIN}"]
data_dir = "${directory}"
${settings}
[[listen.c2s]]
address = "127.0.0.1"
port = ${port}
tls = "none"
allow_plain_without_tls = true

[storage]
url = "${storage}"
`

/** A server in a process of its own, on a free port, which can be killed. */
export class ServerProcess implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #port: number
  readonly #clients: Client[] = []

  private constructor(child: ChildProcess, port: number) {
    this.#child = child
    this.#port = port
  }

  /**
   * `settings`: tables of the configuration file. `shell`: what a shell does before it becomes the
   * server. `storage`: the URL of its database, of its own unless told. `listen`: the port; any unless
   * told.
   */
  static async start(
    directory: string,
    settings = '',
    shell = '',
    storage = `sqlite:${directory}/meerkat.db`,
    listen = 0,
  ): Promise<ServerProcess> {
    const file = join(directory, 'meerkat.toml')
    await writeFile(file, configuration(directory, settings, storage, listen))
    const args = [process.execPath, MAIN, 'start', '--config', file]
    const child = spawn('bash', ['-c', `${shell}\nexec "$0" "$@"`, ...args], {
      env: { ...process.env, NODE_TEST_CONTEXT: '' },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const errors = text(child.stderr)
    let port = 0
    for await (const line of createInterface({ input: child.stdout })) {
      port = Number(/^listening for clients on .*:(\d+) /.exec(line)?.[1] ?? port)
      if (line.startsWith('ready')) return new ServerProcess(child, port)
    }
    throw new Error(`the server ended: ${await errors}`)
  }

  get pid(): number {
    return this.#child.pid as number
  }

  /** Those that it started: its workers, in the order of their start. */
  get children(): readonly number[] {
    const text = readFileSync(`/proc/${this.pid}/task/${this.pid}/children`, 'utf8')
    return text.split(' ').filter(Boolean).map(Number)
  }

  /** A client with a session that has not sent presence. The account must be there. */
  async connect(localpart: string, resource?: string, domain = DOMAIN): Promise<Client> {
    const client = await this.authenticate(localpart, domain)
    await client.bind(resource)
    return client
  }

  /** A connection without a session. */
  async authenticate(localpart: string, domain = DOMAIN): Promise<Client> {
    const client = await Client.open({ host: '127.0.0.1', port: this.#port, domain })
    this.#clients.push(client)
    await client.startStream()
    await client.authenticate({ localpart, password: PASSWORD, mechanism: 'PLAIN' })
    return client
  }

  /** Resolves when it has ended, by itself or not. */
  get ended(): Promise<unknown> {
    const { exitCode, signalCode } = this.#child
    return exitCode === null && signalCode === null ? once(this.#child, 'exit') : Promise.resolve()
  }

  /** Resolves when it does nothing any more, until it is resumed. */
  async pause(): Promise<void> {
    assert.ok(this.#child.pid, 'it runs')
    await pause(this.#child.pid)
  }

  resume(): void {
    this.#child.kill('SIGCONT')
  }

  /** At once, in the midst of whatever it does. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL')
  }

  async stop(): Promise<void> {
    await this.#end('SIGTERM')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
    for (const client of this.#clients) await client[Symbol.asyncDispose]()
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const ended = once(this.#child, 'exit')
    this.#child.kill(signal)
    await ended
  }
}

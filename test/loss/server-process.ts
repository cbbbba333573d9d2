import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createWriteStream, type WriteStream } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import { loadConfigFile } from '../../src/config.ts'
import { silentLogger } from '../../src/core/log.ts'
import { modules } from '../../src/modules.ts'
import { Server } from '../../src/server.ts'
import { jid } from '../../src/xmpp/jid.ts'
import { fillDisk } from '../support/disk.ts'
import { DOMAIN, PASSWORD } from './client.ts'
import type { Plan } from './plan.ts'

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url))
const START_TIMEOUT = 60_000
const STOP_TIMEOUT = 60_000
/** How long a lock is tried for, and how often, milliseconds. */
const LOCK_PATIENCE = 2_000
const LOCK_RETRY = 5

export const hasArchive = modules.some(({ name }) => name === 'archive')

/** None survives this process. */
const children = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL')
})

/** The server in a process of its own, with its own directory, to be killed and started again. */
export class ServerProcess implements AsyncDisposable {
  readonly directory: string
  readonly #main: string
  readonly #onDeath: (text: string) => void
  readonly #log: WriteStream
  #child: ChildProcess | undefined
  #port = Promise.withResolvers<number>()
  #isExpectedToEnd = false
  #starts = 0
  /** Ends what is wrong with the disk. */
  readonly #repairs = new Set<() => void>()

  private constructor(directory: string, main: string, onDeath: (text: string) => void) {
    this.directory = directory
    this.#main = main
    this.#onDeath = onDeath
    this.#log = createWriteStream(join(directory, 'server.log'))
  }

  /** `main`: the program to run, if not the one beside this. */
  static async create(
    plan: Plan,
    onDeath: (text: string) => void,
    main = MAIN,
  ): Promise<ServerProcess> {
    const directory = await mkdtemp(join(tmpdir(), 'meerkat-loss-'))
    const server = new ServerProcess(directory, main, onDeath)
    await writeFile(server.#configFile, configuration(plan))
    await createAccounts(server.#configFile, [
      ...Array.from({ length: plan.senders }, (_, index) => `s${index}`),
      ...Array.from({ length: plan.recipients }, (_, index) => `r${index}`),
    ])
    return server
  }

  /** Where it listens, once it does. */
  readonly address = () => this.#port.promise

  get starts(): number {
    return this.#starts
  }

  async start(): Promise<void> {
    this.repair()
    this.#isExpectedToEnd = false
    this.#starts++
    const child = spawn(process.execPath, [this.#main, 'start', '--config', this.#configFile], {
      cwd: this.directory,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#child = child
    children.add(child)
    child.stderr?.pipe(this.#log, { end: false })
    child.on('exit', (code, signal) => {
      children.delete(child)
      if (this.#child !== child) return
      this.#child = undefined
      if (!this.#isExpectedToEnd) this.#onDeath(`the server ended by itself: ${code ?? signal}`)
    })
    const timer = setTimeout(() => child.kill('SIGKILL'), START_TIMEOUT)
    let port = 0
    for await (const line of createInterface({ input: child.stdout as NodeJS.ReadableStream })) {
      const listening = /listening for clients on \S+:(\d+) /.exec(line)
      if (listening !== null) port = Number(listening[1])
      if (line.startsWith('ready ')) break
    }
    clearTimeout(timer)
    child.stdout?.resume()
    if (port === 0) throw new Error('the server does not start')
    this.#port.resolve(port)
  }

  /** Resolves when it is gone. */
  async end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const child = this.#child
    if (child === undefined) return
    this.#isExpectedToEnd = true
    this.#port = Promise.withResolvers()
    const exit = once(child, 'exit')
    child.kill(signal)
    const late = setTimeout(() => {
      this.#onDeath('it does not stop')
      child.kill('SIGKILL')
    }, STOP_TIMEOUT)
    const [code] = await exit
    clearTimeout(late)
    if (signal === 'SIGTERM' && code !== 0) this.#onDeath(`it stopped with exit code ${code}`)
  }

  /**
   * Another process holds the lock of the database. The returned function lets go; `undefined` if
   * somebody else has the lock.
   */
  async lock(): Promise<(() => void) | undefined> {
    const database = new DatabaseSync(join(this.directory, 'data', 'meerkat.db'), { timeout: 0 })
    const end = () => {
      if (!this.#repairs.delete(end)) return
      database.close()
    }
    for (const until = Date.now() + LOCK_PATIENCE; ; ) {
      try {
        database.exec('begin immediate')
        this.#repairs.add(end)
        return end
      } catch {
        if (Date.now() > until) break
        await new Promise((resolve) => setTimeout(resolve, LOCK_RETRY))
      }
    }
    database.close()
    return undefined
  }

  /** The disk takes no more. The returned function makes room. */
  fill(): () => void {
    const pid = this.#child?.pid
    if (pid === undefined) return () => {}
    const makeRoom = fillDisk(pid)
    const end = () => {
      if (!this.#repairs.delete(end)) return
      if (this.#child?.pid === pid) makeRoom()
    }
    this.#repairs.add(end)
    return end
  }

  repair(): void {
    for (const end of [...this.#repairs]) end()
  }

  async remove(): Promise<void> {
    await rm(this.directory, { recursive: true, force: true })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.repair()
    await this.end('SIGKILL')
    this.#log.end()
    await once(this.#log, 'close')
  }

  get #configFile(): string {
    return join(this.directory, 'meerkat.toml')
  }
}

function configuration({ settings, archive }: Plan): string {
  return `
domains = ["${DOMAIN}"]
data_dir = "data"

[[listen.c2s]]
address = "127.0.0.1"
port = 0
tls = "none"
allow_plain_without_tls = true

[auth]
scram_iterations = 4096

[log]
format = "json"

[modules.stream_management]
resume_timeout = "${settings.resumeTimeout}ms"
max_unacknowledged = ${settings.maxUnacknowledged}

[modules.offline]
max_messages = 10000000
max_bytes = "8GiB"
batch = ${settings.offlineBatch}
${hasArchive && !archive ? '\n[modules.archive]\nenabled = false\n' : ''}`
}

async function createAccounts(file: string, localparts: readonly string[]): Promise<void> {
  const loaded = loadConfigFile(file, modules)
  const server = await Server.create({ loaded, log: silentLogger })
  try {
    for (const localpart of localparts) {
      await server.lifecycle.register(jid(localpart, DOMAIN).toBare(), PASSWORD)
    }
  } finally {
    await server.stop()
  }
}

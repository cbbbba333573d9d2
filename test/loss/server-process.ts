import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createWriteStream, type WriteStream } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
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

export const hasArchive = modules.some(({ name }) => name === 'archive')

/** None survives this process. */
const children = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL')
})

export type ServerProcessOptions = {
  readonly directory: string
  /** Text of the file. */
  readonly configuration: string
  /** The program, if not the one beside this. */
  readonly main?: string | undefined
  readonly environment?: Readonly<Record<string, string>>
  /** It ended, or will not end, without being asked. */
  readonly onDeath: (text: string) => void
  /** It says that it was given up by others, and begins anew by itself. */
  readonly onFenced?: () => void
}

/** A server in a process of its own, with its own directory, to be killed and started again. */
export class ServerProcess implements AsyncDisposable {
  readonly #options: ServerProcessOptions
  readonly #log: WriteStream
  #child: ChildProcess | undefined
  #port: number | undefined
  #isHidden = false
  #isExpectedToEnd = false
  /** Ends what is wrong with the disk. */
  #makeRoom: (() => void) | undefined

  private constructor(options: ServerProcessOptions) {
    this.#options = options
    this.#log = createWriteStream(join(options.directory, 'server.log'))
  }

  static async create(options: ServerProcessOptions): Promise<ServerProcess> {
    await mkdir(options.directory, { recursive: true })
    const server = new ServerProcess(options)
    await writeFile(server.#configFile, options.configuration)
    return server
  }

  /** Where it listens; `undefined` while it does not. */
  get port(): number | undefined {
    return this.#port
  }

  get socket(): string {
    return join(this.#options.directory, 'data', 'meerkat.sock')
  }

  /** Resolves when it is ready. Rejects if it does not start. */
  async start(): Promise<void> {
    this.makeRoom()
    this.#isExpectedToEnd = false
    const { directory, main = MAIN, environment } = this.#options
    const child = spawn(process.execPath, [main, 'start', '--config', this.#configFile], {
      cwd: directory,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...environment },
    })
    this.#child = child
    children.add(child)
    const ended = new Promise<void>((resolve) => {
      child.on('exit', (code, signal) => {
        children.delete(child)
        resolve()
        if (this.#child !== child) return
        this.#child = undefined
        this.#port = undefined
        if (!this.#isExpectedToEnd && isReady) {
          this.#options.onDeath(`the server ended by itself: ${code ?? signal}`)
        }
      })
    })
    const timer = setTimeout(() => child.kill('SIGKILL'), START_TIMEOUT)
    let isReady = false
    await Promise.race([this.#follow(child), ended])
    clearTimeout(timer)
    isReady = true
    if (this.#port === undefined) throw new Error('the server does not start')
  }

  /** Reads what it says, for as long as it runs. Resolves when it is ready for the first time. */
  #follow(child: ChildProcess): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    let port: number | undefined
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      const listening = /listening for clients on \S+:(\d+) /.exec(line)
      if (listening !== null) port = Number(listening[1])
      if (!line.startsWith('ready ') || this.#child !== child) return
      this.#port = port
      this.#isHidden = false
      resolve()
    })
    createInterface({ input: child.stderr as NodeJS.ReadableStream }).on('line', (line) => {
      this.#log.write(`${line}\n`)
      if (!line.includes('"cluster_fenced"')) return
      this.#port = undefined
      this.#options.onFenced?.()
    })
    return promise
  }

  /** Nobody is sent there any more. */
  hide(): void {
    this.#isHidden = true
    this.#port = undefined
  }

  /** Resolves when it is gone. */
  async end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const child = this.#child
    const isUp = this.#port !== undefined || this.#isHidden
    this.#port = undefined
    if (child === undefined) return
    this.#isExpectedToEnd = true
    const exit = once(child, 'exit')
    child.kill(signal)
    const late = setTimeout(() => {
      this.#options.onDeath('it does not stop')
      child.kill('SIGKILL')
    }, STOP_TIMEOUT)
    const [code, by] = await exit
    clearTimeout(late)
    // One that is about to begin cannot end in an orderly way yet.
    const isEarly = by === signal && !isUp
    if (signal === 'SIGTERM' && code !== 0 && !isEarly) {
      this.#options.onDeath(`it stopped with exit code ${code}`)
    }
  }

  /** It does nothing, until the returned function is called. */
  pause(): () => void {
    const child = this.#child
    child?.kill('SIGSTOP')
    return () => void child?.kill('SIGCONT')
  }

  /** The disk takes no more. The returned function makes room. */
  fill(): () => void {
    const pid = this.#child?.pid
    if (pid === undefined) return () => {}
    const empty = fillDisk(pid)
    const end = () => {
      if (this.#makeRoom !== end) return
      this.#makeRoom = undefined
      if (this.#child?.pid === pid) empty()
    }
    this.#makeRoom = end
    return end
  }

  makeRoom(): void {
    this.#makeRoom?.()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.makeRoom()
    await this.end('SIGKILL')
    this.#log.end()
    await once(this.#log, 'close')
  }

  get #configFile(): string {
    return join(this.#options.directory, 'meerkat.toml')
  }
}

/** What all servers of trials are configured with. */
export function configuration({ settings, archive }: Plan): string {
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

/** Writes the accounts of a plan into the database that the configuration names. */
export async function createAccounts(
  directory: string,
  text: string,
  { senders, recipients }: Plan,
): Promise<void> {
  const file = join(directory, 'accounts.toml')
  await writeFile(file, text)
  const loaded = loadConfigFile(file, modules)
  const server = await Server.create({ loaded, log: silentLogger })
  const localparts = [
    ...Array.from({ length: senders }, (_, index) => `s${index}`),
    ...Array.from({ length: recipients }, (_, index) => `r${index}`),
  ]
  try {
    for (const localpart of localparts) {
      await server.lifecycle.register(jid(localpart, DOMAIN).toBare(), PASSWORD)
    }
  } finally {
    await server.stop()
  }
}

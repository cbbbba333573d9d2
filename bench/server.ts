import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { freePort } from '../test/support/free-port.ts'
import type { Answers, Question } from './probe.ts'
import { certificateIn } from './targets/certificate.ts'
import type { Setting, Target } from './targets/target.ts'

const START_SECONDS = 30
const STOP_SECONDS = 15
const LAST_LINES = 20

/** Leaders of the process groups that are alive, to be ended whatever happens. */
const groups = new Set<number>()

/** For the last moment of the process, when nothing can be waited for. */
export function killEverything(): void {
  for (const leader of groups) signal(leader, 'SIGKILL')
}

/** Starts a program in a process group of its own, with as many open files as allowed. */
export function launch(
  command: readonly string[],
  options: {
    readonly core?: number | undefined
    readonly directory?: string
    readonly environment?: Readonly<Record<string, string>>
    readonly hasChannel?: boolean
    readonly stdout: number | 'pipe'
    readonly stderr: number | 'pipe'
  },
): ChildProcess {
  const pinned = options.core === undefined ? [] : ['taskset', '--cpu-list', String(options.core)]
  // More than the hard limit only where that is allowed.
  const script = 'ulimit -n 1000000 2>/dev/null || ulimit -n "$(ulimit -Hn)"; exec "$@"'
  const child = spawn('/bin/sh', ['-c', script, 'sh', ...pinned, ...command], {
    cwd: options.directory,
    env: { ...process.env, ...options.environment },
    stdio: [
      ...(['ignore', options.stdout, options.stderr] as const),
      ...(options.hasChannel ? (['ipc'] as const) : []),
    ],
    detached: true,
  })
  const { pid } = child
  if (pid !== undefined) {
    groups.add(pid)
    child.once('exit', () => groups.delete(pid))
  }
  return child
}

/** What a server failed at, and the end of its log. */
export class ServerError extends Error {
  override readonly name = 'ServerError'
  readonly lastWords: string

  constructor(message: string, lastWords: string) {
    super(message)
    this.lastWords = lastWords
  }
}

/** A server under measurement. */
export class Server {
  readonly port: number
  readonly componentPort: number | undefined
  readonly #child: ChildProcess
  readonly #pid: number
  readonly #log: string

  private constructor(
    child: ChildProcess,
    options: { port: number; componentPort: number | undefined; log: string },
  ) {
    if (child.pid === undefined) throw new Error('the process did not start')
    this.#child = child
    this.#pid = child.pid
    this.#log = options.log
    this.port = options.port
    this.componentPort = options.componentPort
  }

  /** Resolves once its ports accept connections. */
  static async start(
    target: Target,
    options: { readonly setting: Setting; readonly directory: string; readonly core?: number },
  ): Promise<Server> {
    const { directory, core } = options
    const { tls, component, ...setting } = options.setting
    const port = await freePort()
    const componentPort = component ? await freePort() : undefined
    const { command, environment, hasProbe } = target.launch({
      ...setting,
      ...(tls && { tls: certificateIn(directory) }),
      ...(componentPort !== undefined && { componentPort }),
      port,
      directory,
    })
    const log = join(directory, 'output.log')
    const file = openSync(log, 'w')
    const child = launch(command, {
      core,
      directory,
      stdout: file,
      stderr: file,
      ...(environment && { environment }),
      ...(hasProbe && { hasChannel: true }),
    })
    closeSync(file)
    const server = new Server(child, { port, componentPort, log })
    try {
      await server.#listening()
    } catch (error) {
      await server.stop()
      throw error
    }
    return server
  }

  get isAlive(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  get pid(): number {
    return this.#pid
  }

  /** Asks the probe in it, one question at a time. Rejects if the server ends meanwhile. */
  async ask<Q extends Question>(question: Q): Promise<Answers[Q]> {
    const { promise, resolve, reject } = Promise.withResolvers<Answers[Q]>()
    const onExit = () => reject(new ServerError('ended while it was asked', this.lastWords))
    this.#child.once('message', (answer) => resolve(answer as Answers[Q]))
    this.#child.once('exit', onExit)
    this.#child.send(question)
    try {
      return await promise
    } finally {
      this.#child.off('exit', onExit)
    }
  }

  /** The process and its descendants. */
  get pids(): number[] {
    const parents = new Map<number, number>()
    for (const entry of readdirSync('/proc')) {
      const pid = Number(entry)
      const parent = Number.isInteger(pid) ? parentOf(pid) : undefined
      if (parent !== undefined) parents.set(pid, parent)
    }
    const found = new Set([this.#pid])
    // Children are found after their parents; numbers may wrap around, hence the repetition.
    for (let size = 0; size < found.size; ) {
      size = found.size
      for (const [pid, parent] of parents) if (found.has(parent)) found.add(pid)
    }
    return [...found]
  }

  /** While paused it cannot disturb the measurement of another. */
  pause(): void {
    signal(this.#pid, 'SIGSTOP')
  }

  resume(): void {
    signal(this.#pid, 'SIGCONT')
  }

  /** Asks it to end, then makes it. */
  async stop(): Promise<void> {
    if (this.isAlive) {
      const exit = once(this.#child, 'exit')
      this.resume()
      signal(this.#pid, 'SIGTERM')
      const timer = setTimeout(() => signal(this.#pid, 'SIGKILL'), STOP_SECONDS * 1000)
      await exit
      clearTimeout(timer)
    }
    // What the process may have left behind.
    signal(this.#pid, 'SIGKILL')
  }

  async #listening(): Promise<void> {
    const end = Date.now() + START_SECONDS * 1000
    while (Date.now() < end) {
      if (!this.isAlive) throw new ServerError('ended at once', this.lastWords)
      if ((await accepts(this.port)) && (await accepts(this.componentPort))) return
      await delay(50)
    }
    throw new ServerError(`does not listen after ${START_SECONDS} s`, this.lastWords)
  }

  /** The end of what it wrote to its log, in lines. */
  get lastWords(): string {
    const lines = readFileSync(this.#log, 'utf8').trimEnd().split('\n')
    return lines.slice(-LAST_LINES).join('\n')
  }
}

function signal(leader: number, name: NodeJS.Signals): void {
  try {
    process.kill(-leader, name)
  } catch {
    // The group is gone, which is what a signal to it would want.
  }
}

function parentOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The second field, the name in parentheses, may contain anything.
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
  } catch {
    return undefined
  }
}

/** Whether somebody listens; where nobody has to, too. */
async function accepts(port: number | undefined): Promise<boolean> {
  if (port === undefined) return true
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

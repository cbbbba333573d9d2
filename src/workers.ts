/**
 * Several processes of one server: this one starts them, holds what they agree on, and starts again
 * what ends.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { MachineHub } from './cluster/machine-registry.ts'
import { runOver } from './cluster/members.ts'
import type { LoadedConfig } from './config.ts'
import type { Logger } from './core/log.ts'
import { type EndMessage, ProcessEnd } from './process-end.ts'
import type { Worker } from './server/cluster.ts'

type Options = {
  readonly loaded: LoadedConfig
  readonly log: Logger
  readonly say: (line: string) => void
  readonly stopRequested: Promise<unknown>
  /** Registers what is to be done whenever the configuration is to be read again. */
  readonly onReload: (reload: () => void) => void
}

const VARIABLE = 'MEERKAT_WORKER'
/** How long it is waited before a worker that ended is started again, milliseconds. */
const RESTART_AFTER = 1_000
/** How long workers get to stop, milliseconds. */
const STOP_TIMEOUT = 20_000

/** Which worker this process is; `undefined` if it is none. */
export function thisWorker(): Worker | undefined {
  const text = process.env[VARIABLE]
  return text === undefined ? undefined : (JSON.parse(text) as Worker)
}

/** What is for one of all workers alone is for the first: HTTP, and the socket for commands. */
export function forWorker(loaded: LoadedConfig, { name, names }: Worker): LoadedConfig {
  if (name === names[0]) return loaded
  const { config } = loaded
  const socket = `${config.admin.socket}.${name}`
  return {
    ...loaded,
    config: {
      ...config,
      listen: { ...config.listen, http: [] },
      admin: { ...config.admin, socket },
    },
  }
}

/** Runs the workers until they are asked to stop. Rejects when they cannot start. */
export async function runWorkers({ loaded, log, say, ...options }: Options): Promise<void> {
  const { config } = loaded
  await ensureFree(config)
  const directory = await mkdtemp(join(tmpdir(), 'meerkat-'))
  const names = Array.from({ length: config.workers }, (_, index) => `w${index + 1}`)
  try {
    await using hub = await MachineHub.listen(join(directory, 'hub.sock'))
    const parts = { hub, log, say, own: new ProcessEnd({ log }) }
    const all = names.map((name) => new WorkerProcess({ name, names, directory }, parts))
    options.onReload(() => {
      for (const worker of all) worker.signal('SIGHUP')
    })
    try {
      // The first brings the storage up to date.
      for (const worker of all) await worker.start()
      say(`ready for ${config.domains.join(', ')} (${names.length} workers, pid ${process.pid})`)
      await options.stopRequested
      say('stopping')
    } finally {
      // Also where one cannot start: the others would go on without this process.
      await Promise.all(all.map((worker) => worker.stop()))
    }
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

/** Sharing a port with a stranger would not be noticed. */
async function ensureFree({ listen }: LoadedConfig['config']): Promise<void> {
  for (const { address, port } of [...listen.c2s, ...listen.s2s, ...listen.component]) {
    const server = createServer()
    server.listen({ ...(address !== '*' && { host: address }), port })
    await once(server, 'listening')
    server.close()
    await once(server, 'close')
  }
}

type WorkerParts = Pick<Options, 'log' | 'say'> & {
  readonly hub: MachineHub
  /** The end of the process that has started the workers, and of these with it. */
  readonly own: ProcessEnd
}

class WorkerProcess {
  readonly #worker: Worker
  readonly #parts: WorkerParts
  #child: ChildProcess | undefined
  #isStopping = false

  constructor(worker: Worker, parts: WorkerParts) {
    this.#worker = worker
    this.#parts = parts
  }

  /** Resolves when it serves. */
  async start(): Promise<void> {
    const { name, names } = this.#worker
    const [, ...args] = process.argv
    const child = spawn(process.execPath, [...process.execArgv, ...args], {
      env: { ...process.env, [VARIABLE]: JSON.stringify(this.#worker) },
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    })
    this.#child = child
    child.on('message', (message) => this.#parts.own.end(...(message as EndMessage).end))
    const ended = once(child, 'exit')
    void ended.then(() => this.#onEnd())
    for await (const line of createInterface({ input: child.stdout as Readable })) {
      if (line.startsWith('ready for ')) {
        child.stdout?.resume()
        return
      }
      if (name === names[0] && !line.startsWith('meerkat ')) this.#parts.say(line)
    }
    await ended
    if (!this.#isStopping) throw new Error(`worker ${name} could not start`)
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal)
  }

  async stop(): Promise<void> {
    this.#isStopping = true
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill('SIGTERM')
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT)
    await ended
    clearTimeout(timer)
  }

  /** The others need not wait until they miss it. */
  #onEnd(): void {
    const { hub, log } = this.#parts
    const { name } = this.#worker
    runOver(hub, name)
    if (this.#isStopping) return
    log.error('worker_ended', { worker: name })
    setTimeout(() => {
      if (this.#isStopping) return
      this.start().catch((error) => log.error('worker_not_started', { worker: name, error }))
    }, RESTART_AFTER)
  }
}

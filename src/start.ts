/** A server in the foreground: started, announced, stopped by signals. */
import { mkdir } from 'node:fs/promises'
import { type Command, CommandError } from './admin/command.ts'
import type { Reload } from './admin/commands/reload.ts'
import type { Listening } from './admin/commands/server.ts'
import type { AdminContext } from './admin/context.ts'
import { type Control, openControl } from './admin/control.ts'
import type { StreamCommand } from './admin/stream-command.ts'
import { endpoint } from './config/listeners.ts'
import { ConfigError, type LoadedConfig } from './config.ts'
import type { Logger } from './core/log.ts'
import { endOfAll, ProcessEnd } from './process-end.ts'
import type { Worker } from './server/cluster.ts'
import { NeedsRestartError, Server, type ServerOptions } from './server.ts'
import { listenersOf } from './server-admin/listeners.ts'
import { adminContext, commandsOf } from './server-admin.ts'

declare module './core/cluster.ts' {
  interface Topics {
    /** The workers of a machine are to read their configuration again. */
    worker_reload: { readonly question: string; readonly answer: null }
  }
}

type Foreground = {
  readonly loaded: LoadedConfig
  /** Which of several processes of one server this is. */
  readonly worker?: Worker | undefined
  readonly log: Logger
  readonly version: string
  readonly commands: readonly Command[]
  readonly streams: readonly StreamCommand[]
  /** Writes one line for whoever started it. */
  readonly say: (line: string) => void
  /** What to type to give a command, without its words: `meerkat`. */
  readonly calledAs: string
  /** What to append to it, so that it finds this server: `--config FILE`. */
  readonly callWith: string
  /** Resolves when the server is to stop. */
  readonly stopRequested: Promise<unknown>
  /** The configuration as it is in the file now. Throws ConfigError. */
  readonly load: () => LoadedConfig
  /** Called when the other nodes have given this one up. */
  readonly onFenced: () => void
  /** Registers what is to be done whenever the configuration is to be read again. */
  readonly onReload: (reload: () => void) => void
}

const STOP_TIMEOUT_MS = 10_000

/** Runs until it is asked to stop. Throws StartError. */
export async function runServer(options: Foreground): Promise<void> {
  const { loaded, worker, log, version, streams, say, stopRequested, onFenced } = options
  const { config } = loaded
  const { control, server } = await startable(async () => {
    await mkdir(config.data_dir, { recursive: true, mode: 0o700 })
    let server: Server | undefined
    const control = await openControl({
      path: config.admin.socket,
      commands: () => (server === undefined ? options.commands : commandsOf(server)),
      streams,
      log,
    })
    try {
      server = await started({ loaded, log, worker, onFenced })
      return { control, server }
    } catch (error) {
      await control.close()
      throw error
    }
  })
  await using _ = closing(control, server)
  const reload = reloading(server, options)
  options.onReload(() => void reload({ isDry: false }).catch(() => {}))
  server.process = worker === undefined ? new ProcessEnd({ log }) : endOfAll
  server.reloadFile = worker === undefined ? reload : reloadingAll(server, reload)
  const admin = adminContext(server, version)
  control.serve(admin)
  for (const listening of listenersOf(server)) say(announcement(listening))
  if (await hasNoAccounts(admin)) {
    const account = `alice@${config.domains[0]}`
    say(`no accounts yet: ${options.calledAs} account register ${account}${options.callWith}`)
  }
  say(`ready for ${config.domains.join(', ')} (pid ${process.pid})`)
  await stopRequested
  say('stopping')
}

/** A server that cannot start closes what it has opened. */
async function started(options: ServerOptions): Promise<Server> {
  const server = await Server.create(options)
  await server.start()
  return server
}

/** A file that cannot be used, or files that it names, change nothing. */
function reloading(server: Server, { load, log }: Pick<Foreground, 'load' | 'log'>): Reload {
  return async ({ isDry }) => {
    try {
      const loaded = load()
      const { warnings } = loaded
      const changes = server.changesTo(loaded)
      await server.reload(loaded, { isDry })
      const keys = changes.map(({ key }) => key)
      if (!isDry) log.info('reloaded', { changed: keys })
      for (const warning of warnings) log.warn('config_warning', { warning })
      return { changes, warnings }
    } catch (error) {
      const text = reason(error)
      log.error('not_reloaded', { reason: text, ...(isUnexpected(error) && { error }) })
      throw new CommandError('invalid', `nothing was changed: ${text}`, { cause: error })
    }
  }
}

/** The other workers of this machine, too. */
function reloadingAll(server: Server, reload: Reload): Reload {
  const { cluster } = server
  cluster.on('worker_reload', async (machine) => {
    if (machine === machineOf(server)) await reload({ isDry: false })
    return null
  })
  return async (options) => {
    const result = await reload(options)
    if (options.isDry) return result
    const failures = await cluster.tell('worker_reload', machineOf(server))
    const warnings = failures.map(({ node, reason }) => `not in force at ${node}: ${reason}`)
    return { ...result, warnings: [...result.warnings, ...warnings] }
  }
}

/** Workers of other machines have files of their own. */
function machineOf({ config }: Server): string {
  return config.cluster?.node ?? ''
}

function isUnexpected(error: unknown): boolean {
  return !(error instanceof ConfigError || error instanceof NeedsRestartError)
}

/** The socket goes last: while it is there, no other server touches the data directory. */
function closing(control: Control, server: Server): AsyncDisposable {
  return {
    async [Symbol.asyncDispose]() {
      try {
        await server.stop({ timeout: STOP_TIMEOUT_MS })
      } catch (error) {
        server.log.fatal('stop_failed', { error })
        await control.close()
        // Whatever it has open still would keep the process for ever.
        process.exit(1)
      }
      await control.close()
    },
  }
}

const PEERS: ReadonlyMap<string, string> = new Map([
  ['c2s', 'clients'],
  ['s2s', 'other servers'],
  ['component', 'components'],
  ['http', 'HTTP'],
])

function announcement({ kind, address, port, tls }: Listening): string {
  return `listening for ${PEERS.get(kind) ?? kind} on ${endpoint({ address, port })} (TLS: ${tls})`
}

async function hasNoAccounts({ accounts, domains }: AdminContext): Promise<boolean> {
  for (const domain of domains) if ((await accounts.count(domain)) > 0) return false
  return true
}

/** Why the server does not run, in one line. */
export class StartError extends Error {
  override readonly name = 'StartError'
}

async function startable<T>(start: () => Promise<T>): Promise<T> {
  try {
    return await start()
  } catch (cause) {
    if (cause instanceof ConfigError) throw cause
    throw new StartError(`cannot start: ${reason(cause)}`, { cause })
  }
}

function reason(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const { code, syscall, address, port } = error as NodeJS.ErrnoException & {
    readonly address?: string
    readonly port?: number
  }
  if (syscall !== 'listen' && syscall !== 'bind') return error.message
  const place =
    address !== undefined && port !== undefined && port >= 0
      ? endpoint({ address, port })
      : (address ?? 'a listener')
  switch (code) {
    case 'EADDRINUSE':
      return `${place} is in use by another process`
    case 'EADDRNOTAVAIL':
      return `${place} is no address of this machine`
    case 'EACCES':
      return `${place} may not be opened by this user`
    default:
      return error.message
  }
}

/** Arguments, signals, exit code. */
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { styleText } from 'node:util'
import { runCli } from './admin/cli.ts'
import type { Command } from './admin/command.ts'
import { backupResult } from './admin/commands/backup.ts'
import { commandsWith } from './admin/commands.ts'
import { callCommand, followCommand, NotRunningError } from './admin/control-client.ts'
import { ProgressBar } from './admin/progress-bar.ts'
import { ProgressLog } from './admin/progress-log.ts'
import { readSecret } from './admin/secret-input.ts'
import { plain, type StreamCommand } from './admin/stream-command.ts'
import { streams } from './admin/streams.ts'
import { jsonSchema } from './config/json-schema.ts'
import {
  ConfigError,
  checkConfig,
  developmentSettings,
  type LoadedConfig,
  loadConfigFile,
} from './config.ts'
import { checkedArgs, type Progress, UNWATCHED } from './core/command.ts'
import { type Logger, silentLogger } from './core/log.ts'
import type { Module } from './core/module.ts'
import { processLogger } from './log.ts'
import { modules } from './modules.ts'
import type { Worker } from './server/cluster.ts'
import { importModule } from './server/module-choice.ts'
import { FENCED, Server } from './server.ts'
import { adminContext } from './server-admin.ts'
import { runServer, StartError } from './start.ts'
import { backUp, restore } from './storage-backup.ts'
import { copiedText, moveStorage } from './storage-copy.ts'
import { forWorker, runWorkers, thisWorker } from './workers.ts'

const DEFAULT_FILE = 'meerkat.toml'

const packageFile = new URL('../package.json', import.meta.url)
const { version } = JSON.parse(readFileSync(packageFile, 'utf8')) as { readonly version: string }

/** From a clone one types `npm run meerkat -- …`. */
const calledAs = process.env.npm_lifecycle_event === undefined ? 'meerkat' : 'npm run meerkat --'

/** What modules of the operator's own declare can be given as well. */
const commands = commandsWith([...modules, ...(await ownModules(configIn(process.argv)))])

const say = (line: string) => void process.stdout.write(`${line}\n`)

type Options = { readonly config?: string }

function fileOf({ config }: Options): string | undefined {
  return config ?? (existsSync(DEFAULT_FILE) ? DEFAULT_FILE : undefined)
}

function load(options: Options): LoadedConfig {
  const file = fileOf(options)
  if (file !== undefined) return loadConfigFile(file, modules)
  return checkConfig(developmentSettings, { modules, directory: process.cwd() })
}

function loadFor(options: Options, worker: Worker | undefined): LoadedConfig {
  const loaded = load(options)
  return worker === undefined ? loaded : forWorker(loaded, worker)
}

/** Before the command line is understood, for they have a say in what it may be. */
function configIn(argv: readonly string[]): Options {
  const at = argv.findIndex((word) => word === '--config' || word.startsWith('--config='))
  const config = argv[at]?.startsWith('--config=') ? argv[at]?.slice(9) : argv[at + 1]
  return at === -1 || config === undefined ? {} : { config }
}

/** None of a file that cannot be used: whoever needs it says what is wrong with it. */
async function ownModules(options: Options): Promise<readonly Module[]> {
  if (fileOf(options) === undefined) return []
  try {
    const own = [...load(options).config.modules.values()].flatMap(({ from }) => from ?? [])
    return await Promise.all(own.map(importModule))
  } catch {
    return []
  }
}

async function start(options: Options): Promise<void> {
  const worker = thisWorker()
  const stopRequested = untilStopped(worker)
  // Until there is something to reload, it must not end the process.
  process.on('SIGHUP', () => {})
  const loaded = loadFor(options, worker)
  const log = workerLog(processLogger(loaded.config.log), worker)
  process.on('uncaughtException', (error) => {
    log.fatal('uncaught_exception', { error })
    process.exit(1)
  })
  // Whoever started us may stop reading; the server goes on.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})

  say(`meerkat ${version}, data in ${loaded.config.data_dir}`)
  if (fileOf(options) === undefined) {
    say(`no ${DEFAULT_FILE} here: a server to try things with, reachable from this machine only`)
  }
  const callWith = options.config === undefined ? '' : ` --config ${options.config}`
  for (const warning of loaded.warnings) log.warn('config_warning', { warning })
  const onReload = (reload: () => void) => void process.on('SIGHUP', reload)
  if (worker === undefined && loaded.config.workers > 1) {
    await runWorkers({ loaded, log, say, stopRequested, onReload })
    if ((await stopRequested) === 'restart') startAnew()
    return
  }
  await runServer({
    worker,
    loaded,
    log,
    version,
    commands,
    streams,
    say,
    calledAs,
    callWith,
    stopRequested,
    load: () => loadFor(options, worker),
    onFenced: worker === undefined ? startAnew : () => process.exit(FENCED),
    onReload,
  })
  if ((await stopRequested) === 'restart') startAnew()
}

function workerLog(log: Logger, worker: Worker | undefined): Logger {
  return worker === undefined ? log : log.child({ worker: worker.name })
}

/** Ends as if killed, whatever it still has, and begins again in its place. */
function startAnew(): void {
  process.execve?.(process.execPath, [process.argv0, ...process.execArgv, ...process.argv.slice(1)])
  process.exit(FENCED)
}

/**
 * Resolves at the first signal to stop, or to stop and begin anew (SIGUSR2); the second ends the process
 * at once. Workers begin anew with the process that has started them.
 */
function untilStopped(worker: Worker | undefined): Promise<'shutdown' | 'restart'> {
  return new Promise((resolve) => {
    let isStopping = false
    const onSignal = (how: 'shutdown' | 'restart') => () => {
      if (isStopping) process.exit(1)
      isStopping = true
      resolve(how)
    }
    process.on('SIGTERM', onSignal('shutdown'))
    process.on('SIGINT', onSignal('shutdown'))
    process.on('SIGUSR2', worker === undefined ? onSignal('restart') : () => {})
  })
}

async function run(
  command: Command,
  args: unknown,
  { onProgress, ...options }: Options & { readonly onProgress: (progress: Progress) => void },
): Promise<unknown> {
  const loaded = load(options)
  const { config } = loaded
  // Written by whoever asks, and at the cost of a process of its own; nothing is brought up to date for it.
  if (command.name === 'backup') {
    const { target } = checkedArgs(command.args, args) as { readonly target: string }
    return backupResult(await backUp(target, { loaded, onProgress: shown(onProgress) }))
  }
  try {
    return await callCommand(config.admin.socket, command.name, args, onProgress)
  } catch (error) {
    if (!(error instanceof NotRunningError)) throw error
  }
  // In a cluster, what is changed behind their backs other nodes would not notice.
  if (command.needsServer || config.cluster !== undefined) throw notRunning(config.data_dir)
  mkdirSync(config.data_dir, { recursive: true, mode: 0o700 })
  const server = await Server.create({ loaded, log: silentLogger })
  try {
    const call = { ...UNWATCHED, progress: onProgress }
    return await command.run(adminContext(server, version), args, call)
  } finally {
    await server.stop()
  }
}

function notRunning(dataDirectory: string): StartError {
  return new StartError(`no server is running with data in ${dataDirectory}: ${calledAs} start`)
}

/** Ends without complaint when interrupted, or when nobody reads the output any more. */
async function follow(
  command: StreamCommand,
  args: unknown,
  { onItem, ...options }: Options & { readonly onItem: (item: unknown) => Promise<void> },
): Promise<void> {
  const { admin, data_dir } = load(options).config
  const over = new AbortController()
  const end = () => over.abort()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, end)
  process.stdout.on('error', end)
  const { signal } = over
  const onOpen = () => process.stderr.write('following; Ctrl-C ends it\n')
  try {
    const end = await followCommand(admin.socket, command.name, args, { signal, onItem, onOpen })
    if (end === 'stopped') process.stderr.write('the server has stopped\n')
  } catch (error) {
    throw error instanceof NotRunningError ? notRunning(data_dir) : error
  }
}

/** Resolves when there is room for more. */
function write(text: string): Promise<void> {
  if (process.stdout.write(text)) return Promise.resolve()
  return new Promise((resolve) => {
    for (const event of ['drain', 'close', 'error']) process.stdout.once(event, () => resolve())
  })
}

/** Where nobody sees a bar, lines. */
function shown(onProgress: (progress: Progress) => void): (progress: Progress) => void {
  const { stderr } = process
  if (stderr.isTTY) return onProgress
  const log = new ProgressLog((line) => void stderr.write(line), Date.now)
  return (progress) => log.show(progress)
}

/** NO_COLOR and terminals without colours count. */
const paint = process.stdout.hasColors?.() ? styleText : plain

async function checkFile(
  file: string = DEFAULT_FILE,
  { json }: { readonly json: boolean },
): Promise<void> {
  try {
    const { warnings } = loadConfigFile(file, modules)
    if (json) return say(JSON.stringify({ file, isFine: true, problems: [], warnings }))
    for (const warning of warnings) say(`warning: ${warning}`)
    say(`${file} is fine`)
  } catch (error) {
    if (!json || !(error instanceof ConfigError)) throw error
    const problems = error.problems.map(({ path, text, position }) => ({ path, text, ...position }))
    say(JSON.stringify({ file, isFine: false, problems, warnings: [] }))
    process.exitCode = 1
  }
}

const exitCode = await runCli(process.argv.slice(2), {
  version,
  calledAs,
  directory: process.cwd(),
  commands,
  streams,
  paint,
  actions: {
    start,
    run,
    follow,
    checkConfig: checkFile,
    async printConfigSchema() {
      say(JSON.stringify(jsonSchema(modules), null, 2))
    },
    async copyStorage(from, to, { onProgress, ...options }) {
      const loaded = load(options)
      return copiedText(await moveStorage({ from, to, loaded, onProgress: shown(onProgress) }))
    },
    restore: (file, { onProgress, ...options }) =>
      restore(file, { loaded: load(options), onProgress: shown(onProgress) }),
    readFile: async (name) =>
      name === '-' ? await text(process.stdin) : readFileSync(name, 'utf8'),
    readSecret: (name) => readSecret(name, { input: process.stdin, output: process.stderr }),
  },
  stdout: write,
  stderr: (text) => void process.stderr.write(text),
  progress: new ProgressBar(process.stderr),
})
process.exitCode ||= exitCode

/**
 * Meerkat as a library: a server inside of your own process, and what modules are written with.
 *
 * ```ts
 * await using server = await createServer({ use: [myModule] })
 * await server.accounts.register('juliet@localhost', 'secret')
 * await server.start()
 * ```
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { type ZodType, z } from 'zod'
import { checkConfig } from './config.ts'
import { CommandError, UNWATCHED } from './core/command.ts'
import { type Logger, silentLogger } from './core/log.ts'
import type { Module, ModuleContext } from './core/module.ts'
import type { RoutingModule } from './core/router.ts'
import { SOFTWARE } from './core/software.ts'
import { modules as builtinModules } from './modules.ts'
import { type ExtraModule, type RoutingModuleFactory, Server } from './server.ts'
import { adminContext, commandsOf } from './server-admin.ts'
import { type BareJid, JidError, parseJid } from './xmpp/jid.ts'

export { ConfigError } from './config.ts'
export {
  type AdhocAsked,
  type AdhocCommand,
  type AdhocCompletion,
  type AdhocNote,
  type AdhocStage,
  type AdhocStep,
  badPayload,
} from './core/adhoc.ts'
export {
  type CommandCall,
  CommandError,
  type CommandErrorCode,
  type CommandHandler,
  type DeclaredCommand,
  declareCommand,
  type Permission,
  type Progress,
} from './core/command.ts'
export type { Component } from './core/components.ts'
export { accountJid, domain, duration, size } from './core/config-types.ts'
// Whole files, for declarations in them may be merged with those of a module.
export * from './core/envelope.ts'
export * from './core/hook-map.ts'
export {
  type Acc,
  DROP,
  type Handler,
  type HandlerOptions,
  type Hooks,
  type Params,
  Stop,
  stop,
  type Verdict as HandlerVerdict,
} from './core/hooks.ts'
export {
  type IqAnswer,
  type IqHandler,
  type IqInterceptor,
  type IqRequest,
  NO_REPLY,
} from './core/iq.ts'
export type { LocalRoute, LocalRoutes } from './core/local-routes.ts'
export type { LogFields, Logger, LogLevel } from './core/log.ts'
export type { Module, ModuleContext } from './core/module.ts'
export { answered, dropped, type Fate, Outcome } from './core/outcome.ts'
export type { Router, RoutingModule } from './core/router.ts'
export * from './core/session.ts'
export type { Migration, Storage } from './core/storage.ts'
export { createLogger, type LogFormat } from './log.ts'
export type { ExtraModule, RoutingModuleFactory } from './server.ts'
export { DataForm, form as dataForm } from './xmpp/data-form.ts'
export {
  type BareJid,
  type FullJid,
  type Jid,
  JidError,
  jid,
  parseJid,
  tryParseJid,
} from './xmpp/jid.ts'
export { Stanza, type StanzaKind } from './xmpp/stanza.ts'
export { type ErrorType, type StanzaCondition, StanzaError } from './xmpp/stanza-error.ts'
export { type StreamCondition, StreamError } from './xmpp/stream-error.ts'
export { type Attributes, Element, el, type Node } from './xmpp/xml.ts'

type Table = { readonly [key: string]: unknown }

/**
 * In the shape of the configuration file, whose reference says more about each; what is left out
 * suits a test: `localhost`, reachable from this machine only, on any free port, nothing kept.
 */
export type ServerSettings = {
  readonly domains?: readonly string[]
  /** Where clients connect: one listener, or several. */
  readonly listen?: Table | readonly Table[]
  /** Where external components connect, with their secrets; nowhere unless told. */
  readonly components?: Table | readonly Table[]
  /** Without it nothing is kept: all is in memory. */
  readonly dataDir?: string
  readonly tls?: Table
  readonly auth?: Table
  readonly storage?: Table
  readonly limits?: Table
  readonly delivery?: Table
  /** Settings of the modules that come with the server; `false` leaves one out. */
  readonly modules?: { readonly [name: string]: Table | false }
  /** Modules of your own, with their settings if they have any. */
  readonly use?: readonly (Module | ExtraModule)[]
  /** Who is offered each stanza, in this order; routing modules of your own among them. */
  readonly routing?: readonly (string | RoutingModule | RoutingModuleFactory)[]
  readonly log?: Logger
}

/** A server in this process. Nothing listens before `start`. */
export interface EmbeddedServer extends AsyncDisposable {
  /** Rejects when an address cannot be listened on; then nothing is left open. */
  start(): Promise<void>
  /** Tells every client, waits for what is on its way, closes everything. */
  stop(): Promise<void>
  /** Where clients connect, in the order of the settings. Known once it has started. */
  readonly listeners: readonly { readonly host: string; readonly port: number }[]
  /** Where components connect, likewise. */
  readonly componentListeners: readonly { readonly host: string; readonly port: number }[]
  readonly accounts: EmbeddedAccounts
  /**
   * Gives an administration command, of the server or of a module: `command('session list')`. Its
   * result is what `--json` prints. Throws `CommandError`.
   */
  command(name: string, args?: Table): Promise<unknown>
  /** Registers a handler for as long as the server lives. Returns the undo. */
  readonly on: Server['hooks']['on']
}

/** Addresses are bare JIDs of domains of the server; others are refused with `JidError`. */
export interface EmbeddedAccounts {
  /** False: there is such an account already. */
  register(address: string, password: string): Promise<boolean>
  /** False: there is no such account. */
  setPassword(address: string, password: string): Promise<boolean>
  /** With all that hangs on it. False: there is no such account. */
  remove(address: string): Promise<boolean>
  exists(address: string): Promise<boolean>
}

/** Throws ConfigError for settings that cannot be. */
export async function createServer(settings: ServerSettings = {}): Promise<EmbeddedServer> {
  const directory = await openDirectory(settings.dataDir)
  try {
    return embed(await create(settings, directory.path), directory.release)
  } catch (error) {
    await directory.release()
    throw error
  }
}

/** What a module says of itself; all but its name and what it does may be left out. */
export type ModuleDefinition<Config> = Partial<Omit<Module<Config>, 'name' | 'start'>> & {
  readonly name: string
  start(context: ModuleContext<Config>): void | Promise<void>
}

const NO_SETTINGS = z.strictObject({})

/** A module of your own; `start` knows the type of its settings from `config`, a schema of zod. */
export function defineModule<Config = Record<string, never>>(
  definition: ModuleDefinition<Config>,
): Module {
  const { config = NO_SETTINGS as unknown as ZodType<Config>, ...others } = definition
  return { implements: [], ...others, config } as Module<Config> as Module
}

async function create(settings: ServerSettings, directory: string): Promise<Server> {
  const { routing = [], use = [], log = silentLogger } = settings
  const names = routing.filter((entry) => typeof entry === 'string')
  const input = configuration(settings, names, directory)
  const loaded = checkConfig(input, { modules: builtinModules, directory: process.cwd() })
  const resolved = [...loaded.config.routing_modules]
  return await Server.create({
    loaded,
    log,
    extraModules: use.map((entry) => ('module' in entry ? entry : { module: entry })),
    ...(routing.length > 0 && {
      routing: routing.map((entry) => {
        if (typeof entry === 'string') return resolved.shift() as string
        return typeof entry === 'function' ? entry : () => entry
      }),
    }),
  })
}

function configuration(
  settings: ServerSettings,
  routing: readonly string[],
  directory: string,
): Table {
  const { domains = ['localhost'], dataDir, modules = {}, tls, auth, limits, delivery } = settings
  const listeners = listOf(settings.listen ?? {})
  const components = listOf(settings.components ?? [])
  const tables = Object.entries(modules).map(([name, table]) => [
    name,
    table === false ? { enabled: false } : table,
  ])
  return {
    domains,
    data_dir: directory,
    listen: {
      c2s: listeners.map((table) => ({ address: '127.0.0.1', port: 0, tls: 'starttls', ...table })),
      component: components.map((table) => ({ port: 0, ...table })),
    },
    storage: { ...(dataDir === undefined && { url: 'sqlite::memory:' }), ...settings.storage },
    modules: Object.fromEntries(tables),
    ...(routing.length > 0 && { routing_modules: routing }),
    ...(tls !== undefined && { tls }),
    ...(auth !== undefined && { auth }),
    ...(limits !== undefined && { limits }),
    ...(delivery !== undefined && { delivery }),
  }
}

function listOf(tables: Table | readonly Table[]): readonly Table[] {
  return Array.isArray(tables) ? tables : [tables as Table]
}

/** The directory that is asked for, or one that is gone afterwards. */
async function openDirectory(
  wanted: string | undefined,
): Promise<{ readonly path: string; release(): Promise<void> }> {
  if (wanted !== undefined) {
    const path = resolve(wanted)
    await mkdir(path, { recursive: true, mode: 0o700 })
    return { path, async release() {} }
  }
  const path = await mkdtemp(join(tmpdir(), 'meerkat-'))
  return { path, release: () => rm(path, { recursive: true, force: true }) }
}

function embed(server: Server, release: () => Promise<void>): EmbeddedServer {
  const account = (address: string): BareJid => {
    const jid = parseJid(address)
    const isOurs = jid.local !== '' && jid.isBare && server.routes.isHosted(jid.domain)
    if (isOurs) return jid as BareJid
    throw new JidError(`${address} can have no account here`)
  }
  const stop = async () => {
    try {
      await server.stop()
    } finally {
      await release()
    }
  }
  return {
    start: async () => {
      try {
        await server.start()
      } catch (error) {
        await release()
        throw error
      }
    },
    stop,
    [Symbol.asyncDispose]: stop,
    get listeners() {
      return server.listeners.map(({ address }) => address)
    },
    get componentListeners() {
      return server.componentListeners.map(({ address }) => address)
    },
    accounts: {
      register: async (address, password) => server.lifecycle.register(account(address), password),
      setPassword: async (address, password) =>
        server.lifecycle.setPassword(account(address), password),
      remove: async (address) => server.lifecycle.remove(account(address)),
      exists: async (address) => server.accounts.exists(account(address)),
    },
    command: async (name, args = {}) => {
      const found = commandsOf(server).find((command) => command.name === name)
      if (found === undefined) throw new CommandError('not-found', `there is no command "${name}"`)
      return await found.run(adminContext(server, SOFTWARE.version), args, UNWATCHED)
    },
    on: (...registration) => server.hooks.on(...registration),
  }
}

/**
 * The configuration file: its text to settings that can be relied on.
 *
 * Everything that can be wrong without starting the server is found here and told at once: keys
 * nobody knows, values that are impossible, files that are missing, settings that contradict each
 * other. Names in the settings are those of the file.
 */
import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { z } from 'zod'
import {
  authorityProblems,
  certificateFiles,
  certificateFindings,
  certificateGaps,
  type OtherCertificates,
  otherCertificates,
} from './config/certificates.ts'
import { clusterFiles, clusterProblems, workerProblems } from './config/cluster.ts'
import type { HttpListener } from './config/http-schema.ts'
import { componentProblems, listenerConflicts, listenerWarnings } from './config/listeners.ts'
import {
  checkHosts,
  checkModules,
  checkRoutingModules,
  type HostModules,
  type ModuleDeclaration,
  type ModuleSettings,
} from './config/modules.ts'
import { dataDirectoryProblems, socketProblems, whyUnusable } from './config/paths.ts'
import { Positions } from './config/positions.ts'
import {
  ConfigError,
  check,
  describe,
  type Placed,
  type PlacedProblem,
  type Problem,
} from './config/problems.ts'
import type {
  CertificateFiles,
  ClientListener,
  ComponentListener,
  FileSettings,
  fileSchema,
  ServerListener,
} from './config/schema.ts'
import { checkSections, isComplete, shapeOf } from './config/sections.ts'
import { parseToml } from './config/toml.ts'

export type { HttpListener } from './config/http-schema.ts'
export type { HostModules, ModuleDeclaration, ModuleSettings } from './config/modules.ts'
export { ConfigError } from './config/problems.ts'
export type {
  CertificateFiles,
  ClientListener,
  ComponentListener,
  ServerListener,
} from './config/schema.ts'

/** All paths are absolute. */
export type Config = {
  /** In the form in which they are compared (RFC 7622 §3.2). */
  readonly domains: readonly string[]
  readonly data_dir: string
  /** Processes that share the work. */
  readonly workers: number
  /** Names of our routing modules, and what to `import()` for others. */
  readonly routing_modules: readonly string[]
  readonly listen: {
    readonly c2s: readonly ClientListener[]
    readonly component: readonly ComponentListener[]
    readonly s2s: readonly ServerListener[]
    readonly http: readonly HttpListener[]
  }
  /** Other servers; `undefined` when this one speaks with none. */
  readonly s2s: Federation | undefined
  /** By domain. `localhost` may be missing: it gets a certificate signed by itself. */
  readonly certificates: ReadonlyMap<string, CertificateFiles>
  /** For domains that are not in the file. */
  readonly otherCertificates: OtherCertificates
  readonly auth: FileSettings['auth']
  /** The URL is `sqlite:/path/of/file`, `sqlite::memory:` or that of a database of PostgreSQL. */
  readonly storage: FileSettings['storage']
  /** Other nodes that serve the same domains; `undefined` for a server alone. */
  readonly cluster: FileSettings['cluster']
  readonly limits: FileSettings['limits']
  readonly delivery: FileSettings['delivery']
  readonly log: FileSettings['log']
  readonly tracing: FileSettings['tracing']
  /** The modules to load. */
  readonly modules: ReadonlyMap<string, ModuleSettings>
  /** Where single domains have others. */
  readonly hosts: ReadonlyMap<string, HostModules>
  readonly admin: Omit<FileSettings['admin'], 'socket'> & { readonly socket: string }
}

/** Paths are absolute. */
export type Federation = Omit<FileSettings['s2s'], 'enabled' | 'ca'> & {
  readonly ca: string | undefined
}

export type LoadedConfig = {
  readonly config: Config
  /** What an operator should look at, a line each. */
  readonly warnings: readonly string[]
  /** In the shape of the file, with defaults. */
  readonly settings: object
  /** As written in the file. */
  readonly input: unknown
  /**
   * Checks the settings of a module of the operator's own, by the schema it turned out to have; those
   * of a domain, if one is named. Throws ConfigError.
   */
  checkModule<T>(name: string, schema: z.ZodType<T>, domain?: string): T
}

type Origin = {
  readonly modules: readonly ModuleDeclaration[]
  /** Named in errors; its relative paths start at its directory. */
  readonly file?: string
}

/** Text of a configuration file to settings. Throws ConfigError. */
export function loadConfig(text: string, { file, modules }: Origin): LoadedConfig {
  const input = parseToml(text, file)
  const directory = file === undefined ? process.cwd() : dirname(resolve(file))
  return checkConfig(input, { modules, directory, positions: new Positions(text), file })
}

/** As `loadConfig`, of what is in `file`. */
export function loadConfigFile(file: string, modules: readonly ModuleDeclaration[]): LoadedConfig {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    const text = `the configuration file ${whyUnusable(cause)}`
    throw new ConfigError([{ path: [], text }], file, { cause })
  }
  return loadConfig(text, { file, modules })
}

/** A server to try things with: `localhost`, reachable from this machine only. */
export const developmentSettings = {
  domains: ['localhost'],
  listen: { c2s: [{ address: '127.0.0.1', tls: 'starttls' }] },
} as const satisfies z.input<typeof fileSchema>

type Context = {
  readonly modules: readonly ModuleDeclaration[]
  /** Where relative paths start. */
  readonly directory: string
  readonly positions?: Positions
  readonly file?: string | undefined
}

/** As `loadConfig`, for settings that come from no file. Throws ConfigError. */
export function checkConfig(input: unknown, context: Context): LoadedConfig {
  const { directory, positions, file } = context
  const place = (problem: Problem) => ({ ...problem, position: positions?.near(problem.path) })
  const refuse = (problems: readonly Problem[]) =>
    new ConfigError(inOrder(problems.map(place)), file)

  const problems: Problem[] = []
  const warnings: Problem[] = []
  const settings = checkSections(input, problems)
  const { placed, tls, data_dir } = settings
  const domains = unique(placed.domains, problems)

  problems.push(...listenerConflicts(placed.listeners))
  problems.push(...componentProblems(placed.listeners.component, domains))
  warnings.push(...listenerWarnings(placed.listeners))
  if (data_dir !== undefined) problems.push(...dataDirectoryProblems(data_dir, directory))
  if (tls) {
    const listening = Object.values(placed.listeners).flat()
    const needed = listening.some(([, listener]) => listener.tls !== 'none')
    problems.push(...certificateGaps(tls, { domains: placed.domains, directory, needed }))
    for (const { isWarning, ...finding } of certificateFindings(tls, { domains, directory })) {
      ;(isWarning ? warnings : problems).push(finding)
    }
  }
  const routing = checkRoutingModules(placed.routing_modules, directory)
  const loaded = checkModules(placed.modules, { declared: context.modules, directory })
  const hosts = checkHosts(placed.host, placed.modules, {
    declared: context.modules,
    modules: loaded.modules,
  })
  problems.push(...routing.problems, ...loaded.problems, ...hosts.problems)
  for (const name of Object.keys(placed.host)) {
    if (domains.includes(name)) continue
    const text = 'found a domain that is not in "domains"; this is for when it is added'
    warnings.push({ path: ['host', name], text })
  }
  const dataDir = resolve(directory, data_dir ?? '')
  const socket = resolve(directory, settings.admin?.socket ?? resolve(dataDir, 'meerkat.sock'))
  problems.push(...socketProblems(socket, dataDir))

  if (settings.s2s) problems.push(...authorityProblems(settings.s2s.ca, directory))
  if (placed.cluster) problems.push(...clusterProblems(placed.cluster, settings.storage, directory))

  if ((settings.workers ?? 1) > 1)
    problems.push(...workerProblems(placed.listeners, settings.storage))

  if (problems.length > 0 || !isComplete(settings)) throw refuse(problems)
  const { enabled = isFederated(input), ca, ...others } = settings.s2s
  const authorities = ca === undefined ? undefined : resolve(directory, ca)
  const federation = enabled ? { ...others, ca: authorities } : undefined

  return {
    config: {
      domains,
      data_dir: dataDir,
      workers: settings.workers,
      routing_modules: routing.chain,
      listen: {
        c2s: placed.listeners.c2s.map(([, listener]) => listener),
        component: placed.listeners.component.map(([, listener]) => listener),
        s2s: placed.listeners.s2s.map(([, listener]) => listener),
        http: placed.listeners.http.map(([, listener]) => listener),
      },
      s2s: federation,
      certificates: certificateFiles(settings.tls, { domains, directory }),
      otherCertificates: otherCertificates(settings.tls, directory),
      auth: settings.auth,
      storage: { ...settings.storage, url: storageUrl(settings.storage.url, dataDir) },
      cluster: placed.cluster && clusterFiles(placed.cluster, directory),
      limits: settings.limits,
      delivery: settings.delivery,
      log: settings.log,
      tracing: settings.tracing,
      modules: loaded.modules,
      hosts: hosts.hosts,
      admin: { ...settings.admin, socket },
    },
    settings: shapeOf(
      { ...settings, s2s: { ...settings.s2s, enabled } },
      {
        ...placed,
        domains,
        modules: loaded.modules,
        hosts: hosts.hosts,
      },
    ),
    input,
    warnings: warnings.map((warning) => describe(place(warning), file)),
    checkModule(name, schema, domain) {
      const own = domain === undefined ? undefined : hosts.hosts.get(domain)?.get(name)
      const path = ['modules', name]
      const checked =
        own === undefined || own === 'off'
          ? check(schema, loaded.modules.get(name)?.settings, path)
          : check(schema, own.settings, ['host', domain as string, ...path])
      if (checked.ok) return checked.value
      throw refuse(checked.problems)
    },
  }
}

/** The section or a listener is there. */
function isFederated(input: unknown): boolean {
  const { s2s, listen } = Object(input)
  return s2s !== undefined || (Object(listen).s2s ?? []).length > 0
}

function unique(domains: readonly Placed<string>[], problems: Problem[]): string[] {
  const seen = new Set<string>()
  for (const [index, domain] of domains) {
    const text = `found ${JSON.stringify(domain)} twice, expected it once`
    if (seen.has(domain)) problems.push({ path: ['domains', index], text })
    seen.add(domain)
  }
  return [...seen]
}

function storageUrl(url: string, dataDir: string): string {
  if (url === 'sqlite::memory:' || !url.startsWith('sqlite:')) return url
  return `sqlite:${resolve(dataDir, url.slice('sqlite:'.length))}`
}

/** As they stand in the file; those that stand nowhere come first. */
function inOrder(problems: readonly PlacedProblem[]): PlacedProblem[] {
  const line = ({ position }: PlacedProblem) => position?.line ?? 0
  const column = ({ position }: PlacedProblem) => position?.column ?? 0
  return problems.toSorted((a, b) => line(a) - line(b) || column(a) - column(b))
}

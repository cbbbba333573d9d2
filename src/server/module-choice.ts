import { isDeepStrictEqual } from 'node:util'
import type { LoadedConfig, ModuleSettings } from '../config.ts'
import type { Module } from '../core/module.ts'
import type { WantedModule } from '../core/module-host.ts'
import { modules as builtinModules } from '../modules.ts'

/** A module in code, for those who embed the server. */
export type ExtraModule = { readonly module: Module; readonly settings?: unknown }

export type ModuleChoice = {
  readonly modules: readonly WantedModule[]
  /** Domains with the same modules and settings have one type. */
  readonly types: ReadonlyMap<string, string>
}

/** Of domains that are as the file says for all. */
export const DEFAULT_TYPE = 'default'

const OFF: unique symbol = Symbol('off')

/** A module's settings, `OFF` where it is switched off. */
type Setting = unknown

type Candidate = {
  readonly module: Module
  /** Of the operator's own, as the file calls it. */
  readonly name?: string
  readonly setting: Setting
}
/** Where a domain differs. */
type Differences = ReadonlyMap<Module, Setting>

/** Which modules run with which settings, and for which domains. Imports those of the operator's own. */
export async function chooseModules(
  loaded: LoadedConfig,
  extra: readonly ExtraModule[],
  domains: readonly string[],
): Promise<ModuleChoice> {
  const candidates = [...(await candidatesOf(loaded)), ...extra.map(embedded)]
  const types = new Map<string, string>()
  const differences = new Map<string, Differences>()
  for (const domain of domains) {
    const found = differencesOf(domain, loaded, candidates)
    const same = [...differences].find(([, others]) => isDeepStrictEqual(others, found))
    const type = found.size === 0 ? DEFAULT_TYPE : (same?.[0] ?? `as:${domain}`)
    types.set(domain, type)
    differences.set(type, found)
  }
  const modules = candidates.flatMap((candidate) => instancesOf(candidate, differences))
  return { modules, types }
}

/** In the order in which they run. */
async function candidatesOf(loaded: LoadedConfig): Promise<Candidate[]> {
  const { modules } = loaded.config
  const candidates: Candidate[] = []
  for (const module of builtinModules) {
    const known = modules.get(module.name)
    if (known?.from !== undefined) continue
    const setting = known === undefined ? OFF : settingsOf(module, known, loaded.config)
    candidates.push({ module, setting })
  }
  for (const [name, { from }] of modules) {
    if (from === undefined) continue
    const module = await importModule(from)
    candidates.push({ module, name, setting: loaded.checkModule(name, module.config) })
  }
  return candidates
}

function differencesOf(
  domain: string,
  loaded: LoadedConfig,
  candidates: readonly Candidate[],
): Differences {
  const found = new Map<Module, Setting>()
  for (const [key, own] of loaded.config.hosts.get(domain) ?? []) {
    const candidate = candidates.find(({ module, name = module.name }) => name === key)
    if (candidate === undefined) continue
    const { module, name, setting: general } = candidate
    const setting =
      own === 'off'
        ? OFF
        : name === undefined
          ? settingsOf(module, own, loaded.config)
          : loaded.checkModule(name, module.config, domain)
    if (!isDeepStrictEqual(setting, general)) found.set(module, setting)
  }
  return found
}

/** One for each of its settings; those of most domains first. */
function instancesOf(
  { module, setting: general }: Candidate,
  differences: ReadonlyMap<string, Differences>,
): WantedModule[] {
  const groups: { readonly config: unknown; readonly types: Set<string> }[] = []
  for (const [type, own] of differences) {
    const config = own.has(module) ? own.get(module) : general
    const group = groups.find((other) => isDeepStrictEqual(other.config, config))
    if (group === undefined) groups.push({ config, types: new Set([type]) })
    else group.types.add(type)
  }
  const [only, ...others] = groups
  if (only !== undefined && others.length === 0) return wantedFor(module, only.config)
  const first = (types: Set<string>) => (types.has(DEFAULT_TYPE) ? 0 : 1)
  return groups
    .sort((a, b) => first(a.types) - first(b.types))
    .flatMap(({ config, types }) => wantedFor(module, config).map((one) => ({ ...one, types })))
}

/** Where it is switched off, some modules have promises to keep. */
function wantedFor(module: Module, config: Setting): WantedModule[] {
  if (config !== OFF) return [{ module, config }]
  if (module.retire === undefined) return []
  return [{ module, config: module.config.parse({}), isRetired: true }]
}

/**
 * `[auth] registration` is the switch of the module that does it; strangers do not register the names of
 * administrators, who give every command.
 */
function settingsOf(
  { name }: Module,
  { settings }: ModuleSettings,
  { auth, admin }: LoadedConfig['config'],
): unknown {
  if (name !== 'register') return settings
  const { reserved, ...others } = settings as { readonly reserved: readonly string[] }
  const names = new Set([...reserved, ...admin.jids.map(({ local }) => local)])
  return { ...others, enabled: auth.registration, reserved: [...names] }
}

function embedded({ module, settings }: ExtraModule): Candidate {
  return { module, setting: module.config.parse(settings ?? {}) }
}

export async function importModule(from: string): Promise<Module> {
  const { default: module } = await import(from)
  if (typeof module?.start === 'function' && typeof module.name === 'string') return module
  throw new Error(`${from}: the default export is not a module made with defineModule`)
}

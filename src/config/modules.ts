import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { isAbsolute, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { z } from 'zod'
import { oneOf } from '../core/expectations.ts'
import { nearest } from './near.ts'
import { check, didYouMean, type Placed, type Problem } from './problems.ts'
import { type FileSettings, ROUTING_MODULES } from './schema.ts'

/** What the configuration needs of a module's definition. */
export type ModuleDeclaration = { readonly name: string; readonly config: z.ZodType }

export type ModuleSettings = {
  /**
   * Checked by the module's own schema. For a module of the operator's own, whose schema is known
   * once it is imported, the table as it is in the file.
   */
  readonly settings: unknown
  /** What to `import()` for a module of the operator's own. */
  readonly from?: string
}

type Tables = FileSettings['modules']

type Origin = {
  readonly declared: readonly ModuleDeclaration[]
  /** Of the file, where its paths start. */
  readonly directory: string
}

/** The modules to load, in the order in which they are declared, then those of the file. */
export function checkModules(
  tables: Tables,
  { declared, directory }: Origin,
): { readonly modules: ReadonlyMap<string, ModuleSettings>; readonly problems: Problem[] } {
  const modules = new Map<string, ModuleSettings>()
  const problems: Problem[] = []
  for (const { name, config } of declared) {
    const { enabled = true, from, ...table } = tables[name] ?? {}
    if (from !== undefined) continue
    const checked = check(config, table, ['modules', name])
    if (!checked.ok) problems.push(...checked.problems)
    else if (enabled) modules.set(name, { settings: checked.value })
  }
  for (const [name, { enabled, from, ...settings }] of Object.entries(tables)) {
    const isDeclared = declared.some((module) => module.name === name)
    if (from === undefined) {
      if (!isDeclared) problems.push(unknownModule(name, declared))
      continue
    }
    const specifier = importable(from, directory)
    if (specifier !== undefined) {
      if (enabled) modules.set(name, { settings, from: specifier })
      continue
    }
    const text = `found ${JSON.stringify(from)}, expected ${IMPORTABLE}`
    problems.push({ path: ['modules', name, 'from'], text })
  }
  return { modules, problems }
}

/** What a domain has instead of the settings of a module for all: others, or not the module. */
export type HostModules = ReadonlyMap<string, ModuleSettings | 'off'>

/** Tables of `[modules]` that are right by themselves, with those of single domains. */
export type HostTables = FileSettings['host']

/**
 * Where domains differ from all others. A module's settings for a domain are its table, with the keys of
 * the domain's own table in place of those of the same name.
 */
export function checkHosts(
  hosts: HostTables,
  tables: Tables,
  {
    declared,
    modules,
  }: Pick<Origin, 'declared'> & { readonly modules: ReadonlyMap<string, ModuleSettings> },
): { readonly hosts: ReadonlyMap<string, HostModules>; readonly problems: Problem[] } {
  const problems: Problem[] = []
  const differing = new Map<string, HostModules>()
  for (const [domain, { modules: own }] of Object.entries(hosts)) {
    const found = new Map<string, ModuleSettings | 'off'>()
    for (const [name, { enabled: isOn, ...changes }] of Object.entries(own)) {
      const path = ['host', domain, 'modules', name]
      const { enabled: isOnForAll = true, from, ...settings } = tables[name] ?? {}
      const isEnabled = isOn ?? isOnForAll
      const declaration = declared.find((module) => module.name === name)
      if (from === undefined && declaration === undefined) {
        problems.push({ ...unknownModule(name, declared), path })
        continue
      }
      if ('from' in changes) {
        const text = 'found another module, expected settings of one in [modules]'
        problems.push({ path: [...path, 'from'], text })
        continue
      }
      const merged = { ...settings, ...changes }
      if (from !== undefined) {
        // Its schema is known once it is imported; where it is switched off for all, nothing says from where.
        const specifier = modules.get(name)?.from
        if (!isEnabled) found.set(name, 'off')
        else if (specifier !== undefined) found.set(name, { settings: merged, from: specifier })
        else
          problems.push({ path, text: 'found settings of a module that is switched off for all' })
        continue
      }
      const checked = check(declaration?.config as z.ZodType, merged, path)
      if (!checked.ok) problems.push(...checked.problems)
      else found.set(name, isEnabled ? { settings: checked.value } : 'off')
    }
    differing.set(domain, found)
  }
  return { hosts: differing, problems }
}

const IMPORTABLE = 'a file that exists ("./my-module.ts") or an installed npm package'

function unknownModule(name: string, declared: readonly ModuleDeclaration[]): Problem {
  const near = didYouMean(
    nearest(
      name,
      declared.map((module) => module.name),
    ),
  )
  const text = `unknown module${near || ', expected "from" with its file or npm package'}`
  return { path: ['modules', name], text }
}

/** Our own routing modules keep their names; the operator's become what to `import()`. */
export function checkRoutingModules(
  names: readonly Placed<string>[],
  directory: string,
): { readonly chain: readonly string[]; readonly problems: Problem[] } {
  const chain: string[] = []
  const problems: Problem[] = []
  const seen = new Set<string>()
  for (const [index, name] of names) {
    const path = ['routing_modules', index]
    const isOurs = ROUTING_MODULES.some((ours) => ours === name)
    const specifier = isOurs ? name : importable(name, directory)
    if (seen.has(name)) {
      problems.push({ path, text: `found ${JSON.stringify(name)} twice, expected it once` })
    } else if (specifier === undefined) {
      const near = didYouMean(nearest(name, ROUTING_MODULES))
      const expected = `expected ${oneOf(ROUTING_MODULES)}, ${IMPORTABLE}`
      problems.push({ path, text: `found ${JSON.stringify(name)}, ${expected}${near}` })
    } else {
      chain.push(specifier)
    }
    seen.add(name)
  }
  return { chain, problems }
}

/** What `import()` takes for a file or package named in a file of this directory, if it is there. */
function importable(from: string, directory: string): string | undefined {
  if (/^\.{1,2}\//.test(from) || isAbsolute(from)) {
    const file = resolve(directory, from)
    return existsSync(file) ? pathToFileURL(file).href : undefined
  }
  try {
    const file = createRequire(join(directory, 'meerkat.toml')).resolve(from)
    return isAbsolute(file) ? pathToFileURL(file).href : file
  } catch (error) {
    const isThere = error instanceof Error && 'code' in error && error.code !== 'MODULE_NOT_FOUND'
    return isThere ? from : undefined
  }
}

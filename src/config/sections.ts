/** Sections of the configuration file. */
import { z } from 'zod'
import { componentListener } from './component-schema.ts'
import { serverListener } from './federation-schema.ts'
import { httpListener } from './http-schema.ts'
import type { Listeners } from './listeners.ts'
import type { HostModules, ModuleSettings } from './modules.ts'
import { check, type Placed, type Problem, soundElements, unknownKey } from './problems.ts'
import { clientListener, type FileSettings, fileSchema, moduleSwitches } from './schema.ts'

/** What is right by itself, also where its neighbours are wrong. */
type Placements = {
  readonly domains: readonly Placed<string>[]
  readonly routing_modules: readonly Placed<string>[]
  readonly listeners: Listeners
  readonly cluster: FileSettings['cluster']
  readonly modules: FileSettings['modules']
  readonly host: FileSettings['host']
}

type Sections = Pick<
  FileSettings,
  | 'data_dir'
  | 'workers'
  | 'tls'
  | 's2s'
  | 'auth'
  | 'storage'
  | 'limits'
  | 'delivery'
  | 'log'
  | 'admin'
  | 'tracing'
>

type SoundSections = { readonly [Key in keyof Sections]: Sections[Key] | undefined } & {
  readonly placed: Placements
}

/** Each section by itself, so that what is wrong in one hides nothing of the others. */
export function checkSections(input: unknown, problems: Problem[]): SoundSections {
  const { shape } = fileSchema
  const known = Object.keys(shape)
  const table: Readonly<Record<string, unknown>> = { ...Object(input) }
  for (const key of Object.keys(table)) {
    if (!known.includes(key)) problems.push({ path: [key], text: unknownKey(key, known) })
  }
  function section<T>(key: keyof typeof shape, schema: z.ZodType<T>): T | undefined {
    const checked = check(schema, table[key], [key])
    if (checked.ok) return checked.value
    problems.push(...checked.problems)
    return undefined
  }
  section('domains', shape.domains)
  section('listen', shape.listen)
  const routing = section('routing_modules', shape.routing_modules)
  return {
    data_dir: section('data_dir', shape.data_dir),
    workers: section('workers', shape.workers),
    tls: section('tls', shape.tls),
    s2s: section('s2s', shape.s2s),
    auth: section('auth', shape.auth),
    storage: section('storage', shape.storage),
    limits: section('limits', shape.limits),
    delivery: section('delivery', shape.delivery),
    log: section('log', shape.log),
    tracing: section('tracing', shape.tracing),
    admin: section('admin', shape.admin),
    placed: {
      domains: soundElements(shape.domains.element, table.domains),
      routing_modules: soundElements(z.string(), routing ?? table.routing_modules),
      listeners: {
        c2s: soundElements(clientListener, Object(table.listen).c2s ?? [{}]),
        component: soundElements(componentListener, Object(table.listen).component),
        s2s: soundElements(serverListener, Object(table.listen).s2s ?? []),
        http: soundElements(httpListener, Object(table.listen).http ?? []),
      },
      cluster: section('cluster', shape.cluster),
      modules: section('modules', shape.modules) ?? soundModules(table.modules),
      host: section('host', shape.host) ?? {},
    },
  }
}

/** For people to compare with those of another file. */
export function shapeOf(
  { placed: _, ...sections }: Sections & SoundSections,
  all: Omit<Placements, 'domains' | 'modules' | 'host'> & {
    readonly domains: readonly string[]
    readonly modules: ReadonlyMap<string, ModuleSettings>
    readonly hosts: ReadonlyMap<string, HostModules>
  },
): object {
  const tableOf = (settings: ModuleSettings | 'off') =>
    settings === 'off' ? { enabled: false } : { enabled: true, ...Object(settings.settings) }
  const tablesOf = (modules: ReadonlyMap<string, ModuleSettings | 'off'>) =>
    Object.fromEntries([...modules].map(([name, settings]) => [name, tableOf(settings)]))
  const hosts = [...all.hosts].map(([name, modules]) => [name, { modules: tablesOf(modules) }])
  return {
    domains: all.domains,
    ...sections,
    routing_modules: all.routing_modules.map(([, name]) => name),
    listen: Object.fromEntries(
      Object.entries(all.listeners).map(([kind, placed]) => [
        kind,
        placed.map(([, listener]: Placed<unknown>) => listener),
      ]),
    ),
    modules: tablesOf(all.modules),
    host: Object.fromEntries(hosts),
  }
}

export function isComplete(sections: SoundSections): sections is Sections & SoundSections {
  return Object.values(sections).every((section) => section !== undefined)
}

function soundModules(tables: unknown): FileSettings['modules'] {
  const entries = Object.entries(Object(tables)).flatMap(([name, table]) => {
    const checked = check(moduleSwitches, table)
    return checked.ok ? [[name, checked.value] as const] : []
  })
  return Object.fromEntries(entries)
}

import { z } from 'zod'
import { type Command, CommandError, defineCommand } from '../command.ts'

/** Modules that run, with the settings with which they were started. */
export interface AdminModules {
  readonly loaded: readonly LoadedModule[]
}

export type LoadedModule = {
  readonly module: {
    readonly name: string
    readonly implements: readonly string[]
    readonly commands?: readonly { readonly name: string }[]
  }
  readonly config: unknown
}

const listModules = defineCommand({
  name: 'module list',
  description: 'List the modules that run, what they implement and their settings',
  permission: 'server:read',
  needsServer: false,
  args: z.strictObject({ name: z.string().optional().describe('Only this one.') }),
  positional: ['name'],
  examples: ['', 'archive --json'],
  result: z.strictObject({
    modules: z.array(
      z.strictObject({
        name: z.string(),
        implements: z.array(z.string()).describe('Specifications with the version followed.'),
        commands: z.array(z.string()),
        settings: z.record(z.string(), z.unknown()).describe('Durations in milliseconds.'),
      }),
    ),
  }),
  text: ({ modules }) =>
    modules
      .map(({ name, implements: specifications, settings }) =>
        [
          `${name}${specifications.length > 0 ? ` (${specifications.join(', ')})` : ''}`,
          ...Object.entries(settings).map(([key, value]) => `  ${key} = ${JSON.stringify(value)}`),
        ].join('\n'),
      )
      .join('\n'),
  async run(context, { name }) {
    const all = context.loadedModules.loaded
    const meant = all.filter(({ module }) => name === undefined || module.name === name)
    if (meant.length === 0) throw new CommandError('not-found', `there is no module ${name}`)
    return {
      modules: meant.map(({ module, config }) => ({
        name: module.name,
        implements: [...module.implements],
        commands: (module.commands ?? []).map((command) => command.name),
        settings: shown(config),
      })),
    }
  },
})

export const moduleCommands: readonly Command[] = [listModules]

/** Plain values, and no secrets. */
function shown(config: unknown): Record<string, unknown> {
  if (typeof config !== 'object' || config === null) return {}
  const text = JSON.stringify(config, (key, value: unknown) => {
    if (/secret|password|token/.test(key)) return '…'
    if (value instanceof Map) return Object.fromEntries(value)
    if (value instanceof Set) return [...value]
    return value
  })
  return JSON.parse(text) as Record<string, unknown>
}

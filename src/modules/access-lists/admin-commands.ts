import { z } from 'zod'
import { type DeclaredCommand, declareCommand } from '../../core/command.ts'
import { addressScope } from '../../core/config-types.ts'
import { LISTS, type ListName } from './store.ts'

const address = addressScope().describe(
  'A domain, an account or a resource elsewhere, such as example.org or mallory@example.org.',
)

const EFFECT = {
  blacklist: 'with whom nobody here communicates',
  whitelist: 'with whom alone people here communicate, once it names anybody',
} as const satisfies Record<ListName, string>

function commandsOf(list: ListName) {
  return {
    show: declareCommand({
      name: `${list} list`,
      description: `Show the ${list}: ${EFFECT[list]}`,
      permission: 'server:read',
      needsServer: false,
      args: z.strictObject({}),
      positional: [],
      examples: [''],
      result: z.strictObject({ addresses: z.array(z.string()) }),
      text: ({ addresses }) => addresses.join('\n') || 'nobody',
    }),
    add: declareCommand({
      name: `${list} add`,
      description: `Put an address on the ${list}: ${EFFECT[list]}`,
      permission: 'server:write',
      needsServer: false,
      args: z.strictObject({ address }),
      positional: ['address'],
      examples: ['example.org', 'mallory@example.org'],
      result: z.strictObject({ address: z.string() }),
      text: (result) => `${result.address} is on the ${list}`,
    }),
    remove: declareCommand({
      name: `${list} remove`,
      description: `Take an address off the ${list}`,
      permission: 'server:write',
      needsServer: false,
      args: z.strictObject({ address }),
      positional: ['address'],
      examples: ['example.org'],
      result: z.strictObject({ address: z.string() }),
      text: (result) => `${result.address} is not on the ${list} any more`,
    }),
  }
}

export const listCommands = {
  blacklist: commandsOf('blacklist'),
  whitelist: commandsOf('whitelist'),
} as const satisfies Record<ListName, unknown>

export const accessCommands: readonly DeclaredCommand[] = LISTS.flatMap((list) =>
  Object.values(listCommands[list]),
) as readonly DeclaredCommand[]

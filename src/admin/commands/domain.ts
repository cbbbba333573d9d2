import { z } from 'zod'
import type { Failure } from '../../core/cluster.ts'
import { counted, table } from '../../core/command-text.ts'
import { domain } from '../../core/config-types.ts'
import { type Command, CommandError, defineCommand } from '../command.ts'

const listDomains = defineCommand({
  name: 'domain list',
  description: 'List the domains whose users live here',
  permission: 'server:read',
  needsServer: false,
  args: z.strictObject({}),
  positional: [],
  examples: [''],
  result: z.strictObject({
    domains: z.array(
      z.strictObject({
        name: z.string(),
        state: z.enum(['enabled', 'disabled', 'removing']),
        is_fixed: z.boolean().describe('In the configuration file.'),
        accounts: z.int(),
        sessions: z.int(),
      }),
    ),
  }),
  text: ({ domains }) =>
    table(
      domains.map(({ name, state, is_fixed, accounts, sessions }) => [
        name,
        is_fixed ? 'of the file' : state,
        counted(accounts, 'account'),
        counted(sessions, 'session'),
      ]),
    ),
  async run({ hosting, accounts, sessions }) {
    const connected = new Map<string, number>()
    for (const { jid } of sessions.values()) {
      connected.set(jid.domain, (connected.get(jid.domain) ?? 0) + 1)
    }
    const counts = hosting.list().map(async ({ name, state, isFixed }) => ({
      name,
      state,
      is_fixed: isFixed,
      accounts: await accounts.count(name),
      sessions: connected.get(name) ?? 0,
    }))
    return { domains: await Promise.all(counts) }
  },
})

/** Domains besides those of the file. Rejects with CommandError; changes resolve to nodes that failed. */
export interface AdminDomains {
  /** All domains, with what is to be said of each. */
  list(): readonly AdminDomain[]
  add(name: string): Promise<readonly Failure[]>
  enable(name: string): Promise<readonly Failure[]>
  disable(name: string): Promise<readonly Failure[]>
  /** Resolves to the number of rows that were removed; told of them as it goes. */
  remove(name: string, onRows: (rows: number) => void): Promise<number>
}

export type AdminDomain = {
  readonly name: string
  readonly state: 'enabled' | 'disabled' | 'removing'
  /** In the configuration file, where it is changed. */
  readonly isFixed: boolean
}

const name = domain().describe('The domain, such as im.example.com.')

/** A command on one domain that was, or is to be, added. */
function change(verb: 'add' | 'enable' | 'disable', description: string, done: string): Command {
  return defineCommand({
    name: `domain ${verb}`,
    description,
    permission: 'server:write',
    needsServer: true,
    args: z.strictObject({ domain: name }),
    positional: ['domain'],
    examples: ['verona.example'],
    result: z.strictObject({
      domain: z.string(),
      failures: z
        .array(z.strictObject({ node: z.string(), reason: z.string() }))
        .describe('Other nodes that could not do the same: they go on as before.'),
    }),
    text: ({ domain, failures }) =>
      [
        `${domain} is ${done}`,
        ...failures.map(({ node, reason }) => `warning: not on node ${node}: ${reason}`),
      ].join('\n'),
    async run({ hosting }, args) {
      return { domain: args.domain, failures: [...(await hosting[verb](args.domain))] }
    },
  })
}

const removeDomain = defineCommand({
  name: 'domain remove',
  description: 'Remove a domain that was added, with everything kept of it and its accounts',
  permission: 'server:write',
  needsServer: true,
  args: z.strictObject({ domain: name }),
  positional: ['domain'],
  examples: ['verona.example'],
  result: z.strictObject({ domain: z.string(), rows: z.int().describe('Rows of tables removed.') }),
  text: (result) => `${result.domain} is removed, ${counted(result.rows, 'row')}`,
  async run({ hosting }, args, { progress }) {
    const rows = await hosting.remove(args.domain, (done) => progress({ done, of: 'rows' }))
    return { domain: args.domain, rows }
  },
})

export const domainCommands: readonly Command[] = [
  listDomains,
  change('add', 'Host one more domain, without a restart', 'hosted'),
  change(
    'disable',
    'End the sessions of a domain that was added, and return what comes for it',
    'disabled',
  ),
  change('enable', 'Host a disabled domain again', 'hosted again'),
  removeDomain,
]

/** Throws CommandError unless it is a domain of this server. */
export function ensureServed(domains: readonly string[], domain: string): void {
  if (domains.includes(domain)) return
  const served = domains.join(', ')
  throw new CommandError(
    'not-found',
    `${domain} is not a domain of this server, which has ${served}`,
  )
}

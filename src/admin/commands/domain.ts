import { z } from 'zod'
import { counted, table } from '../../core/command-text.ts'
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
    domains: z.array(z.strictObject({ name: z.string(), accounts: z.int(), sessions: z.int() })),
  }),
  text: ({ domains }) =>
    table(
      domains.map(({ name, accounts, sessions }) => [
        name,
        counted(accounts, 'account'),
        counted(sessions, 'session'),
      ]),
    ),
  async run({ domains, accounts, sessions }) {
    const connected = new Map<string, number>()
    for (const { jid } of sessions.values()) {
      connected.set(jid.domain, (connected.get(jid.domain) ?? 0) + 1)
    }
    const counts = domains.map(async (name) => ({
      name,
      accounts: await accounts.count(name),
      sessions: connected.get(name) ?? 0,
    }))
    return { domains: await Promise.all(counts) }
  },
})

export const domainCommands: readonly Command[] = [listDomains]

/** Throws CommandError unless it is a domain of this server. */
export function ensureServed(domains: readonly string[], domain: string): void {
  if (domains.includes(domain)) return
  const served = domains.join(', ')
  throw new CommandError(
    'not-found',
    `${domain} is not a domain of this server, which has ${served}`,
  )
}

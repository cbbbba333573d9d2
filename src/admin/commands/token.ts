import { z } from 'zod'
import { ROLES } from '../../core/command-access.ts'
import { table } from '../../core/command-text.ts'
import { duration } from '../../core/config-types.ts'
import { type Command, CommandError, defineCommand } from '../command.ts'
import type { Tokens } from '../tokens.ts'
import { ensureServed } from './domain.ts'

export type AdminTokens = Pick<Tokens, 'create' | 'list' | 'revoke'>

const role = z.enum(ROLES)

const createToken = defineCommand({
  name: 'token create',
  description: 'Make a token for the HTTP API; it is shown once',
  permission: 'tokens:write',
  needsServer: false,
  args: z.strictObject({
    name: z.string().min(1).max(200).describe('What it is for, such as "backup script".'),
    role: role.describe(
      'admin: everything; domain-admin: users of some domains; read-only: changes nothing, and ' +
        "shows nobody's messages.",
    ),
    domain: z
      .string()
      .optional()
      .describe('Only for this domain, or for several with commas between them.'),
    expires: duration({ min: '1s' }).optional().describe('How long it is good for, such as 90d.'),
  }),
  positional: ['name'],
  examples: ['"the board" --role read-only', 'school --role domain-admin --domain s.example.com'],
  result: z.strictObject({
    token: z.string().describe('Nobody can tell it again.'),
    id: z.string(),
    expires_at: z.iso.datetime().nullable(),
  }),
  text: ({ token }) => token,
  async run({ tokens, domains: served }, { name, role, domain, expires }) {
    const domains = domain?.split(',').map((each) => each.trim().toLowerCase())
    for (const each of domains ?? []) ensureServed(served, each)
    if (role === 'domain-admin' && domains === undefined) {
      throw new CommandError('invalid', 'domain: expected the domains of a domain-admin')
    }
    if (role === 'admin' && domains !== undefined) {
      throw new CommandError('invalid', 'domain: an admin has all domains')
    }
    const expiresAt = expires === undefined ? undefined : Date.now() + expires
    const { token, id } = await tokens.create({ name, role, domains, expiresAt })
    return { token, id, expires_at: moment(expiresAt) }
  },
})

const listTokens = defineCommand({
  name: 'token list',
  description: 'List the tokens for the HTTP API, and when each was last used',
  permission: 'tokens:read',
  needsServer: false,
  args: z.strictObject({}),
  positional: [],
  examples: [''],
  result: z.strictObject({
    tokens: z.array(
      z.strictObject({
        id: z.string(),
        name: z.string(),
        role,
        domains: z.array(z.string()).nullable().describe('Null for all.'),
        created_at: z.iso.datetime(),
        expires_at: z.iso.datetime().nullable(),
        last_used_at: z.iso.datetime().nullable().describe('To the minute.'),
      }),
    ),
  }),
  text: ({ tokens }) =>
    table(
      tokens.map(({ id, name, role, domains, last_used_at }) => [
        id,
        role,
        domains?.join(' ') ?? 'all domains',
        last_used_at === null ? 'never used' : `last used ${last_used_at}`,
        name,
      ]),
    ) || 'no tokens',
  async run({ tokens }) {
    const all = await tokens.list()
    return {
      tokens: all.map(({ id, name, role, domains, createdAt, expiresAt, lastUsedAt }) => ({
        id,
        name,
        role,
        domains: domains === undefined ? null : [...domains],
        created_at: new Date(createdAt).toISOString(),
        expires_at: moment(expiresAt),
        last_used_at: moment(lastUsedAt),
      })),
    }
  },
})

const revokeToken = defineCommand({
  name: 'token revoke',
  description: 'Let nobody in with a token any more',
  permission: 'tokens:write',
  needsServer: false,
  args: z.strictObject({ id: z.string().min(1).describe('Its id, from the list.') }),
  positional: ['id'],
  examples: ['4f0c2a9b71de'],
  result: z.strictObject({ id: z.string() }),
  text: ({ id }) => `${id} is revoked`,
  async run({ tokens }, { id }) {
    if (!(await tokens.revoke(id))) throw new CommandError('not-found', `there is no token ${id}`)
    return { id }
  },
})

export const tokenCommands: readonly Command[] = [createToken, listTokens, revokeToken]

function moment(at: number | undefined): string | null {
  return at === undefined ? null : new Date(at).toISOString()
}

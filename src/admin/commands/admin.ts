import { z } from 'zod'
import { accountArgument } from '../../core/command.ts'
import { table } from '../../core/command-text.ts'
import type { Administrators } from '../administrators.ts'
import { type Command, CommandError, defineCommand } from '../command.ts'
import { noAccount } from './account.ts'

export type AdminAdministrators = Pick<Administrators, 'all' | 'has' | 'isFixed' | 'add' | 'remove'>

const listAdministrators = defineCommand({
  name: 'admin list',
  description: 'List the accounts whose clients may give commands',
  permission: 'server:read',
  needsServer: false,
  args: z.strictObject({}),
  positional: [],
  examples: [''],
  result: z.strictObject({
    admins: z.array(
      z.strictObject({
        jid: z.string(),
        is_fixed: z.boolean().describe('In the configuration file.'),
      }),
    ),
  }),
  text: ({ admins }) =>
    table(admins.map(({ jid, is_fixed }) => [jid, is_fixed ? 'of the file' : 'added'])) || 'nobody',
  async run({ administrators }) {
    return { admins: administrators.all.map(({ jid, isFixed }) => ({ jid, is_fixed: isFixed })) }
  },
})

const addAdministrator = defineCommand({
  name: 'admin add',
  description: 'Let the clients of an account give every command',
  permission: 'server:write',
  needsServer: false,
  args: z.strictObject({ jid: accountArgument }),
  positional: ['jid'],
  examples: ['alice@localhost'],
  result: z.strictObject({ jid: z.string() }),
  text: ({ jid }) => `${jid} may give every command`,
  async run({ accounts, administrators }, { jid }) {
    if ((await accounts.find(jid)) === undefined) throw noAccount(jid)
    await administrators.add(jid)
    return { jid: jid.full }
  },
})

const removeAdministrator = defineCommand({
  name: 'admin remove',
  description: 'Let the clients of an account give commands no more',
  permission: 'server:write',
  needsServer: false,
  args: z.strictObject({ jid: accountArgument }),
  positional: ['jid'],
  examples: ['alice@localhost'],
  result: z.strictObject({ jid: z.string() }),
  text: ({ jid }) => `${jid} may give no commands`,
  async run({ administrators }, { jid }) {
    if (administrators.isFixed(jid)) {
      throw new CommandError('conflict', `${jid} is in the configuration file, and changes there`)
    }
    if (!(await administrators.remove(jid))) {
      throw new CommandError('not-found', `${jid} is no administrator`)
    }
    return { jid: jid.full }
  },
})

export const adminCommands: readonly Command[] = [
  listAdministrators,
  addAdministrator,
  removeAdministrator,
]

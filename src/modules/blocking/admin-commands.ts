import { z } from 'zod'
import { declareCommand } from '../../core/command.ts'
import { accountJid } from '../../core/config-types.ts'

export const showBlocklist = declareCommand({
  name: 'blocklist list',
  description: 'Show whom an account has blocked',
  permission: 'privacy:read',
  needsServer: false,
  args: z.strictObject({ jid: accountJid().describe('The account, such as alice@localhost.') }),
  positional: ['jid'],
  examples: ['alice@localhost'],
  result: z.strictObject({ blocked: z.array(z.string()) }),
  text: ({ blocked }) => blocked.join('\n') || 'nobody',
})

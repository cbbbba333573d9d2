import { z } from 'zod'
import { accountArgument, declareCommand } from '../../core/command.ts'

export const showBlocklist = declareCommand({
  name: 'blocklist list',
  description: 'Show whom an account has blocked',
  permission: 'privacy:read',
  needsServer: false,
  args: z.strictObject({ jid: accountArgument }),
  positional: ['jid'],
  examples: ['alice@localhost'],
  result: z.strictObject({ blocked: z.array(z.string()) }),
  text: ({ blocked }) => blocked.join('\n') || 'nobody',
})

import { z } from 'zod'
import { accountJid, duration } from '../../core/config-types.ts'
import type { BareJid } from '../../xmpp/jid.ts'
import { type Command, CommandError, defineCommand } from '../command.ts'
import { ensureServed } from './domain.ts'
import { counted } from './text.ts'

export interface AdminArchive {
  /**
   * Removes messages archived before `before` (milliseconds since the epoch), of one account or of all.
   * Resolves to how many these were; `undefined` if there is no archive.
   */
  purge(before: number, owner?: BareJid): Promise<number | undefined>
}

const purgeArchive = defineCommand({
  name: 'archive purge',
  description: 'Remove old messages from the archive of an account, or from all',
  permission: 'archive:write',
  needsServer: true,
  args: z.strictObject({
    older_than: duration().describe('How old messages are at least, such as 90d.'),
    jid: accountJid().optional().describe('Only the archive of this account.'),
  }),
  positional: ['older_than', 'jid'],
  examples: ['90d', '1h alice@localhost'],
  result: z.strictObject({ removed: z.int() }),
  text: ({ removed }) => `${counted(removed, 'message')} removed`,
  async run({ archive, domains }, { older_than, jid }) {
    if (jid !== undefined) ensureServed(domains, jid.domain)
    const removed = await archive.purge(Date.now() - older_than, jid)
    if (removed === undefined) throw new CommandError('unavailable', 'there is no archive')
    return { removed }
  },
})

export const archiveCommands: readonly Command[] = [purgeArchive]

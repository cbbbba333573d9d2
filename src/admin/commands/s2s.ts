import { z } from 'zod'
import { counted, table } from '../../core/command-text.ts'
import { domain } from '../../core/config-types.ts'
import type { Everywhere } from '../../core/everywhere.ts'
import type { LinkStatus } from '../../core/remote-servers.ts'
import { type Command, CommandError, defineCommand } from '../command.ts'
import { silenceText, silentNodes } from '../tallies.ts'

/** The ways to other servers that all nodes have. */
export interface AdminFederation {
  list(): Promise<Everywhere<readonly LinkStatus[]>>
  /** Ends the connections to a server; how many there were. */
  disconnect(remote: string): Promise<Everywhere<number>>
}

const listLinks = defineCommand({
  name: 's2s list',
  description: 'List the connections to other servers, and what waits for them',
  permission: 'server:read',
  needsServer: true,
  args: z.strictObject({
    remote: z.string().optional().describe('Only those to this server.'),
  }),
  positional: ['remote'],
  examples: ['', 'example.org'],
  result: z.strictObject({
    connections: z.array(
      z.strictObject({
        local: z.string(),
        remote: z.string(),
        node: z.string().describe('Which node has it.'),
        state: z.enum(['open', 'connecting', 'waiting', 'idle']),
        opened_by_us: z.boolean(),
        two_way: z.boolean().describe('Stanzas go both ways on it (XEP-0288).'),
        acknowledged: z.boolean().describe('Stanzas are acknowledged (XEP-0198).'),
        waiting: z.int().describe('Stanzas that wait for a connection.'),
        waiting_bytes: z.int(),
        unacknowledged: z.int().describe('Stanzas sent whose arrival is not known.'),
      }),
    ),
    silent: silentNodes,
  }),
  text: ({ connections, silent }) =>
    (table(
      connections.map((each) => [
        each.local,
        each.remote,
        each.node,
        each.state,
        `${counted(each.waiting, 'stanza')} waiting`,
        `${each.unacknowledged} unacknowledged`,
      ]),
    ) || 'no connections') + silenceText(silent),
  async run({ federation }, { remote }) {
    const { answers, silent } = await federation.list()
    const links = answers.flatMap(({ node, answer }) => answer.map((link) => ({ ...link, node })))
    const meant = links.filter((link) => remote === undefined || link.remote === remote)
    return {
      connections: meant.map(({ isOurs, isTwoWay, isManaged, waitingBytes, ...rest }) => ({
        ...rest,
        opened_by_us: isOurs,
        two_way: isTwoWay,
        acknowledged: isManaged,
        waiting_bytes: waitingBytes,
      })),
      silent: [...silent],
    }
  },
})

const closeLink = defineCommand({
  name: 's2s close',
  description: 'Close the connections to another server; what comes later opens new ones',
  permission: 'server:write',
  needsServer: true,
  args: z.strictObject({ remote: domain().describe('The domain of the other server.') }),
  positional: ['remote'],
  examples: ['example.org'],
  result: z.strictObject({ closed: z.int(), silent: silentNodes }),
  text: ({ closed, silent }) => `${counted(closed, 'connection')} closed${silenceText(silent)}`,
  async run({ federation }, { remote }) {
    const { answers, silent } = await federation.disconnect(remote)
    const closed = answers.reduce((sum, { answer }) => sum + answer, 0)
    if (closed === 0) throw new CommandError('not-found', `there is no connection to ${remote}`)
    return { closed, silent: [...silent] }
  },
})

export const s2sCommands: readonly Command[] = [listLinks, closeLink]

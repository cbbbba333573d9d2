import { z } from 'zod'
import { counted, table } from '../../core/command-text.ts'
import { type Command, CommandError, defineCommand } from '../command.ts'

/** Ways to other servers. */
export interface AdminFederation {
  readonly links: Iterable<AdminLink>
}

export interface AdminLink {
  readonly local: string
  readonly remote: string
  readonly status: {
    readonly state: 'open' | 'connecting' | 'waiting' | 'idle'
    readonly isOurs: boolean
    readonly isTwoWay: boolean
    readonly isManaged: boolean
    readonly waiting: number
    readonly waitingBytes: number
    readonly unacknowledged: number
  }
  /** False: there is no connection. */
  disconnect(): boolean
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
        state: z.enum(['open', 'connecting', 'waiting', 'idle']),
        opened_by_us: z.boolean(),
        two_way: z.boolean().describe('Stanzas go both ways on it (XEP-0288).'),
        acknowledged: z.boolean().describe('Stanzas are acknowledged (XEP-0198).'),
        waiting: z.int().describe('Stanzas that wait for a connection.'),
        waiting_bytes: z.int(),
        unacknowledged: z.int().describe('Stanzas sent whose arrival is not known.'),
      }),
    ),
  }),
  text: ({ connections }) =>
    table(
      connections.map((each) => [
        each.local,
        each.remote,
        each.state,
        `${counted(each.waiting, 'stanza')} waiting`,
        `${each.unacknowledged} unacknowledged`,
      ]),
    ) || 'no connections',
  async run({ federation }, { remote }) {
    const links = [...(federation?.links ?? [])]
    const meant = links.filter((link) => remote === undefined || link.remote === remote)
    return {
      connections: meant.map(({ local, remote, status }) => ({
        local,
        remote,
        state: status.state,
        opened_by_us: status.isOurs,
        two_way: status.isTwoWay,
        acknowledged: status.isManaged,
        waiting: status.waiting,
        waiting_bytes: status.waitingBytes,
        unacknowledged: status.unacknowledged,
      })),
    }
  },
})

const closeLink = defineCommand({
  name: 's2s close',
  description: 'Close the connections to another server; what comes later opens new ones',
  permission: 'server:write',
  needsServer: true,
  args: z.strictObject({ remote: z.string().min(1).describe('The domain of the other server.') }),
  positional: ['remote'],
  examples: ['example.org'],
  result: z.strictObject({ closed: z.int() }),
  text: ({ closed }) => `${counted(closed, 'connection')} closed`,
  async run({ federation }, { remote }) {
    const links = [...(federation?.links ?? [])].filter((link) => link.remote === remote)
    const closed = links.filter((link) => link.disconnect()).length
    if (closed === 0) throw new CommandError('not-found', `there is no connection to ${remote}`)
    return { closed }
  },
})

export const s2sCommands: readonly Command[] = [listLinks, closeLink]

import { z } from 'zod'
import type { Resource } from '../../core/session.ts'
import { type Command, defineCommand } from '../command.ts'
import { table } from './text.ts'

/** Who is connected; nobody while the server does not run. */
export interface AdminSessions {
  readonly size: number
  values(): Iterable<Resource>
}

const listSessions = defineCommand({
  name: 'session list',
  description: 'List who is connected, and from where',
  permission: 'sessions:read',
  needsServer: true,
  args: z.strictObject({}),
  positional: [],
  examples: [''],
  result: z.strictObject({
    sessions: z.array(
      z.strictObject({
        jid: z.string(),
        priority: z.int().nullable().describe('Null while the resource is not available.'),
        connection: z.string(),
        address: z.string(),
        mechanism: z.string(),
        opened_at: z.iso.datetime(),
      }),
    ),
  }),
  text: ({ sessions }) =>
    table(
      sessions.map((session) => [
        session.jid,
        session.priority === null ? '-' : String(session.priority),
        session.connection,
        session.address,
        session.mechanism,
        session.opened_at,
      ]),
    ) || 'no sessions',
  async run(context) {
    const sessions = Array.from(context.sessions.values(), ({ jid, priority, info }) => ({
      jid: jid.full,
      priority: priority ?? null,
      connection: info.connection,
      address: info.address,
      mechanism: info.mechanism,
      opened_at: new Date(info.openedAt).toISOString(),
    }))
    return { sessions }
  },
})

export const sessionCommands: readonly Command[] = [listSessions]

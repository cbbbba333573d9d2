import { z } from 'zod'
import { accountArgument, declareCommand } from '../../core/command.ts'
import { counted, table } from '../../core/command-text.ts'
import { encode } from '../../xmpp/octets.ts'
import { CLIENT_NS } from '../../xmpp/stanza.ts'
import { readElement } from '../../xmpp/xml-parser.ts'
import type { StoredMessage } from './store.ts'

export const countOffline = declareCommand({
  name: 'offline count',
  description: 'Count the messages that wait for an account',
  permission: 'offline:read',
  needsServer: false,
  args: z.strictObject({ jid: accountArgument }),
  positional: ['jid'],
  examples: ['alice@localhost'],
  result: z.strictObject({ messages: z.int(), bytes: z.int() }),
  text: ({ messages, bytes }) => `${counted(messages, 'message')}, ${bytes} bytes`,
})

export const listOffline = declareCommand({
  name: 'offline list',
  description: 'List the messages that wait for an account, oldest first',
  permission: 'messages:content',
  needsServer: false,
  args: z.strictObject({
    jid: accountArgument,
    limit: z.coerce.number().int().min(1).max(1_000).default(50).describe('How many at most.'),
    after: z.coerce
      .number()
      .int()
      .min(0)
      .default(0)
      .describe('Only those behind this one, by `id`: the last of the page before.'),
  }),
  positional: ['jid'],
  examples: ['alice@localhost', 'alice@localhost --limit 10'],
  result: z.strictObject({
    messages: z.array(
      z.strictObject({
        id: z.int(),
        stored_at: z.iso.datetime(),
        from: z.string().nullable(),
        body: z.string().nullable(),
      }),
    ),
  }),
  text: ({ messages }) =>
    table(messages.map(({ stored_at, from, body }) => [stored_at, from ?? '-', body ?? '-'])) ||
    'no messages',
})

export const purgeOffline = declareCommand({
  name: 'offline purge',
  description: 'Forget the messages that wait for an account',
  permission: 'offline:write',
  needsServer: true,
  args: z.strictObject({ jid: accountArgument }),
  positional: ['jid'],
  examples: ['alice@localhost'],
  result: z.strictObject({ removed: z.int() }),
  text: ({ removed }) => `${counted(removed, 'message')} removed`,
})

export function messageResult({ seq, stored_at, stanza }: StoredMessage) {
  const element = readElement(encode(stanza), CLIENT_NS)
  return {
    id: seq,
    stored_at: new Date(stored_at).toISOString(),
    from: element.attr('from') ?? null,
    body: element.child('body')?.text ?? null,
  }
}

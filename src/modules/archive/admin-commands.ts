import { z } from 'zod'
import { declareCommand } from '../../core/command.ts'
import { counted, table } from '../../core/command-text.ts'
import { accountJid, contactJid, duration } from '../../core/config-types.ts'
import { encode } from '../../xmpp/octets.ts'
import { CLIENT_NS } from '../../xmpp/stanza.ts'
import { readElement } from '../../xmpp/xml-parser.ts'
import { ALL_IDS, boundAt, timeOf } from './ids.ts'
import type { Found, Selection } from './store.ts'

const selected = {
  jid: accountJid().describe('Whose archive, such as alice@localhost.'),
  with: contactJid().optional().describe('Only messages exchanged with this address.'),
  start: z.iso.datetime({ offset: true }).optional().describe('Only from this moment on.'),
  end: z.iso.datetime({ offset: true }).optional().describe('Only before this moment.'),
}

export const searchArchive = declareCommand({
  name: 'archive search',
  description: 'Show messages of an archive, oldest first',
  permission: 'messages:content',
  needsServer: false,
  args: z.strictObject({
    ...selected,
    text: z
      .string()
      .optional()
      .describe('Only messages with these words; needs `fulltext` of `[modules.archive]`.'),
    after: z.string().optional().describe('Only those behind this one, by `id`.'),
    limit: z.coerce.number().int().min(1).max(1_000).default(50).describe('How many at most.'),
  }),
  positional: ['jid'],
  examples: [
    'alice@localhost',
    'alice@localhost --with bob@localhost --start 2026-01-01T00:00:00Z',
  ],
  result: z.strictObject({
    messages: z.array(
      z.strictObject({
        id: z.string(),
        at: z.iso.datetime(),
        from: z.string().nullable(),
        to: z.string().nullable(),
        body: z.string().nullable(),
      }),
    ),
  }),
  text: ({ messages }) =>
    table(
      messages.map(({ at, from, to, body }) => [at, from ?? '-', '→', to ?? '-', body ?? '-']),
    ) || 'no messages',
})

export const countArchive = declareCommand({
  name: 'archive count',
  description: 'Count the messages of an archive',
  permission: 'archive:read',
  needsServer: false,
  args: z.strictObject(selected),
  positional: ['jid'],
  examples: ['alice@localhost'],
  result: z.strictObject({ messages: z.int() }),
  text: ({ messages }) => counted(messages, 'message'),
})

export const purgeArchive = declareCommand({
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
})

export const archiveCommands = [searchArchive, countArchive, purgeArchive]

type Selected = z.output<z.ZodObject<typeof selected>> & {
  readonly text?: string | undefined
  readonly after?: string | undefined
}

export function selectionOf({
  jid,
  with: peer,
  start,
  end,
  text,
  after = '',
}: Selected): Selection {
  const since = start === undefined ? ALL_IDS.after : boundAt(Date.parse(start))
  return {
    owner: jid.full,
    after: after > since ? after : since,
    before: end === undefined ? ALL_IDS.before : boundAt(Date.parse(end)),
    peer,
    search: text,
    withGroupchat: true,
  }
}

export function messageResult({ id, xml }: Found) {
  const element = readElement(encode(xml), CLIENT_NS)
  return {
    id,
    at: new Date(timeOf(id)).toISOString(),
    from: element.attr('from') ?? null,
    to: element.attr('to') ?? null,
    body: element.child('body')?.text ?? null,
  }
}

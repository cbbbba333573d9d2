import { z } from 'zod'
import { accountArgument, declareCommand } from '../../core/command.ts'
import type { AccountLists } from './account-lists.ts'
import { kindsOf, subjectText } from './list-xml.ts'

export const showPrivacyLists = declareCommand({
  name: 'privacy list',
  description: 'Show the privacy lists of an account',
  permission: 'privacy:read',
  needsServer: false,
  args: z.strictObject({ jid: accountArgument }),
  positional: ['jid'],
  examples: ['alice@localhost'],
  result: z.strictObject({
    lists: z.array(
      z.strictObject({
        name: z.string(),
        default: z.boolean().describe('Applies unless a client has chosen another.'),
        items: z.array(
          z.strictObject({
            order: z.int(),
            action: z.enum(['allow', 'deny']),
            type: z.enum(['jid', 'group', 'subscription', 'anybody']),
            value: z.string().nullable(),
            stanzas: z.array(z.string()).describe('Kinds of stanzas; all if there are none.'),
          }),
        ),
      }),
    ),
  }),
  text: ({ lists }) =>
    lists
      .flatMap((list) => [
        `${list.name}${list.default ? ' (default)' : ''}`,
        ...list.items.map(({ order, action, type, value, stanzas }) =>
          [`  ${order}`, action, type, value, ...stanzas].filter((part) => part !== null).join(' '),
        ),
      ])
      .join('\n') || 'no lists',
})

export function listsResult(lists: AccountLists) {
  return lists.all.map((list) => ({
    name: list.name,
    default: lists.default?.name === list.name,
    items: list.items.map(({ order, action, subject, kinds }) => ({
      order,
      action,
      type: subject.type,
      value: subject.type === 'anybody' ? null : subjectText(subject),
      stanzas: kindsOf(kinds),
    })),
  }))
}

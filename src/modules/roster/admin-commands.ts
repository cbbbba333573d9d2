import { z } from 'zod'
import { declareCommand } from '../../core/command.ts'
import { counted, table } from '../../core/command-text.ts'
import { accountJid, contactJid } from '../../core/config-types.ts'
import type { RosterItem } from './roster.ts'
import { isAsked, isAsking, subscriptionOf } from './subscription.ts'

const jid = accountJid().describe('Whose roster, such as alice@localhost.')
const contact = contactJid().describe('The contact, such as bob@example.org.')
const subscription = z.enum(['none', 'to', 'from', 'both'])

const item = z.strictObject({
  jid: z.string(),
  name: z.string(),
  groups: z.array(z.string()),
  subscription,
  asking: z.boolean().describe('The account has asked to see the presence of the contact.'),
  asked: z.boolean().describe('The contact has asked, and waits for an answer.'),
})

export const listRoster = declareCommand({
  name: 'roster list',
  description: 'List the contacts of an account, and who waits to be one',
  permission: 'roster:read',
  needsServer: false,
  args: z.strictObject({ jid }),
  positional: ['jid'],
  examples: ['alice@localhost'],
  result: z.strictObject({ items: z.array(item) }),
  text: ({ items }) =>
    table(items.map((each) => [each.jid, each.subscription, each.name, each.groups.join(', ')])) ||
    'no contacts',
})

export const setRosterItem = declareCommand({
  name: 'roster set',
  description: 'Put a contact into the roster of an account, or change it',
  permission: 'roster:write',
  needsServer: false,
  args: z.strictObject({
    jid,
    contact,
    name: z.string().max(1_000).optional().describe('What the account calls the contact.'),
    groups: z.string().max(10_000).optional().describe('Groups, with commas between them.'),
    subscription: subscription
      .optional()
      .describe('Who sees whose presence, as the account has it: none, to, from or both.'),
  }),
  positional: ['jid', 'contact'],
  examples: ['alice@localhost bob@localhost --name Bob --groups Friends --subscription both'],
  result: z.strictObject({ item }),
  text: ({ item: { jid: contactJid, subscription: kind } }) => `${contactJid}: ${kind}`,
})

export const removeRosterItem = declareCommand({
  name: 'roster remove',
  description: 'Take a contact out of the roster of an account; both subscriptions end',
  permission: 'roster:write',
  needsServer: false,
  args: z.strictObject({ jid, contact }),
  positional: ['jid', 'contact'],
  examples: ['alice@localhost bob@localhost'],
  result: z.strictObject({ removed: z.int() }),
  text: ({ removed }) => `${counted(removed, 'contact')} removed`,
})

export function itemResult({ contact: { full }, name, groups, state }: RosterItem) {
  return {
    jid: full,
    name,
    groups: [...groups],
    subscription: subscriptionOf(state),
    asking: isAsking(state),
    asked: isAsked(state),
  }
}

/** Of the text of an argument; no group twice. */
export function groupsOf(text: string): string[] {
  const names = text.split(',').map((name) => name.trim())
  return [...new Set(names.filter((name) => name !== ''))]
}

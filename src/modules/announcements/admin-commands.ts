import { z } from 'zod'
import { declareCommand } from '../../core/command.ts'
import { counted, table } from '../../core/command-text.ts'
import { domain } from '../../core/config-types.ts'
import type { Kind } from './store.ts'

const one = domain().optional().describe('Only for users of this domain.')
const body = z.string('a text').min(1, 'a text').max(60_000).describe('What it says.')
const domains = z.array(z.string()).describe('Whose users it is for.')

const CALLED = {
  motd: 'message of the day',
  welcome: 'message for new users',
} as const satisfies Record<Kind, string>

const WHEN = {
  motd: 'everybody gets it once, now or after the next login',
  welcome: 'who registers from now on gets it after the first login',
} as const satisfies Record<Kind, string>

function show(kind: Kind) {
  return declareCommand({
    name: `${kind} show`,
    description: `Show the ${CALLED[kind]}`,
    permission: 'messages:read',
    needsServer: false,
    args: z.strictObject({ domain: one }),
    positional: ['domain'],
    examples: ['', 'im.example.com'],
    result: z.strictObject({
      messages: z.array(
        z.strictObject({ domain: z.string(), set_at: z.iso.datetime(), body: z.string() }),
      ),
    }),
    text: ({ messages }) =>
      table(messages.map((each) => [each.domain, each.set_at, each.body])) || 'none',
  })
}

function remove(kind: Kind) {
  return declareCommand({
    name: `${kind} delete`,
    description: `Delete the ${CALLED[kind]}`,
    permission: 'messages:write',
    needsServer: false,
    args: z.strictObject({ domain: one }),
    positional: ['domain'],
    examples: ['', 'im.example.com'],
    result: z.strictObject({ domains }),
    text: (result) => `deleted for ${result.domains.join(', ')}`,
  })
}

export const motd = {
  show: show('motd'),
  remove: remove('motd'),
  set: declareCommand({
    name: 'motd set',
    description: `Set the ${CALLED.motd}: ${WHEN.motd}`,
    permission: 'messages:write',
    needsServer: true,
    args: z.strictObject({ body, domain: one }),
    positional: ['body'],
    examples: ['"Maintenance on Sunday from 02:00"', '"Hello" --domain im.example.com'],
    result: z.strictObject({ domains, sent: z.int().describe('Accounts that have it already.') }),
    text: ({ sent }) => `sent to ${counted(sent, 'account')}; others get it when they log in`,
  }),
  edit: declareCommand({
    name: 'motd edit',
    description: `Change the ${CALLED.motd} for those who have not got it yet`,
    permission: 'messages:write',
    needsServer: false,
    args: z.strictObject({ body, domain: one }),
    positional: ['body'],
    examples: ['"Maintenance on Sunday from 03:00"'],
    result: z.strictObject({ domains }),
    text: (result) => `changed for ${result.domains.join(', ')}`,
  }),
} as const

export const welcome = {
  show: show('welcome'),
  remove: remove('welcome'),
  set: declareCommand({
    name: 'welcome set',
    description: `Set the ${CALLED.welcome}: ${WHEN.welcome}`,
    permission: 'messages:write',
    needsServer: false,
    args: z.strictObject({ body, domain: one }),
    positional: ['body'],
    examples: ['"Welcome! Questions to help@localhost"'],
    result: z.strictObject({ domains }),
    text: (result) => `set for ${result.domains.join(', ')}`,
  }),
} as const

export const announcementCommands = [...Object.values(motd), ...Object.values(welcome)]

import { z } from 'zod'
import { type Element, el } from '../../xmpp/xml.ts'

export const PRIVILEGE_NS = 'urn:xmpp:privilege:2'

const access = z.enum(['none', 'get', 'set', 'both'])

/** What one component may do with all accounts of this server. */
export const permissions = z
  .strictObject({
    roster: access
      .default('none')
      .describe('Whether it may read ("get") and change ("set") the rosters of all accounts.'),
    push: z
      .boolean()
      .optional()
      .describe('Whether it is told of changes in rosters. Default: if it may read them.'),
    message: z
      .enum(['none', 'outgoing'])
      .default('none')
      .describe('Whether it may send messages in the name of accounts and of the server.'),
    presence: z
      .enum(['none', 'managed_entity', 'roster'])
      .default('none')
      .describe(
        'Whether it sees when accounts are available, and ("roster") also their contacts; the ' +
          'latter only with roster = "get" or "both".',
      ),
    iq: z
      .record(z.string().min(1), access)
      .default({})
      .describe('Namespaces of requests that it may make in the name of accounts.'),
  })
  .refine(({ roster, presence }) => presence !== 'roster' || mayRead(roster), {
    path: ['roster'],
    message: '"get" or "both" where presence is "roster"',
  })
  .transform((given) => ({
    ...given,
    push: mayRead(given.roster) && (given.push ?? true),
    iq: new Map(Object.entries(given.iq)),
  }))

export type Permissions = z.output<typeof permissions>
type Access = z.output<typeof access>

function mayRead(granted: Access): boolean {
  return granted === 'get' || granted === 'both'
}

export function allows(granted: Access | undefined, type: 'get' | 'set'): boolean {
  return granted === 'both' || granted === type
}

/** XEP-0356 §4.2, §5.2, §6.2, §7.2: what a component is told that it may do. */
export function advertisement({ roster, push, message, presence, iq }: Permissions): Element {
  const perm = (name: string, type: string, more = {}) =>
    type !== 'none' && el('perm', { access: name, type, ...more })
  const namespaces = [...iq].filter(([, type]) => type !== 'none')
  return el(
    'privilege',
    { xmlns: PRIVILEGE_NS },
    perm('roster', roster, { push }),
    perm('message', message),
    perm('presence', presence),
    namespaces.length > 0 &&
      el(
        'perm',
        { access: 'iq' },
        ...namespaces.map(([ns, type]) => el('namespace', { ns, type })),
      ),
  )
}

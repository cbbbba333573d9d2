/** The commands of XEP-0133 about users (§4.1 to §4.10, §4.13 to §4.22). */
import { type AdhocNote, badPayload } from '../../core/adhoc.ts'
import type { Field } from '../../xmpp/data-form.ts'
import type { Jid } from '../../xmpp/jid.ts'
import { StanzaError } from '../../xmpp/stanza-error.ts'
import { type Element, el } from '../../xmpp/xml.ts'
import type { Giver } from './offer.ts'
import { asks, DONE, filledIn, nodeOf, type Offered, read, result } from './service-form.ts'

/** Accounts shown in one form: it is one stanza. */
const MAX_LISTED = 2_000
/** Accounts named in one form. */
const MAX_ACCOUNTS = 1_000

export function userCommands(giver: Giver, domain: string): readonly Offered[] {
  const groups = groupsOf(giver, domain)
  return [
    addUser(giver),
    ofEach('delete-user', 'Delete User', 'The Jabber ID(s) to delete', (jid) =>
      giver('account remove', { jid: jid.bare }),
    ),
    ofEach('disable-user', 'Disable User', 'The Jabber ID(s) to disable', (jid) =>
      giver('account disable', { jid: jid.bare }),
    ),
    ofEach('reenable-user', 'Re-Enable User', 'The Jabber ID(s) to re-enable', (jid) =>
      giver('account enable', { jid: jid.bare }),
    ),
    ofEach(
      'end-user-session',
      'End User Session',
      'The Jabber ID(s) for which to end sessions',
      (jid) => giver('session kick', { jid: jid.full }),
    ),
    changePassword(giver),
    ofEach(
      'get-user-roster',
      'Get User Roster',
      'The Jabber ID(s) for which to retrieve the roster',
      async (jid) => rosterForm(jid, await giver('roster list', { jid: jid.bare })),
    ),
    ofEach(
      'get-user-lastlogin',
      'Get User Last Login Time',
      'The Jabber ID(s) for which to retrieve the last login time',
      async (jid) => lastLoginForm(jid, await giver('account seen', { jid: jid.bare })),
    ),
    userStatistics(giver),
    ...groups.map(number),
    ...groups.map(list),
  ]
}

// --- One account.

function accountField(label: string): Field {
  return { var: 'accountjid', type: 'jid-single', label, required: true }
}

function passwordField(name: string, label: string): Field {
  return { var: name, type: 'text-private', label, required: true }
}

function addUser(giver: Giver): Offered {
  const fields = [
    accountField('The Jabber ID for the account to be added'),
    passwordField('password', 'The password for this account'),
    passwordField('password-verify', 'Retype password'),
  ]
  return {
    node: nodeOf('add-user'),
    name: 'Add User',
    begin: asks('Adding a User', fields, async (given) => {
      const password = filledIn(given, 'password')
      if (filledIn(given, 'password-verify') !== password) {
        throw badPayload('password-verify: the two passwords differ')
      }
      await giver('account register', { jid: filledIn(given, 'accountjid'), password })
      return DONE
    }),
  }
}

function changePassword(giver: Giver): Offered {
  const fields = [
    accountField('The Jabber ID for this account'),
    passwordField('password', 'The password for this account'),
  ]
  return {
    node: nodeOf('change-user-password'),
    name: 'Change User Password',
    begin: asks('Changing a User Password', fields, async (given) => {
      const password = filledIn(given, 'password')
      await giver('account password', { jid: filledIn(given, 'accountjid'), password })
      return DONE
    }),
  }
}

type Info = { readonly sessions: number }
type Session = { readonly jid: string; readonly address: string }
type Item = {
  readonly jid: string
  readonly name: string
  readonly groups: readonly string[]
  readonly subscription: string
  readonly asking: boolean
}

/** §4.10 names one account; some clients know it only by the field that all forms around it have. */
function userStatistics(giver: Giver): Offered {
  const label = 'The Jabber ID for statistics'
  const fields: Field[] = [
    { var: 'accountjid', type: 'jid-single', label },
    { var: 'accountjids', type: 'jid-multi', label },
  ]
  return {
    node: nodeOf('user-stats'),
    name: 'Get User Statistics',
    begin: asks('Fetching User Statistics', fields, async (given) => {
      const [first, ...others] = read(() => given.jids('accountjids')) ?? []
      if (others.length > 0) throw badPayload('accountjids: one at a time')
      const jid = first?.bare ?? filledIn(given, 'accountjid')
      const { sessions: count } = (await giver('account info', { jid })) as Info
      const { sessions } = (await giver('session list', { jid })) as { sessions: Session[] }
      const { items } = (await giver('roster list', { jid })) as { items: Item[] }
      const resources = sessions.map((each) => each.jid.slice(each.jid.indexOf('/') + 1))
      return {
        payload: [
          result(
            { var: 'ipaddresses', value: [...new Set(sessions.map(({ address }) => address))] },
            { var: 'rostersize', value: items.length },
            { var: 'onlineresources', value: resources },
          ),
        ],
        notes: [{ type: 'info', text: `${count} sessions` }],
      }
    }),
  }
}

// --- Several accounts.

/**
 * Whatever it does to one, forms of what it found out; what was refused is told at the end. A full JID
 * stands for its account, too.
 */
function ofEach(
  node: string,
  name: string,
  label: string,
  work: (jid: Jid) => Promise<unknown>,
): Offered {
  const fields: Field[] = [{ var: 'accountjids', type: 'jid-multi', label, required: true }]
  return {
    node: nodeOf(node),
    name,
    begin: asks(name, fields, async (given) => {
      const jids = read(() => given.jids('accountjids')) ?? []
      if (jids.length === 0) throw badPayload('accountjids: expected a JID')
      if (jids.length > MAX_ACCOUNTS) throw badPayload(`accountjids: at most ${MAX_ACCOUNTS}`)
      const payload: Element[] = []
      const notes: AdhocNote[] = []
      for (const jid of jids) {
        try {
          const found = await work(jid)
          if (isElement(found)) payload.push(found)
        } catch (error) {
          if (!(error instanceof StanzaError) || jids.length === 1) throw error
          notes.push({ type: 'error', text: `${jid}: ${error.text ?? error.condition}` })
        }
      }
      return { payload, notes }
    }),
  }
}

function isElement(value: unknown): value is Element {
  return typeof value === 'object' && value !== null && 'withChildren' in value
}

/** XEP-0133 §4.8: the roster itself, inside of the form. */
function rosterForm(jid: Jid, found: unknown): Element {
  const { items } = found as { readonly items: readonly Item[] }
  const query = el(
    'query',
    { xmlns: 'jabber:iq:roster' },
    ...items.map((item) =>
      el(
        'item',
        {
          jid: item.jid,
          name: item.name === '' ? undefined : item.name,
          subscription: item.subscription,
          ask: item.asking ? 'subscribe' : undefined,
        },
        ...item.groups.map((group) => el('group', {}, group)),
      ),
    ),
  )
  const shown = result({ var: 'accountjids', value: jid.full })
  return shown.withChildren(...shown.elements(), query)
}

function lastLoginForm(jid: Jid, found: unknown): Element {
  const { connected, at } = found as { readonly connected: boolean; readonly at: string | null }
  return result(
    { var: 'accountjids', value: jid.full },
    { var: 'lastlogin', value: connected ? new Date().toISOString() : (at ?? undefined) },
  )
}

// --- Everybody.

type Members = { readonly accounts: readonly string[]; readonly total: number }

type Group = {
  readonly name: 'registered' | 'disabled' | 'online' | 'active' | 'idle'
  readonly title: string
  /** Of the command that lists it, and the field in its result. */
  readonly node: string
  readonly field: string
  /** At most `limit` of them, and how many there are. */
  members(limit: number): Promise<Members>
}

function groupsOf(giver: Giver, domain: string): readonly Group[] {
  const kept = async (limit: number, disabled?: boolean): Promise<Members> => {
    const which = { domain, ...(disabled && { disabled }) }
    const { accounts: total } = (await giver('account count', which)) as { accounts: number }
    if (limit === 0) return { accounts: [], total }
    const { accounts } = (await giver('account list', { ...which, limit })) as Members
    return { accounts, total }
  }
  const connected = async (limit: number, state?: 'active' | 'idle'): Promise<Members> =>
    (await giver('account online', { domain, limit, ...(state && { state }) })) as Members
  return [
    {
      name: 'registered',
      title: 'Registered',
      node: 'get-registered-users-list',
      field: 'registereduserjids',
      members: (limit) => kept(limit),
    },
    {
      name: 'disabled',
      title: 'Disabled',
      node: 'get-disabled-users-list',
      field: 'disableduserjids',
      members: (limit) => kept(limit, true),
    },
    {
      name: 'online',
      title: 'Online',
      node: 'get-online-users-list',
      field: 'onlineuserjids',
      members: (limit) => connected(limit),
    },
    {
      name: 'active',
      title: 'Active',
      node: 'get-active-users',
      field: 'activeuserjids',
      members: (limit) => connected(limit, 'active'),
    },
    {
      name: 'idle',
      title: 'Idle',
      node: 'get-idle-users',
      // So it is: §4.22 and §8.2 know no other.
      field: 'activeuserjids',
      members: (limit) => connected(limit, 'idle'),
    },
  ]
}

function number({ name, title, members }: Group): Offered {
  return {
    node: nodeOf(`get-${name}-users-num`),
    name: `Get Number of ${title} Users`,
    begin: async () => {
      const field = { var: `${name}usersnum`, label: `The number of ${name} users` }
      return { payload: [result({ ...field, value: (await members(0)).total })] }
    },
  }
}

const MAX_ITEMS = ['25', '50', '75', '100', '150', '200', 'none'] as const

function list({ name, title, node, field, members }: Group): Offered {
  const options = MAX_ITEMS.map((value) => ({ value, label: value === 'none' ? 'None' : value }))
  const how = 'Maximum number of items to show'
  const fields: Field[] = [
    { var: 'max_items', type: 'list-single', label: how, value: '25', options },
  ]
  return {
    node: nodeOf(node),
    name: `Get List of ${title} Users`,
    begin: asks(`Requesting List of ${title} Users`, fields, async (given) => {
      const max = read(() => given.choice('max_items', MAX_ITEMS)) ?? 'none'
      const { accounts, total } = await members(max === 'none' ? MAX_LISTED : Number(max))
      const text = `${accounts.length} of ${total}`
      const notes: AdhocNote[] = accounts.length < total ? [{ type: 'info', text }] : []
      const label = `The list of all ${name} users`
      const shown = { var: field, type: 'jid-multi', label, value: accounts } as const
      return { payload: [result(shown)], notes }
    }),
  }
}

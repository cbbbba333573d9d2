/** The commands of XEP-0133 1.3.1 that this server has: nodes, forms and fields as it names them. */
import { type AdhocCommand, type AdhocNote, type AdhocStep, badPayload } from '../../core/adhoc.ts'
import { type DataForm, type Field, form } from '../../xmpp/data-form.ts'
import type { Jid } from '../../xmpp/jid.ts'
import { StanzaError } from '../../xmpp/stanza-error.ts'
import { type Element, el } from '../../xmpp/xml.ts'
import type { Giver } from './offer.ts'

export const ADMIN_NS = 'http://jabber.org/protocol/admin'

type Parts = {
  readonly giver: Giver
  /** What is asked about everybody is about this one. */
  readonly domain: string
}

type Offered = Omit<AdhocCommand, 'isAllowed'>

/** Accounts shown in one form: it is one stanza. */
const MAX_LISTED = 2_000
/** Accounts named in one form. */
const MAX_ACCOUNTS = 1_000

export function serviceCommands({ giver, domain }: Parts): readonly Offered[] {
  return [
    addUser(giver),
    ofEach('delete-user', 'Delete User', 'The Jabber ID(s) to delete', (jid) =>
      giver('account remove', { jid: jid.full }),
    ),
    ofEach('disable-user', 'Disable User', 'The Jabber ID(s) to disable', (jid) =>
      giver('account disable', { jid: jid.full }),
    ),
    ofEach('reenable-user', 'Re-Enable User', 'The Jabber ID(s) to re-enable', (jid) =>
      giver('account enable', { jid: jid.full }),
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
      async (jid) => rosterForm(jid, await giver('roster list', { jid: jid.full })),
    ),
    ofEach(
      'get-user-lastlogin',
      'Get User Last Login Time',
      'The Jabber ID(s) for which to retrieve the last login time',
      async (jid) => lastLoginForm(jid, await giver('account seen', { jid: jid.full })),
    ),
    userStatistics(giver),
    number('registered', 'Registered', async () => (await accounts(giver, domain)).length),
    number('disabled', 'Disabled', async () => (await accounts(giver, domain, true)).length),
    number('online', 'Online', async () => (await online(giver, domain)).length),
    list('registered', 'Registered', 'The list of all users', () => accounts(giver, domain)),
    list('disabled', 'Disabled', 'The list of all disabled users', () =>
      accounts(giver, domain, true),
    ),
    list('online', 'Online', 'The list of all online users', () => online(giver, domain)),
    announce(giver, domain),
  ]
}

const nodeOf = (name: string) => `${ADMIN_NS}#${name}`

function asks(
  title: string,
  fields: readonly Field[],
  submit: (form: DataForm) => Promise<AdhocStep>,
) {
  const content = { type: 'form', formType: ADMIN_NS, title, fields } as const
  return () => ({
    form: form({ ...content, instructions: 'Fill out this form.' }),
    isLast: true,
    submit: (filled: DataForm) => {
      if (filled.formType !== undefined && filled.formType !== ADMIN_NS) {
        throw badPayload(`expected a FORM_TYPE of ${ADMIN_NS}`)
      }
      return submit(filled)
    },
  })
}

function result(...fields: readonly Field[]): Element {
  return form({ type: 'result', formType: ADMIN_NS, fields })
}

const DONE: AdhocStep = { payload: [] }

// --- One account.

function accountField(label: string): Field {
  return { var: 'accountjid', type: 'jid-single', label, required: true }
}

function passwordField(name: string, label: string): Field {
  return { var: name, type: 'text-private', label, required: true }
}

/** Throws `bad-payload` unless it is filled in. */
function filledIn(given: DataForm, name: string): string {
  const text = read(() => given.text(name))
  if (text) return text
  throw badPayload(`${name}: expected a value`)
}

function read<T>(work: () => T): T {
  try {
    return work()
  } catch (error) {
    throw badPayload(error instanceof Error ? error.message : String(error))
  }
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

function userStatistics(giver: Giver): Offered {
  const fields = [accountField('The Jabber ID for statistics')]
  return {
    node: nodeOf('user-stats'),
    name: 'Get User Statistics',
    begin: asks('Fetching User Statistics', fields, async (given) => {
      const jid = filledIn(given, 'accountjid')
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

/** Whatever it does to one, forms of what it found out; what was refused is told at the end. */
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

async function accounts(giver: Giver, domain: string, disabled?: boolean): Promise<string[]> {
  const args = { domain, ...(disabled && { disabled }) }
  return ((await giver('account list', args)) as { accounts: string[] }).accounts
}

async function online(giver: Giver, domain: string): Promise<string[]> {
  const { sessions } = (await giver('session list', { domain })) as { sessions: Session[] }
  return [...new Set(sessions.map(({ jid }) => jid.slice(0, jid.indexOf('/'))))]
}

type Which = 'registered' | 'disabled' | 'online'

function number(which: Which, title: string, count: () => Promise<number>): Offered {
  return {
    node: nodeOf(`get-${which}-users-num`),
    name: `Get Number of ${title} Users`,
    begin: async () => {
      const field = { var: `${which}usersnum`, label: `The number of ${which} users` }
      return { payload: [result({ ...field, value: await count() })] }
    },
  }
}

const MAX_ITEMS = ['25', '50', '75', '100', '150', '200', 'none'] as const

function list(
  which: Which,
  title: string,
  label: string,
  all: () => Promise<readonly string[]>,
): Offered {
  const options = MAX_ITEMS.map((value) => ({ value, label: value === 'none' ? 'None' : value }))
  const how = 'Maximum number of items to show'
  const fields: Field[] = [
    { var: 'max_items', type: 'list-single', label: how, value: '25', options },
  ]
  return {
    node: nodeOf(`get-${which}-users-list`),
    name: `Get List of ${title} Users`,
    begin: asks(`Requesting List of ${title} Users`, fields, async (given) => {
      const max = read(() => given.choice('max_items', MAX_ITEMS)) ?? 'none'
      const jids = await all()
      const shown = jids.slice(0, max === 'none' ? MAX_LISTED : Number(max))
      const text = `${shown.length} of ${jids.length}`
      const notes: AdhocNote[] = shown.length < jids.length ? [{ type: 'info', text }] : []
      const field = { var: `${which}userjids`, type: 'jid-multi', label, value: shown } as const
      return { payload: [result(field)], notes }
    }),
  }
}

function announce(giver: Giver, domain: string): Offered {
  const fields: Field[] = [
    { var: 'announcement', type: 'text-multi', label: 'Announcement', required: true },
  ]
  return {
    node: nodeOf('announce'),
    name: 'Send Announcement to Online Users',
    begin: asks('Making an Announcement', fields, async (given) => {
      const body = read(() => given.lines('announcement')) ?? ''
      if (body.trim() === '') throw badPayload('announcement: expected a text')
      const { sent } = (await giver('message announce', { domain, body })) as { sent: number }
      return { payload: [], notes: [{ type: 'info', text: `sent to ${sent} sessions` }] }
    }),
  }
}

import { type BareJid, isBareJid, JidError, parseJid } from '../../xmpp/jid.ts'
import { StanzaError } from '../../xmpp/stanza-error.ts'
import { type Element, el } from '../../xmpp/xml.ts'
import type { RosterItem } from './roster.ts'
import { isAsking, subscriptionOf } from './subscription.ts'

export const ROSTER_NS = 'jabber:iq:roster'

/** Of what a client may write into an item. */
export type ItemLimits = {
  /** Groups of one item. */
  readonly maxGroups: number
  /** Characters of a name. */
  readonly maxName: number
  /** Characters of a group's name. */
  readonly maxGroupName: number
}

/** What a roster set asks for. The server alone decides about subscriptions. */
export type ItemChange = {
  readonly contact: BareJid
  readonly isRemoval: boolean
  readonly name: string
  readonly groups: readonly string[]
}

/**
 * Reads the `<query/>` of a roster set. Throws the errors of RFC 6121 §2.3.3; `subscription` other
 * than `remove`, `ask` and `approved` are ignored (§2.1.2).
 */
export function readChange(query: Element, limits: ItemLimits): ItemChange {
  const [item, ...others] = query.elements('item')
  if (item === undefined || others.length > 0) {
    throw new StanzaError('bad-request', { text: 'a roster set has exactly one item' })
  }
  const contact = readContact(item)
  if (item.attr('subscription') === 'remove') {
    return { contact, isRemoval: true, name: '', groups: [] }
  }
  const name = item.attr('name') ?? ''
  if (name.length > limits.maxName) {
    throw new StanzaError('not-acceptable', {
      text: `a name has up to ${limits.maxName} characters`,
    })
  }
  return { contact, isRemoval: false, name, groups: readGroups(item, limits) }
}

/** The item as clients get it. */
export function writeItem(item: RosterItem): Element {
  return el(
    'item',
    {
      xmlns: ROSTER_NS,
      jid: item.contact.full,
      name: item.name === '' ? undefined : item.name,
      subscription: subscriptionOf(item.state),
      ask: isAsking(item.state) ? 'subscribe' : undefined,
      approved: item.isApproved ? 'true' : undefined,
    },
    ...item.groups.map((group) => el('group', {}, group)),
  )
}

export function writeRemoval(contact: BareJid): Element {
  return el('item', { xmlns: ROSTER_NS, jid: contact.full, subscription: 'remove' })
}

function readContact(item: Element): BareJid {
  const text = item.attr('jid')
  if (text === undefined) throw new StanzaError('bad-request', { text: 'an item has a jid' })
  try {
    const contact = parseJid(text)
    if (isBareJid(contact)) return contact
  } catch (error) {
    if (!(error instanceof JidError)) throw error
    throw new StanzaError('jid-malformed', { text: error.message, cause: error })
  }
  throw new StanzaError('bad-request', { text: 'the jid of an item has no resource' })
}

function readGroups(item: Element, limits: ItemLimits): readonly string[] {
  const groups = item.elements('group').map(({ text }) => text)
  if (groups.length > limits.maxGroups) {
    throw new StanzaError('not-acceptable', { text: `up to ${limits.maxGroups} groups` })
  }
  for (const group of groups) {
    if (group === '') throw new StanzaError('not-acceptable', { text: 'a group has a name' })
    if (group.length > limits.maxGroupName) {
      const text = `the name of a group has up to ${limits.maxGroupName} characters`
      throw new StanzaError('not-acceptable', { text })
    }
  }
  if (new Set(groups).size < groups.length) {
    throw new StanzaError('bad-request', { text: 'a group is named twice' })
  }
  return groups
}

import type { Subscription } from '../../core/hook-map.ts'
import { tryParseJid } from '../../xmpp/jid.ts'
import { StanzaError } from '../../xmpp/stanza-error.ts'
import { type Element, el } from '../../xmpp/xml.ts'
import {
  EVERYTHING,
  IQ,
  MESSAGE,
  PRESENCE_IN,
  PRESENCE_OUT,
  type PrivacyItem,
  PrivacyList,
  type Subject,
} from './privacy-list.ts'

export const PRIVACY_NS = 'jabber:iq:privacy'

/** Characters of a list's or a group's name. */
const MAX_NAME = 1023
const MAX_ORDER = 0xff_ff_ff_ff

const KINDS: Readonly<Record<string, number>> = {
  message: MESSAGE,
  iq: IQ,
  'presence-in': PRESENCE_IN,
  'presence-out': PRESENCE_OUT,
}

const SUBSCRIPTIONS: ReadonlySet<string> = new Set(['none', 'to', 'from', 'both'])

/** The list that a client sets (XEP-0016 §2.1). Throws `bad-request` for whatever is wrong in it. */
export function readList(element: Element): PrivacyList {
  const items = element.elements().map(readItem)
  const orders = new Set(items.map(({ order }) => order))
  if (orders.size < items.length) throw wrong('two items have the same order')
  return new PrivacyList(readName(element), items)
}

/** A list that was read before. Rules about addresses that a later Unicode no longer allows are gone. */
export function restoreList(element: Element): PrivacyList {
  const items = element.elements().filter((item) => {
    return item.attr('type') !== 'jid' || tryParseJid(item.attr('value')) !== undefined
  })
  return readList(element.withChildren(...items))
}

/** Throws `bad-request` for an element without a name that could be one. */
export function readName(element: Element): string {
  const name = element.attr('name')
  if (name === undefined || name === '' || name.length > MAX_NAME) throw wrong('no usable name')
  return name
}

function readItem(element: Element): PrivacyItem {
  if (element.name !== 'item' || element.ns !== PRIVACY_NS) throw wrong('not an item')
  const action = element.attr('action')
  if (action !== 'allow' && action !== 'deny') throw wrong('an action is allow or deny')
  return {
    subject: readSubject(element.attr('type'), element.attr('value')),
    action,
    order: readOrder(element.attr('order')),
    kinds: readKinds(element),
  }
}

function readSubject(type: string | undefined, value: string | undefined): Subject {
  switch (type) {
    case undefined:
      if (value !== undefined) throw wrong('a value of no type')
      return { type: 'anybody' }
    case 'jid': {
      const jid = tryParseJid(value)
      if (jid === undefined) throw wrong('the value is not an address')
      return { type: 'jid', jid }
    }
    case 'subscription':
      if (value === undefined || !SUBSCRIPTIONS.has(value)) throw wrong('no such subscription')
      return { type: 'subscription', subscription: value as Subscription }
    case 'group':
      if (value === undefined || value === '' || value.length > MAX_NAME) throw wrong('no group')
      return { type: 'group', group: value }
    default:
      throw wrong('a type is jid, group or subscription')
  }
}

function readOrder(text: string | undefined): number {
  const order = Number(text)
  if (text === undefined || !/^\d+$/.test(text) || order > MAX_ORDER) {
    throw wrong('an order is a number from 0')
  }
  return order
}

function readKinds(element: Element): number {
  let kinds = 0
  for (const child of element.elements()) {
    const kind = child.ns === PRIVACY_NS && Object.hasOwn(KINDS, child.name) && KINDS[child.name]
    if (!kind) throw wrong(`unknown kind of stanza: ${child.name}`)
    kinds |= kind
  }
  return kinds === 0 ? EVERYTHING : kinds
}

function wrong(text: string): StanzaError {
  return new StanzaError('bad-request', { text })
}

export function writeList({ name, items }: PrivacyList): Element {
  return el('list', { name }, ...items.map(writeItem))
}

function writeItem({ subject, action, order, kinds }: PrivacyItem): Element {
  const children = kindsOf(kinds).map((name) => el(name))
  if (subject.type === 'anybody') return el('item', { action, order }, ...children)
  return el('item', { type: subject.type, value: subjectText(subject), action, order }, ...children)
}

/** Names of the kinds; none for everything. */
export function kindsOf(kinds: number): string[] {
  return kinds === EVERYTHING ? [] : Object.keys(KINDS).filter((name) => kinds & bit(name))
}

function bit(name: string): number {
  return KINDS[name] ?? 0
}

export function subjectText(subject: Exclude<Subject, { type: 'anybody' }>): string {
  switch (subject.type) {
    case 'jid':
      return subject.jid.full
    case 'subscription':
      return subject.subscription
    case 'group':
      return subject.group
  }
}

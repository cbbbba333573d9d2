/** Each of Prosody's stores, as the part of XEP-0227 that says the same. */
import { OWN_DATA_NS } from '../core/user-data.ts'
import { formatDateTime } from '../xmpp/datetime.ts'
import type { BareJid } from '../xmpp/jid.ts'
import { CLIENT_NS } from '../xmpp/stanza.ts'
import { Element, el, type Node } from '../xmpp/xml.ts'
import { SCRAM_NS } from './import.ts'
import type { LuaTable, LuaValue } from './lua.ts'

export function isTable(value: LuaValue | undefined): value is LuaTable {
  return value instanceof Map
}

export function textIn(table: LuaTable, key: string | boolean): string | undefined {
  const value = table.get(key)
  if (typeof value === 'number') return String(value)
  return typeof value === 'string' ? value : undefined
}

function tableIn(table: LuaTable, key: string | boolean): LuaTable {
  const value = table.get(key)
  return isTable(value) ? value : new Map()
}

/** The entries of a table whose keys are addresses; others say something about all. */
function addressed(table: LuaTable): [string, LuaValue][] {
  return [...table].filter((entry): entry is [string, LuaValue] => typeof entry[0] === 'string')
}

/** A stanza, or an element in one: `name`, `attr`, and children by number. */
export function stanzaOf(value: LuaValue | undefined): Element | undefined {
  return isTable(value) ? elementOf(value, CLIENT_NS) : undefined
}

function elementOf(table: LuaTable, outer: string): Element | undefined {
  const name = textIn(table, 'name')
  if (name === undefined || !/^[A-Za-z_][\w.-]*$/.test(name)) return undefined
  const given = tableIn(table, 'attr')
  const ns = textIn(given, 'xmlns') ?? outer
  const attributes: [string, string][] = []
  for (const [key, text] of addressed(given)) {
    if (key === 'xmlns' || typeof text === 'object' || typeof text === 'boolean') continue
    attributes.push(...attributeOf(key, String(text), attributes.length))
  }
  const children: Node[] = []
  for (let place = 1; table.has(place); place++) {
    const child = table.get(place)
    if (typeof child === 'string') children.push(legal(child))
    else if (isTable(child)) {
      const element = elementOf(child, ns)
      if (element !== undefined) children.push(element)
    }
  }
  return new Element(name, ns, Object.fromEntries(attributes), children)
}

/** Attributes in a namespace are written with it and the byte 1 before their names. */
function attributeOf(key: string, text: string, number: number): [string, string][] {
  const [ns, name] = key.split('\x01')
  if (name === undefined) return /^[A-Za-z_][\w.:-]*$/.test(key) ? [[key, legal(text)]] : []
  if (ns === 'http://www.w3.org/XML/1998/namespace') return [[`xml:${name}`, legal(text)]]
  const prefix = `a${number}`
  return [
    [`xmlns:${prefix}`, ns ?? ''],
    [`${prefix}:${name}`, legal(text)],
  ]
}

/** XML has no other characters. */
function legal(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return text.toWellFormed().replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/g, '\ufffd')
}

/** When it was made, and whether it is locked. */
export function accountOf(account: LuaTable): Element | undefined {
  const created = account.get('created')
  const isDated = typeof created === 'number' && Number.isFinite(created)
  const isDisabled = account.get('disabled') === true
  if (!isDated && !isDisabled) return undefined
  return el('account', {
    xmlns: OWN_DATA_NS,
    created: isDated ? formatDateTime(Math.floor(created * 1_000)) : undefined,
    disabled: isDisabled || undefined,
  })
}

/** `internal_hashed`: keys in hexadecimal digits, the salt as it is, with a character for each octet. */
export function scramCredentials(account: LuaTable): Element | undefined {
  const [stored, server] = [textIn(account, 'stored_key'), textIn(account, 'server_key')]
  const [salt, iterations] = [textIn(account, 'salt'), account.get('iteration_count')]
  if (stored === undefined || server === undefined || salt === undefined) return undefined
  const base64 = (text: string, encoding: 'hex' | 'latin1') =>
    Buffer.from(text, encoding).toString('base64')
  const hash = stored.length === 64 ? 'SHA-256' : 'SHA-1'
  return el(
    'scram-credentials',
    { xmlns: SCRAM_NS, mechanism: `SCRAM-${hash}` },
    el('iter-count', {}, String(iterations)),
    el('salt', {}, base64(salt, 'latin1')),
    el('server-key', {}, base64(server, 'hex')),
    el('stored-key', {}, base64(stored, 'hex')),
  )
}

export function rosterQuery(roster: LuaTable, account: BareJid): Element | undefined {
  const items = addressed(roster).flatMap(([jid, item]) => {
    // Older releases kept requests under this name.
    if (!isTable(item) || jid === 'pending' || jid === account.full) return []
    const groups = [...tableIn(item, 'groups').keys()].filter((group) => typeof group === 'string')
    return el(
      'item',
      {
        jid,
        name: legalIn(item, 'name'),
        subscription: textIn(item, 'subscription'),
        ask: textIn(item, 'ask'),
        approved: item.get('approved') === true ? 'true' : undefined,
      },
      ...groups.map((group) => el('group', {}, legal(group))),
    )
  })
  return items.length === 0 ? undefined : el('query', { xmlns: 'jabber:iq:roster' }, ...items)
}

function legalIn(table: LuaTable, key: string): string | undefined {
  const text = textIn(table, key)
  return text === undefined ? undefined : legal(text)
}

/** Contacts that wait for an answer. */
export function requests(roster: LuaTable): Element[] {
  const pending = [tableIn(tableIn(roster, false), 'pending'), tableIn(roster, 'pending')]
  return pending.flatMap(addressed).map(([from, kept]) => {
    const request = stanzaOf(kept) ?? el('presence', { xmlns: CLIENT_NS })
    return request.withAttributes({ type: 'subscribe', from })
  })
}

export function privateXml(kept: LuaTable): Element | undefined {
  const elements = addressed(kept).flatMap(([, each]) => stanzaOf(each) ?? [])
  return elements.length === 0
    ? undefined
    : el('query', { xmlns: 'jabber:iq:private' }, ...elements)
}

export function blocklist(kept: LuaTable): Element | undefined {
  const items = addressed(kept).map(([jid]) => el('item', { jid }))
  return items.length === 0 ? undefined : el('blocklist', { xmlns: 'urn:xmpp:blocking' }, ...items)
}

/** mod_privacy, which others have written for it. */
export function privacyLists(kept: LuaTable): Element | undefined {
  const lists = addressed(tableIn(kept, 'lists')).map(([name, list]) => {
    const items = isTable(list) ? [...tableIn(list, 'items').values()].filter(isTable) : []
    return el('list', { name }, ...items.map(privacyItem))
  })
  if (lists.length === 0) return undefined
  const name = textIn(kept, 'default')
  const chosen = name === undefined ? undefined : el('default', { name })
  return el('query', { xmlns: 'jabber:iq:privacy' }, chosen, ...lists)
}

const KINDS = ['message', 'iq', 'presence-in', 'presence-out']

function privacyItem(item: LuaTable): Element {
  const attributes = ['type', 'value', 'action', 'order'].map((key) => [key, textIn(item, key)])
  const kinds = KINDS.filter((kind) => item.get(kind) === true)
  return el('item', Object.fromEntries(attributes), ...kinds.map((kind) => el(kind)))
}

const MODES = new Map<LuaValue | undefined, string>([
  [true, 'always'],
  [false, 'never'],
  ['always', 'always'],
  ['never', 'never'],
  ['roster', 'roster'],
])

/** The key `false` says what holds for all others. */
export function archivePreferences(kept: LuaTable): Element | undefined {
  const mode = MODES.get(kept.get(false))
  if (mode === undefined) return undefined
  const jids = (wish: string) =>
    addressed(kept)
      .filter(([, value]) => MODES.get(value) === wish)
      .map(([jid]) => el('jid', {}, jid))
  return el(
    'prefs',
    { xmlns: 'urn:xmpp:mam:2', default: mode },
    el('always', {}, ...jids('always')),
    el('never', {}, ...jids('never')),
  )
}

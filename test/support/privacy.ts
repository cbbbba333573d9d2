import { type Element, el } from '../../src/xmpp/xml.ts'
import { type Client, conditionOf } from './client.ts'

export const PRIVACY = 'jabber:iq:privacy'
export const BLOCKING = 'urn:xmpp:blocking'

/** The condition of an error answered, or `undefined`. */
async function ask(client: Client, type: 'get' | 'set', payload: Element): Promise<Element> {
  return await client.ask(type, undefined, payload)
}

async function must(client: Client, payload: Element): Promise<void> {
  const answer = await ask(client, 'set', payload)
  if (answer.attr('type') !== 'result') throw new Error(`refused: ${answer}`)
}

// --- Privacy lists (XEP-0016).

type Rule = {
  readonly type?: 'jid' | 'group' | 'subscription'
  readonly value?: string
  readonly action?: 'allow' | 'deny'
  /** message, iq, presence-in, presence-out; all stanzas when there are none. */
  readonly kinds?: readonly string[]
}

export function rules(name: string, ...all: readonly Rule[]): Element {
  const items = all.map(({ type, value, action = 'deny', kinds = [] }, index) =>
    el('item', { type, value, action, order: index + 1 }, ...kinds.map((kind) => el(kind))),
  )
  return el('list', { name }, ...items)
}

export const privacyQuery = (...children: readonly Element[]) =>
  el('query', { xmlns: PRIVACY }, ...children)

export const setsList = (client: Client, list: Element) => must(client, privacyQuery(list))

export const setsActive = (client: Client, name?: string) =>
  must(client, privacyQuery(el('active', { name })))

export const setsDefault = (client: Client, name?: string) =>
  must(client, privacyQuery(el('default', { name })))

/** The condition with which a change is refused; `undefined` if it is made. */
export async function refusalOf(
  client: Client,
  ...changes: readonly Element[]
): Promise<string | undefined> {
  const answer = await ask(client, 'set', privacyQuery(...changes))
  return answer.attr('type') === 'error' ? conditionOf(answer) : undefined
}

/** As the server tells them: `active NAME`, `default NAME`, `list NAME`. */
export async function listNames(client: Client): Promise<string[]> {
  const answer = await ask(client, 'get', privacyQuery())
  const all = answer.child('query', PRIVACY)?.elements() ?? []
  return all.map((one) => `${one.name} ${one.attr('name')}`)
}

// --- The blocking command (XEP-0191).

export const blockItem = (jid: string, ...children: readonly Element[]) =>
  el('item', { jid }, ...children)

export const block = (...items: readonly Element[]) => el('block', { xmlns: BLOCKING }, ...items)
export const unblock = (...items: readonly Element[]) =>
  el('unblock', { xmlns: BLOCKING }, ...items)

export const blocks = (client: Client, ...jids: readonly string[]) =>
  must(client, block(...jids.map((jid) => blockItem(jid))))

export const unblocks = (client: Client, ...jids: readonly string[]) =>
  must(client, unblock(...jids.map((jid) => blockItem(jid))))

/** Whom the account has blocked; from now on the client is told of changes. */
export async function blocklist(client: Client): Promise<string[]> {
  const answer = await ask(client, 'get', el('blocklist', { xmlns: BLOCKING }))
  const items = answer.child('blocklist', BLOCKING)?.elements('item') ?? []
  return items.map((item) => item.attr('jid') ?? '').sort()
}

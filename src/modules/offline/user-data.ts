/** Messages that wait, in the terms of XEP-0227 §4.5. */
import { Envelope, SERVER } from '../../core/envelope.ts'
import { longPart, type Taken, taken, type UserDataPart } from '../../core/user-data.ts'
import { DELAY_NS, readDelay } from '../../xmpp/delay.ts'
import { type BareJid, tryParseJid } from '../../xmpp/jid.ts'
import type { Octets } from '../../xmpp/octets.ts'
import { CLIENT_NS, Stanza } from '../../xmpp/stanza.ts'
import type { Element } from '../../xmpp/xml.ts'
import { type Kept, type OfflineStore, restore, START } from './store.ts'

export const OFFLINE_MESSAGES = 'offline-messages'
/** Read from the store at once. */
const PAGE = 100

export function offlinePart(store: OfflineStore, account: BareJid): UserDataPart {
  const tags = { start: `<${OFFLINE_MESSAGES}>`, end: `</${OFFLINE_MESSAGES}>` }
  return longPart(tags, messages(store, account))
}

async function* messages(store: OfflineStore, account: BareJid): AsyncIterable<Octets> {
  for (let cursor = START; ; ) {
    const page = await store.page(account.full, cursor, PAGE)
    for (const message of page) {
      const { stanza, from, to } = restore(message)
      yield stanza.toWrapped(from, to)
      cursor = message
    }
    if (page.length < PAGE) return
  }
}

/** Keeps those that are not kept yet, each in its place by the time it came. */
export async function takeOffline(
  store: OfflineStore,
  account: BareJid,
  items: readonly Element[],
  now: number,
): Promise<Taken> {
  const problems: string[] = []
  const wanted: Kept[] = []
  for (const item of items) {
    const from = tryParseJid(item.attr('from'))
    if (item.name !== 'message' || item.ns !== CLIENT_NS || from === undefined) {
      problems.push(`<${item.name}/> of ${item.attr('from') ?? 'nobody'}: no message that can wait`)
      continue
    }
    const to = tryParseJid(item.attr('to')) ?? account
    const { at, stanza } = undelayed(item, account)
    wanted.push({ envelope: new Envelope(from, to, stanza, SERVER), at: Math.min(at ?? now, now) })
  }
  const added = await store.adopt(account, wanted)
  return taken({ added, there: wanted.length - added, problems })
}

/** When it came to this server or the one it is from; that is not said in the message itself here. */
function undelayed(item: Element, { domain }: BareJid): { at: number | undefined; stanza: Stanza } {
  const delays = item.elements('delay', DELAY_NS)
  const own = delays.findLast((each) => readDelay(each)?.from?.full === domain) ?? delays.at(-1)
  const children = item.children.filter((node) => node !== own)
  const at = own === undefined ? undefined : readDelay(own)?.at
  return { at, stanza: Stanza.fromElement(item.withChildren(...children)) }
}

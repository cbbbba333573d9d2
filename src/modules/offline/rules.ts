import { DELAY_NS } from '../../xmpp/delay.ts'
import { tryParseJid } from '../../xmpp/jid.ts'
import { CLIENT_NS, type Stanza } from '../../xmpp/stanza.ts'

const HINTS_NS = 'urn:xmpp:hints'
const CHAT_STATES_NS = 'http://jabber.org/protocol/chatstates'
const EVENT_NS = 'jabber:x:event'

/** Says nothing by itself. */
const ACCOMPANYING: ReadonlySet<string> = new Set([HINTS_NS, DELAY_NS, 'urn:xmpp:sid:0'])

/**
 * What to do with a message for somebody who is not there: keep it, forget it (nobody misses it), or
 * leave it to those who tell the sender that it did not arrive.
 */
export type Verdict = 'keep' | 'forget' | 'refuse'

/**
 * XEP-0160 §3: messages of type normal and chat are kept, but for those that only say who is typing
 * (XEP-0085, XEP-0022). The sender's hints (XEP-0334) count for more: `store` keeps even those;
 * what says `no-store` is refused, so that the sender learns of it, whatever else it says, as archives
 * do. `no-permanent-store` is about archives; a message on its way may wait.
 */
export function verdictOn(stanza: Stanza): Verdict {
  const { type } = stanza
  if (type === 'error' || type === 'headline' || type === 'groupchat') return 'refuse'
  if (isPassing(stanza) && !stanza.has('store', HINTS_NS)) return 'forget'
  return stanza.has('no-store', HINTS_NS) ? 'refuse' : 'keep'
}

/** Whether there is nothing in it that somebody would want to know afterwards. */
function isPassing(stanza: Stanza): boolean {
  return stanza.children.every(({ name, ns }, index) => {
    if (ns === CHAT_STATES_NS || ACCOMPANYING.has(ns)) return true
    if (ns === CLIENT_NS) return name === 'thread'
    return ns === EVENT_NS && isComposing(stanza, index)
  })
}

/** Without a body, `<id/>` alone says that the typing has stopped (XEP-0022 §3). */
function isComposing(stanza: Stanza, index: number): boolean {
  const events = stanza.childAt(index)?.elements() ?? []
  return events.every(({ name }) => name === 'composing' || name === 'id')
}

/** Nobody but we can say that we have delayed a message (XEP-0203 §5). */
export function withoutForgedDelays(stanza: Stanza, isHosted: (domain: string) => boolean): Stanza {
  if (!stanza.has('delay', DELAY_NS)) return stanza
  return stanza.without(({ name, ns }, index) => {
    if (name !== 'delay' || ns !== DELAY_NS) return false
    const from = tryParseJid(stanza.childAt(index)?.attr('from'))
    return from?.isDomain === true && isHosted(from.domain)
  })
}

import { isPassing } from '../../xmpp/chat-states.ts'
import { DELAY_NS } from '../../xmpp/delay.ts'
import { tryParseJid } from '../../xmpp/jid.ts'
import type { Stanza } from '../../xmpp/stanza.ts'

const HINTS_NS = 'urn:xmpp:hints'
const EVENT_NS = 'jabber:x:event'

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
  if (isTypingOnly(stanza) && !stanza.has('store', HINTS_NS)) return 'forget'
  return stanza.has('no-store', HINTS_NS) ? 'refuse' : 'keep'
}

function isTypingOnly(stanza: Stanza): boolean {
  return stanza.children.every(
    (child, index) => isPassing(child) || (child.ns === EVENT_NS && isComposing(stanza, index)),
  )
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

import type { IqDispatcher, IqRequest } from '../../core/iq.ts'
import { FORWARD_NS } from '../../xmpp/forward.ts'
import { type BareJid, type Jid, tryParseJid } from '../../xmpp/jid.ts'
import { CLIENT_NS, Stanza } from '../../xmpp/stanza.ts'
import { StanzaError } from '../../xmpp/stanza-error.ts'
import { type Element, el } from '../../xmpp/xml.ts'
import { allows, type Permissions, PRIVILEGE_NS } from './permissions.ts'

/** What stands in a `<forwarded/>` that a component sent, if it is a message and may be sent. */
export type ForwardedMessage = { readonly from: Jid; readonly to: Jid; readonly stanza: Stanza }

/**
 * XEP-0356 §5: the message to send in the name of an account of `domain`, or of `domain` itself.
 * Throws what its sender is told.
 */
export function forwardedMessage(privilege: Element, domain: string): ForwardedMessage {
  const message = privilege.child('forwarded', FORWARD_NS)?.child('message', CLIENT_NS)
  if (message === undefined) throw new StanzaError('bad-request')
  const from = addressOf(message, 'from')
  if (from === undefined || from.resource !== '' || from.domain !== domain) {
    throw new StanzaError('forbidden', { text: '"from" is not of this server' })
  }
  const to = addressOf(message, 'to')
  if (to === undefined) throw new StanzaError('jid-malformed')
  return { from, to, stanza: Stanza.fromElement(message) }
}

/**
 * XEP-0356 §6: makes the request inside of `<privileged_iq/>` in the name of the account that it is
 * addressed to, and gives back the whole answer, be it an error. Rejects with what was wrong.
 */
export async function askOnBehalf(
  { to: account, type, payload, envelope }: IqRequest,
  { iq: granted }: Permissions,
  request: IqDispatcher['request'],
): Promise<Element> {
  const inner = payload.elements('iq', CLIENT_NS)[0]
  const [asked, ...others] = inner?.elements() ?? []
  if (inner === undefined || asked === undefined || others.length > 0) {
    throw new StanzaError('forbidden', { text: 'no request inside' })
  }
  if (inner.attr('type') !== type) throw new StanzaError('forbidden', { text: 'another type' })
  if (!allows(granted.get(asked.ns), type)) throw new StanzaError('forbidden')
  const owner = account.toBare()
  if (inner.attr('from') !== undefined && addressOf(inner, 'from')?.full !== owner.full) {
    throw new StanzaError('forbidden', { text: '"from" is another account' })
  }
  const to = inner.attr('to') === undefined ? owner : addressOf(inner, 'to')
  if (to === undefined) throw new StanzaError('jid-malformed')
  return el(
    'privilege',
    { xmlns: PRIVILEGE_NS },
    el(
      'forwarded',
      { xmlns: FORWARD_NS },
      await answerTo(inner, owner, to, () =>
        request(owner, to, type, asked, { origin: envelope.origin }),
      ),
    ),
  )
}

/** The answer as if the account had got it itself. */
async function answerTo(
  inner: Element,
  owner: BareJid,
  to: Jid,
  ask: () => Promise<Element | undefined>,
): Promise<Element> {
  const attributes = { xmlns: CLIENT_NS, id: inner.attr('id'), from: to.full, to: owner.full }
  try {
    return el('iq', { ...attributes, type: 'result' }, await ask())
  } catch (error) {
    if (!(error instanceof StanzaError)) throw error
    return el('iq', { ...attributes, type: 'error' }, error.toElement())
  }
}

function addressOf(stanza: Element, attribute: 'from' | 'to'): Jid | undefined {
  const text = stanza.attr(attribute)
  return text === undefined ? undefined : tryParseJid(text)
}

import type { IqDispatcher, IqRequest } from '../../core/iq.ts'
import { FORWARD_NS } from '../../xmpp/forward.ts'
import { type Jid, parseJid, tryParseJid } from '../../xmpp/jid.ts'
import { CLIENT_NS } from '../../xmpp/stanza.ts'
import { StanzaError } from '../../xmpp/stanza-error.ts'
import { type Element, el } from '../../xmpp/xml.ts'
import { DELEGATION_NS } from './delegations.ts'

/**
 * XEP-0355 §4.3: lets `component` answer a request, and gives back the payload of its answer.
 * Rejects with `service-unavailable` whatever goes wrong there: who asked knows nothing of it.
 */
export async function forward(
  asked: IqRequest,
  component: Jid,
  request: IqDispatcher['request'],
  timeout: number,
): Promise<Element | undefined> {
  const server = parseJid(asked.to.domain)
  const payload = el(
    'delegation',
    { xmlns: DELEGATION_NS },
    el('forwarded', { xmlns: FORWARD_NS }, wrapped(asked)),
  )
  let answer: Element | undefined
  try {
    answer = await request(server, component, 'set', payload, { timeout })
  } catch (cause) {
    throw new StanzaError('service-unavailable', { cause })
  }
  const result = answer?.child('forwarded', FORWARD_NS)?.child('iq', CLIENT_NS)
  if (answer?.ns !== DELEGATION_NS || result === undefined || !answers(result, asked)) {
    throw new StanzaError('service-unavailable')
  }
  return result.elements()[0]
}

function wrapped({ from, to, type, payload, envelope }: IqRequest): Element {
  const { id, lang } = envelope.stanza
  const addresses = { from: from.full, to: to.full }
  return el('iq', { xmlns: CLIENT_NS, ...addresses, id, type, 'xml:lang': lang }, payload)
}

/** Nobody is answered in another's name, or what was not asked. */
function answers(result: Element, { from, to, envelope }: IqRequest): boolean {
  const sender = result.attr('from')
  return (
    result.attr('type') === 'result' &&
    result.attr('id') === envelope.stanza.id &&
    tryParseJid(result.attr('to') ?? '')?.full === from.full &&
    (sender === undefined || tryParseJid(sender)?.full === to.full) &&
    result.elements().length < 2
  )
}

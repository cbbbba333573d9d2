import { type Jid, parseJid, tryParseJid } from '../xmpp/jid.ts'
import { CLIENT_NS, isStanzaKind } from '../xmpp/stanza.ts'
import { StanzaError } from '../xmpp/stanza-error.ts'
import { StreamError } from '../xmpp/stream-error.ts'
import type { Frame } from '../xmpp/xml-parser.ts'
import { SERVER_NS } from './protocol.ts'

/** Throws `StreamError` unless the peer may send from the first domain to the second. */
export type Accepts = (from: string, to: string) => void

type Addresses = {
  /** `undefined`: of a domain that may send, but nothing one could answer to. */
  readonly from: Jid | undefined
  /** With `fault`, the domain stands in for it. */
  readonly to: { readonly jid: Jid; readonly fault: StanzaError | undefined }
}

/**
 * Who sends a stanza to whom (RFC 6120 §8.1.1.2, §8.1.2.2). Throws `StreamError`.
 *
 * What one user writes must not end the stream of all the others: the rest of an address may be
 * malformed to us, its domain may not.
 */
export function addressesOf(frame: Frame, accepts: Accepts): Addresses {
  if (frame.ns !== SERVER_NS || !isStanzaKind(frame.name)) throw notAStanza(frame)
  const { from: fromText, to: toText } = frame.common
  if (fromText === undefined || toText === undefined) {
    throw new StreamError('improper-addressing', 'a stanza names who sends it to whom')
  }
  const from = tryParseJid(fromText)
  const to = tryParseJid(toText)
  const domain = from?.domain ?? domainOf(fromText)
  const target = to?.domain ?? domainOf(toText)
  if (domain === undefined) throw new StreamError('invalid-from')
  if (target === undefined) throw new StreamError('improper-addressing')
  accepts(domain, target)
  if (to !== undefined) return { from, to: { jid: to, fault: undefined } }
  return { from, to: { jid: parseJid(target), fault: new StanzaError('jid-malformed') } }
}

function notAStanza({ name, ns }: Frame): StreamError {
  if (ns === CLIENT_NS) return new StreamError('invalid-namespace', `servers speak ${SERVER_NS}`)
  return new StreamError('unsupported-stanza-type', `<${name}/> is not supported`)
}

/** RFC 7622 §3.2: what is behind the first '@' before the first '/'. */
function domainOf(text: string): string | undefined {
  const [bare = ''] = text.split('/', 1)
  return tryParseJid(bare.slice(bare.indexOf('@') + 1))?.domain
}

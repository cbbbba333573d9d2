import { decode } from '../xmpp/octets.ts'
import { CLIENT_NS, type Stanza } from '../xmpp/stanza.ts'
import { type Element, type Node, serialise } from '../xmpp/xml.ts'

/** What is inside such elements is for nobody's eyes: passwords, or forms that may ask for them. */
const SECRET_NAMESPACES: ReadonlySet<string> = new Set([
  'jabber:iq:register',
  'jabber:iq:auth',
  'http://jabber.org/protocol/commands',
  'urn:xmpp:extdisco:1',
  'urn:xmpp:extdisco:2',
  'urn:xmpp:sasl:0',
  'urn:xmpp:sasl:1',
  'urn:xmpp:sasl:2',
  'urn:ietf:params:xml:ns:xmpp-sasl',
])
const SECRET_NAME = /passw|passphrase|secret|token|credential|private-?key/i
/** Longer ones are cut, in characters. */
const MAX_LENGTH = 8_192
const HIDDEN = '[hidden]'

/** The payload as text, without what may be a secret. */
export function withoutSecrets(stanza: Stanza): string {
  let text = ''
  for (let i = 0; i < stanza.children.length && text.length <= MAX_LENGTH; i++) {
    const element = stanza.childAt(i)
    if (element !== undefined) text += decode(serialise(clean(element), CLIENT_NS))
  }
  return text.length <= MAX_LENGTH ? text : `${text.slice(0, MAX_LENGTH)}…`
}

/** Wherever it is: what is forwarded, delegated or quoted is looked through as well. */
function clean(element: Element): Element {
  if (
    SECRET_NAMESPACES.has(element.ns) ||
    SECRET_NAME.test(element.name) ||
    isSecretField(element)
  ) {
    return element.children.length === 0 ? element : element.withChildren(HIDDEN)
  }
  const attributes = Object.keys(element.attributes).filter((name) => SECRET_NAME.test(name))
  const hidden = Object.fromEntries(attributes.map((name) => [name, HIDDEN]))
  const children = element.children.map((node: Node) =>
    typeof node === 'string' ? node : clean(node),
  )
  return element.withChildren(...children).withAttributes(hidden)
}

/** Of a data form (XEP-0004 §3.3). */
function isSecretField(element: Element): boolean {
  if (element.name !== 'field') return false
  return element.attr('type') === 'text-private' || SECRET_NAME.test(element.attr('var') ?? '')
}

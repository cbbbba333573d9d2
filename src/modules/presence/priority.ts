import type { Stanza } from '../../xmpp/stanza.ts'
import { StanzaError } from '../../xmpp/stanza-error.ts'

const PRIORITY = /^[ \t\r\n]*([+-]?\d{1,3})[ \t\r\n]*$/

/**
 * The priority of an available presence, 0 when it names none (RFC 6121 §4.7.2.3). Throws
 * `bad-request` for anything but one integer from −128 to 127.
 */
export function readPriority(stanza: Stanza): number {
  let found: number | undefined
  stanza.children.forEach((ref, index) => {
    if (ref.name !== 'priority' || ref.ns !== 'jabber:client') return
    const [, digits] = PRIORITY.exec(stanza.childAt(index)?.text ?? '') ?? []
    const priority = Number(digits)
    if (found !== undefined || digits === undefined || priority < -128 || priority > 127) {
      throw new StanzaError('bad-request', { text: 'a priority is one integer from -128 to 127' })
    }
    found = priority
  })
  return found ?? 0
}

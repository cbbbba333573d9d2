/** ANONYMOUS (RFC 4505, XEP-0175): the server makes up who the client is. */
import { randomUUID } from 'node:crypto'
import { ClientFirst, decodeText, failure, type Step } from './mechanism.ts'

export class Anonymous extends ClientFirst {
  readonly name = 'ANONYMOUS'

  /** `data` is trace text, about which the client may say anything: it is kept nowhere. */
  respond(data: Buffer): Step {
    if (decodeText(data) === undefined) return failure('malformed-request', 'not UTF-8')
    return { kind: 'success', localpart: randomUUID(), isAnonymous: true }
  }
}

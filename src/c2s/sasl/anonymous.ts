/** ANONYMOUS (RFC 4505, XEP-0175): the server makes up who the client is. */
import { randomUUID } from 'node:crypto'
import { decodeText, failure, type Mechanism, type Step } from './mechanism.ts'

export class Anonymous implements Mechanism {
  readonly name = 'ANONYMOUS'

  /** Who says nothing has nothing to say: XEP-0175 §2 has no challenge. */
  start(initial: Buffer = Buffer.alloc(0)): Step {
    return this.respond(initial)
  }

  /** `data` is trace text, about which the client may say anything: it is kept nowhere. */
  respond(data: Buffer): Step {
    if (decodeText(data) === undefined) return failure('malformed-request', 'not UTF-8')
    return { kind: 'success', localpart: randomUUID(), isAnonymous: true }
  }
}

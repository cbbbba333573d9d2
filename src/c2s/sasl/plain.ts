/** PLAIN (RFC 4616), with names and passwords prepared as XMPP wants (RFC 7622 §3.3, RFC 8265 §4). */
import { after, type Maybe } from '../../core/maybe.ts'
import { isOwnAddress, prepareName, preparePassword } from './identity.ts'
import { ClientFirst, decodeText, failure, type SaslContext, type Step } from './mechanism.ts'

export class Plain extends ClientFirst {
  readonly name = 'PLAIN'
  readonly #context: SaslContext

  constructor(context: SaslContext) {
    super()
    this.#context = context
  }

  respond(data: Buffer): Maybe<Step> {
    const message = decodeText(data)
    if (message === undefined) return failure('malformed-request', 'not UTF-8')
    const [authzid = '', name = '', password = '', ...rest] = message.split('\0')
    if (name === '' || password === '' || rest.length > 0) return failure('malformed-request')

    const localpart = prepareName(name)
    const prepared = preparePassword(password)
    if (localpart === undefined || prepared === undefined) return failure('not-authorized')
    const { domain } = this.#context
    if (authzid !== '' && !isOwnAddress(authzid, localpart, domain)) {
      return failure('invalid-authzid')
    }
    return after(
      this.#context.verifyPassword(localpart, prepared),
      (isRight): Step =>
        isRight ? { kind: 'success', localpart, isAnonymous: false } : failure('not-authorized'),
    )
  }
}

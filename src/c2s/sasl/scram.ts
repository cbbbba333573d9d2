/**
 * SCRAM-SHA-1 and SCRAM-SHA-256, each without and with channel binding (RFC 5802, RFC 7677), and
 * the downgrade protection of XEP-0474: the server's first message carries a hash of what was
 * offered, which the client's proof and the server's signature then cover.
 */
import { createHmac, hash, timingSafeEqual } from 'node:crypto'
import type { ScramHash, ScramKeys } from '../../core/credentials.ts'
import { after, type Maybe } from '../../core/maybe.ts'
import { oncePer } from '../../core/once-per.ts'
import { isOwnAddress, prepareName } from './identity.ts'
import {
  ClientFirst,
  type Failure,
  failure,
  type MechanismName,
  type SaslContext,
  type SaslOffer,
  type Step,
} from './mechanism.ts'
import { newNonce } from './nonce.ts'
import { type ClientFirstMessage, readClientFinal, readClientFirst } from './scram-message.ts'

export type ScramName = Extract<MechanismName, `SCRAM-${string}`>

const digests = { 'SHA-1': 'sha1', 'SHA-256': 'sha256' } as const

/** What the first exchange leaves for the second. */
interface Challenged {
  readonly localpart: string
  readonly keys: ScramKeys
  readonly nonce: string
  /** What `c=` must carry: the GS2 header and the channel's binding. */
  readonly binding: Buffer
  /** The first messages of both sides, as `AuthMessage` starts. */
  readonly messages: string
}

export class Scram extends ClientFirst {
  readonly name: ScramName
  readonly #context: SaslContext
  readonly #hash: ScramHash
  readonly #isBound: boolean
  readonly #serverNonce: string
  #stage: 'first' | 'final' | 'over' = 'first'
  #challenged: Challenged | undefined

  /** `serverNonce`: printable, without comma; for the examples of the RFCs. */
  constructor(name: ScramName, context: SaslContext, serverNonce = newNonce()) {
    super()
    this.name = name
    this.#context = context
    this.#hash = name.startsWith('SCRAM-SHA-256') ? 'SHA-256' : 'SHA-1'
    this.#isBound = name.endsWith('-PLUS')
    this.#serverNonce = serverNonce
  }

  respond(data: Buffer): Maybe<Step> {
    const stage = this.#stage
    // Whatever goes wrong, also within an await, leaves nothing to go on with.
    this.#stage = 'over'
    if (stage === 'first') return this.#challenge(data)
    return this.#challenged ? this.#verify(data, this.#challenged) : failure('malformed-request')
  }

  #challenge(data: Buffer): Maybe<Step> {
    const first = readClientFirst(data)
    if (first === undefined) return failure('malformed-request')
    const binding = this.#bind(first)
    if ('condition' in binding) return binding
    const localpart = prepareName(first.name)
    if (localpart === undefined) return failure('not-authorized')
    const { authzid } = first
    if (authzid !== undefined && !isOwnAddress(authzid, localpart, this.#context.domain)) {
      return failure('invalid-authzid')
    }

    const found = this.#context.credentials(localpart, this.#hash)
    return after(found, (keys) => this.#show(keys, localpart, first, binding))
  }

  #show(keys: ScramKeys, localpart: string, first: ClientFirstMessage, binding: Buffer): Step {
    const nonce = first.nonce + this.#serverNonce
    const salt = Buffer.from(keys.salt).toString('base64')
    const { offer } = this.#context
    const protection = offer.isProtected ? `,h=${offerHash(offer, this.#hash)}` : ''
    const challenge = `r=${nonce},s=${salt},i=${keys.iterations}${protection}`
    this.#challenged = { localpart, keys, nonce, binding, messages: `${first.bare},${challenge}` }
    this.#stage = 'final'
    return { kind: 'challenge', data: Buffer.from(challenge) }
  }

  /** What the client will have to repeat in `c=`, or why its wish for a binding fails (RFC 5802 §6). */
  #bind({ header, flag, bindingType }: ClientFirstMessage): Buffer | Failure {
    if ((flag === 'p') !== this.#isBound) return failure('malformed-request')
    if (flag === 'n') return Buffer.from(header)
    const { offer } = this.#context
    if (flag === 'y') {
      // Somebody hid our -PLUS mechanisms from this client.
      return offer.mechanisms.some((name) => name.endsWith('-PLUS'))
        ? failure('not-authorized', 'server-does-support-channel-binding')
        : Buffer.from(header)
    }
    const type =
      bindingType === 'tls-unique'
        ? bindingType
        : offer.channelBindings.find((offered) => offered === bindingType)
    const bytes = type && this.#context.channelBinding(type)
    if (!bytes) return failure('not-authorized', 'unsupported-channel-binding-type')
    return Buffer.concat([Buffer.from(header), bytes])
  }

  #verify(data: Buffer, { localpart, keys, nonce, binding, messages }: Challenged): Step {
    const final = readClientFinal(data)
    if (final === undefined) return failure('malformed-request')
    if (final.nonce !== nonce) return failure('not-authorized', 'other-error')
    if (!final.binding.equals(binding)) {
      return failure('not-authorized', 'channel-bindings-dont-match')
    }
    const digest = digests[this.#hash]
    const authMessage = `${messages},${final.withoutProof}`
    const clientKey = createHmac(digest, keys.storedKey).update(authMessage).digest()
    if (final.proof.length !== clientKey.length) return failure('not-authorized')
    for (const [at, octet] of final.proof.entries())
      clientKey[at] = (clientKey[at] as number) ^ octet
    const storedKey = hash(digest, clientKey, 'buffer')
    if (!timingSafeEqual(storedKey, keys.storedKey)) return failure('not-authorized')
    const verifier = createHmac(digest, keys.serverKey).update(authMessage).digest('base64')
    return { kind: 'success', localpart, isAnonymous: false, data: Buffer.from(`v=${verifier}`) }
  }
}

/** XEP-0474 §5.1. All names are ASCII, for which the default order is that of octets. */
const hashesOf = oncePer((offer: SaslOffer): Readonly<Record<ScramHash, string>> => {
  const lists = [offer.mechanisms, offer.channelBindings].filter((list) => list.length > 0)
  const text = lists.map((list) => list.toSorted().join('\x1e')).join('\x1f')
  return { 'SHA-1': hash('sha1', text, 'base64'), 'SHA-256': hash('sha256', text, 'base64') }
})

export function offerHash(offer: SaslOffer, which: ScramHash): string {
  return hashesOf(offer)[which]
}

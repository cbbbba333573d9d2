/**
 * SASL (RFC 4422) as XMPP profiles it (RFC 6120 §6): what a mechanism is, what it may know, what it
 * answers. Mechanisms are pure state machines; they see neither sockets nor XML.
 *
 * The stream's part:
 *
 *     const channel = { socket, certificate: certificates.shownTo(socket) }      tls.ts
 *     const types = channelBindingTypes(channel)                                 channel-binding.ts
 *     const offer = offerMechanisms(policy, { isEncrypted, channelBindings: types })   offer.ts
 *     channelBindingFeature(offer.channelBindings)       beside <mechanisms/>, channel-binding.ts
 *     const mechanism = createMechanism(name, context)   a Mechanism or a Failure, offer.ts
 *     const initial = decodeInitialResponse(text)        bytes, none or a Failure, base64.ts
 *     const step = await mechanism.start(initial)        then respond(decodeResponse(text))
 *     encodeData(step.data)                              base64.ts
 *
 * One step at a time: the next is asked for when the one before is known. Whatever a client sends
 * yields a `Failure`; what is thrown, or a rejected promise, means that the context failed (the store
 * is away), which is answered `temporary-auth-failure` and logged by whoever drives the mechanism.
 */
import type { ScramHash, ScramKeys } from '../../core/credentials.ts'
import type { AcceptedBindingType, ChannelBindingType } from './channel-binding.ts'

export type MechanismName =
  | 'SCRAM-SHA-256-PLUS'
  | 'SCRAM-SHA-1-PLUS'
  | 'SCRAM-SHA-256'
  | 'SCRAM-SHA-1'
  | 'PLAIN'
  | 'ANONYMOUS'

/** What the stream features announced: the one list that mechanisms are chosen and judged by. */
export interface SaslOffer {
  /** Strongest first. */
  readonly mechanisms: readonly MechanismName[]
  /** Empty when XEP-0440's feature was not sent. */
  readonly channelBindings: readonly ChannelBindingType[]
  /** Whether SCRAM tells its hash, for the client to see that nobody changed it (XEP-0474). */
  readonly isProtected: boolean
}

/** What a mechanism may know of its stream. Localparts given to it are prepared (RFC 7622 §3.3). */
export interface SaslContext {
  /** Prepared. */
  readonly domain: string
  readonly isEncrypted: boolean
  readonly offer: SaslOffer
  channelBinding(type: AcceptedBindingType): Buffer | undefined
  /**
   * The account's keys. An account that does not exist, or has no such keys, gets keys that nobody
   * has the password for, the same ones each time, so that a client cannot tell.
   */
  credentials(localpart: string, hash: ScramHash): ScramKeys | Promise<ScramKeys>
  /** `password` is prepared (RFC 8265 §4). Takes as long for accounts that do not exist. */
  verifyPassword(localpart: string, password: string): boolean | Promise<boolean>
}

/** RFC 6120 §6.5. */
export type SaslCondition =
  | 'aborted'
  | 'account-disabled'
  | 'credentials-expired'
  | 'encryption-required'
  | 'incorrect-encoding'
  | 'invalid-authzid'
  | 'invalid-mechanism'
  | 'malformed-request'
  | 'mechanism-too-weak'
  | 'not-authorized'
  | 'temporary-auth-failure'

export interface Challenge {
  readonly kind: 'challenge'
  readonly data: Buffer
}

export interface Success {
  readonly kind: 'success'
  /** Prepared. Whoever is authenticated also is who acts: an authzid was the same address. */
  readonly localpart: string
  readonly isAnonymous: boolean
  /** For the client, sent within `<success/>`. */
  readonly data?: Buffer
}

export interface Failure {
  readonly kind: 'failure'
  readonly condition: SaslCondition
  readonly text?: string
}

export type Step = Challenge | Success | Failure

export interface Mechanism {
  readonly name: MechanismName
  /** `initial` is the initial response; `undefined` when the client sent none. */
  start(initial: Buffer | undefined): Step | Promise<Step>
  respond(data: Buffer): Step | Promise<Step>
}

const EMPTY = Buffer.alloc(0)

/** A mechanism in which the client speaks first: without initial response it is asked for one. */
export abstract class ClientFirst implements Mechanism {
  abstract readonly name: MechanismName

  start(initial: Buffer | undefined): Step | Promise<Step> {
    return initial === undefined ? { kind: 'challenge', data: EMPTY } : this.respond(initial)
  }

  abstract respond(data: Buffer): Step | Promise<Step>
}

export function failure(condition: SaslCondition, text?: string): Failure {
  return text === undefined ? { kind: 'failure', condition } : { kind: 'failure', condition, text }
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** `undefined` for what is no UTF-8. */
export function decodeText(data: Uint8Array): string | undefined {
  try {
    return strictUtf8.decode(data)
  } catch {
    return undefined
  }
}

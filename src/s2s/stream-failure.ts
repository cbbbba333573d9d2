import type { StanzaCondition } from '../xmpp/stanza-error.ts'
import { ServerNotFound, type Target } from './targets.ts'

/**
 * - `passing`: another attempt may fare better; all others would fare no better:
 * - `unwanted`: the other side does not speak with us;
 * - `absent`: it says that it is not the server of the domain;
 * - `unproven`: it has not shown that it is;
 * - `disbelieved`: it has asked whether our key is ours, and was told that it is not.
 */
type Kind = 'passing' | 'unwanted' | 'absent' | 'unproven' | 'disbelieved'

/** Why a stream came to nothing. */
export class StreamFailure extends Error {
  override readonly name = 'StreamFailure'
  readonly kind: Kind

  constructor(message: string, kind: Kind = 'passing', options: ErrorOptions = {}) {
    super(message, options)
    this.kind = kind
  }
}

/** The other side says where to go instead (RFC 6120 §4.9.3.19). */
export class Redirected extends StreamFailure {
  readonly target: Target

  constructor(target: Target) {
    super(`see ${target.host} port ${target.port}`)
    this.target = target
  }
}

/** A stream error that the other side has sent. */
export function refusedBy(condition: string): StreamFailure {
  return new StreamFailure(`stream error: ${condition}`, REFUSALS[condition])
}

const REFUSALS: Readonly<Record<string, Kind>> = {
  'host-gone': 'absent',
  'host-unknown': 'absent',
  'not-authorized': 'unwanted',
  'policy-violation': 'unwanted',
}

/** Whether another attempt would fare no better. */
export function isFinal(error: unknown): boolean {
  return kindOf(error) !== 'passing'
}

/** What senders are told of a server that could not be reached (RFC 6120 §8.3.3, XEP-0220 §2.1.1). */
export function conditionForSenders(error: unknown): StanzaCondition {
  return FOR_SENDERS[kindOf(error)] ?? 'remote-server-timeout'
}

const FOR_SENDERS: Partial<Record<Kind, StanzaCondition>> = {
  absent: 'remote-server-not-found',
  disbelieved: 'internal-server-error',
}

/** What another server is told whose key could not be verified there (XEP-0220 §2.4). */
export function conditionForAskers(error: unknown): StanzaCondition {
  return FOR_ASKERS[kindOf(error)] ?? 'remote-server-timeout'
}

const FOR_ASKERS: Partial<Record<Kind, StanzaCondition>> = {
  absent: 'remote-server-not-found',
  unproven: 'not-authorized',
}

/** Of it, for whoever gets something back. */
export function textOf(error: unknown): string {
  const isKnown = error instanceof StreamFailure || error instanceof ServerNotFound
  return isKnown ? error.message : 'no connection'
}

function kindOf(error: unknown): Kind {
  if (error instanceof ServerNotFound) return 'absent'
  return error instanceof StreamFailure ? error.kind : 'passing'
}

/** Which mechanisms a stream is offered, and the making of the one its client picks. */
import { oncePer } from '../../core/once-per.ts'
import { Anonymous } from './anonymous.ts'
import type { ChannelBindingType } from './channel-binding.ts'
import {
  type Failure,
  failure,
  type Mechanism,
  type MechanismName,
  type SaslContext,
  type SaslOffer,
} from './mechanism.ts'
import { Plain } from './plain.ts'
import { Scram } from './scram.ts'

/** Mechanisms that can be configured. Each -PLUS comes with its mechanism. */
export const configurableMechanisms = [
  'SCRAM-SHA-256',
  'SCRAM-SHA-1',
  'PLAIN',
  'ANONYMOUS',
] as const

export interface SaslPolicy {
  readonly mechanisms: readonly (typeof configurableMechanisms)[number][]
  readonly allowPlainWithoutTls: boolean
  /** XEP-0474. Only clients that follow a draft of it from before 2025 fail with it. */
  readonly downgradeProtection: boolean
}

/** What of a stream decides on its offer. */
interface OfferedTo {
  readonly isEncrypted: boolean
  /** What its connection has bindings for. */
  readonly channelBindings: readonly ChannelBindingType[]
}

const strongestFirst: readonly MechanismName[] = [
  'SCRAM-SHA-256-PLUS',
  'SCRAM-SHA-1-PLUS',
  'SCRAM-SHA-256',
  'SCRAM-SHA-1',
  'PLAIN',
  'ANONYMOUS',
]

/** Made so far, by what of a stream decides: nearly all streams are offered one of two. */
const offersOf = oncePer((_policy: SaslPolicy) => new Map<string, SaslOffer>())

/** The same offer for all streams that are offered the same. */
export function offerMechanisms(policy: SaslPolicy, stream: OfferedTo): SaslOffer {
  const offers = offersOf(policy)
  const key = `${stream.isEncrypted} ${stream.channelBindings.join()}`
  const known = offers.get(key)
  if (known !== undefined) return known
  const offer = makeOffer(policy, stream)
  offers.set(key, offer)
  return offer
}

function makeOffer(policy: SaslPolicy, stream: OfferedTo): SaslOffer {
  const enabled: ReadonlySet<string> = new Set(policy.mechanisms)
  const mechanisms = strongestFirst.filter((name) => {
    if (name === 'PLAIN' && !stream.isEncrypted && !policy.allowPlainWithoutTls) return false
    if (!name.endsWith('-PLUS')) return enabled.has(name)
    return stream.channelBindings.length > 0 && enabled.has(name.slice(0, -'-PLUS'.length))
  })
  const isBindable = mechanisms.some((name) => name.endsWith('-PLUS'))
  const channelBindings = isBindable ? stream.channelBindings : []
  return { mechanisms, channelBindings, isProtected: policy.downgradeProtection }
}

/** `name` is what the client asked for. Only what was offered is made. */
export function createMechanism(name: string, context: SaslContext): Mechanism | Failure {
  const { offer } = context
  const offered = offer.mechanisms.find((candidate) => candidate === name)
  if (offered === undefined) {
    const needsTls = name === 'PLAIN' && !context.isEncrypted
    return failure(needsTls ? 'encryption-required' : 'invalid-mechanism')
  }
  switch (offered) {
    case 'PLAIN':
      return new Plain(context)
    case 'ANONYMOUS':
      return new Anonymous()
    default:
      return new Scram(offered, context)
  }
}

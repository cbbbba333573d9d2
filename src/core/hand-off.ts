import type { Envelope } from './envelope.ts'
import { DROP, type Hooks, Stop } from './hooks.ts'
import type { Maybe } from './maybe.ts'
import { dropped, Outcome } from './outcome.ts'
import { isLocalSession, type Resource } from './session.ts'
import type { Sessions } from './sessions.ts'
import { SharedDelivery } from './shared-delivery.ts'

type Parts = {
  readonly hooks: Hooks
  readonly sessions: Sessions
  /** Those it was for are gone. */
  readonly decideAgain: (envelope: Envelope, domainType: string) => Maybe<Outcome>
  /** Those it was for are at a node that takes nothing more. */
  readonly unreachable: (envelope: Envelope, domainType: string) => Maybe<Outcome>
}

const BY = 'sm'
/** If nobody is there any more, it is decided anew; or this is what becomes of it. */
type Otherwise = typeof AGAIN | Outcome
export const AGAIN = Symbol('again')

/**
 * Delivers stanzas to the resources that the session manager has chosen. That is a hand-off which the
 * session's owner acknowledges: if the session is gone, the decision is made again without it, and
 * another resource gets the stanza, or the offline hook.
 */
export class HandOff {
  readonly #parts: Parts

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /** To each of `targets`; if not one of them is there (any more), as `otherwise` says. */
  to(
    envelope: Envelope,
    targets: readonly Resource[],
    domainType: string,
    otherwise: Otherwise,
  ): Outcome | Promise<Outcome> {
    if (targets.length === 0) return this.#nobody(envelope, domainType, otherwise)
    const decided = this.decided(envelope, targets, domainType)
    return decided instanceof Promise
      ? this.#giveLater(decided, targets, domainType, otherwise)
      : this.#give(decided, targets, domainType, otherwise)
  }

  #nobody(
    envelope: Envelope,
    domainType: string,
    otherwise: Otherwise,
  ): Outcome | Promise<Outcome> {
    return otherwise === AGAIN ? this.#parts.decideAgain(envelope, domainType) : otherwise
  }

  async #giveLater(
    decided: Promise<Envelope | typeof DROP>,
    targets: readonly Resource[],
    domainType: string,
    otherwise: Otherwise,
  ): Promise<Outcome> {
    return this.#give(await decided, targets, domainType, otherwise)
  }

  #give(
    envelope: Envelope | typeof DROP,
    targets: readonly Resource[],
    domainType: string,
    otherwise: Otherwise,
  ): Outcome | Promise<Outcome> {
    if (envelope === DROP) return dropped('sm_message_decided', 'filtered')
    const [only] = targets
    if (only === undefined || targets.length > 1 || envelope.delivery !== undefined) {
      return this.#giveAll(envelope, targets, domainType, otherwise)
    }
    // Nearly always: one session of this node, which is there.
    const taken = only.deliver(envelope)
    if (taken === true) {
      this.#delivered(envelope, targets, domainType)
      return new Outcome('delivered', BY, undefined, [only.jid])
    }
    return this.#given(envelope, [taken], targets, domainType, otherwise)
  }

  #giveAll(
    envelope: Envelope,
    targets: readonly Resource[],
    domainType: string,
    otherwise: Otherwise,
  ): Outcome | Promise<Outcome> {
    const isMessage = envelope.stanza.kind === 'message'
    const delivery =
      targets.length > 1 && isMessage ? new SharedDelivery(targets.length) : undefined
    const handed = delivery === envelope.delivery ? envelope : envelope.shared(delivery)
    const answers = targets.map((target) => target.deliver(handed))
    return this.#given(envelope, answers, targets, domainType, otherwise, delivery)
  }

  /** Each of `targets` has answered whether it takes the stanza, or will. */
  #given(
    envelope: Envelope,
    answers: readonly Maybe<boolean>[],
    targets: readonly Resource[],
    domainType: string,
    otherwise: Otherwise,
    delivery?: SharedDelivery,
  ): Outcome | Promise<Outcome> {
    const end = (taken: readonly boolean[]): Outcome | Promise<Outcome> => {
      let isOutOfReach = false
      const reached = targets.filter((target, index) => {
        if (taken[index] === true) return true
        // A session that is gone is not asked again; a node that takes nothing more has it still.
        if (isLocalSession(target)) this.#parts.sessions.remove(target)
        else isOutOfReach = true
        delivery?.giveBack()
        return false
      })
      if (reached.length === 0) {
        return isOutOfReach
          ? this.#parts.unreachable(envelope, domainType)
          : this.#nobody(envelope, domainType, otherwise)
      }
      this.#delivered(envelope, reached, domainType)
      return new Outcome('delivered', BY, undefined, jidsOf(reached))
    }
    if (answers.some((answer) => answer instanceof Promise)) return Promise.all(answers).then(end)
    return end(answers as boolean[])
  }

  /** The message as it is delivered to `targets`, or kept if there are none: the last who may filter it. */
  decided(
    envelope: Envelope,
    targets: readonly Resource[],
    domainType: string,
  ): Envelope | typeof DROP | Promise<Envelope | typeof DROP> {
    if (envelope.stanza.kind !== 'message') return envelope
    const verdict = this.#parts.hooks
      .at('sm_message_decided', domainType)
      .run(envelope, { targets })
    return verdict instanceof Promise ? verdict.then(envelopeOf) : envelopeOf(verdict)
  }

  #delivered(envelope: Envelope, reached: readonly Resource[], domainType: string): void {
    if (envelope.stanza.kind !== 'message') return
    const point = this.#parts.hooks.at('sm_message_delivered', domainType)
    if (!point.isEmpty) point.tell(envelope, { reached })
  }
}

export function envelopeOf(
  verdict: Envelope | Stop<Envelope> | typeof DROP,
): Envelope | typeof DROP {
  return verdict instanceof Stop ? verdict.acc : verdict
}

function jidsOf(resources: readonly Resource[]) {
  return resources.map(({ jid }) => jid)
}

import type { Jid } from '../xmpp/jid.ts'
import type { Stanza } from '../xmpp/stanza.ts'
import { type StanzaCondition, StanzaError } from '../xmpp/stanza-error.ts'
import type { Envelope } from './envelope.ts'
import { AGAIN, HandOff } from './hand-off.ts'
import type { InboundSubscription, SubscriptionType } from './hook-map.ts'
import { DROP, type HookName, type HookPoint, type Hooks, Stop, type Verdict } from './hooks.ts'
import type { IqDispatcher } from './iq.ts'
import { answered, dropped, type Outcome } from './outcome.ts'
import { RateLimit } from './rate-limit.ts'
import type { Router } from './router.ts'
import type { Resource } from './session.ts'
import type { Sessions } from './sessions.ts'

export type RuleLimits = {
  /**
   * A message of type normal to a full JID that is gone: back to the sender, or treated as if sent
   * to the bare JID.
   */
  readonly normalToGoneResource: 'bounce' | 'as-bare'
  /** Messages to accounts that do not exist that one sender is answered within a minute. */
  readonly unknownRecipientsPerMinute: number
}

type Parts = {
  readonly hooks: Hooks
  readonly router: Router
  readonly iq: IqDispatcher
  readonly limits: RuleLimits
  readonly sessions: Sessions
  /** Those a stanza was for are gone: the rules are asked again, in its turn. */
  readonly decideAgain: (envelope: Envelope, domainType: string) => Outcome | Promise<Outcome>
  /** Something older is on its way to the account: `decide` comes behind that, and before what comes now. */
  readonly behind: (
    earlier: Promise<unknown>,
    account: Jid,
    decide: () => Outcome | Promise<Outcome>,
  ) => Promise<Outcome>
}

/** Senders whose messages to nobody are counted. */
const MAX_COUNTED = 10_000
const BY = 'sm'
const UNWANTED: InboundSubscription = { isWanted: false }
const HEADLINE_TO_NOBODY = dropped(BY, 'headline to nobody')
const NOBODY_AVAILABLE = dropped(BY, 'nobody available')
const RECORDED = answered('roster')
const MUC_USER_NS = 'http://jabber.org/protocol/muc#user'

/**
 * The server rules of RFC 6121 §8.5 for stanzas to a local user: which resources of the account get one, by
 * its kind and type, the address and their priorities, and what becomes of it where there are none.
 */
export class ServerRules {
  readonly #parts: Parts
  readonly #sessions: Sessions
  readonly #handOff: HandOff
  /** Messages to nobody, by their sender's bare JID. */
  readonly #astray: RateLimit

  constructor(parts: Parts) {
    this.#parts = parts
    const { hooks, sessions, decideAgain } = parts
    this.#sessions = sessions
    this.#handOff = new HandOff({
      hooks,
      sessions,
      decideAgain,
      unreachable: (envelope, domainType) => this.unreachable(envelope, domainType),
    })
    this.#astray = new RateLimit({
      get limit() {
        return parts.limits.unknownRecipientsPerMinute
      },
      window: 60_000,
      maxKeys: MAX_COUNTED,
      now: Date.now,
    })
  }

  /** For messages and iqs. */
  apply(envelope: Envelope, domainType: string): Outcome | Promise<Outcome> {
    const { to } = envelope
    const target = this.#addressed(envelope)
    if (target !== undefined) return this.#handOff.to(envelope, [target], domainType, AGAIN)
    if (this.#sessions.of(to.bare).length > 0) return this.#decide(envelope, domainType)
    const exists = this.#exists(envelope, domainType)
    return exists instanceof Promise
      ? this.#decideLater(exists, envelope, domainType)
      : this.#decideFor(exists, envelope, domainType)
  }

  async #decideLater(
    exists: Promise<boolean>,
    envelope: Envelope,
    domainType: string,
  ): Promise<Outcome> {
    // Somebody may have connected meanwhile.
    return this.#decideFor(await exists, envelope, domainType)
  }

  #decideFor(known: boolean, envelope: Envelope, domainType: string): Outcome | Promise<Outcome> {
    if (!known) return this.#unknown(envelope)
    const target = this.#addressed(envelope)
    if (target !== undefined) return this.#handOff.to(envelope, [target], domainType, AGAIN)
    return this.#decide(envelope, domainType)
  }

  /**
   * The resource that a stanza is for. Messages that another session gave back wait for a resource
   * that is not available yet, together with those for the account: else they would overtake them.
   */
  #addressed({ to, stanza, notes }: Envelope): Resource | undefined {
    if (to.resource === '') return undefined
    const target = this.#sessions.get(to)
    const isEarly = target?.priority === undefined && notes.isRetry === true
    return isEarly && stanza.kind === 'message' ? undefined : target
  }

  /** RFC 6121 §8.5.1. */
  #unknown(envelope: Envelope): Outcome | Promise<Outcome> {
    const { stanza, from, to } = envelope
    // Who tries out names learns no more of them after a while.
    if (stanza.kind === 'message' && !stanza.isError && !this.#astray.take(from.bare)) {
      return dropped(BY, 'too many to nobody')
    }
    if (stanza.kind !== 'iq' || !stanza.isRequest || to.resource !== '') {
      return this.#refuse(envelope, 'service-unavailable')
    }
    return this.#parts.iq.answer('nobody', envelope)
  }

  /** The table of RFC 6121 §8.5.2 and §8.5.3.2 for messages and iqs without a matching resource. */
  #decide(envelope: Envelope, domainType: string): Outcome | Promise<Outcome> {
    const { stanza, to } = envelope
    if (stanza.kind === 'iq') {
      if (!stanza.isRequest) return this.#parts.iq.accept(envelope)
      if (to.resource !== '') return this.#refuse(envelope, 'service-unavailable')
      return this.#parts.iq.answer('account', envelope)
    }
    const isBare = to.resource === ''
    switch (stanza.type) {
      case 'error':
        return dropped(BY, 'error to nobody')
      case 'headline':
        return isBare ? this.#headline(envelope, domainType) : dropped(BY, 'headline to nobody')
      case 'groupchat':
        return isBare && isFromService(envelope)
          ? this.#mostAvailable(envelope, domainType)
          : this.#refuse(envelope, 'service-unavailable')
      case 'chat':
        if (!isBare && isPrivateMessageOfRoom(stanza)) {
          return this.#refuse(envelope, 'service-unavailable')
        }
        break
      default:
        // One that was accepted for the resource before is not refused any more.
        if (isBare || envelope.notes.isRetry === true) break
        if (this.#parts.limits.normalToGoneResource === 'bounce') {
          return this.#refuse(envelope, 'service-unavailable')
        }
    }
    if (isBare) return this.#mostAvailable(envelope, domainType)
    const forgotten = this.#point('sm_filter_offline_message', domainType).run(false, { envelope })
    const next = (isForgotten: unknown) =>
      isForgotten === true
        ? dropped(BY, 'resource is gone')
        : this.#mostAvailable(envelope, domainType)
    return forgotten instanceof Promise ? forgotten.then(next) : next(forgotten)
  }

  /** Every available resource of non-negative priority, else nobody. */
  #headline(envelope: Envelope, domainType: string): Outcome | Promise<Outcome> {
    const targets = this.#sessions.of(envelope.to.bare).filter(({ priority = -1 }) => priority >= 0)
    return this.#handOff.to(envelope, targets, domainType, HEADLINE_TO_NOBODY)
  }

  /**
   * A message to the account: to all resources that share the highest non-negative priority, `to`
   * unchanged; others may get a carbon. When there are none, to whoever keeps messages.
   */
  #mostAvailable(
    envelope: Envelope,
    domainType: string,
    isBehind = false,
  ): Outcome | Promise<Outcome> {
    const resources = this.#sessions.of(envelope.to.bare)
    let highest = 0
    for (const { priority = -1 } of resources) if (priority > highest) highest = priority
    const targets = resources.filter(({ priority }) => priority === highest)
    if (targets.length > 0) return this.#handOff.to(envelope, targets, domainType, AGAIN)
    const mayWait = !isBehind && envelope.notes.isRetry !== true
    const earlier = mayWait ? underWayTo(resources) : undefined
    if (earlier === undefined) return this.#offline(envelope, domainType)
    return this.#parts.behind(earlier, envelope.to, () => {
      const target = this.#addressed(envelope)
      return target === undefined
        ? this.#mostAvailable(envelope, domainType, true)
        : this.#handOff.to(envelope, [target], domainType, AGAIN)
    })
  }

  /** Nobody is there. Someone may keep the message; else its sender is told. */
  #offline(envelope: Envelope, domainType: string): Outcome | Promise<Outcome> {
    const decided = this.#handOff.decided(envelope, [], domainType)
    if (decided instanceof Promise) return decided.then((last) => this.#keep(last, domainType))
    return this.#keep(decided, domainType)
  }

  #keep(envelope: Envelope | typeof DROP, domainType: string): Outcome | Promise<Outcome> {
    if (envelope === DROP) return dropped('sm_message_decided', 'filtered')
    const isGroupchat = envelope.stanza.type === 'groupchat'
    const hook = isGroupchat ? 'offline_groupchat_message' : 'offline_message'
    const nobody = dropped(BY, 'nobody available')
    const verdict = this.#point(hook, domainType).run(nobody, { envelope })
    const end = (kept: unknown): Outcome => {
      const outcome = this.#outcomeOf(kept, envelope)
      this.#point('sm_message_kept', domainType).tell(outcome, { envelope })
      return outcome
    }
    return verdict instanceof Promise ? verdict.then(end) : end(verdict)
  }

  #outcomeOf(kept: unknown, envelope: Envelope): Outcome {
    if (kept instanceof Stop) return kept.acc as Outcome
    if (kept === DROP) return dropped('offline_message', 'filtered')
    return this.#refuse(envelope, 'service-unavailable')
  }

  applyToPresence(envelope: Envelope, domainType: string): Outcome | Promise<Outcome> {
    const { stanza, to } = envelope
    switch (stanza.type) {
      case 'subscribe':
      case 'subscribed':
      case 'unsubscribe':
      case 'unsubscribed':
        return this.#subscription(envelope, stanza.type, domainType)
      case 'probe': {
        const probed = this.#point('presence_probe', domainType).run(envelope, {})
        return probed instanceof Promise
          ? probed.then(() => answered('presence'))
          : answered('presence')
      }
    }
    if (to.resource !== '') {
      const target = this.#sessions.get(to)
      if (target === undefined) return dropped(BY, 'resource is not connected')
      return this.#handOff.to(envelope, [target], domainType, AGAIN)
    }
    if (stanza.isError) return dropped(BY, 'error to nobody')
    const targets = this.#sessions.available(to.bare)
    return this.#handOff.to(envelope, targets, domainType, NOBODY_AVAILABLE)
  }

  /** RFC 6121 §3: between bare JIDs, the roster first. */
  #subscription(
    received: Envelope,
    type: SubscriptionType,
    domainType: string,
  ): Outcome | Promise<Outcome> {
    const { from, to } = received
    // RFC 6121 §8.5.3.2.2; a request is for the account, whatever resource was written.
    if (type !== 'subscribe' && to.resource !== '' && this.#sessions.get(to) === undefined) {
      return dropped(BY, 'resource is not connected')
    }
    const envelope =
      from.resource === '' && to.resource === ''
        ? received
        : received.with({ from: from.toBare(), to: to.toBare() })
    const decide = (known: boolean): Outcome | Promise<Outcome> => {
      if (!known) return dropped(BY, 'no such account')
      const verdict = this.#point('roster_in_subscription', domainType).run(UNWANTED, {
        envelope,
        type,
      })
      return verdict instanceof Promise ? verdict.then(spread) : spread(verdict)
    }
    const spread = (verdict: Verdict<'roster_in_subscription'>): Outcome | Promise<Outcome> => {
      if (verdict === DROP) return answered('roster')
      const { isWanted, isFor, afterDelivery } = verdict instanceof Stop ? verdict.acc : verdict
      const resources = isWanted ? this.#sessions.of(to.bare) : []
      const targets = resources.filter(
        (resource) => resource.priority !== undefined || isFor?.(resource) === true,
      )
      const outcome = this.#handOff.to(envelope, targets, domainType, RECORDED)
      if (afterDelivery === undefined) return outcome
      if (outcome instanceof Promise) return outcome.finally(afterDelivery)
      afterDelivery()
      return outcome
    }
    const exists = this.#exists(envelope, domainType)
    return exists instanceof Promise ? exists.then(decide) : decide(exists)
  }

  /** Whoever should have got a stanza cannot be reached, and nobody knows until when. */
  unreachable(envelope: Envelope, domainType: string): Outcome | Promise<Outcome> {
    const { kind, type, isRequest } = envelope.stanza
    if (kind === 'iq' && isRequest) return this.#refuse(envelope, 'recipient-unavailable')
    const mayBeKept = kind === 'message' && type !== 'error' && type !== 'headline'
    return mayBeKept ? this.#offline(envelope, domainType) : dropped(BY, 'out of reach')
  }

  // --- What they need for that.

  #refuse(envelope: Envelope, condition: StanzaCondition): Outcome {
    return this.#parts.router.bounce(envelope, new StanzaError(condition), BY)
  }

  #exists(envelope: Envelope, domainType: string): boolean | Promise<boolean> {
    if (this.#sessions.of(envelope.to.bare).length > 0) return true
    const account = envelope.to.toBare()
    const known = this.#point('does_user_exist', domainType).run(false, { account })
    return known instanceof Promise ? known.then(isTrue) : isTrue(known)
  }

  #point<N extends HookName>(name: N, domainType: string): HookPoint<N> {
    return this.#parts.hooks.at(name, domainType)
  }
}

/**
 * What was sent to resources at other nodes by their full JIDs: one that becomes available there at once reads from the
 * store what was sent later.
 */
function underWayTo(resources: readonly Resource[]): Promise<unknown> | undefined {
  const underWay = resources.flatMap(({ undecided }) => undecided ?? [])
  return underWay.length === 0 ? undefined : Promise.all(underWay)
}

function isTrue(verdict: unknown): boolean {
  return verdict === true || (verdict instanceof Stop && verdict.acc === true)
}

/** A component, or a service of this server's own. */
function isFromService({ origin }: Envelope): boolean {
  return origin.kind === 'component' || origin.kind === 'server'
}

/** XEP-0045 §7.5: a private message through a room, of an occupant who has left. */
function isPrivateMessageOfRoom(stanza: Stanza): boolean {
  return stanza.has('x', MUC_USER_NS)
}

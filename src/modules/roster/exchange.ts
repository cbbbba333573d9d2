import { Envelope, SERVER } from '../../core/envelope.ts'
import type { InboundSubscription, Subscription, SubscriptionType } from '../../core/hook-map.ts'
import { type HookSource, type Stop, stop } from '../../core/hooks.ts'
import type { LocalRoutes } from '../../core/local-routes.ts'
import type { Logger } from '../../core/log.ts'
import type { Router } from '../../core/router.ts'
import type { BareJid } from '../../xmpp/jid.ts'
import { Stanza } from '../../xmpp/stanza.ts'
import { StanzaError } from '../../xmpp/stanza-error.ts'
import type { Pushes } from './pushes.ts'
import type { Roster, RosterItem } from './roster.ts'
import type { Changed, Rosters } from './rosters.ts'
import {
  hasFrom,
  hasTo,
  inbound,
  isAsked,
  isAsking,
  outbound,
  subscriptionOf,
} from './subscription.ts'

type Parts = {
  readonly rosters: Rosters
  readonly pushes: Pushes
  readonly router: Router
  readonly routes: LocalRoutes
  readonly hooks: HookSource
  readonly log: Logger
  readonly limits: ExchangeLimits
}

export type ExchangeLimits = {
  /** Items of a roster, requests included. */
  readonly maxItems: number
  /** Requests that wait for one account's answer. */
  readonly maxRequests: number
  /** Octets of a request; of a longer one only the fact is kept. */
  readonly maxRequestSize: number
}

const UNWANTED: InboundSubscription = { isWanted: false }

const SUBSCRIBE = Stanza.build('presence', { type: 'subscribe' })
const SUBSCRIBED = Stanza.build('presence', { type: 'subscribed' })
const UNSUBSCRIBE = Stanza.build('presence', { type: 'unsubscribe' })
const UNSUBSCRIBED = Stanza.build('presence', { type: 'unsubscribed' })

/**
 * Subscriptions between an account and its contacts: what comes in and goes out changes the roster
 * first, and only what is durable is told to anyone (RFC 6121 §3).
 */
export class Exchange {
  readonly #parts: Parts

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /** The account of `envelope.from` sends a subscription stanza. Routes it where it is due. */
  async send(envelope: Envelope, type: SubscriptionType): Promise<Stop<Envelope>> {
    const owner = envelope.from.toBare()
    const contact = envelope.to.toBare()
    // An account sees its own presence without asking (RFC 6121 §4.2.2).
    if (owner.equals(contact)) return stop(envelope)
    const { rosters, router, limits } = this.#parts
    let passes = false
    const changed = await rosters.change(
      owner,
      contact,
      (before, roster) => {
        const step = outbound(before, type)
        passes = step.passes
        const isNew = !before.isListed && (type === 'subscribe' || step.isApproved)
        if (isNew && roster.get(contact) === undefined && roster.size >= limits.maxItems) {
          throw new StanzaError('not-acceptable', { text: 'the roster is full' })
        }
        const { state, isApproved } = step
        const isListed = before.isListed || isNew || hasFrom(state)
        const request = isAsked(state) ? before.request : undefined
        return { ...before, state, isApproved, isListed, request }
      },
      ({ roster, before, after }) => {
        const isSeen = before.isListed || after?.isListed === true
        if (isSeen) this.#parts.pushes.tell(owner, roster, contact)
      },
    )
    const losesPresence = isLossOfFrom(changed)
    if (losesPresence) await this.#announce(owner, changed)
    if (passes) await router.route(envelope.with({ from: owner, to: contact }))
    if (!losesPresence) await this.#announce(owner, changed)
    return stop(envelope)
  }

  /** A subscription stanza comes in for the account of `envelope.to`. */
  receive(
    envelope: Envelope,
    type: SubscriptionType,
  ): InboundSubscription | Promise<InboundSubscription> {
    const owner = envelope.to.toBare()
    const contact = envelope.from.toBare()
    if (owner.equals(contact)) return UNWANTED
    return this.#receive(owner, contact, envelope, type)
  }

  async #receive(
    owner: BareJid,
    contact: BareJid,
    envelope: Envelope,
    type: SubscriptionType,
  ): Promise<InboundSubscription> {
    const { rosters, pushes, limits, router } = this.#parts
    let step = inbound({ state: 'none', isApproved: false }, type)
    const changed = await rosters.change(owner, contact, (before, roster) => {
      step = inbound(before, type)
      const { state, isApproved } = step
      const isRequest = isAsked(state) && !isAsked(before.state)
      if (isRequest && roster.lists.requests.length >= limits.maxRequests) {
        step = { ...before, passes: false }
        return before
      }
      const kept = isRequest ? this.#requestToKeep(envelope.stanza) : before.request
      const isListed = before.isListed || hasFrom(state)
      return { ...before, state, isApproved, isListed, request: isAsked(state) ? kept : undefined }
    })
    const { roster, before, after } = changed
    const tell = () => {
      const isSeen = before.isListed || after?.isListed === true
      if (changed.isChanged && isSeen) pushes.tell(owner, roster, contact)
    }
    if (step.answer !== undefined) {
      tell()
      await router.route(new Envelope(owner, contact, SUBSCRIBED, SERVER))
      if (changed.isChanged) await this.#announce(owner, changed)
      else await this.#show(owner, contact)
      return UNWANTED
    }
    return {
      isWanted: step.passes,
      // RFC 6121 §3.1.6, §3.2.3, §3.3.3: who knows the roster learns why it changes.
      isFor: ({ shared }) => type !== 'subscribe' && shared.wantsRoster === true,
      afterDelivery: () => {
        tell()
        this.#settle(this.#announce(owner, changed))
      },
    }
  }

  /**
   * An administrator decides what the roster says of a contact; what is left out stays. Resolves to
   * the item; to `undefined` if there is no room for one more.
   */
  async assign(
    owner: BareJid,
    contact: BareJid,
    wanted: {
      readonly name: string | undefined
      readonly groups: readonly string[] | undefined
      readonly subscription: Subscription | undefined
    },
  ): Promise<RosterItem | undefined> {
    const { rosters, pushes, limits } = this.#parts
    let isFull = false
    const changed = await rosters.change(
      owner,
      contact,
      (before, roster) => {
        isFull = roster.get(contact) === undefined && roster.size >= limits.maxItems
        if (isFull) return undefined
        const { name = before.name, groups = before.groups } = wanted
        const state = wanted.subscription ?? before.state
        const request = isAsked(state) ? before.request : undefined
        return { ...before, name, groups, state, request, isListed: true }
      },
      ({ roster }) => pushes.tell(owner, roster, contact),
    )
    if (isFull) return undefined
    await this.#announce(owner, changed)
    return changed.after
  }

  /** The account takes a contact out of its roster: both subscriptions end (RFC 6121 §2.5.2). */
  async remove(owner: BareJid, contact: BareJid): Promise<void> {
    const changed = await this.#parts.rosters.change(
      owner,
      contact,
      (before) => {
        if (!before.isListed) throw new StanzaError('item-not-found')
        return undefined
      },
      ({ roster }) => this.#parts.pushes.tell(owner, roster, contact),
    )
    await this.#part(owner, changed)
  }

  /** The account is gone: so are its subscriptions, and its contacts are told. */
  async removeAll(owner: BareJid): Promise<void> {
    const roster: Roster = await this.#parts.rosters.remove(owner)
    for (const before of roster.all()) await this.#part(owner, { before, after: undefined })
  }

  /** Tells a contact that nothing is left between it and the account. */
  async #part(owner: BareJid, changed: Pick<Changed, 'before' | 'after'>): Promise<void> {
    const { router } = this.#parts
    const { contact, state } = changed.before
    await this.#announce(owner, changed)
    if (hasFrom(state) || isAsked(state)) {
      await router.route(new Envelope(owner, contact, UNSUBSCRIBED, SERVER))
    }
    if (hasTo(state) || isAsking(state)) {
      await router.route(new Envelope(owner, contact, UNSUBSCRIBE, SERVER))
    }
  }

  #requestToKeep(stanza: Stanza): Stanza {
    const size = stanza.head.length + stanza.payload.length
    return size <= this.#parts.limits.maxRequestSize ? stanza : SUBSCRIBE
  }

  /** Runs `roster_changed` where the subscription is another than it was. */
  async #announce(
    owner: BareJid,
    { before, after }: { readonly before: RosterItem; readonly after: RosterItem | undefined },
  ): Promise<void> {
    const change = {
      owner,
      contact: before.contact,
      before: subscriptionOf(before.state),
      after: after === undefined ? 'none' : subscriptionOf(after.state),
    } as const
    if (change.before === change.after) return
    await this.#parts.hooks.at('roster_changed', this.#domainType(owner)).run(change, {})
  }

  /** A subscriber who asks again has lost what it knew. */
  async #show(owner: BareJid, contact: BareJid): Promise<void> {
    const point = this.#parts.hooks.at('presence_visibility_changed', this.#domainType(owner))
    await point.run({ owner, contacts: [contact], isVisible: true }, {})
  }

  #domainType(owner: BareJid): string | undefined {
    return this.#parts.routes.find(owner.domain)?.domainType
  }

  /** For what nobody waits for. */
  #settle(work: Promise<void>): void {
    work.catch((error) => this.#parts.log.error('roster_change_not_announced', { error }))
  }
}

function isLossOfFrom({ before, after }: Changed): boolean {
  return hasFrom(before.state) && !(after !== undefined && hasFrom(after.state))
}

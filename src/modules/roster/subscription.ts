import type { Subscription, SubscriptionType } from '../../core/hook-map.ts'

/**
 * The states of RFC 6121 Appendix A.1, seen from the account: `in` is a request of the contact that
 * waits for the account's answer, `out` the account's own one that waits for the contact's.
 */
export const SUBSCRIPTION_STATES = [
  'none',
  'none+out',
  'none+in',
  'none+out+in',
  'to',
  'to+in',
  'from',
  'from+out',
  'both',
] as const

export type SubscriptionState = (typeof SUBSCRIPTION_STATES)[number]

/** Where a contact stands. `isApproved`: a request will be granted unseen (RFC 6121 §3.4). */
export type Standing = { readonly state: SubscriptionState; readonly isApproved: boolean }

export type Step = Standing & {
  /** Whether the stanza goes on: out to the contact, or in to the account's resources. */
  readonly passes: boolean
  /** What the server answers at once on the account's behalf. */
  readonly answer?: 'subscribed'
}

/** A state that is absent: the stanza does not pass, and nothing changes. */
type Row = Readonly<Partial<Record<SubscriptionState, SubscriptionState>>>

/** RFC 6121 Appendix A.2. */
const OUTBOUND: Readonly<Record<SubscriptionType, Row>> = {
  subscribe: {
    none: 'none+out',
    'none+out': 'none+out',
    'none+in': 'none+out+in',
    'none+out+in': 'none+out+in',
    to: 'to',
    'to+in': 'to+in',
    from: 'from+out',
    'from+out': 'from+out',
    both: 'both',
  },
  unsubscribe: {
    none: 'none',
    'none+out': 'none',
    'none+in': 'none+in',
    'none+out+in': 'none+in',
    to: 'none',
    'to+in': 'none+in',
    from: 'from',
    'from+out': 'from',
    both: 'from',
  },
  subscribed: {
    'none+in': 'from',
    'none+out+in': 'from+out',
    'to+in': 'both',
  },
  unsubscribed: {
    'none+in': 'none',
    'none+out+in': 'none+out',
    'to+in': 'to',
    from: 'none',
    'from+out': 'none+out',
    both: 'to',
  },
}

/** RFC 6121 Appendix A.3. */
const INBOUND: Readonly<Record<SubscriptionType, Row>> = {
  subscribe: {
    none: 'none+in',
    'none+out': 'none+out+in',
    to: 'to+in',
  },
  unsubscribe: {
    'none+in': 'none',
    'none+out+in': 'none+out',
    'to+in': 'to',
    from: 'none',
    'from+out': 'none+out',
    both: 'to',
  },
  subscribed: {
    'none+out': 'to',
    'none+out+in': 'to+in',
    'from+out': 'both',
  },
  unsubscribed: {
    'none+out': 'none',
    'none+out+in': 'none+in',
    to: 'none',
    'to+in': 'none+in',
    'from+out': 'from',
    both: 'from',
  },
}

/** What an approval makes of a state without one, whether or not a request waits. */
const APPROVED: Row = {
  none: 'from',
  'none+out': 'from+out',
  'none+in': 'from',
  'none+out+in': 'from+out',
  to: 'both',
  'to+in': 'both',
}

/** The account sends a subscription stanza to the contact. */
export function outbound({ state, isApproved }: Standing, type: SubscriptionType): Step {
  const next = OUTBOUND[type][state]
  const passes = next !== undefined
  const after = { state: next ?? state, passes }
  switch (type) {
    case 'subscribed':
      // Without a request it is an approval in advance, which granting a request uses up.
      return { ...after, isApproved: !passes && !hasFrom(state) }
    case 'unsubscribed':
      return { ...after, isApproved: false }
    default:
      return { ...after, isApproved }
  }
}

/** A subscription stanza of the contact comes in. */
export function inbound({ state, isApproved }: Standing, type: SubscriptionType): Step {
  if (type === 'subscribe') {
    if (hasFrom(state)) return { state, isApproved, passes: false, answer: 'subscribed' }
    const granted = isApproved ? APPROVED[state] : undefined
    if (granted !== undefined) {
      return { state: granted, isApproved: false, passes: false, answer: 'subscribed' }
    }
  }
  const next = INBOUND[type][state]
  return { state: next ?? state, isApproved, passes: next !== undefined }
}

/** What clients and other modules see of a state (RFC 6121 §2.1.2.5). */
export function subscriptionOf(state: SubscriptionState): Subscription {
  const plus = state.indexOf('+')
  return (plus < 0 ? state : state.slice(0, plus)) as Subscription
}

/** The contact sees the account's presence. */
export function hasFrom(state: SubscriptionState): boolean {
  return state === 'from' || state === 'from+out' || state === 'both'
}

/** The account sees the contact's presence. */
export function hasTo(state: SubscriptionState): boolean {
  return state === 'to' || state === 'to+in' || state === 'both'
}

/** The account's request waits for the contact's answer. */
export function isAsking(state: SubscriptionState): boolean {
  return state === 'none+out' || state === 'none+out+in' || state === 'from+out'
}

/** The contact's request waits for the account's answer. */
export function isAsked(state: SubscriptionState): boolean {
  return state === 'none+in' || state === 'none+out+in' || state === 'to+in'
}

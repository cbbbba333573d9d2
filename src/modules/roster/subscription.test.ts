import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { SubscriptionType } from '../../core/hook-map.ts'
import {
  hasFrom,
  hasTo,
  inbound,
  isAsked,
  isAsking,
  outbound,
  type Standing,
  SUBSCRIPTION_STATES,
  type SubscriptionState,
  subscriptionOf,
} from './subscription.ts'

const TYPES: readonly SubscriptionType[] = [
  'subscribe',
  'subscribed',
  'unsubscribe',
  'unsubscribed',
]

/**
 * The same rules a second time, by what they mean: two subscriptions, a request each way, and an
 * approval in advance.
 */
type Facts = { from: boolean; to: boolean; asked: boolean; asking: boolean; approved: boolean }

function factsOf({ state, isApproved }: Standing): Facts {
  return {
    from: hasFrom(state),
    to: hasTo(state),
    asked: isAsked(state),
    asking: isAsking(state),
    approved: isApproved,
  }
}

function expectedOutbound(before: Facts, type: SubscriptionType): [boolean, Facts] {
  switch (type) {
    case 'subscribe':
      return [true, { ...before, asking: !before.to }]
    case 'unsubscribe':
      return [true, { ...before, to: false, asking: false }]
    case 'subscribed':
      if (before.asked) return [true, { ...before, from: true, asked: false, approved: false }]
      return [false, { ...before, approved: !before.from }]
    case 'unsubscribed':
      return [
        before.asked || before.from,
        { ...before, from: false, asked: false, approved: false },
      ]
  }
}

function expectedInbound(before: Facts, type: SubscriptionType): [boolean, Facts, boolean] {
  switch (type) {
    case 'subscribe':
      if (before.from) return [false, before, true]
      if (before.approved) {
        return [false, { ...before, from: true, asked: false, approved: false }, true]
      }
      return [!before.asked, { ...before, asked: true }, false]
    case 'unsubscribe':
      return [before.asked || before.from, { ...before, from: false, asked: false }, false]
    case 'subscribed':
      return [before.asking, before.asking ? { ...before, to: true, asking: false } : before, false]
    case 'unsubscribed':
      return [before.asking || before.to, { ...before, to: false, asking: false }, false]
  }
}

for (const state of SUBSCRIPTION_STATES) {
  // An approval in advance is only ever kept while the contact has no subscription.
  for (const isApproved of hasFrom(state) ? [false] : [false, true]) {
    const before = { state, isApproved }
    const name = isApproved ? `${state}, approved` : state
    for (const type of TYPES) {
      test(`${name}: ${type} goes out`, () => {
        const step = outbound(before, type)
        const [passes, after] = expectedOutbound(factsOf(before), type)
        assert.equal(step.passes, passes)
        assert.deepEqual(factsOf(step), after)
        assert.equal(step.answer, undefined)
      })
      test(`${name}: ${type} comes in`, () => {
        const step = inbound(before, type)
        const [passes, after, isAnswered] = expectedInbound(factsOf(before), type)
        assert.equal(step.passes, passes)
        assert.deepEqual(factsOf(step), after)
        assert.equal(step.answer, isAnswered ? 'subscribed' : undefined)
      })
    }
  }
}

test('each state is told apart by what it means', () => {
  const all = SUBSCRIPTION_STATES.map((state) =>
    JSON.stringify(factsOf({ state, isApproved: false })),
  )
  assert.equal(new Set(all).size, SUBSCRIPTION_STATES.length)
})

test('what a client sees of a state', () => {
  const seen = Object.fromEntries(
    SUBSCRIPTION_STATES.map((state) => [state, subscriptionOf(state)]),
  )
  assert.deepEqual(seen, {
    none: 'none',
    'none+out': 'none',
    'none+in': 'none',
    'none+out+in': 'none',
    to: 'to',
    'to+in': 'to',
    from: 'from',
    'from+out': 'from',
    both: 'both',
  } satisfies Record<SubscriptionState, string>)
})

test('both ends agree after a handshake', () => {
  let romeo: Standing = { state: 'none', isApproved: false }
  let juliet: Standing = { state: 'none', isApproved: false }
  const send = (type: SubscriptionType, from: 'romeo' | 'juliet') => {
    const isRomeo = from === 'romeo'
    const out = outbound(isRomeo ? romeo : juliet, type)
    const incoming = inbound(isRomeo ? juliet : romeo, type)
    if (isRomeo) [romeo, juliet] = [out, incoming]
    else [juliet, romeo] = [out, incoming]
  }
  send('subscribe', 'romeo')
  assert.equal(romeo.state, 'none+out')
  assert.equal(juliet.state, 'none+in')
  send('subscribed', 'juliet')
  send('subscribe', 'juliet')
  send('subscribed', 'romeo')
  assert.equal(romeo.state, 'both')
  assert.equal(juliet.state, 'both')
  send('unsubscribed', 'juliet')
  assert.equal(romeo.state, 'from')
  assert.equal(juliet.state, 'to')
})

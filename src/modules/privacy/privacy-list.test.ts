import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { ContactInfo, Subscription } from '../../core/hook-map.ts'
import { type Jid, parseJid } from '../../xmpp/jid.ts'
import { Stanza } from '../../xmpp/stanza.ts'
import { el } from '../../xmpp/xml.ts'
import { PRIVACY_NS, readList, restoreList, writeList } from './list-xml.ts'
import {
  EVERYTHING,
  IQ,
  kindOf,
  MESSAGE,
  OTHER,
  PRESENCE_IN,
  PRESENCE_OUT,
  type PrivacyItem,
  PrivacyList,
  type Subject,
} from './privacy-list.ts'

const KINDS = [MESSAGE, IQ, PRESENCE_IN, PRESENCE_OUT, OTHER]
const ADDRESSES = ['a.example', 'a.example/r', 'u@a.example', 'u@a.example/r', 'v@a.example/s']
const SUBSCRIPTIONS: readonly Subscription[] = ['none', 'to', 'from', 'both']
const GROUPS = ['friends', 'foes']

// --- As XEP-0016 §2.1 and §2.2 say it, item by item.

function isMeant(subject: Subject, peer: Jid, { subscription, groups }: ContactInfo): boolean {
  switch (subject.type) {
    case 'anybody':
      return true
    case 'subscription':
      return subject.subscription === subscription
    case 'group':
      return groups.includes(subject.group)
    case 'jid': {
      const { local, domain, resource } = subject.jid
      return (
        domain === peer.domain &&
        (local === '' || local === peer.local) &&
        (resource === '' || resource === peer.resource)
      )
    }
  }
}

function decideNaively(
  items: readonly PrivacyItem[],
  peer: Jid,
  kind: number,
  contact: ContactInfo,
): string {
  const first = [...items]
    .sort((a, b) => a.order - b.order)
    .find((item) => (item.kinds & kind) !== 0 && isMeant(item.subject, peer, contact))
  return first?.action ?? 'allow'
}

// --- Lists at random.

const address = fc.constantFrom(...ADDRESSES).map((text) => parseJid(text))
const subject: fc.Arbitrary<Subject> = fc.oneof(
  { weight: 4, arbitrary: address.map((jid) => ({ type: 'jid' as const, jid })) },
  {
    weight: 2,
    arbitrary: fc.oneof(
      fc.record({
        type: fc.constant('subscription' as const),
        subscription: fc.constantFrom(...SUBSCRIPTIONS),
      }),
      fc.record({ type: fc.constant('group' as const), group: fc.constantFrom(...GROUPS) }),
    ),
  },
  { weight: 1, arbitrary: fc.constant({ type: 'anybody' as const }) },
)
const kinds = fc.oneof(
  fc.constant(EVERYTHING),
  fc.integer({ min: 1, max: MESSAGE | IQ | PRESENCE_IN | PRESENCE_OUT }),
)
const items = fc.uniqueArray(
  fc.record({
    subject,
    action: fc.constantFrom('allow' as const, 'deny' as const),
    order: fc.nat({ max: 50 }),
    kinds,
  }),
  { selector: ({ order }) => order, maxLength: 12 },
)
const contact: fc.Arbitrary<ContactInfo> = fc.record({
  subscription: fc.constantFrom(...SUBSCRIPTIONS),
  groups: fc.subarray(GROUPS),
})

test('what is found by address is what a look at each rule in turn finds', () => {
  fc.assert(
    fc.property(items, address, fc.constantFrom(...KINDS), contact, (rules, peer, kind, known) => {
      const list = new PrivacyList('list', rules)
      const expected = decideNaively(rules, peer, kind, known)
      assert.equal(list.decide(peer, kind, known), expected)
      // Without the roster it decides only what does not depend on it.
      const unaided = list.decide(peer, kind)
      if (unaided !== undefined) assert.equal(unaided, expected)
      const needsRoster = rules.some(
        ({ subject: { type } }) => type !== 'jid' && type !== 'anybody',
      )
      if (!needsRoster) assert.equal(unaided, expected)
    }),
    { numRuns: 2000 },
  )
})

test('a list survives being written and read', () => {
  fc.assert(
    fc.property(items, (rules) => {
      const list = new PrivacyList('the <list>', rules)
      const written = el('query', { xmlns: PRIVACY_NS }, writeList(list)).elements()[0]
      assert.ok(written)
      for (const read of [readList(written), restoreList(written)]) {
        assert.equal(String(writeList(read)), String(writeList(list)))
        assert.deepEqual(
          read.items.map(({ kinds }) => kinds),
          list.items.map(({ kinds }) => kinds),
        )
      }
    }),
  )
})

test('rules that a later Unicode no longer knows are left out, the others stay', () => {
  const rule = (value: string, order: number) =>
    el('item', { type: 'jid', value, action: 'deny', order })
  const list = el('list', { xmlns: PRIVACY_NS, name: 'old' }, rule('@', 1), rule('a.example', 2))
  assert.throws(() => readList(list), { condition: 'bad-request' })
  assert.deepEqual(
    restoreList(list).items.map(({ order }) => order),
    [2],
  )
})

test('each stanza is of one kind', () => {
  const cases: [
    kind: 'message' | 'presence' | 'iq',
    type: string | undefined,
    in_: number,
    out: number,
  ][] = [
    ['message', 'chat', MESSAGE, OTHER],
    ['iq', 'get', IQ, OTHER],
    ['iq', 'result', IQ, OTHER],
    ['presence', undefined, PRESENCE_IN, PRESENCE_OUT],
    ['presence', 'unavailable', PRESENCE_IN, PRESENCE_OUT],
    ['presence', 'subscribe', OTHER, OTHER],
    ['presence', 'unsubscribed', OTHER, OTHER],
    ['presence', 'probe', OTHER, OTHER],
  ]
  for (const [kind, type, expectedIn, expectedOut] of cases) {
    const stanza = Stanza.build(kind, { type })
    assert.equal(kindOf(stanza, 'in'), expectedIn, `${kind} ${type} in`)
    assert.equal(kindOf(stanza, 'out'), expectedOut, `${kind} ${type} out`)
  }
})

test('rules about some kinds of stanzas leave the others alone', () => {
  const list = new PrivacyList('list', [
    { subject: { type: 'anybody' }, action: 'deny', order: 1, kinds: MESSAGE | PRESENCE_OUT },
  ])
  const verdicts = KINDS.map((kind) => list.decide(parseJid('u@a.example'), kind))
  assert.deepEqual(verdicts, ['deny', 'allow', 'allow', 'deny', 'allow'])
})

const item = (attributes: Record<string, string | number>, ...kinds: string[]) =>
  el('item', { action: 'deny', order: 1, ...attributes }, ...kinds.map((name) => el(name)))

for (const [what, rules] of Object.entries({
  'no action': [el('item', { order: 1 })],
  'an unknown action': [item({ action: 'block' })],
  'no order': [el('item', { action: 'deny' })],
  'a negative order': [item({ order: -1 })],
  'an order that is no number': [item({ order: '1e3' })],
  'an order beyond 32 bits': [item({ order: 4_294_967_296 })],
  'the same order twice': [item({}), item({ type: 'jid', value: 'a.example' })],
  'an unknown type': [item({ type: 'regexp', value: '.*' })],
  'a type without value': [item({ type: 'jid' })],
  'a value without type': [item({ value: 'a.example' })],
  'a malformed address': [item({ type: 'jid', value: '@a.example' })],
  'an unknown subscription': [item({ type: 'subscription', value: 'remove' })],
  'a group without name': [item({ type: 'group', value: '' })],
  'an unknown kind of stanza': [item({}, 'presence')],
  'a kind of another namespace': [
    el('item', { action: 'deny', order: 1 }, el('message', { xmlns: 'jabber:client' })),
  ],
  'something else than items': [el('rule', { action: 'deny', order: 1 })],
})) {
  test(`not a list: ${what}`, () => {
    const list = el('list', { xmlns: PRIVACY_NS, name: 'bad' }, ...rules)
    assert.throws(() => readList(list), { condition: 'bad-request' })
  })
}

test('a list has a name', () => {
  for (const name of [undefined, '', 'x'.repeat(1024)]) {
    const list = el('list', { xmlns: PRIVACY_NS, name }, item({}))
    assert.throws(() => readList(list), { condition: 'bad-request' })
  }
})

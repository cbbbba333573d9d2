import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CAPS_NS } from '../../src/xmpp/caps.ts'
import { type Element, el } from '../../src/xmpp/xml.ts'
import { type Client, conditionOf } from '../support/client.ts'
import { startServer } from '../support/server.ts'

const INFO = 'http://jabber.org/protocol/disco#info'
const ITEMS = 'http://jabber.org/protocol/disco#items'

const discover = (client: Client, to: string, node?: string) =>
  client.ask('get', to, el('query', { xmlns: INFO, node }))
const featuresOf = (answer: Element): string[] =>
  (answer.child('query', INFO)?.elements('feature') ?? []).map(
    (feature) => feature.attr('var') as string,
  )

/** A request that a feature answers with anything but "nobody does that here". */
type Proof = {
  readonly type: 'get' | 'set'
  readonly payload: Element
  /** Clients ask it of their own account. */
  readonly ofAccount?: boolean
}

const get = (name: string, xmlns: string): Proof => ({ type: 'get', payload: el(name, { xmlns }) })

const proofs: Readonly<Record<string, Proof>> = {
  [INFO]: get('query', INFO),
  [ITEMS]: get('query', ITEMS),
  'jabber:iq:last': get('query', 'jabber:iq:last'),
  'jabber:iq:privacy': { ...get('query', 'jabber:iq:privacy'), ofAccount: true },
  'jabber:iq:private': {
    type: 'get',
    payload: el('query', { xmlns: 'jabber:iq:private' }, el('x', { xmlns: 'urn:x' })),
    ofAccount: true,
  },
  'jabber:iq:register': get('query', 'jabber:iq:register'),
  'jabber:iq:version': get('query', 'jabber:iq:version'),
  'urn:xmpp:blocking': { ...get('blocklist', 'urn:xmpp:blocking'), ofAccount: true },
  'urn:xmpp:carbons:2': {
    type: 'set',
    payload: el('enable', { xmlns: 'urn:xmpp:carbons:2' }),
    ofAccount: true,
  },
  'urn:xmpp:mam:2': { ...get('metadata', 'urn:xmpp:mam:2'), ofAccount: true },
  'urn:xmpp:ping': get('ping', 'urn:xmpp:ping'),
  'urn:xmpp:time': get('time', 'urn:xmpp:time'),
  'vcard-temp': get('vCard', 'vcard-temp'),
}

/** Features that are no requests; their own tests try them. */
const others: ReadonlySet<string> = new Set([
  CAPS_NS,
  'msgoffline',
  'urn:xmpp:carbons:rules:0',
  'urn:xmpp:mam:2#extended',
  'urn:xmpp:mam:2#groupchat-field',
  'urn:xmpp:message-retract:1',
  'urn:xmpp:message-retract:1#tombstone',
  'urn:xmpp:reporting:1',
  'urn:xmpp:sid:0',
])

test('what the server and accounts say they do, they do', async () => {
  await using server = await startServer()
  const juliet = await server.connect('juliet', 'balcony')
  const { iq } = server.server
  const answered = new Set([...iq.namespaces('server'), ...iq.namespaces('account')])
  for (const entity of [server.domain, juliet.bareJid]) {
    const features = featuresOf(await discover(juliet, entity))
    assert.ok(features.includes(INFO))
    for (const feature of features) {
      const proof = proofs[feature]
      if (proof === undefined) {
        const isTried = answered.has(feature) || others.has(feature)
        assert.ok(isTried, `nobody tries whether ${entity} does ${feature}`)
        continue
      }
      const target = proof.ofAccount ? juliet.bareJid : entity
      const answer = await juliet.ask(proof.type, target, proof.payload)
      const condition = answer.attr('type') === 'error' ? conditionOf(answer) : undefined
      const isThere = condition !== 'service-unavailable' && condition !== 'feature-not-implemented'
      assert.ok(isThere, `${entity} announces ${feature}, and answers ${condition}`)
    }
  }
})

test('the server names its capabilities before login', async () => {
  await using server = await startServer()
  const stranger = await server.openStream()
  const c = stranger.features?.child('c', CAPS_NS)
  const juliet = await server.connect('juliet', 'balcony')
  const node = `${c?.attr('node')}#${c?.attr('ver')}`
  const answer = await discover(juliet, server.domain, node)
  assert.deepEqual(featuresOf(answer), featuresOf(await discover(juliet, server.domain)))
})

test('an account is discovered by contacts only', async () => {
  await using server = await startServer()
  const juliet = await server.connect('juliet', 'balcony')
  const romeo = await server.connect('romeo', 'orchard')
  const refused = await discover(romeo, juliet.bareJid)
  assert.equal(conditionOf(refused), 'service-unavailable')
  const nobody = await discover(romeo, `nobody@${server.domain}`)
  assert.equal(conditionOf(nobody), 'service-unavailable')

  romeo.send(el('presence', { type: 'subscribe', to: juliet.bareJid }))
  await juliet.receives({ name: 'presence', type: 'subscribe' })
  juliet.send(el('presence', { type: 'subscribed', to: romeo.bareJid }))
  await romeo.receives({ name: 'presence', type: 'subscribed' })
  const answer = await discover(romeo, juliet.bareJid)
  assert.equal(answer.child('query', INFO)?.child('identity')?.attr('category'), 'account')
})

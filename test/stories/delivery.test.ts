import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Envelope } from '../../src/core/envelope.ts'
import { parseJid } from '../../src/xmpp/jid.ts'
import { Stanza } from '../../src/xmpp/stanza.ts'
import { type Element, el } from '../../src/xmpp/xml.ts'
import { type Client, conditionOf } from '../support/client.ts'
import { DOMAIN, startServer, type TestServer } from '../support/server.ts'
import { newId } from '../support/stanzas.ts'

/** Juliet's resources, with their priorities; `undefined`: connected, but not available. */
type Resources = Readonly<Record<string, number | undefined>>

const RESOURCE_SETS: Readonly<Record<string, Resources>> = {
  'no resource': {},
  'a resource that is not available': { a: undefined },
  'one resource': { a: 0 },
  'several of the same priority': { a: 1, b: 1 },
  'several of different priorities': { a: 5, b: 0 },
  'a match of lower priority': { a: 0, b: 5 },
  'only negative priorities': { a: -1, b: -128 },
  'all sorts': { a: -1, b: 2, c: 0, d: undefined },
}

const ADDRESSES = {
  bare: `juliet@${DOMAIN}`,
  'full, match': `juliet@${DOMAIN}/a`,
  'full, none': `juliet@${DOMAIN}/gone`,
  'bare, unknown': `nobody@${DOMAIN}`,
  'full, unknown': `nobody@${DOMAIN}/gone`,
}
type Address = keyof typeof ADDRESSES

/** Who of the account's resources get it. */
const REACH = {
  nobody: () => false,
  /** All that share the highest priority, if it is not negative. */
  'most available': (priority: number | undefined, all: Resources) =>
    priority !== undefined &&
    priority >= 0 &&
    Object.values(all).every((other = -1) => other <= priority),
  'not negative': (priority: number | undefined) => priority !== undefined && priority >= 0,
  available: (priority: number | undefined) => priority !== undefined,
  match: (_: number | undefined, __: Resources, name: string) => name === 'a',
}

/** What becomes of it when it reaches nobody: what the sender gets, or that it is kept. */
type Otherwise = 'ignored' | 'stored' | 'unsubscribed' | 'service-unavailable'

type Row = {
  readonly kind: 'message' | 'presence' | 'iq'
  readonly type: string | undefined
  readonly reaches: keyof typeof REACH
  readonly otherwise: Otherwise
  readonly payload?: Element
}

const BODY = el('body', {}, 'Wherefore art thou?')
const QUESTION = el('query', { xmlns: 'urn:example:question' })
const ERROR = el(
  'error',
  { type: 'cancel' },
  el('item-not-found', { xmlns: 'urn:ietf:params:xml:ns:xmpp-stanzas' }),
)

const message = (
  type: string | undefined,
  reaches: Row['reaches'],
  otherwise: Otherwise,
  payload = BODY,
): Row => ({ kind: 'message', type, reaches, otherwise, payload })
const presence = (
  type: string | undefined,
  reaches: Row['reaches'],
  otherwise: Otherwise = 'ignored',
): Row => ({ kind: 'presence', type, reaches, otherwise })
const iq = (type: string, reaches: Row['reaches'], otherwise: Otherwise): Row => ({
  kind: 'iq',
  type,
  reaches,
  otherwise,
  ...((type === 'get' || type === 'set') && { payload: QUESTION }),
})

/** RFC 6121 §8.5, with what it leaves open decided. */
const TABLE: Readonly<Record<Address, readonly Row[]>> = {
  bare: [
    message(undefined, 'most available', 'stored'),
    message('normal', 'most available', 'stored'),
    message('whisper', 'most available', 'stored'),
    message('chat', 'most available', 'stored'),
    message('groupchat', 'nobody', 'service-unavailable'),
    message('headline', 'not negative', 'ignored'),
    message('error', 'nobody', 'ignored', ERROR),
    presence(undefined, 'available'),
    presence('unavailable', 'available'),
    presence('error', 'nobody'),
    presence('probe', 'nobody', 'unsubscribed'),
    iq('get', 'nobody', 'service-unavailable'),
    iq('set', 'nobody', 'service-unavailable'),
    iq('result', 'nobody', 'ignored'),
    iq('error', 'nobody', 'ignored'),
  ],
  'full, match': [
    message(undefined, 'match', 'ignored'),
    message('normal', 'match', 'ignored'),
    message('chat', 'match', 'ignored'),
    message('groupchat', 'match', 'ignored'),
    message('headline', 'match', 'ignored'),
    message('error', 'match', 'ignored', ERROR),
    presence(undefined, 'match'),
    presence('unavailable', 'match'),
    presence('error', 'match'),
    presence('probe', 'nobody', 'unsubscribed'),
    iq('get', 'match', 'ignored'),
    iq('set', 'match', 'ignored'),
    iq('result', 'match', 'ignored'),
    iq('error', 'match', 'ignored'),
  ],
  'full, none': [
    message(undefined, 'nobody', 'service-unavailable'),
    message('normal', 'nobody', 'service-unavailable'),
    message('chat', 'most available', 'stored'),
    message('groupchat', 'nobody', 'service-unavailable'),
    message('headline', 'nobody', 'ignored'),
    message('error', 'nobody', 'ignored', ERROR),
    presence(undefined, 'nobody'),
    presence('unavailable', 'nobody'),
    presence('error', 'nobody'),
    presence('probe', 'nobody', 'unsubscribed'),
    iq('get', 'nobody', 'service-unavailable'),
    iq('set', 'nobody', 'service-unavailable'),
    iq('result', 'nobody', 'ignored'),
    iq('error', 'nobody', 'ignored'),
  ],
  'bare, unknown': unknownUser(),
  'full, unknown': unknownUser(),
}

function unknownUser(): readonly Row[] {
  return [
    message('normal', 'nobody', 'service-unavailable'),
    message('chat', 'nobody', 'service-unavailable'),
    message('groupchat', 'nobody', 'service-unavailable'),
    message('headline', 'nobody', 'service-unavailable'),
    message('error', 'nobody', 'ignored', ERROR),
    presence(undefined, 'nobody'),
    presence('unavailable', 'nobody'),
    presence('error', 'nobody'),
    presence('probe', 'nobody', 'unsubscribed'),
    iq('get', 'nobody', 'service-unavailable'),
    iq('set', 'nobody', 'service-unavailable'),
    iq('result', 'nobody', 'ignored'),
    iq('error', 'nobody', 'ignored'),
  ]
}

type Stage = {
  readonly server: TestServer
  readonly romeo: Client
  readonly resources: Resources
  readonly clients: ReadonlyMap<string, Client>
  /** Ids of the stanzas that were stored. */
  readonly stored: ReadonlySet<string>
  /** Who told Romeo that he has no subscription. His own server drops it, for he never had one. */
  readonly refusals: string[]
}

for (const [what, resources] of Object.entries(RESOURCE_SETS)) {
  test(`who gets a stanza: ${what}`, async (t) => {
    await using server = await startServer()
    await server.createAccount('juliet')
    const romeo = await server.connect('romeo', 'orchard')
    const clients = new Map<string, Client>()
    for (const [name, priority] of Object.entries(resources)) {
      clients.set(name, await server.connect('juliet', name, { priority }))
    }
    const stored = new Set<string>()
    const refusals: string[] = []
    server.server.hooks.on('message_routed', (outcome, { envelope }) => {
      if (outcome.fate === 'stored') stored.add(envelope.stanza.id ?? '')
      if (envelope.stanza.type === 'unsubscribed' && envelope.to.bare === romeo.bareJid) {
        refusals.push(envelope.from.full)
      }
      return outcome
    })
    const stage = { server, romeo, resources, clients, stored, refusals }
    for (const [address, rows] of Object.entries(TABLE) as [Address, readonly Row[]][]) {
      if (address === 'full, match' && !clients.has('a')) continue
      for (const row of rows) {
        await t.test(`${row.kind} ${row.type ?? '(no type)'} to ${address}`, () =>
          play(stage, address, row),
        )
      }
    }
  })
}

async function play(stage: Stage, address: Address, row: Row): Promise<void> {
  const { romeo, resources, clients, stored, refusals } = stage
  const { kind, type, payload, otherwise } = row
  const id = newId()
  const to = ADDRESSES[address]
  for (const client of [romeo, ...clients.values()]) client.forgets()
  refusals.length = 0

  romeo.send(el(kind, { type, id, to }, payload))
  await romeo.roundTrip()

  const expected = Object.keys(resources).filter((name) =>
    REACH[row.reaches](resources[name], resources, name),
  )
  const reached: string[] = []
  for (const [name, client] of clients) {
    await client.roundTrip()
    for (const received of client.inbox()) {
      assert.equal(received.name, kind)
      assert.equal(received.attr('type'), type)
      assert.equal(received.attr('from'), romeo.fullJid)
      assert.equal(received.attr('to'), to, 'the address stays as it was')
      assert.equal(received.attr('id'), id)
      reached.push(name)
    }
  }
  assert.deepEqual(reached, expected)

  const fate = expected.length > 0 ? 'ignored' : otherwise
  assert.equal(stored.has(id), fate === 'stored')
  assert.deepEqual(refusals, fate === 'unsubscribed' ? [to.split('/', 1)[0]] : [])
  const answers = romeo.inbox()
  if (fate !== 'service-unavailable') return assert.deepEqual(answers, [])
  const [answer] = answers
  assert(answer !== undefined && answers.length === 1, `answers: ${answers}`)
  assert.equal(conditionOf(answer), fate)
  assert.equal(answer.attr('from'), to)
  assert.equal(answer.attr('id'), id)
  assert.equal(answer.attr('to'), romeo.fullJid)
}

test('a request for a subscription is between accounts, whatever resources were written', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo', 'orchard')
  const available = await server.connect('juliet', 'a', { priority: -1 })
  const other = await server.connect('juliet', 'b', { priority: undefined })

  romeo.send(el('presence', { type: 'subscribe', to: available.fullJid, id: 's' }))

  await available.receives({
    name: 'presence',
    type: 'subscribe',
    from: romeo.bareJid,
    to: available.bareJid,
  })
  await other.receivesNothing({ name: 'presence' })
})

test('nobody is told a subscription that was never asked for', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo', 'orchard')
  const juliet = await server.connect('juliet', 'a')

  for (const type of ['subscribed', 'unsubscribe', 'unsubscribed']) {
    for (const to of [juliet.bareJid, juliet.fullJid, `${juliet.bareJid}/gone`]) {
      romeo.send(el('presence', { type, to }))
    }
  }
  await romeo.roundTrip()

  await juliet.receivesNothing()
  await romeo.receivesNothing()
})

test('a subscription from elsewhere to a resource that is gone is nobody’s', async () => {
  await using server = await startServer()
  const juliet = await server.connect('juliet', 'a')
  const asked: string[] = []
  server.server.hooks.on('roster_in_subscription', (acc, { type, envelope }) => {
    asked.push(`${type} ${envelope.to}`)
    return acc
  })
  const from = parseJid('mercutio@verona.example')
  const origin = { kind: 's2s', domain: from.domain } as const
  for (const resource of ['a', 'gone']) {
    const to = parseJid(`${juliet.bareJid}/${resource}`)
    for (const type of ['subscribe', 'subscribed', 'unsubscribe', 'unsubscribed']) {
      const stanza = Stanza.build('presence', { type })
      await server.server.router.route(new Envelope(from, to, stanza, origin))
    }
  }

  assert.deepEqual(asked, [
    `subscribe ${juliet.bareJid}`,
    `subscribed ${juliet.bareJid}`,
    `unsubscribe ${juliet.bareJid}`,
    `unsubscribed ${juliet.bareJid}`,
    `subscribe ${juliet.bareJid}`,
  ])
})

test('a private message through a room to somebody who left goes back to the room', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo')
  const juliet = await server.connect('juliet', 'balcony')
  const occupant = el('x', { xmlns: 'http://jabber.org/protocol/muc#user' })

  romeo.send(el('message', { type: 'chat', to: `${juliet.bareJid}/gone`, id: 'p' }, BODY, occupant))

  await romeo.receivesNext({ id: 'p', error: 'service-unavailable' })
  await juliet.receivesNothing()
})

test('a message to oneself comes back to the most available resources', async () => {
  await using server = await startServer()
  const low = await server.connect('romeo', 'low', { priority: 0 })
  const high = await server.connect('romeo', 'high', { priority: 1 })

  high.send(el('message', { type: 'chat' }, BODY))
  await high.receivesNext({ body: /Wherefore/, to: high.bareJid, from: high.fullJid })
  low.send(el('message', { type: 'chat', to: low.bareJid }, BODY))
  await high.receivesNext({ body: /Wherefore/, to: low.bareJid, from: low.fullJid })

  await low.receivesNothing()
})

test('a session that ended is nobody, though it was there a moment ago', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo')
  const high = await server.connect('juliet', 'high', { priority: 1 })
  const low = await server.connect('juliet', 'low', { priority: 0 })
  low.forgets()

  await high.leaves()
  romeo.send(el('message', { type: 'chat', to: low.bareJid }, BODY))

  await low.receives({ name: 'message', body: /Wherefore/ })
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TraceFilter, TraceItem } from '../../src/core/trace-item.ts'
import { el } from '../../src/xmpp/xml.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { chat } from '../support/stanzas.ts'

/** What is told of stanzas, for tests to wait for. */
function follow({ server }: TestServer, filter: TraceFilter) {
  const items: TraceItem[] = []
  let wake = () => {}
  const end = server.tracing.follow(filter, (item) => {
    items.push(item)
    wake()
  })
  const until = async (test: (item: TraceItem) => boolean): Promise<TraceItem> => {
    for (let turn = 0; turn < 1_000; turn++) {
      const found = items.find(test)
      if (found !== undefined) return found
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
    throw new Error('it was not told')
  }
  return { items, until, end, [Symbol.dispose]: end }
}

type Test = (item: TraceItem) => boolean

const settled =
  (id: string, from: string): Test =>
  ({ stanza, outcome }) =>
    stanza.id === id && stanza.from === from && outcome !== null

const happened =
  (place: string, verdict: string): Test =>
  ({ steps }) =>
    steps.some((step) => step.place === place && step.verdict === verdict)

test('a message is followed from socket to socket, and to its acknowledgement', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo', 'garden')
  const juliet = await server.connect('juliet', 'balcony')
  using watch = follow(server, { jid: romeo.bareJid })

  const message = chat(juliet.bareJid, 'Art thou not Romeo?')
  romeo.send(message)

  const item = await watch.until(settled(message.attr('id') as string, romeo.fullJid))
  assert.deepEqual(item.outcome?.sessions, [juliet.fullJid])
  const order = [
    'c2s_in',
    'user_send_message',
    'router',
    'route',
    'local_delivery',
    'filter_local_packet',
    'session_manager',
    'c2s_out',
    'user_receive_message',
  ]
  const places = item.steps.map(({ place }) => place)
  assert.deepEqual(
    order.map((place) => places.indexOf(place)),
    order.map((place) => places.indexOf(place)).toSorted((a, b) => a - b),
  )
  for (const place of order) assert.ok(places.includes(place), place)
  const written = item.steps.find(({ verdict }) => verdict === 'written')
  assert.equal(written?.session, juliet.fullJid)
  assert.ok(!JSON.stringify(item).includes('Romeo?'))
  await watch.until(happened('stanza_acknowledged', 'passed'))
})

test('a copy and an error are told with the message that caused them', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo', 'garden')
  const juliet = await server.connect('juliet', 'balcony')
  const phone = await server.connect('juliet', 'phone', { priority: -1 })
  const enable = el('enable', { xmlns: 'urn:xmpp:carbons:2' })
  phone.send(el('iq', { type: 'set', id: 'carbons' }, enable))
  await phone.roundTrip()
  using watch = follow(server, { jid: romeo.bareJid })

  const message = chat(juliet.bareJid, 'hush')
  romeo.send(message)
  const cause = await watch.until(settled(message.attr('id') as string, romeo.fullJid))
  const copy = await watch.until(({ stanza }) => stanza.to === phone.fullJid)
  assert.deepEqual([copy.trace, copy.parent], [cause.trace, cause.span])
  assert.deepEqual(copy.stanza.children, ['received urn:xmpp:carbons:2'])

  const stranger = `stranger@${server.domain}`
  const lost = chat(stranger, 'hush')
  romeo.send(lost)
  const id = lost.attr('id') as string
  const bounced = await watch.until(settled(id, romeo.fullJid))
  assert.deepEqual(
    [bounced.outcome?.fate, bounced.outcome?.by, bounced.outcome?.reason],
    ['bounced', 'sm', 'service-unavailable'],
  )
  const error = await watch.until(settled(id, stranger))
  assert.deepEqual([error.trace, error.parent], [bounced.trace, bounced.span])
  assert.deepEqual(error.outcome?.sessions, [romeo.fullJid])
})

test('a message that waited for its recipient goes on with its trace, though nobody followed meanwhile', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo', 'garden')
  await server.createAccount('juliet')
  const first = follow(server, { jid: romeo.bareJid })
  const message = chat(`juliet@${server.domain}`, 'hush')
  romeo.send(message)
  const stored = await first.until(settled(message.attr('id') as string, romeo.fullJid))
  assert.deepEqual([stored.outcome?.fate, stored.outcome?.by], ['stored', 'offline'])
  first.end()

  using second = follow(server, { jid: `juliet@${server.domain}` })
  const juliet = await server.connect('juliet', 'balcony')
  const written: Test = (item) => item.span === stored.span && happened('c2s_out', 'written')(item)
  const delivered = await second.until(written)
  assert.deepEqual([delivered.trace, delivered.isContinued], [stored.trace, true])
  assert.ok(delivered.steps.some(({ session }) => session === juliet.fullJid))
})

test('what the server says on its own, and what comes from a component', async () => {
  await using server = await startServer({ component: {} })
  const romeo = await server.connect('romeo', 'garden')
  const weather = await server.connectComponent('weather.example.com')
  // Who has asked for the roster hears of its changes.
  romeo.send(el('iq', { type: 'get', id: 'get' }, el('query', { xmlns: 'jabber:iq:roster' })))
  await romeo.roundTrip()
  using watch = follow(server, { jid: romeo.bareJid })

  const item = el('item', { jid: 'nurse@example.com' })
  const query = el('query', { xmlns: 'jabber:iq:roster' }, item)
  romeo.send(el('iq', { type: 'set', id: 'roster' }, query))
  const cause = await watch.until(settled('roster', romeo.fullJid))
  const push = await watch.until(
    ({ stanza, trace }) =>
      stanza.type === 'set' && stanza.origin === 'server' && trace === cause.trace,
  )
  assert.deepEqual([push.outcome?.fate, push.outcome?.by], ['delivered', 'c2s_out'])

  weather.send(
    el(
      'message',
      { from: 'weather.example.com', to: romeo.fullJid, id: 'rain' },
      el('body', {}, 'rain'),
    ),
  )
  const rain = await watch.until(settled('rain', 'weather.example.com'))
  assert.deepEqual([rain.stanza.origin, rain.parent], ['component', null])
})

test('what is wrong with a stanza is told, too', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo', 'garden')
  using watch = follow(server, { jid: romeo.bareJid })
  romeo.send(el('message', { to: 'not@an@address', id: 'a', type: 'chat' }, el('body', {}, 'x')))
  const item = await watch.until(settled('a', romeo.fullJid))
  assert.deepEqual(
    [item.outcome?.fate, item.outcome?.by, item.outcome?.reason],
    ['bounced', 'user_send', 'jid-malformed'],
  )
})

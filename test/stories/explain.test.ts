import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import type { TraceItem } from '../../src/core/trace-item.ts'
import { modules } from '../../src/modules.ts'
import { explain } from '../../src/server-explain.ts'
import { parseJid } from '../../src/xmpp/jid.ts'
import { Stanza } from '../../src/xmpp/stanza.ts'
import { type Element, el } from '../../src/xmpp/xml.ts'
import type { Client } from '../support/client.ts'
import { DOMAIN, startServer, type TestServer } from '../support/server.ts'
import { chat, iq, message, presence } from '../support/stanzas.ts'

const ask = ({ server }: TestServer, from: string, element: Element) => {
  const to = element.attr('to')
  return explain(server, {
    from: parseJid(from),
    to: to === undefined ? undefined : parseJid(to),
    stanza: Stanza.fromElement(element),
  })
}

const told = (item: TraceItem | undefined, verdict: string) =>
  item?.steps.filter((step) => step.verdict === verdict).map(({ by, detail }) => [by, detail])

/** Juliet has two clients, one of which wants copies; the nurse has none. */
async function openScene(settings: Parameters<typeof startServer>[0] = {}) {
  const server = await startServer(settings)
  const romeo = await server.connect('romeo', 'garden')
  const balcony = await server.connect('juliet', 'balcony')
  const phone = await server.connect('juliet', 'phone', { priority: -1 })
  const enable = el('enable', { xmlns: 'urn:xmpp:carbons:2' })
  await phone.ask('set', phone.bareJid, enable)
  await server.createAccount('nurse')
  return {
    server,
    romeo,
    balcony,
    phone,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}

const JULIET = `juliet@${DOMAIN}`
const NURSE = `nurse@${DOMAIN}`
const EVERYWHERE = [
  undefined,
  JULIET,
  `${JULIET}/phone`,
  `${JULIET}/gone`,
  NURSE,
  `nobody@${DOMAIN}`,
  DOMAIN,
  'weather.example.net',
  'tybalt@example.org',
]

test('who would get a message, who a copy, and where it would be kept', async () => {
  await using scene = await openScene()
  const { server, romeo, balcony, phone } = scene
  const [delivered, ...more] = await ask(server, romeo.fullJid, chat(JULIET, 'hush'))
  assert.deepEqual(delivered?.outcome, {
    fate: 'delivered',
    by: 'sm',
    reason: null,
    sessions: [balcony.fullJid],
  })
  assert.deepEqual(more, [])
  assert.deepEqual(told(delivered, 'would'), [
    ['archive', `archive it for ${JULIET}`],
    ['carbons', `send a copy to ${phone.fullJid}`],
    ['archive', `archive it for ${romeo.bareJid}`],
  ])
  assert.deepEqual(told(delivered, 'written'), [[null, null]])

  const [stored] = await ask(server, romeo.fullJid, chat(NURSE, 'hush'))
  assert.deepEqual([stored?.outcome?.fate, stored?.outcome?.by], ['stored', 'offline'])
  assert.ok(told(stored, 'would')?.some(([by, what]) => by === 'offline' && what?.includes(NURSE)))
})

test('what would be refused, by whom and why, and the error that would come of it', async () => {
  await using scene = await openScene()
  const { server, romeo, balcony } = scene
  const [lost, error] = await ask(server, romeo.fullJid, chat(`nobody@${DOMAIN}`, 'hush'))
  assert.deepEqual(
    [lost?.outcome?.fate, lost?.outcome?.by, lost?.outcome?.reason],
    ['bounced', 'sm', 'service-unavailable'],
  )
  assert.deepEqual([error?.parent, error?.outcome?.sessions], [lost?.span, [romeo.fullJid]])

  const item = el('item', { jid: romeo.bareJid })
  await balcony.ask('set', JULIET, el('block', { xmlns: 'urn:xmpp:blocking' }, item))
  const [blocked] = await ask(server, romeo.fullJid, chat(JULIET, 'hush'))
  assert.deepEqual(
    [blocked?.outcome?.fate, blocked?.outcome?.reason],
    ['bounced', 'service-unavailable'],
  )
  const refused = blocked?.steps.find(({ verdict }) => verdict === 'refused')
  assert.deepEqual([refused?.place, refused?.by], ['filter_local_packet', 'privacy'])
})

test('requests are told with who would answer; what nobody knows, with its error', async () => {
  await using scene = await openScene()
  const { server, romeo } = scene
  const set = iq('set', undefined, el('query', { xmlns: 'jabber:iq:roster' }))
  const [roster] = await ask(server, romeo.fullJid, set)
  assert.equal(roster?.outcome?.by, 'iq jabber:iq:roster')
  const strange = iq('get', DOMAIN, el('query', { xmlns: 'urn:example:strange' }))
  const [unknown] = await ask(server, romeo.fullJid, strange)
  assert.deepEqual(
    [unknown?.outcome?.fate, unknown?.outcome?.reason],
    ['bounced', 'service-unavailable'],
  )
})

test('what takes long to be decided is told of once, with all that would come of it', async () => {
  await using scene = await openScene()
  const { server, romeo } = scene
  // As when the storage is slow.
  server.server.hooks.on('filter_local_packet', (envelope) => delay(400, envelope), {
    by: 'slow',
    explain: 'pure',
  })
  const items = await ask(server, romeo.fullJid, chat(NURSE, 'hush'))
  assert.deepEqual(
    items.map(({ outcome }) => outcome?.fate),
    ['stored'],
  )
})

test('handlers and routing modules that cannot be asked are not run, but named', async () => {
  let runs = 0
  await using scene = await openScene({
    routing: [
      'global',
      () => ({
        name: 'own',
        route(envelope) {
          runs++
          return envelope
        },
      }),
      'localdomain',
    ],
  })
  const { server, romeo } = scene
  server.server.hooks.on(
    'filter_local_packet',
    () => {
      throw new Error('it was run')
    },
    { by: 'stranger' },
  )
  // Those that are asked may ask others in turn.
  server.server.hooks.on(
    'privacy_check_packet',
    (verdict) => {
      runs++
      return verdict
    },
    { by: 'stranger' },
  )
  const before = runs
  const [item] = await ask(server, romeo.fullJid, chat(JULIET, 'hush'))
  assert.equal(runs, before)
  assert.equal(item?.outcome?.fate, 'delivered')
  const unasked = item?.steps.filter(({ verdict }) => verdict === 'unasked')
  assert.deepEqual(
    unasked?.map(({ place, by, detail }) => [place, by, detail]),
    [
      ['user_send_message', 'privacy', 'stranger at privacy_check_packet'],
      ['route', 'own', null],
      ['filter_local_packet', 'privacy', 'stranger at privacy_check_packet'],
      ['filter_local_packet', 'stranger', null],
    ],
  )
})

test('whatever is asked, by whomever: nothing happens', async () => {
  await using scene = await openScene({ component: {}, modules: { register: {} } })
  const { server, romeo, balcony, phone } = scene
  const weather = await server.connectComponent('weather.example.net')
  assert.deepEqual(
    modules.map(({ name }) => name).filter((name) => !hasModule(server, name)),
    [],
  )
  const clients: Client[] = [romeo, balcony, phone]
  const before = await everything(server)
  const { storage } = server.server
  const writing = ['write', 'transaction', 'migrate'] as const
  for (const method of writing) {
    const refuse = () => assert.fail(`the storage was asked to ${method}`)
    Object.defineProperty(storage, method, { value: refuse, configurable: true })
  }

  let asked = 0
  const others = [`${NURSE}/absent`, 'weather.example.net', 'tybalt@example.org']
  for (const from of [romeo.fullJid, ...others]) {
    for (const stanza of stanzas(from === romeo.fullJid ? EVERYWHERE : [JULIET, NURSE, DOMAIN])) {
      const items = await ask(server, from, stanza)
      assert.ok(items.length > 0 && items[0]?.outcome, `${from} ${stanza}`)
      asked++
    }
  }
  assert.ok(asked > 200)

  for (const method of writing) Reflect.deleteProperty(storage, method)
  assert.deepEqual(await everything(server), before)
  for (const client of [...clients, weather]) await client.receivesNothing()
})

function hasModule({ server }: TestServer, name: string): boolean {
  return server.modules.modules.some((module) => module.name === name)
}

/** Of all kinds, to everywhere, with something for each module. */
function* stanzas(recipients: readonly (string | undefined)[]): Generator<Element> {
  for (const to of recipients) {
    for (const type of [undefined, 'chat', 'headline', 'groupchat', 'error']) {
      yield message(type, to, 'hush')
    }
    for (const type of [
      undefined,
      'unavailable',
      'subscribe',
      'subscribed',
      'unsubscribe',
      'probe',
    ]) {
      yield presence(type, to)
    }
    yield iq('result', to)
    for (const [type, payload] of requests()) yield iq(type, to, payload)
  }
}

function* requests(): Generator<['get' | 'set', Element]> {
  const item = el('item', { jid: 'tybalt@example.org' })
  yield ['get', el('ping', { xmlns: 'urn:xmpp:ping' })]
  yield ['get', el('query', { xmlns: 'jabber:iq:last' })]
  yield ['set', el('query', { xmlns: 'jabber:iq:roster' }, item)]
  yield ['set', el('vCard', { xmlns: 'vcard-temp' }, el('FN', {}, 'Romeo'))]
  yield ['set', el('query', { xmlns: 'jabber:iq:private' }, el('x', { xmlns: 'urn:example' }))]
  yield ['set', el('block', { xmlns: 'urn:xmpp:blocking' }, item)]
  yield ['set', el('disable', { xmlns: 'urn:xmpp:carbons:2' })]
  yield ['set', el('query', { xmlns: 'urn:xmpp:mam:2' })]
  yield ['set', el('query', { xmlns: 'jabber:iq:register' }, el('remove'))]
  yield ['set', el('query', { xmlns: 'jabber:iq:privacy' }, el('default'))]
}

/** All that is kept, and all that is known of sessions. */
async function everything({ server }: TestServer): Promise<object> {
  const { storage, sessionManager, router } = server
  const names = await storage.read<{ name: string }>(
    "select name from sqlite_master where type = 'table' order by name",
    [],
  )
  const tables: [string, readonly unknown[]][] = []
  for (const { name } of names)
    tables.push([name, await storage.read(`select * from "${name}"`, [])])
  const sessions = [...sessionManager.sessions.values()].map((session) => {
    const { jid, priority, shared, lastActivity } = session as typeof session & {
      readonly lastActivity: number
    }
    return { jid: jid.full, priority, shared, lastActivity }
  })
  const stages = router.stages.all.map(({ name, stanzas }) => [name, stanzas])
  return structuredClone({ tables, sessions, outcomes: [...router.outcomes], stages })
}

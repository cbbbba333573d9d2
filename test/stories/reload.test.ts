import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { test } from 'node:test'
import { DISCO_INFO_NS } from '../../src/core/disco.ts'
import type { SqlValue } from '../../src/core/storage.ts'
import { createLogger } from '../../src/log.ts'
import { NeedsRestartError } from '../../src/server.ts'
import { type Element, el } from '../../src/xmpp/xml.ts'
import type { Client } from '../support/client.ts'
import { until } from '../support/cluster.ts'
import { DOMAIN, type Settings, startServer, type TestServer } from '../support/server.ts'
import { chat, presence } from '../support/stanzas.ts'
import { connectResumable, enable, handles, resume } from '../support/stream-management.ts'

const CSI_NS = 'urn:xmpp:csi:0'
const CARBONS_NS = 'urn:xmpp:carbons:2'
const MAM_NS = 'urn:xmpp:mam:2'
const PING_NS = 'urn:xmpp:ping'

async function featuresOf(client: Client, to = client.domain): Promise<unknown[]> {
  const answer = await client.ask('get', to, el('query', { xmlns: DISCO_INFO_NS }))
  const all = answer.child('query', DISCO_INFO_NS)?.elements() ?? []
  return all.filter(({ name }) => name === 'feature').map((feature) => feature.attr('var'))
}

async function isAnswered(client: Client, payload: Element): Promise<boolean> {
  return (await client.ask('get', client.domain, payload)).attr('type') === 'result'
}

test('modules come, change and go while clients stay', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo')
  assert.equal(await isAnswered(romeo, el('ping', { xmlns: PING_NS })), true)

  await server.reload({ modules: { ping: false } })
  assert.equal(await isAnswered(romeo, el('ping', { xmlns: PING_NS })), false)
  assert.equal((await featuresOf(romeo)).includes(PING_NS), false)

  await server.reload({})
  assert.equal(await isAnswered(romeo, el('ping', { xmlns: PING_NS })), true)
  assert.equal((await featuresOf(romeo)).includes(PING_NS), true)
})

test('a module that cannot start leaves all as it was', async () => {
  await using server = await startServer({ modules: { ping: false } })
  const romeo = await server.connect('romeo')
  const before = server.server.config
  const { storage } = server.server
  // What the archive asks first when it starts.
  const broken = new Error('the disk is on fire')
  const { read } = storage
  await server.reload({ modules: { archive: false } })
  storage.read = <Row>(sql: string, parameters: readonly SqlValue[]) =>
    sql.includes('from archive')
      ? Promise.reject(broken)
      : (read.call(storage, sql, parameters) as Promise<readonly Row[]>)
  await assert.rejects(server.reload({}), /module archive could not start/)
  storage.read = read

  assert.notEqual(server.server.config, before)
  assert.equal(server.server.config.modules.has('archive'), false)
  // The ping module was ready before, and is not there either.
  assert.equal((await featuresOf(romeo)).includes(PING_NS), true)
  assert.equal(await isAnswered(romeo, el('ping', { xmlns: PING_NS })), true)
})

test('what cannot change while the server runs is refused, and nothing else changes', async () => {
  await using server = await startServer()
  const changed: Settings = {
    limits: { max_sessions_per_user: 7 },
    storage: { url: 'sqlite:elsewhere.db' },
  }
  await assert.rejects(server.reload(changed), (error: unknown) => {
    assert(error instanceof NeedsRestartError)
    assert.deepEqual(error.keys, ['storage.url'])
    return true
  })
  assert.equal(server.server.config.limits.max_sessions_per_user, 50)
})

test('listeners come and go, and who is connected stays', async () => {
  const first = { port: 0 }
  await using server = await startServer({ listen: [first] })
  const romeo = await server.connect('romeo')
  const port = server.portOf(0)

  await server.reload({ listen: [first, { port: 0, max_stanza_size: 10_000 }] })
  assert.equal(server.portOf(0), port)
  const juliet = await server.connect('juliet', undefined, { listener: 1 })
  await romeo.sends(chat(juliet.fullJid, 'by another door'))
  await juliet.receives({ body: 'by another door' })

  await server.reload({ listen: [first] })
  assert.equal(server.server.listeners.length, 1)
  await juliet.sends(chat(romeo.fullJid, 'the door is shut behind me'))
  await romeo.receives({ body: 'the door is shut behind me' })
})

test('an address that cannot be had changes nothing', async () => {
  await using server = await startServer()
  const taken = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => taken.once('listening', resolve))
  const { port } = taken.address() as { readonly port: number }
  const settings = { listen: [{}, { port }], modules: { ping: false } as const }
  await assert.rejects(server.reload(settings), { code: 'EADDRINUSE' })
  await new Promise((resolve) => taken.close(resolve))

  assert.equal(server.server.listeners.length, 1)
  const romeo = await server.connect('romeo')
  assert.equal(await isAnswered(romeo, el('ping', { xmlns: PING_NS })), true)
  // What was made ready in vain is not in the way.
  await server.reload(settings)
  assert.equal(server.server.listeners.length, 2)
})

test('a listener takes over the address of another', async () => {
  await using server = await startServer()
  const port = server.portOf(0)
  await server.reload({ listen: [{ port }] })
  // Port 0 was another setting; the new listener has its number now.
  assert.equal(server.portOf(0), port)
  const romeo = await server.connect('romeo')
  await server.reload({ listen: [{ address: '*', port }] })
  const juliet = await server.connect('juliet')
  await romeo.sends(chat(juliet.fullJid, 'still here'))
  await juliet.receives({ body: 'still here' })
})

test('a dry run changes nothing', async () => {
  await using server = await startServer()
  await server.reload({ modules: { ping: false }, listen: [{}, {}] }, { isDry: true })
  const romeo = await server.connect('romeo')

  assert.equal(await isAnswered(romeo, el('ping', { xmlns: PING_NS })), true)
  assert.equal(server.server.listeners.length, 1)
})

test('how clients log in, and what they may take up, changes for the next ones', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo', 'first')
  await server.reload({
    auth: { mechanisms: ['SCRAM-SHA-256'], registration: true },
    limits: { max_sessions_per_user: 1 },
    listen: [{ max_stanza_size: 20_000 }],
    modules: { register: { allow_without_tls: true } },
  })

  const later = await server.openStream()
  assert.deepEqual(later.mechanisms, ['SCRAM-SHA-256'])
  assert.ok(later.features?.child('register', 'http://jabber.org/features/iq-register'))
  const second = await server.connect('romeo', 'second', { mechanism: 'SCRAM-SHA-256' })
  await romeo.receivesStreamError('policy-violation')
  second.send(chat(second.fullJid, 'x'.repeat(30_000)))
  await second.receivesStreamError('policy-violation')
})

test('the log tells more or less at once, also of who is connected', async () => {
  const lines: string[] = []
  const write = (line: string) => void lines.push(line)
  const log = createLogger({ level: 'info', format: 'json', write })
  await using server = await startServer({ log })
  const told = async (resource: string) => {
    const client = await server.connect('romeo', resource)
    return lines.some((line) => line.includes('session_opened') && line.includes(client.fullJid))
  }
  assert.equal(await told('first'), false)
  await server.reload({ logging: { level: 'debug' } })
  assert.equal(await told('second'), true)
  await server.reload({ logging: { level: 'error' } })
  assert.equal(await told('third'), false)
})

test('components get other secrets', async () => {
  await using server = await startServer({ component: {} })
  const old = await server.connectComponent('plays.example')
  await server.reload({ component: { secret: 'another secret of ours' } })

  const refused = await server.openComponent('poems.example')
  await refused.startStream()
  await assert.rejects(refused.shakesHands('what light through yonder window breaks'))
  const fresh = await server.connectComponent('poems.example', {
    secret: 'another secret of ours',
  })
  // Who is connected stays.
  await old.sends(el('message', { from: 'plays.example', to: 'poems.example', id: 'across' }))
  await fresh.receives({ name: 'message', id: 'across' })
})

test('a delegation that comes later is told to who is connected', async () => {
  await using server = await startServer({ component: {} })
  const service = await server.connectComponent('plays.example')
  await server.reload({
    component: {},
    modules: {
      delegation: { namespaces: [{ namespace: 'urn:example:plays', component: 'plays.example' }] },
    },
  })
  await service.receives({ name: 'message', from: DOMAIN })
  const { id } = Object((await service.receives({ name: 'iq', type: 'get' })).attributes)
  assert.notEqual(id, '')
})

test('what sessions have is kept when the settings of its module change', async () => {
  const settings = (number: number): Settings => ({
    modules: {
      stream_management: { resume_timeout: `${number}m` },
      csi: { max_delay: `${number}m` },
      presence: { max_directed: number },
      archive: { max_listed: number },
      roster: { max_items: number },
      blocking: { max_items: number },
      privacy: { max_items: number },
      offline: { max_messages: number },
    },
  })
  await using server = await startServer(settings(10))
  const romeo = await server.connect('romeo')
  const { client: juliet, id } = await connectResumable(server, 'juliet', 'balcony')
  await juliet.becomesAvailable()
  juliet.send(presence(undefined, romeo.fullJid))
  await romeo.receives({ name: 'presence', from: juliet.fullJid })
  juliet.send(el('inactive', { xmlns: CSI_NS }))
  await juliet.roundTrip()
  romeo.send(presence(undefined, juliet.fullJid))
  await romeo.roundTrip()

  await server.reload(settings(20))
  // It waits still, and comes when she looks.
  assert.equal(juliet.inbox({ name: 'presence', from: romeo.fullJid }).length, 0)
  juliet.send(el('active', { xmlns: CSI_NS }))
  await juliet.receives({ name: 'presence', from: romeo.fullJid })

  await juliet.vanishes()
  await romeo.sends(chat(juliet.fullJid, 'art thou gone so?'))
  await romeo.roundTrip()
  await server.reload(settings(30))
  const { client: again } = await resume(server, { id, h: 1, fullJid: juliet.fullJid })
  await again.receives({ body: 'art thou gone so?' })
  // Whoever got directed presence is told of the end (RFC 6121 §4.6.3).
  await again.leaves()
  await romeo.receives({ name: 'presence', type: 'unavailable', from: juliet.fullJid })
})

test('clients that come inactive before their module goes get what waited', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo')
  const juliet = await server.connect('juliet')
  juliet.send(el('inactive', { xmlns: CSI_NS }))
  await juliet.roundTrip()
  await romeo.sends(presence(undefined, juliet.fullJid))
  await romeo.roundTrip()

  await server.reload({ modules: { csi: false } })
  await juliet.receives({ name: 'presence', from: romeo.fullJid })
})

// --- Domains and their modules.

test('domains of the file come and go', async () => {
  await using server = await startServer({ domains: [DOMAIN] })
  const romeo = await server.connect('romeo')
  await server.reload({ domains: [DOMAIN, 'verona.example'] })
  const juliet = await server.connect('juliet', undefined, { domain: 'verona.example' })
  await romeo.sends(chat(juliet.fullJid, 'a new town'))
  await juliet.receives({ body: 'a new town' })

  await server.reload({ domains: [DOMAIN] })
  await juliet.receivesStreamError('host-gone')
  const refused = await server.open({ domain: 'verona.example' })
  refused.sendHeader()
  await refused.receivesStreamError('host-unknown')
  await romeo.roundTrip()
})

test('a domain has its own settings of modules, or not the module', async () => {
  const verona = 'verona.example'
  const host = {
    [verona]: {
      modules: {
        ping: { enabled: false },
        offline: { max_messages: 1 },
        archive: { enabled: false },
      },
    },
  }
  await using server = await startServer({ domains: [DOMAIN, verona], host })
  const romeo = await server.connect('romeo')
  const juliet = await server.connect('juliet', undefined, { domain: verona })

  assert.equal((await featuresOf(romeo)).includes(PING_NS), true)
  assert.equal((await featuresOf(juliet)).includes(PING_NS), false)
  assert.equal(await isAnswered(romeo, el('ping', { xmlns: PING_NS })), true)
  assert.equal(await isAnswered(juliet, el('ping', { xmlns: PING_NS })), false)
  assert.equal((await featuresOf(romeo, romeo.bareJid)).includes(MAM_NS), true)
  assert.equal((await featuresOf(juliet, juliet.bareJid)).includes(MAM_NS), false)

  await server.createAccount('nurse')
  await server.createAccount('nurse', undefined, verona)
  for (const domain of [DOMAIN, verona]) {
    for (const body of ['first', 'second']) await romeo.sends(chat(`nurse@${domain}`, body))
  }
  await romeo.roundTrip()
  const refused = romeo.inbox({ name: 'message', type: 'error' })
  assert.deepEqual(
    refused.map((element) => element.attr('from')),
    [`nurse@${verona}`],
  )

  // The same for all again; who is connected goes by it at once.
  await server.reload({ domains: [DOMAIN, verona] })
  assert.equal(await isAnswered(juliet, el('ping', { xmlns: PING_NS })), true)
  await romeo.sends(chat(juliet.bareJid, 'for the archive'))
  await juliet.receives({ body: 'for the archive' })
  const metadata = await juliet.ask('get', juliet.bareJid, el('metadata', { xmlns: MAM_NS }))
  assert.ok(metadata.child('metadata', MAM_NS)?.child('start'))
})

test('a module may be on for one domain alone', async () => {
  const verona = 'verona.example'
  const modules = { carbons: { enabled: false } }
  const host = { [verona]: { modules: { carbons: { enabled: true } } } }
  await using server = await startServer({ domains: [DOMAIN, verona], modules, host })
  const romeo = await server.connect('romeo')
  const juliet = await server.connect('juliet', undefined, { domain: verona })

  const enabling = (client: Client) =>
    client.ask('set', undefined, el('enable', { xmlns: CARBONS_NS }))
  assert.equal((await enabling(romeo)).attr('type'), 'error')
  assert.equal((await enabling(juliet)).attr('type'), 'result')
})

// --- Under load.

const MESSAGES = 400
const PAIRS = 3

/** What changes while messages flow. */
const PHASES: readonly Settings[] = [
  { modules: { archive: false } },
  { modules: { archive: { max_page_size: 20 }, offline: { batch: 7 } } },
  { modules: { stream_management: { resume_timeout: '5m' }, csi: { max_stanzas: 9 } } },
  { modules: { stream_management: false, csi: false } },
  { modules: { carbons: false, ping: false, blocking: { max_items: 9 } } },
  { listen: [{}, { port: 0 }], limits: { max_depth: 50 } },
  { modules: { archive: false, privacy: { max_lists: 3 }, roster: { max_items: 50 } } },
  { host: { [DOMAIN]: { modules: { archive: { enabled: false }, offline: { batch: 3 } } } } },
  { routing_modules: ['global', 'localdomain', 's2s'], auth: { registration: true } },
  {},
]

type Pair = { readonly pair: number; readonly sender: Client; readonly receiver: Client }

async function meet(server: TestServer, pair: number): Promise<Pair> {
  const receiver = await server.connect(`juliet${pair}`)
  await enable(receiver)
  const sender = await server.connect(`romeo${pair}`)
  await enable(sender)
  return { pair, sender, receiver }
}

/** Its messages are spread over all phases: `phase` is the one that there is. */
async function exchange({ pair, sender, receiver }: Pair, phase: () => number): Promise<void> {
  const to = pair % 2 === 0 ? receiver.fullJid : receiver.bareJid
  const sending = async () => {
    for (let n = 1; n <= MESSAGES; n++) {
      sender.send(chat(to, String(n)))
      if (n % 5 !== 0) continue
      await sender.roundTrip()
      // Those of a phase are sent while the next one begins.
      await until(() => phase() >= Math.floor((n * PHASES.length) / MESSAGES) - 1, 'a reload')
    }
  }
  const receiving = async () => {
    for (let n = 1; n <= MESSAGES; n++) {
      const element = await receiver.receives({ name: 'message' })
      assert.equal(element.child('body')?.text, String(n), `the order of pair ${pair}`)
    }
  }
  await Promise.all([sending(), receiving()])
  // Each message, and the round trips, are acknowledged.
  await handles(sender, MESSAGES + MESSAGES / 5)
  await receiver.receivesNothing({ name: 'message' })
}

test('reloads under load drop no client, lose, double or reorder no message', async () => {
  await using server = await startServer()
  let isDone = false
  let reloads = 0
  // Before anything is switched off that they need.
  const pairs = await Promise.all(Array.from({ length: PAIRS }, (_, pair) => meet(server, pair)))
  const exchanges = pairs.map((pair) => exchange(pair, () => reloads))
  const flowing = Promise.all(exchanges).finally(() => {
    isDone = true
  })
  const reloading = (async () => {
    for (; !isDone && reloads < 500; reloads++) {
      await server.reload(PHASES[reloads % PHASES.length] as Settings)
    }
  })()
  await Promise.all([flowing, reloading])
  assert.ok(reloads >= PHASES.length, `${reloads} reloads while messages flowed`)
})

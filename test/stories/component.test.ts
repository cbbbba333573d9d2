import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { z } from 'zod'
import { Envelope } from '../../src/core/envelope.ts'
import { DROP } from '../../src/core/hooks.ts'
import type { Module } from '../../src/core/module.ts'
import { defineModule } from '../../src/core/module.ts'
import { parseJid } from '../../src/xmpp/jid.ts'
import { Stanza } from '../../src/xmpp/stanza.ts'
import { el } from '../../src/xmpp/xml.ts'
import { COMPONENT_NS, type TestComponent } from '../support/component.ts'
import { SECRET, startServer } from '../support/server.ts'
import { chat } from '../support/stanzas.ts'
import { connectResumable, handled, handledLater } from '../support/stream-management.ts'

const IRC = 'irc.im.example.com'
const OTHER = 'gateway.example.net'
const FORM = 'http://jabber.org/protocol/disco#items'

/** From an address of the component's. */
const says = (component: TestComponent, to: string, body: string, localpart = 'nurse') =>
  el(
    'message',
    { from: `${localpart}@${component.address}`, to, type: 'chat' },
    el('body', {}, body),
  )

test('a component and a client exchange messages', async () => {
  await using server = await startServer({ component: {} })
  const irc = await server.connectComponent(IRC)
  const romeo = await server.connect('romeo')

  await romeo.sends(chat(`mercutio@${IRC}`, 'Art thou not Romeo?'))
  await irc.receives({
    ns: COMPONENT_NS,
    from: romeo.fullJid,
    to: `mercutio@${IRC}`,
    body: 'Art thou not Romeo?',
  })
  await irc.sends(says(irc, romeo.bareJid, 'Neither, fair saint'))
  await romeo.receives({ from: `nurse@${IRC}`, body: 'Neither, fair saint' })
})

test('children in the namespace of one stream are in that of the other', async () => {
  await using server = await startServer({ component: {} })
  const irc = await server.connectComponent(IRC)
  const romeo = await server.connect('romeo')

  await irc.sends(
    `<message from='${IRC}' to='${romeo.fullJid}'><body xmlns='${COMPONENT_NS}'>one</body></message>`,
  )
  await romeo.receives({ body: 'one' })
  await romeo.sends(`<message to='${IRC}'><c:body xmlns:c='jabber:client'>two</c:body></message>`)
  await irc.receives({ body: 'two' })
})

test('service discovery tells of components, unless they are hidden', async () => {
  await using server = await startServer({ component: [{}, { hidden: true }] })
  const romeo = await server.connect('romeo')
  const items = async () => {
    const answer = await romeo.ask('get', server.domain, el('query', { xmlns: FORM }))
    return answer
      .child('query', FORM)
      ?.elements('item')
      .map((item) => item.attr('jid'))
  }
  const irc = await server.connectComponent(IRC)
  await server.connectComponent(OTHER, { listener: 1 })
  assert.deepEqual(await items(), [IRC])
  await irc.leaves()
  assert.deepEqual(await items(), [])
})

// --- The handshake.

test('the header names the component, and has no version', async () => {
  await using server = await startServer({ component: {} })
  const irc = await server.openComponent('IRC.im.example.com')
  await irc.startStream()
  assert.equal(irc.header?.attributes.from, IRC)
  assert.equal(irc.header?.attributes.version, undefined)
  assert.ok((irc.id.length ?? 0) > 20)
})

test('who does not know the secret is not authorized', async () => {
  await using server = await startServer({
    component: { secrets: { [OTHER]: 'of another component' } },
  })
  for (const [name, secret] of [
    [IRC, 'of another component'],
    [OTHER, SECRET],
    ['constructor', 'function Object() { [native code] }'],
  ] as const) {
    const component = await server.openComponent(name)
    await component.startStream()
    component.sendHandshake(secret)
    await component.receivesStreamError('not-authorized')
  }
  const other = await server.openComponent(OTHER)
  await other.startStream()
  await other.shakesHands('of another component')
})

test('upper case, and a proof that is cut short, prove nothing', async () => {
  await using server = await startServer({ component: {} })
  const { createHash } = await import('node:crypto')
  for (const change of [
    (proof: string) => proof.toUpperCase(),
    (proof: string) => proof.slice(1),
  ]) {
    const irc = await server.openComponent(IRC)
    await irc.startStream()
    const proof = createHash('sha1').update(`${irc.id}${SECRET}`).digest('hex')
    await irc.sends(el('handshake', {}, change(proof)))
    await irc.receivesStreamError('not-authorized')
  }
})

test('stanzas before the handshake are not authorized', async () => {
  await using server = await startServer({ component: {} })
  const irc = await server.openComponent(IRC)
  await irc.startStream()
  await irc.sends(says(irc, `romeo@${server.domain}`, 'too early'))
  await irc.receivesStreamError('not-authorized')
})

const headers: readonly [string, Record<string, string | undefined>, string][] = [
  ['another namespace', { xmlns: 'jabber:client' }, 'invalid-namespace'],
  ['the other way of connecting', { xmlns: 'jabber:component:connect' }, 'invalid-namespace'],
  ['no name', { to: undefined }, 'improper-addressing'],
  ['an empty name', { to: '' }, 'improper-addressing'],
  ['an account', { to: 'romeo@im.example.com' }, 'host-unknown'],
  ['what is no address', { to: '@' }, 'host-unknown'],
  ['a component without a secret', { to: 'unheard.example.com' }, 'host-unknown'],
]

for (const [what, header, condition] of headers) {
  test(`a header with ${what}: ${condition}`, async () => {
    await using server = await startServer({
      component: { secret: undefined, secrets: { [IRC]: SECRET } },
    })
    const irc = await server.openComponent(IRC)
    await irc.startStream(header)
    await irc.receivesStreamError(condition)
  })
}

test('a component that says nothing is disconnected', async () => {
  await using server = await startServer({ component: { pre_auth_timeout: '1s' } })
  const irc = await server.openComponent(IRC)
  await irc.startStream()
  await irc.receivesStreamError('connection-timeout')
})

test('over TLS', async () => {
  await using server = await startServer({ component: { tls: 'direct' } })
  const irc = await server.connectComponent(IRC)
  await irc.roundTrip()
})

// --- Who has which domain.

test('the domain of a user, and that of a service, are taken', async () => {
  await using server = await startServer({ component: {} })
  server.server.routes.add({
    domain: OTHER,
    domainType: undefined,
    isHosted: false,
    handle: () => assert.fail(),
  })
  for (const name of [server.domain, OTHER]) {
    const component = await server.openComponent(name)
    await component.startStream()
    component.sendHandshake(SECRET)
    await component.receivesStreamError('conflict')
  }
})

test('disconnect: a second connection is refused, the first stays', async () => {
  await using server = await startServer({ component: {} })
  const first = await server.connectComponent(IRC)
  const second = await server.openComponent(IRC)
  await second.startStream()
  second.sendHandshake(SECRET)
  await second.receivesStreamError('conflict')
  await first.roundTrip()
})

test('kick_old: a second connection replaces the first', async () => {
  await using server = await startServer({ component: { conflict_behaviour: 'kick_old' } })
  const romeo = await server.connect('romeo')
  const first = await server.connectComponent(IRC)
  const second = await server.connectComponent(IRC)
  await first.receivesStreamError('conflict')
  await romeo.sends(chat(IRC, 'Who is there?'))
  await second.receives({ body: 'Who is there?' })
})

test('kick_old: what the first has sent already is taken', async () => {
  await using server = await startServer({ component: { conflict_behaviour: 'kick_old' } })
  const romeo = await server.connect('romeo')
  const first = await server.connectComponent(IRC)
  first.keepsOpen = true
  await server.connectComponent(IRC)
  await first.receivesStreamEnd()
  await first.sends(says(first, romeo.bareJid, 'my last words'))
  await romeo.receives({ from: `nurse@${IRC}`, body: 'my last words' })
  await first.sends('<message/><nonsense/>')
  await first.closes()
})

test('share: each sender has one of the connections, and another when that one goes', async () => {
  await using server = await startServer({
    component: { conflict_behaviour: 'share' },
    limits: { max_sessions_per_user: 20 },
  })
  const components = [await server.connectComponent(IRC), await server.connectComponent(IRC)]
  const senders = await Promise.all(
    Array.from({ length: 12 }, (_, i) => server.connect(`user${i}`, `r${i}`)),
  )
  const ask = async () => {
    for (const sender of senders) await sender.sends(chat(IRC, sender.bareJid))
    for (const sender of senders) await sender.roundTrip()
    return components.map((component) => {
      const found = component.inbox({ name: 'message' }).map((message) => message.attr('from'))
      component.forgets()
      return found.toSorted()
    })
  }
  const [first, second] = components as [TestComponent, TestComponent]
  const before = await ask()
  await Promise.all(components.map((component) => component.roundTrip()))
  assert.ok((before[0]?.length ?? 0) > 0 && (before[1]?.length ?? 0) > 0)
  assert.deepEqual(await ask(), before)
  await first.leaves()
  assert.equal((await ask())[1]?.length, senders.length)
  const items = await senders[0]?.ask('get', server.domain, el('query', { xmlns: FORM }))
  assert.equal(items?.child('query', FORM)?.elements('item').length, 1)
  await second.roundTrip()
})

test('is_subdomain: a component serves its name under every hosted domain', async () => {
  await using server = await startServer({
    domains: ['im.example.com', 'example.org'],
    component: {},
  })
  const irc = await server.connectComponent('irc', { isSubdomain: true })
  const romeo = await server.connect('romeo', undefined, { domain: 'example.org' })
  for (const domain of ['irc.im.example.com', 'irc.example.org']) {
    await romeo.sends(chat(`nurse@${domain}`, domain))
    await irc.receives({ to: `nurse@${domain}`, body: domain })
    irc.address = domain
    await irc.sends(says(irc, romeo.bareJid, domain))
    await romeo.receives({ from: `nurse@${domain}`, body: domain })
  }
  const items = await romeo.ask('get', 'example.org', el('query', { xmlns: FORM }))
  assert.deepEqual(
    items
      .child('query', FORM)
      ?.elements('item')
      .map((item) => item.attr('jid')),
    ['irc.example.org'],
  )
  const rival = await server.openComponent('irc.example.org')
  await rival.startStream()
  rival.sendHandshake(SECRET)
  await rival.receivesStreamError('conflict')

  await irc.leaves()
  await romeo.sends(chat('nurse@irc.example.org', 'gone'))
  await romeo.receives({ error: 'remote-server-not-found' })
})

// --- What it may send.

const refused: readonly [string, string][] = [
  ['no "to"', `<message from='nurse@${IRC}' id='1'/>`],
  ['a "to" that is no address', `<message from='nurse@${IRC}' to='@' id='1'/>`],
  ['no "from"', `<message to='romeo@im.example.com' id='1'/>`],
  [
    'another domain in "from"',
    `<message from='a@im.example.com' to='romeo@im.example.com' id='1'/>`,
  ],
  ['an iq of no known type', `<iq from='${IRC}' to='im.example.com' type='put' id='1'><a/></iq>`],
  ['a request with two children', `<iq from='${IRC}' to='a.b' type='get' id='1'><a/><b/></iq>`],
]

for (const [what, xml] of refused) {
  test(`${what}: bad-request`, async () => {
    await using server = await startServer({ component: {} })
    const irc = await server.connectComponent(IRC)
    await irc.sends(xml)
    await irc.receives({ ns: COMPONENT_NS, error: 'bad-request', id: '1' })
    await irc.roundTrip()
  })
}

test('what is no stanza ends the stream', async () => {
  await using server = await startServer({ component: {} })
  const irc = await server.connectComponent(IRC)
  await irc.sends('<route/>')
  await irc.receivesStreamError('unsupported-stanza-type')
})

test('check_from = false: a component speaks for others', async () => {
  await using server = await startServer({ component: { check_from: false } })
  const irc = await server.connectComponent(IRC)
  const romeo = await server.connect('romeo')
  await irc.sends(
    `<message from='juliet@im.example.com' to='${romeo.bareJid}'><body>x</body></message>`,
  )
  await romeo.receives({ from: 'juliet@im.example.com', body: 'x' })
})

test('what nobody takes comes back', async () => {
  await using server = await startServer({ component: {} })
  const irc = await server.connectComponent(IRC)
  await irc.sends(says(irc, 'nobody@im.example.com', 'Anybody?'))
  await irc.receives({ error: 'service-unavailable', to: `nurse@${IRC}` })
})

test('a larger stanza than allowed ends the stream', async () => {
  await using server = await startServer({ component: { max_stanza_size: 10_000 } })
  const irc = await server.connectComponent(IRC)
  await irc.sends(says(irc, `romeo@${server.domain}`, 'x'.repeat(10_000)))
  await irc.receivesStreamError('policy-violation')
})

// --- Who may send to it.

test('access: "local" lets in whoever this server serves', async () => {
  await using server = await startServer({ component: [{ access: 'local' }, {}] })
  const irc = await server.connectComponent(IRC)
  const other = await server.connectComponent(OTHER, { listener: 1 })
  const romeo = await server.connect('romeo')
  await romeo.sends(chat(IRC, 'from a user'))
  await irc.receives({ body: 'from a user' })
  await other.sends(says(other, IRC, 'from a component'))
  await irc.receives({ body: 'from a component' })
})

test('access: a list of domains and JIDs', async () => {
  await using server = await startServer({
    component: [{ access: ['juliet@im.example.com', OTHER] }, {}],
  })
  const irc = await server.connectComponent(IRC)
  const other = await server.connectComponent(OTHER, { listener: 1 })
  const romeo = await server.connect('romeo')
  const juliet = await server.connect('juliet')
  await romeo.sends(chat(IRC, 'from a stranger'))
  await romeo.receives({ error: 'not-allowed' })
  await juliet.sends(chat(IRC, 'from a friend'))
  await irc.receives({ body: 'from a friend' })
  await other.sends(says(other, IRC, 'from a component'))
  await irc.receives({ body: 'from a component' })
  await irc.receivesNothing()
})

// --- When it does not read, or is gone.

test('the domain of a component that has a secret of its own is never elsewhere', async () => {
  await using server = await startServer({ component: { secrets: { [IRC]: SECRET } } })
  const romeo = await server.connect('romeo')
  const offer = async () => {
    await romeo.sends(chat(IRC, 'Anybody?'))
    await romeo.receives({ error: 'service-unavailable' })
  }
  await offer()
  const irc = await server.connectComponent(IRC)
  await romeo.sends(chat(IRC, 'Anybody?'))
  await irc.receives({ body: 'Anybody?' })
  await irc.leaves()
  await offer()
})

test('a component that reads nothing for long is disconnected', async () => {
  await using server = await startServer({
    component: { blocked_timeout: '1s', max_queue: '64KiB' },
  })
  const irc = await server.connectComponent(IRC)
  const romeo = await server.connect('romeo')
  irc.stopsReading()
  while (romeo.inbox({ error: 'remote-server-timeout' }).length === 0) {
    await romeo.sends(chat(IRC, 'x'.repeat(50_000)))
    await romeo.roundTrip()
  }
  await romeo.receives({ error: 'service-unavailable' })
})

test('what waits for a component that does not read is bounded', async () => {
  await using server = await startServer({ component: { max_queue: '64KiB' } })
  const irc = await server.connectComponent(IRC)
  const romeo = await server.connect('romeo')
  irc.stopsReading()
  const body = 'x'.repeat(50_000)
  let sent = 0
  // The kernel's buffers take some, the queue takes some, the rest comes back.
  while (romeo.inbox({ error: 'remote-server-timeout' }).length === 0) {
    await romeo.sends(chat(IRC, body).withAttributes({ id: `m${sent++}` }))
    await romeo.roundTrip()
    assert.ok(sent < 2000)
  }
  const [error] = romeo.inbox({ error: 'remote-server-timeout' })
  assert.equal(error?.attr('id'), `m${sent - 1}`)
  assert.equal(error?.child('error')?.attr('type'), 'wait')

  irc.readsOn()
  for (let i = 0; i < sent - 1; i++) await irc.receivesNext({ id: `m${i}` })
})

test('when a component goes, each stanza has arrived or comes back', async () => {
  await using server = await startServer({ component: { max_queue: '10MiB' } })
  const irc = await server.connectComponent(IRC)
  const romeo = await server.connect('romeo')
  irc.stopsReading()
  const body = 'x'.repeat(100_000)
  const count = 100
  for (let i = 0; i < count; i++) {
    await romeo.sends(chat(IRC, body).withAttributes({ id: `m${i}` }))
    await romeo.roundTrip()
  }
  assert.equal(romeo.inbox({ type: 'error' }).length, 0)
  await irc.vanishes()
  await romeo.receives({ error: 'service-unavailable', id: `m${count - 1}` })
  await romeo.roundTrip()
  const returned = romeo.inbox({ error: 'service-unavailable' }).map((error) => error.attr('id'))
  assert.ok(returned.length > 10)
  assert.equal(new Set(returned).size, returned.length)
  await romeo.sends(chat(IRC, 'Anybody?'))
  await romeo.receives({ error: 'remote-server-not-found' })
})

test('what a component has read does not come back, however much it was at once', async () => {
  await using server = await startServer({ component: {} })
  const irc = await server.connectComponent(IRC)
  const romeo = await server.connect('romeo')
  const from = parseJid(romeo.fullJid)
  const body = 'x'.repeat(200_000)
  // More than is kept until the end of a turn, and nothing after it.
  for (const id of ['one', 'two']) {
    const stanza = Stanza.build('message', { id }, el('body', {}, body))
    void server.server.router.route(new Envelope(from, parseJid(IRC), stanza, { kind: 'admin' }))
  }
  await irc.receives({ id: 'one' })
  await irc.receives({ id: 'two' })

  await irc.vanishes()
  while (server.server.components.has(IRC)) await setTimeout(5)

  await romeo.receivesNothing({ type: 'error' })
})

test('what waits for a component is not acknowledged to its sender yet', async () => {
  await using server = await startServer({ component: {} })
  const irc = await server.connectComponent(IRC)
  const { client: romeo } = await connectResumable(server, 'romeo')
  irc.stopsReading()
  const body = 'x'.repeat(50_000)
  let sent = 0
  let count = 0
  while (count === sent) {
    await romeo.sends(chat(IRC, body))
    sent++
    count = await handled(romeo)
    assert.ok(sent < 2000)
  }
  assert.equal(count, sent - 1)
  irc.readsOn()
  assert.equal(await handledLater(romeo), sent)
  assert.equal(romeo.inbox({ type: 'error' }).length, 0)
})

test('a server that stops says so', async () => {
  const server = await startServer({ component: {} })
  const irc = await server.connectComponent(IRC)
  await Promise.all([irc.receivesStreamError('system-shutdown'), server.stop()])
  await server[Symbol.asyncDispose]()
})

// --- Hooks.

test('handlers see what goes to a component, and its coming and going', async () => {
  const seen: string[] = []
  const watch = defineModule({
    name: 'watch',
    implements: [],
    config: z.strictObject({}),
    start({ hooks }) {
      hooks.on('register_subhost', (domain, { isHidden }) => {
        seen.push(`register ${domain} ${isHidden}`)
        return domain
      })
      hooks.on('unregister_subhost', (domain) => {
        seen.push(`unregister ${domain}`)
        return domain
      })
      hooks.on('component_connected', (component) => {
        seen.push(`connected ${component.domains}`)
        return component
      })
      hooks.on('packet_to_component', async (envelope) => {
        await new Promise(setImmediate)
        if (envelope.stanza.id === 'drop') return DROP
        return envelope.with({ stanza: envelope.stanza.append(el('seen', { xmlns: 'urn:x' })) })
      })
    },
  })
  await using server = await startServer({ component: {}, use: [watch as Module] })
  const irc = await server.connectComponent(IRC)
  const romeo = await server.connect('romeo')
  for (const id of ['1', 'drop', '2', '3']) await romeo.sends(chat(IRC, 'x').withAttributes({ id }))
  for (const id of ['1', '2', '3']) await irc.receivesNext({ id, child: 'urn:x' })
  await irc.leaves()
  await romeo.roundTrip()
  assert.deepEqual(seen, [`register ${IRC} false`, `connected ${IRC}`, `unregister ${IRC}`])
})

test('the order of each pair is kept, and nothing waits for answers', async () => {
  let release: (() => void) | undefined
  const slow = defineModule({
    name: 'slow',
    implements: [],
    config: z.strictObject({}),
    start({ hooks, iq }) {
      hooks.on('filter_local_packet', async (envelope) => {
        await new Promise(setImmediate)
        return envelope
      })
      iq.on('server', 'get', 'urn:slow', 'query', async () => {
        await new Promise<void>((resolve) => {
          release = resolve
        })
        return undefined
      })
    },
  })
  await using server = await startServer({ component: {}, use: [slow as Module] })
  const irc = await server.connectComponent(IRC)
  const romeo = await server.connect('romeo')
  await irc.sends(
    el(
      'iq',
      { type: 'get', id: 'slow', from: IRC, to: server.domain },
      el('query', { xmlns: 'urn:slow' }),
    ),
  )
  for (let i = 0; i < 20; i++) await irc.sends(says(irc, romeo.bareJid, `${i}`))
  for (let i = 0; i < 20; i++) await romeo.receivesNext({ body: `${i}` })
  release?.()
  await irc.receives({ id: 'slow', type: 'result' })
})

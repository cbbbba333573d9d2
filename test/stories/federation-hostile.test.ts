import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Outcome } from '../../src/core/outcome.ts'
import { type Element, el } from '../../src/xmpp/xml.ts'
import { makeDomainCertificate } from '../support/certificates.ts'
import { NS } from '../support/client.ts'
import { Internet, type ServerWishes } from '../support/federation.ts'
import { mechanismsOf, SERVER_NS, TestPeer } from '../support/peer.ts'
import type { TestServer } from '../support/server.ts'
import { chat } from '../support/stanzas.ts'

const SECRET = 'it is the east, and Juliet is the sun'
const DIALBACK = 'jabber:server:dialback'

/** A connection to a server as another one, up to its first features. */
async function connect(
  server: TestServer,
  claimed: string,
  header: Readonly<Record<string, string | undefined>> = {},
): Promise<TestPeer> {
  const [listener] = server.server.serverListeners
  assert(listener !== undefined)
  const peer = await TestPeer.connect({ ...listener.address, domain: server.domain }, claimed)
  await peer.startStream(header)
  return peer
}

type Shown = { readonly pem: string }

/** As above, over TLS, with that certificate or none. */
async function connectSecurely(
  server: TestServer,
  claimed: string,
  shown?: Shown,
): Promise<TestPeer> {
  const peer = await connect(server, claimed)
  await peer.startTls(shown === undefined ? {} : { cert: shown.pem, key: shown.pem })
  return peer
}

async function start(internet: Internet, wishes: ServerWishes = {}): Promise<TestServer> {
  return await internet.server('capulet.example', wishes)
}

const message = (from: string, to: string, body: string) =>
  el('message', { from, to, type: 'chat' }, el('body', {}, body))

const errorOf = (name: string, condition: string) => (element: Element) =>
  element.name === name && element.attr('type') === 'error' && String(element).includes(condition)

test('nothing is taken before TLS', async () => {
  await using internet = await Internet.start()
  const capulet = await start(internet)
  await using peer = await connect(capulet, 'montague.example')

  assert.deepEqual(
    peer.features?.elements().map(({ name }) => name),
    ['starttls'],
  )
  peer.sendKey('123')
  await peer.receivesStreamError('policy-violation')
})

test('what was sent along with STARTTLS is thrown away', async () => {
  await using internet = await Internet.start()
  const capulet = await start(internet)
  const juliet = await capulet.connect('juliet', 'balcony')
  await using peer = await connect(capulet, 'montague.example')
  const { pem } = internet.certify('montague.example')

  peer.send(
    el('starttls', { xmlns: NS.tls }),
    `<db:result from='montague.example' to='capulet.example'>injected</db:result>`,
    message('romeo@montague.example', juliet.bareJid, 'injected'),
  )
  await peer.receivesNext({ name: 'proceed', ns: NS.tls })
  await peer.upgrade({ cert: pem, key: pem })
  await peer.startStream()
  await peer.authenticatesExternally()

  await juliet.receivesNothing()
})

test('nothing is taken before a domain is proved', async () => {
  await using internet = await Internet.start()
  const capulet = await start(internet)
  const juliet = await capulet.connect('juliet', 'balcony')
  await using peer = await connectSecurely(capulet, 'montague.example')

  assert.deepEqual(mechanismsOf(peer.features), [])
  peer.send(message('romeo@montague.example', juliet.bareJid, 'It is the east'))
  await peer.receivesStreamError('not-authorized')
  await juliet.receivesNothing()
})

for (const [what, certificate] of Object.entries({
  'of its own word only': () => makeDomainCertificate('montague.example', undefined),
  'for another domain': (internet: Internet) => internet.certify('mercutio.example'),
  'that has ended': (internet: Internet) =>
    internet.certify('montague.example', { from: 0, until: Date.now() - 60_000 }),
  'that is for servers only': (internet: Internet) =>
    internet.certify('montague.example', { usages: ['serverAuth'] }),
})) {
  test(`EXTERNAL is neither offered nor taken with a certificate ${what}`, async () => {
    await using internet = await Internet.start()
    const capulet = await start(internet)
    await using peer = await connectSecurely(capulet, 'montague.example', certificate(internet))

    assert.deepEqual(mechanismsOf(peer.features), [])
    const answer = await peer.sasl('EXTERNAL', 'montague.example')
    assert.match(String(answer), /<failure.*not-authorized/)
  })
}

test('EXTERNAL is for the domain of the header only', async () => {
  await using internet = await Internet.start()
  const capulet = await start(internet)
  const certificate = internet.certify('montague.example', {
    domains: ['montague.example', 'mercutio.example'],
  })
  await using peer = await connectSecurely(capulet, 'montague.example', certificate)

  assert.deepEqual(mechanismsOf(peer.features), ['EXTERNAL'])
  const answer = await peer.sasl('EXTERNAL', 'mercutio.example')
  assert.match(String(answer), /<failure.*invalid-authzid/)
})

test('EXTERNAL that is no base64, and EXTERNAL that is given up', async () => {
  await using internet = await Internet.start()
  const capulet = await start(internet)
  const certificate = internet.certify('montague.example')
  await using peer = await connectSecurely(capulet, 'montague.example', certificate)

  peer.send(el('auth', { xmlns: NS.sasl, mechanism: 'EXTERNAL' }, 'montague.example'))
  assert.match(String(await peer.receives({ name: 'failure' })), /incorrect-encoding/)
  peer.send(el('abort', { xmlns: NS.sasl }))
  assert.match(String(await peer.receives({ name: 'failure' })), /aborted/)
  await peer.authenticatesExternally()
})

test('without dialback a server without a certificate is told why not', async () => {
  await using internet = await Internet.start()
  const capulet = await start(internet, { s2s: { dialback: false } })
  await using peer = await connect(capulet, 'montague.example')
  peer.send(el('starttls', { xmlns: NS.tls }))
  await peer.receivesNext({ name: 'proceed', ns: NS.tls })
  await peer.upgrade()
  peer.sendHeader()
  await peer.receivesHeader()
  await peer.receivesStreamError('not-authorized')
})

test('dialback: who does not know the secret is not the domain', async () => {
  await using internet = await Internet.start()
  const capulet = await start(internet)
  await internet.server('montague.example', { s2s: { secret: SECRET } })
  await using peer = await connectSecurely(capulet, 'montague.example')

  peer.sendKey(peer.keyOf('some other secret of no use'))
  await peer.receives({ name: 'result', ns: DIALBACK, type: 'invalid' })
  await peer.receivesEnd()
})

test('dialback: a key is good for one stream, one sender and one recipient', async () => {
  await using internet = await Internet.start()
  const capulet = await start(internet)
  await internet.server('montague.example', { s2s: { secret: SECRET } })
  await using right = await connectSecurely(capulet, 'montague.example')
  await using late = await connectSecurely(capulet, 'montague.example')

  const key = right.keyOf(SECRET)
  right.sendKey(key)
  await right.receives({ name: 'result', ns: DIALBACK, type: 'valid' })
  late.sendKey(key)
  await late.receives({ name: 'result', ns: DIALBACK, type: 'invalid' })
})

test('dialback: answers that nobody asked for change nothing', async () => {
  await using internet = await Internet.start()
  const capulet = await start(internet)
  const juliet = await capulet.connect('juliet', 'balcony')
  await using peer = await connectSecurely(capulet, 'montague.example')

  peer.send(
    `<db:result from='montague.example' to='capulet.example' type='valid'/>`,
    `<db:verify from='montague.example' to='capulet.example' id='${peer.streamId}' type='valid'/>`,
    message('romeo@montague.example', juliet.bareJid, 'It is the east'),
  )
  await peer.receivesStreamError('not-authorized')
})

test('dialback: domains that are not there, and our own', async () => {
  await using internet = await Internet.start()
  const capulet = await start(internet)
  await using peer = await connectSecurely(capulet, 'montague.example')

  peer.sendKey('key', 'montague.example', 'mantua.example')
  await peer.receives(errorOf('result', 'item-not-found'))
  peer.sendKey('key', 'capulet.example')
  await peer.receives(errorOf('result', 'not-authorized'))
  peer.sendKey('key', 'nowhere.example')
  await peer.receives(errorOf('result', 'remote-server-not-found'))
})

test('dialback: as the authoritative server', async () => {
  await using internet = await Internet.start()
  const capulet = await start(internet, { s2s: { secret: SECRET } })
  await using peer = await connectSecurely(capulet, 'montague.example')
  const { DialbackKeys } = await import('../../src/s2s/dialback.ts')
  const key = new DialbackKeys(SECRET).keyFor({
    originating: 'capulet.example',
    receiving: 'montague.example',
    streamId: 'D60000229F',
  })
  const ask = (text: string, to = 'capulet.example', id = 'D60000229F') =>
    peer.send(`<db:verify from='montague.example' to='${to}' id='${id}'>${text}</db:verify>`)

  ask(key)
  await peer.receives({ name: 'verify', type: 'valid', id: 'D60000229F' })
  ask(key, 'capulet.example', 'another')
  await peer.receives({ name: 'verify', type: 'invalid', id: 'another' })
  ask(key, 'mantua.example')
  await peer.receives(errorOf('verify', 'item-not-found'))
})

test('many domains on one stream, each proved', async () => {
  await using internet = await Internet.start()
  const capulet = await start(internet)
  const juliet = await capulet.connect('juliet', 'balcony')
  const certificate = internet.certify('montague.example', {
    domains: ['montague.example', 'mercutio.example'],
  })
  await using peer = await connectSecurely(capulet, 'montague.example', certificate)
  await peer.authenticatesExternally()

  peer.sendKey('no key is needed', 'mercutio.example')
  await peer.receives({ name: 'result', type: 'valid', to: 'mercutio.example' })
  peer.send(message('mercutio@mercutio.example', juliet.bareJid, 'A plague'))
  peer.send(message('romeo@montague.example', juliet.bareJid, 'It is the east'))

  await juliet.receives({ from: 'mercutio@mercutio.example', body: 'A plague' })
  await juliet.receives({ from: 'romeo@montague.example', body: 'It is the east' })
})

for (const [what, stanza, condition] of [
  [
    'of another domain',
    message('paris@paris.example', 'juliet@capulet.example', 'x'),
    'invalid-from',
  ],
  ['of ours', message('nurse@capulet.example', 'juliet@capulet.example', 'x'), 'invalid-from'],
  ['for a domain of others', message('a@montague.example', 'b@paris.example', 'x'), 'host-unknown'],
  ['without sender', el('message', { to: 'juliet@capulet.example' }), 'improper-addressing'],
  ['without recipient', el('message', { from: 'romeo@montague.example' }), 'improper-addressing'],
  [
    'of a client',
    `<message xmlns='jabber:client' from='a@montague.example' to='b@capulet.example'/>`,
    'invalid-namespace',
  ],
  ['that is none', el('sonnet'), 'unsupported-stanza-type'],
  [
    'too large',
    message('romeo@montague.example', 'juliet@capulet.example', 'x'.repeat(600_000)),
    'policy-violation',
  ],
] as const) {
  test(`a stanza ${what} ends the stream`, async () => {
    await using internet = await Internet.start()
    const capulet = await start(internet)
    const juliet = await capulet.connect('juliet', 'balcony')
    const certificate = internet.certify('montague.example')
    await using peer = await connectSecurely(capulet, 'montague.example', certificate)
    await peer.authenticatesExternally()

    peer.send(stanza)

    await peer.receivesStreamError(condition)
    await juliet.receivesNothing()
  })
}

test('what one user writes does not end the stream of the others', async () => {
  await using internet = await Internet.start()
  const capulet = await start(internet)
  await internet.server('montague.example')
  const juliet = await capulet.connect('juliet', 'balcony')
  const certificate = internet.certify('montague.example')
  await using peer = await connectSecurely(capulet, 'montague.example', certificate)
  await peer.authenticatesExternally()

  peer.send(
    message('romeo@montague.example', 'jul"iet@capulet.example', 'to nobody'),
    message('ro"meo@montague.example', juliet.bareJid, 'from nobody'),
    message('romeo@montague.example', juliet.bareJid, 'It is the east'),
  )

  await juliet.receivesNext({ body: 'It is the east' })
})

test('headers that cannot be', async () => {
  await using internet = await Internet.start()
  const capulet = await start(internet)
  const [listener] = capulet.server.serverListeners
  assert(listener !== undefined)
  for (const [header, condition] of [
    [{ to: 'mantua.example' }, 'host-unknown'],
    [{ from: 'capulet.example' }, 'invalid-from'],
    [{ from: 'romeo@montague.example' }, 'invalid-from'],
    [{ xmlns: 'jabber:client' }, 'invalid-namespace'],
    [{ version: undefined }, 'unsupported-version'],
  ] as const) {
    const options = { ...listener.address, domain: 'capulet.example' }
    await using peer = await TestPeer.connect(options, 'montague.example')
    peer.sendHeader(header)
    await peer.receivesHeader()
    await peer.receivesStreamError(condition)
  }
})

test('a stranger who says too much, and one who says nothing', async () => {
  await using internet = await Internet.start()
  const capulet = await start(internet, {
    listener: { pre_auth_bytes: 10_000, pre_auth_timeout: '1s' },
  })
  await using loud = await connectSecurely(capulet, 'montague.example')
  await using silent = await connectSecurely(capulet, 'montague.example')

  for (let i = 0; i < 200; i++) {
    loud.send(
      `<db:verify from='montague.example' to='capulet.example' id='${i}'>${'0'.repeat(64)}</db:verify>`,
    )
  }

  await loud.receivesStreamError('policy-violation')
  await silent.receivesStreamError('connection-timeout')
})

test('more connections from one address than it may have', async () => {
  await using internet = await Internet.start()
  const capulet = await start(internet, { listener: { max_connections_per_address: 2 } })
  await using one = await connect(capulet, 'montague.example')
  await using two = await connect(capulet, 'montague.example')
  const [listener] = capulet.server.serverListeners
  assert(listener !== undefined)

  const options = { ...listener.address, domain: 'capulet.example' }
  await using three = await TestPeer.connect(options, 'montague.example')
  await three.closes()

  assert.equal(one.isClosed || two.isClosed, false)
})

test('the way back is for the domain that was proved', async () => {
  await using internet = await Internet.start()
  const capulet = await start(internet)
  await internet.server('montague.example')
  const juliet = await capulet.connect('juliet', 'balcony')
  const certificate = internet.certify('montague.example')
  await using peer = await connectSecurely(capulet, 'montague.example', certificate)
  peer.send(el('bidi', { xmlns: 'urn:xmpp:bidi' }))
  await peer.authenticatesExternally()

  await juliet.sends(chat('romeo@montague.example', 'Wherefore art thou Romeo?'))
  await juliet.sends(chat('paris@paris.example', 'Not for you'))

  const received = await peer.receivesNext({ body: 'Wherefore art thou Romeo?' })
  assert.equal(received.ns, SERVER_NS)
  await juliet.receives({ error: 'remote-server-not-found' })
})

test('who is not proved gets nothing, even if it wants the way back', async () => {
  await using internet = await Internet.start()
  const capulet = await start(internet)
  const montague = await internet.server('montague.example')
  const juliet = await capulet.connect('juliet', 'balcony')
  const romeo = await montague.connect('romeo', 'orchard')
  await using peer = await connectSecurely(capulet, 'montague.example')
  peer.send(el('bidi', { xmlns: 'urn:xmpp:bidi' }))

  await juliet.sends(chat(romeo.bareJid, 'Wherefore art thou Romeo?'))

  await romeo.receives({ body: 'Wherefore art thou Romeo?' })
  peer.sendKey('wrong')
  await peer.receivesNext({ name: 'result', type: 'invalid' })
})

test('the way back is offered as long as it may be wanted', async () => {
  await using internet = await Internet.start()
  const capulet = await start(internet)
  const shown = internet.certify('montague.example')
  await using peer = await connectSecurely(capulet, 'montague.example', shown)
  const offers = () => peer.features?.elements().some(({ name }) => name === 'bidi')

  assert.equal(offers(), true)
  await peer.authenticatesExternally()
  assert.equal(offers(), false)
})

/** A domain that is ours for as long as it is not given up. */
function serve({ server }: TestServer, domain: string): () => void {
  const handle = () => new Outcome('answered', 'test')
  return server.routes.add({ domain, domainType: undefined, isHosted: false, handle })
}

test('whoever has proved a domain that becomes ours does not speak for it any more', async () => {
  await using internet = await Internet.start()
  const capulet = await start(internet)
  const juliet = await capulet.connect('juliet', 'balcony')
  const shown = internet.certify('montague.example')
  await using peer = await connectSecurely(capulet, 'montague.example', shown)
  await peer.authenticatesExternally()
  peer.send(message('romeo@montague.example', juliet.fullJid, 'I am he'))
  await juliet.receives({ body: 'I am he' })

  serve(capulet, 'montague.example')
  peer.send(message('romeo@montague.example', juliet.fullJid, 'I am he still'))

  await peer.receivesStreamError('invalid-from')
  await juliet.receivesNothing({ name: 'message' })
})

test('what is for a domain that was ours is not sent on to another server', async () => {
  await using internet = await Internet.start()
  const capulet = await start(internet)
  const leave = serve(capulet, 'verona.example')
  const shown = internet.certify('montague.example')
  const [listener] = capulet.server.serverListeners
  assert(listener !== undefined)
  const options = { ...listener.address, domain: 'verona.example' }
  await using peer = await TestPeer.connect(options, 'montague.example')
  await peer.startStream()
  await peer.startTls({ cert: shown.pem, key: shown.pem })
  await peer.authenticatesExternally()
  const { promise: fate, resolve } = Promise.withResolvers<Outcome>()
  capulet.server.hooks.on('message_routed', (outcome, { envelope }) => {
    if (envelope.origin.kind === 's2s') resolve(outcome)
    return outcome
  })

  leave()
  peer.send(message('romeo@montague.example', 'escalus@verona.example', 'Art thou there?'))

  const { fate: became, reason } = await fate
  assert.deepEqual([became, reason], ['bounced', 'service-unavailable'])
})

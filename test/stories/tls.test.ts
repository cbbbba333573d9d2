import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { test } from 'node:test'
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls'
import { makeSelfSigned } from '../../src/connection/self-signed.ts'
import { el } from '../../src/xmpp/xml.ts'
import { NS } from '../support/client.ts'
import {
  DOMAIN,
  PASSWORD,
  startServer,
  type TestServer,
  writeCertificate,
} from '../support/server.ts'
import { chat } from '../support/stanzas.ts'

const CHANNEL_BINDING_NS = 'urn:xmpp:sasl-cb:0'
const STARTTLS = el('starttls', { xmlns: NS.tls })

/** A TLS connection without any XMPP, or the code of why there is none. */
async function handshake(
  server: TestServer,
  options: ConnectionOptions,
): Promise<TLSSocket | string> {
  const socket = connectTls({
    host: '127.0.0.1',
    port: server.port,
    rejectUnauthorized: false,
    ...options,
  })
  const failed = once(socket, 'error').then(([error]) => error.code as string)
  const outcome = await Promise.race([once(socket, 'secureConnect').then(() => socket), failed])
  if (outcome !== socket) socket.destroy()
  return outcome
}

async function closed(socket: TLSSocket): Promise<void> {
  const over = once(socket, 'close')
  socket.destroy()
  await over
}

test('a client that trusts the certificate gets to its session over STARTTLS', async () => {
  await using server = await startServer({ listen: { tls: 'required' } })
  await server.createAccount('romeo')
  const ca = readFileSync(`${server.directory}/${DOMAIN}.pem`)
  const romeo = await server.open()

  await romeo.startStream()
  await romeo.startTls({ ca, rejectUnauthorized: true })
  await romeo.authenticate({ localpart: 'romeo', password: PASSWORD })
  await romeo.bind('orchard')

  assert.equal((romeo.socket as TLSSocket).authorized, true)
  assert.equal(server.sessionOf(romeo).info.connection, 'tls')
})

test('where TLS is required, nothing else is offered or accepted before', async () => {
  await using server = await startServer({ listen: { tls: 'required' } })
  await server.createAccount('romeo')
  server.server.hooks.on('c2s_stream_features', (features) => [
    ...features,
    el('register', { xmlns: 'http://jabber.org/features/iq-register' }),
  ])
  const refused = [
    el('auth', { xmlns: NS.sasl, mechanism: 'PLAIN' }, 'AHJvbWVvAHg='),
    el('iq', { type: 'get', id: '1' }, el('query', { xmlns: 'jabber:iq:register' })),
    el('message', { to: `juliet@${DOMAIN}` }),
  ]
  for (const element of refused) {
    const client = await server.open()
    const features = await client.startStream()
    assert.deepEqual(
      features.elements().map(({ name }) => name),
      ['starttls'],
    )
    assert.ok(features.child('starttls', NS.tls)?.child('required', NS.tls))
    client.send(element)
    await client.receivesStreamError('policy-violation')
  }
})

test('where TLS is offered, it may be declined', async () => {
  await using server = await startServer({ listen: { tls: 'starttls' } })
  await server.createAccount('romeo')
  const client = await server.open()
  const features = await client.startStream()

  assert.equal(features.child('starttls', NS.tls)?.elements().length, 0)
  await client.authenticate({ localpart: 'romeo', password: PASSWORD, mechanism: 'SCRAM-SHA-256' })
  await client.bind()

  assert.equal(server.sessionOf(client).info.connection, 'tcp')
})

test('inside of TLS there is no STARTTLS', async () => {
  await using server = await startServer({ listen: { tls: 'starttls' } })
  const client = await server.openStream()

  assert.equal(client.features?.child('starttls', NS.tls), undefined)
  client.send(STARTTLS)

  await client.receivesNext({ name: 'failure', ns: NS.tls })
  await client.receivesEnd()
})

test('what stood in the clear behind <starttls/> is not executed inside of TLS', async () => {
  await using server = await startServer({ listen: { tls: 'starttls' } })
  await server.createAccount('romeo')
  const client = await server.open()
  await client.startStream()
  const injected = `<stream:stream xmlns='${NS.client}' xmlns:stream='${NS.streams}' to='evil.example' version='1.0'><auth xmlns='${NS.sasl}' mechanism='PLAIN'>`

  // In one segment, as somebody in the middle would put it there.
  client.send(`${STARTTLS}${injected}`)
  await client.receivesNext({ name: 'proceed', ns: NS.tls })
  await client.upgrade()
  await client.startStream()

  assert.equal(client.header?.attributes.from, DOMAIN)
  await client.authenticate({ localpart: 'romeo', password: PASSWORD })
})

test('a handshake that never comes ends with the time for the login', async () => {
  await using server = await startServer({ listen: { tls: 'direct', pre_auth_timeout: '1s' } })
  const socket = connect({ host: '127.0.0.1', port: server.port })
  await once(socket, 'connect')

  await once(socket, 'close')
})

test('what is no handshake ends the connection', async () => {
  await using server = await startServer({ listen: { tls: 'direct' } })
  const socket = connect({ host: '127.0.0.1', port: server.port })
  socket.on('error', () => {})
  await once(socket, 'connect')

  socket.write('<stream:stream>')
  socket.resume()
  await once(socket, 'close')
})

test('what is no handshake after <proceed/> ends the connection', async () => {
  await using server = await startServer({ listen: { tls: 'required' } })
  const client = await server.open()
  await client.startStream()
  client.send(STARTTLS)
  await client.receivesNext({ name: 'proceed', ns: NS.tls })

  client.send('<stream:stream>')

  await client.closes()
})

test('direct TLS speaks xmpp-client, and nothing else that is asked for (XEP-0368)', async () => {
  await using server = await startServer({ listen: { tls: 'direct' } })

  const right = await handshake(server, { ALPNProtocols: ['xmpp-client'] })
  assert(typeof right !== 'string')
  assert.equal(right.alpnProtocol, 'xmpp-client')
  const without = await handshake(server, {})
  assert(typeof without !== 'string')
  await closed(right)
  await closed(without)

  const wrong = await handshake(server, { ALPNProtocols: ['http/1.1'] })
  assert.equal(wrong, 'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL')
})

test('a client over direct TLS gets to its session', async () => {
  await using server = await startServer({ listen: { tls: 'direct' } })
  const romeo = await server.connect('romeo')

  romeo.send(chat(romeo.fullJid, 'x'))

  await romeo.receives({ body: 'x' })
  assert.equal(romeo.features?.child('starttls', NS.tls), undefined)
})

test('TLS 1.1 is refused, 1.2 is not', async () => {
  await using server = await startServer({ listen: { tls: 'direct' } })

  const old = await handshake(server, {
    minVersion: 'TLSv1.1',
    maxVersion: 'TLSv1.1',
    ciphers: 'ALL:@SECLEVEL=0',
  })
  assert.equal(old, 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION')

  const socket = await handshake(server, { maxVersion: 'TLSv1.2' })
  assert(typeof socket !== 'string')
  assert.equal(socket.getProtocol(), 'TLSv1.2')
  await closed(socket)
})

test('new connections see a certificate that was reloaded, old ones go on', async () => {
  await using server = await startServer({ listen: { tls: 'required' } })
  const fingerprint = (socket: unknown) =>
    (socket as TLSSocket).getPeerX509Certificate()?.fingerprint
  const romeo = await server.connect('romeo')
  const path = await writeCertificate(server.directory)
  await server.server.reload(server.server.loaded)

  const juliet = await server.connect('juliet')

  assert.notEqual(fingerprint(juliet.socket), fingerprint(romeo.socket))
  romeo.send(chat(juliet.fullJid, 'art thou here?'))
  await juliet.receives({ body: 'art thou here?' })

  await writeFile(path, 'torn')
  await assert.rejects(server.server.reload(server.server.loaded), /im\.example\.com\.pem/)
  const nurse = await server.connect('nurse')
  assert.equal(fingerprint(nurse.socket), fingerprint(juliet.socket))
})

test('each domain has its own certificate', async () => {
  await using server = await startServer()
  const path = `${server.directory}/verona.pem`
  await writeFile(path, makeSelfSigned(Date.now(), 'verona.example'))
  const own = await writeCertificate(server.directory)
  await using both = await startServer({
    domains: [DOMAIN, 'verona.example'],
    listen: { tls: 'required' },
    tls: {
      certificate: own,
      key: own,
      domains: { 'verona.example': { certificate: path, key: path } },
    },
  })
  for (const domain of [DOMAIN, 'verona.example']) {
    const client = await both.openStream({ domain })
    const certificate = (client.socket as TLSSocket).getPeerX509Certificate()
    assert.equal(certificate?.checkHost(domain), domain)
  }
})

for (const tls of ['required', 'direct'] as const) {
  for (const [binding, version] of [
    ['tls-exporter', 'TLSv1.3'],
    ['tls-server-end-point', 'TLSv1.3'],
    ['tls-server-end-point', 'TLSv1.2'],
  ] as const) {
    for (const mechanism of ['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-1-PLUS']) {
      test(`${mechanism} with ${binding} (${tls}, ${version})`, async () => {
        await using server = await startServer({ listen: { tls } })
        await server.createAccount('romeo')
        const client = await server.openStream({ tls: { maxVersion: version } })
        assert.ok(client.mechanisms.includes(mechanism))

        await client.authenticate({ localpart: 'romeo', password: PASSWORD, mechanism, binding })
        await client.bind()

        assert.equal(server.sessionOf(client).info.mechanism, mechanism)
      })
    }
  }
}

test('the channel bindings there are, are announced (XEP-0440)', async () => {
  await using server = await startServer({ listen: { tls: 'required' } })
  const announced = async (maxVersion: 'TLSv1.2' | 'TLSv1.3') => {
    const client = await server.openStream({ tls: { maxVersion } })
    const feature = client.features?.child('sasl-channel-binding', CHANNEL_BINDING_NS)
    return feature?.elements().map((element) => element.attr('type'))
  }

  assert.deepEqual(await announced('TLSv1.3'), ['tls-exporter', 'tls-server-end-point'])
  assert.deepEqual(await announced('TLSv1.2'), ['tls-server-end-point'])
})

test('an authentication bound to another connection is refused', async () => {
  await using server = await startServer({ listen: { tls: 'required' } })
  await server.createAccount('romeo')
  const [victim, middle] = [await server.openStream(), await server.openStream()]
  const binding = victim.channelBinding('tls-exporter')
  middle.channelBinding = () => binding

  const answer = await middle.tryToAuthenticate({
    localpart: 'romeo',
    password: PASSWORD,
    mechanism: 'SCRAM-SHA-256-PLUS',
  })

  assert.equal(answer.name, 'failure')
})

test('a server that stops waits for nobody who has not even shaken hands', async () => {
  await using server = await startServer({ listen: { tls: 'direct' } })
  const socket = connect({ host: '127.0.0.1', port: server.port })
  await once(socket, 'connect')
  const client = await server.connect('romeo')

  await server.stop()

  await client.receivesStreamError('system-shutdown')
  if (!socket.closed) await once(socket.resume(), 'close')
})

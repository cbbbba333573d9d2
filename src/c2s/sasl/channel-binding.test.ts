import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { connect, type TLSSocket } from 'node:tls'
import fc from 'fast-check'
import { ensureSelfSigned } from '../../connection/self-signed.ts'
import { TlsCertificates } from '../../connection/tls.ts'
import { serialise } from '../../xmpp/xml.ts'
import {
  type Channel,
  channelBinding,
  channelBindingFeature,
  channelBindingTypes,
  endPointBinding,
} from './channel-binding.ts'

const fixtures = await readFile(
  new URL('./channel-binding.certificates.txt', import.meta.url),
  'utf8',
)

test('tls-server-end-point hashes by the signature of the certificate', () => {
  const lines = fixtures.trim().split('\n').slice(1)
  assert.equal(lines.length, 13)
  for (const line of lines) {
    const [name = '', expected, certificate = ''] = line.split(' ')
    const binding = endPointBinding(Buffer.from(certificate, 'base64'))
    assert.equal(binding?.toString('hex') ?? 'none', expected, name)
  }
})

test('what is no certificate has no binding', () => {
  const [, , certificate = ''] = fixtures.trim().split('\n').at(-1)?.split(' ') ?? []
  const der = Buffer.from(certificate, 'base64')
  assert.equal(endPointBinding(Buffer.alloc(0)), undefined)
  fc.assert(
    fc.property(fc.nat(der.length - 1), fc.nat(255), (at, byte) => {
      endPointBinding(Buffer.from(Uint8Array.from(der).with(at, byte)))
      endPointBinding(der.subarray(0, at))
    }),
  )
})

/** Both ends of a handshaken connection. */
async function connected(
  t: TestContext,
  maxVersion: 'TLSv1.2' | 'TLSv1.3',
): Promise<{ server: Channel; client: TLSSocket }> {
  const directory = await mkdtemp(join(tmpdir(), 'meerkat-binding-'))
  t.after(() => rm(directory, { recursive: true }))
  const pem = await ensureSelfSigned(directory, Date.now())
  const certificates = await TlsCertificates.load([{ certificate: pem, key: pem }])
  const accepted = Promise.withResolvers<TLSSocket>()
  const listener = createServer((socket) => {
    const secured = certificates.secure(socket, { isDirect: true })
    secured.once('secure', () => accepted.resolve(secured))
  })
  t.after(() => listener.close())
  await once(listener.listen(0, '127.0.0.1'), 'listening')
  const { port } = listener.address() as AddressInfo
  const ca = certificates.certificateFor('localhost').toString()
  const client = connect({ port, host: '127.0.0.1', servername: 'localhost', ca, maxVersion })
  t.after(() => client.destroy())
  await once(client, 'secureConnect')
  const socket = await accepted.promise
  return { server: { socket, certificate: certificates.shownTo(socket) }, client }
}

test('over TLS 1.3 both ends see the same bindings', async (t) => {
  const { server, client } = await connected(t, 'TLSv1.3')
  assert.deepEqual(channelBindingTypes(server), ['tls-exporter', 'tls-server-end-point'])
  assert.deepEqual(
    channelBinding(server, 'tls-exporter'),
    client.exportKeyingMaterial(32, 'EXPORTER-Channel-Binding', Buffer.alloc(0)),
  )
  const seen = client.getPeerX509Certificate()?.raw ?? Buffer.alloc(0)
  assert.deepEqual(
    channelBinding(server, 'tls-server-end-point'),
    createHash('sha256').update(seen).digest(),
  )
})

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`over ${version} tls-unique is the client's Finished, and not announced`, async (t) => {
    const { server, client } = await connected(t, version)
    assert.deepEqual(channelBinding(server, 'tls-unique'), client.getFinished())
    assert.ok(!channelBindingTypes(server).includes('tls-unique' as never))
  })
}

test('over TLS 1.2 there is no tls-exporter', async (t) => {
  const { server } = await connected(t, 'TLSv1.2')
  assert.deepEqual(channelBindingTypes(server), ['tls-server-end-point'])
  assert.equal(channelBinding(server, 'tls-exporter'), undefined)
  assert.equal(channelBinding(server, 'tls-server-end-point')?.length, 32)
})

test('the feature lists the types, and is absent without any', () => {
  const feature = channelBindingFeature(['tls-exporter', 'tls-server-end-point'])
  assert.equal(
    feature && serialise(feature),
    "<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'><channel-binding type='tls-exporter'/>" +
      "<channel-binding type='tls-server-end-point'/></sasl-channel-binding>",
  )
  assert.equal(channelBindingFeature([]), undefined)
})

import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls'
import { makeSelfSigned } from './self-signed.ts'
import {
  CertificateError,
  type CertificateFiles,
  certificateProblem,
  coversDomain,
  TlsCertificates,
} from './tls.ts'

const NOW = Date.now()

/** Writes a fresh certificate for each domain into files of a directory of this test. */
async function files(t: TestContext, ...domains: string[]): Promise<CertificateFiles[]> {
  const directory = await mkdtemp(join(tmpdir(), 'meerkat-tls-'))
  t.after(() => rm(directory, { recursive: true }))
  return Promise.all(
    domains.map(async (domain, index) => {
      const path = join(directory, `${index}.pem`)
      await writeFile(path, makeSelfSigned(NOW, domain))
      return { certificate: path, key: path }
    }),
  )
}

interface ClientOptions extends ConnectionOptions {
  readonly onSession?: (session: Buffer) => void
}

type Connect = (options?: ClientOptions) => Promise<TLSSocket>

/** A listener that greets with one byte, and how to connect to it; who trusts anybody. */
async function listen(
  t: TestContext,
  certificates: TlsCertificates,
  options: { isDirect: boolean; domain?: string } = { isDirect: true },
  onSecure: (socket: TLSSocket) => void = () => {},
): Promise<Connect> {
  const listener = createServer((socket) => {
    const secured = certificates.secure(socket, options)
    secured.on('error', () => socket.destroy())
    secured.once('secure', () => {
      onSecure(secured)
      secured.write('!')
    })
  })
  t.after(() => listener.close())
  await once(listener.listen(0, '127.0.0.1'), 'listening')
  const { port } = listener.address() as AddressInfo
  return async ({ onSession = () => {}, ...options } = {}) => {
    const client = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options })
    t.after(() => client.destroy())
    client.once('session', onSession)
    await once(client, 'secureConnect')
    await once(client, 'data')
    return client
  }
}

const shown = (socket: TLSSocket) => socket.getPeerX509Certificate()?.subject

test('TLS 1.2 and 1.3 with forward secrecy and AEAD, nothing else', async (t) => {
  const certificates = await TlsCertificates.load(await files(t, 'example.com'))
  const open = await listen(t, certificates)
  assert.equal((await open()).getProtocol(), 'TLSv1.3')
  const older = await open({ maxVersion: 'TLSv1.2', ciphers: 'ALL' })
  assert.equal(older.getProtocol(), 'TLSv1.2')
  assert.equal(older.getCipher().name, 'ECDHE-ECDSA-AES128-GCM-SHA256')
  const weak = 'ALL:@SECLEVEL=0'
  await assert.rejects(open({ minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: weak }))
  await assert.rejects(open({ maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA' }))
})

test('renegotiation is refused', async (t) => {
  const certificates = await TlsCertificates.load(await files(t, 'example.com'))
  const client = await (await listen(t, certificates))({ maxVersion: 'TLSv1.2' })
  const outcome = Promise.withResolvers<Error | null>()
  client.on('error', outcome.resolve)
  client.renegotiate({}, outcome.resolve)
  assert.ok((await outcome.promise) instanceof Error)
})

test('each domain is shown its certificate', async (t) => {
  const [first, second, wildcard, named] = await files(
    t,
    'example.com',
    'example.net',
    '*.example.net',
    'shared.invalid',
  )
  assert.ok(first && second && wildcard && named)
  const own = { ...named, domains: ['Special.example.net', 'b\u00fccher.example'] }
  const certificates = await TlsCertificates.load([first, second, wildcard, own])
  const open = await listen(t, certificates)
  for (const [servername, subject] of [
    ['example.com', 'CN=example.com'],
    ['EXAMPLE.net', 'CN=example.net'],
    ['chat.example.net', 'CN=*.example.net'],
    ['a.chat.example.net', 'CN=example.com'],
    ['special.example.net', 'CN=shared.invalid'],
    ['xn--bcher-kva.example', 'CN=shared.invalid'],
    ['unknown.example', 'CN=example.com'],
    ['', 'CN=example.com'],
  ] as const) {
    assert.equal(shown(await open({ servername })), subject, servername)
    assert.equal(certificates.certificateFor(servername).subject, subject)
  }
  assert.equal(certificates.certificateFor('b\u00fccher.example').subject, 'CN=shared.invalid')
})

test('without SNI the domain of the stream decides', async (t) => {
  const certificates = await TlsCertificates.load(await files(t, 'example.com', 'example.net'))
  const open = await listen(t, certificates, { isDirect: false, domain: 'example.net' })
  assert.equal(shown(await open()), 'CN=example.net')
  assert.equal(shown(await open({ servername: 'example.com' })), 'CN=example.com')
})

test('ALPN is for direct TLS: xmpp-client or nothing', async (t) => {
  const certificates = await TlsCertificates.load(await files(t, 'example.com'))
  const direct = await listen(t, certificates)
  assert.equal((await direct()).alpnProtocol, false)
  const both = await direct({ ALPNProtocols: ['http/1.1', 'xmpp-client'] })
  assert.equal(both.alpnProtocol, 'xmpp-client')
  await assert.rejects(direct({ ALPNProtocols: ['http/1.1'] }), /no application protocol/i)

  const starttls = await listen(t, certificates, { isDirect: false })
  assert.equal((await starttls({ ALPNProtocols: ['xmpp-client'] })).alpnProtocol, false)
})

for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`sessions of ${maxVersion} resume until the certificates are read again`, async (t) => {
    const certificates = await TlsCertificates.load(await files(t, 'example.com', 'example.net'))
    const open = await listen(t, certificates)
    const options = { maxVersion, servername: 'example.net' }
    const session = await sessionOf(open, options)

    assert.equal((await open({ ...options, session })).isSessionReused(), true)
    await certificates.reload()
    assert.equal((await open({ ...options, session })).isSessionReused(), false)
  })
}

/** What a client keeps of a connection to resume it. */
async function sessionOf(open: Connect, options: ConnectionOptions): Promise<Buffer> {
  const ticket = Promise.withResolvers<Buffer>()
  const client = await open({ ...options, onSession: ticket.resolve })
  const session = await ticket.promise
  client.destroy()
  return session
}

test('it is known which certificate a client has seen, or that it is not', async (t) => {
  const [first, second] = await files(t, 'example.com', 'example.net')
  assert.ok(first && second)
  const one = await TlsCertificates.load([first])
  const both = await TlsCertificates.load([first, second])
  for (const [certificates, maxVersion, servername, full, resumed] of [
    [one, 'TLSv1.2', 'example.com', 'CN=example.com', 'CN=example.com'],
    [one, 'TLSv1.3', 'unknown.example', 'CN=example.com', 'CN=example.com'],
    [both, 'TLSv1.2', 'example.com', 'CN=example.com', undefined],
    [both, 'TLSv1.2', 'example.net', 'CN=example.net', undefined],
    [both, 'TLSv1.3', 'example.com', 'CN=example.com', 'CN=example.com'],
    [both, 'TLSv1.3', 'example.net', 'CN=example.net', 'CN=example.net'],
    [both, 'TLSv1.3', 'unknown.example', 'CN=example.com', 'CN=example.com'],
  ] as const) {
    const seen: (string | undefined)[] = []
    const open = await listen(t, certificates, { isDirect: true }, (socket) =>
      seen.push(certificates.shownTo(socket)?.subject),
    )
    const session = await sessionOf(open, { maxVersion, servername })
    const again = await open({ maxVersion, servername, session })
    assert.equal(again.isSessionReused(), true)
    assert.deepEqual(seen, [full, resumed], `${maxVersion} ${servername}`)
  }
})

test('reload shows what the files hold now; who is connected stays', async (t) => {
  const written = await files(t, 'example.com')
  const certificates = await TlsCertificates.load(written)
  const open = await listen(t, certificates)
  const before = await open()

  const path = written[0]?.certificate ?? ''
  await writeFile(path, makeSelfSigned(NOW, 'renewed.example.com'))
  assert.equal(shown(await open()), 'CN=example.com')
  await certificates.reload()
  assert.equal(shown(await open()), 'CN=renewed.example.com')
  assert.equal(before.destroyed, false)
})

test('a file that cannot be used is named, and the old ones stay', async (t) => {
  const [first, second] = await files(t, 'example.com', 'example.net')
  assert.ok(first && second)
  const certificates = await TlsCertificates.load([first, second])
  const other = makeSelfSigned(NOW)
  const key = other.slice(0, other.indexOf('-----BEGIN CERT'))
  const certificate = other.slice(key.length)
  for (const [content, reason] of [
    ['', /PEM/],
    ['not a certificate', /PEM/],
    [key, /PEM/],
    [certificate, /./],
    [certificate.replace(/.{9}\n-----END/, '\n-----END') + key, /./],
    [makeSelfSigned(NOW).slice(0, key.length) + certificate, /is not the key of/],
  ] as const) {
    await writeFile(second.certificate, content)
    await assert.rejects(certificates.reload(), (error) => {
      assert.ok(error instanceof CertificateError)
      assert.ok(error.message.startsWith(`${second.certificate}: `), error.message)
      assert.match(error.message, reason)
      return true
    })
    assert.equal(certificates.certificateFor('example.net').subject, 'CN=example.net')
  }
  await rm(second.certificate)
  await assert.rejects(certificates.reload(), /1\.pem: ENOENT/)
  await assert.rejects(TlsCertificates.load([first, second]), CertificateError)
  await assert.rejects(TlsCertificates.load([]), /no certificate configured/)
  await writeFile(second.certificate, makeSelfSigned(NOW, 'example.org'))
  await certificates.reload()
  assert.equal(certificates.certificateFor('example.org').subject, 'CN=example.org')
})

test('what keeps clients from trusting a certificate is told', () => {
  const certificate = new X509Certificate(makeSelfSigned(NOW, 'example.com'))
  const wildcard = new X509Certificate(makeSelfSigned(NOW, '*.example.com'))
  assert.equal(coversDomain(certificate, 'Example.COM'), true)
  assert.equal(coversDomain(certificate, 'im.example.com'), false)
  assert.equal(coversDomain(wildcard, 'im.example.com'), true)
  assert.equal(coversDomain(wildcard, 'b\u00fccher.example.com'), true)
  assert.equal(coversDomain(wildcard, 'example.com'), false)
  assert.equal(coversDomain(certificate, '127.0.0.1'), true)
  assert.equal(coversDomain(certificate, '[::1]'), true)
  assert.equal(coversDomain(certificate, '127.0.0.2'), false)

  assert.equal(certificateProblem(certificate, 'example.com', NOW), undefined)
  assert.match(
    certificateProblem(certificate, 'example.net', NOW) ?? '',
    /does not cover example.net; it has .*DNS:example.com/,
  )
  assert.match(certificateProblem(certificate, 'example.com', NOW + 4e10) ?? '', /ended/)
  assert.match(certificateProblem(certificate, 'example.com', NOW - 4e10) ?? '', /starts/)
})

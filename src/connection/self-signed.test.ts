import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { connect, createServer } from 'node:tls'
import { ensureSelfSigned, makeSelfSigned } from './self-signed.ts'

const DAY_MS = 86_400_000

async function temporaryDirectory(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'meerkat-self-signed-'))
  t.after(() => rm(directory, { recursive: true }))
  return directory
}

test('Node reads what was made', () => {
  const now = Date.parse('2030-03-01T12:00:00Z')
  const pem = makeSelfSigned(now)
  const certificate = new X509Certificate(pem)

  assert.equal(certificate.subject, 'CN=localhost')
  assert.equal(certificate.issuer, 'CN=localhost')
  assert.ok(certificate.verify(certificate.publicKey))
  assert.ok(certificate.checkPrivateKey(createPrivateKey(pem)))
  assert.equal(certificate.publicKey.asymmetricKeyDetails?.namedCurve, 'prime256v1')
  assert.equal(certificate.checkHost('localhost', { subject: 'never' }), 'localhost')
  assert.equal(certificate.checkHost('example.com'), undefined)
  assert.equal(certificate.checkIP('127.0.0.1'), '127.0.0.1')
  assert.equal(certificate.checkIP('::1'), '::1')
  assert.equal(certificate.checkIP('127.0.0.2'), undefined)
  assert.equal(certificate.ca, false)
  assert.deepEqual(certificate.keyUsage, ['1.3.6.1.5.5.7.3.1'])
  assert.equal(Date.parse(certificate.validFrom), now - 3_600_000)
  assert.equal(Date.parse(certificate.validTo), now + 365 * DAY_MS)
  assert.notEqual(certificate.serialNumber, new X509Certificate(makeSelfSigned(now)).serialNumber)
})

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`a client that trusts it completes a ${version} handshake`, async (t) => {
    const pem = makeSelfSigned(Date.now())
    const server = createServer({ cert: pem, key: pem }, (socket) => socket.end('hello'))
    t.after(() => server.close())
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const { port } = server.address() as AddressInfo
    const ca = new X509Certificate(pem).toString()
    for (const servername of ['localhost', '127.0.0.1']) {
      const socket = connect({
        port,
        host: '127.0.0.1',
        ca,
        maxVersion: version,
        ...(servername === 'localhost' && { servername }),
      })
      socket.resume()
      await once(socket, 'secureConnect')
      assert.equal(socket.authorized, true)
      assert.equal(socket.getProtocol(), version)
      await once(socket, 'close')
    }
  })
}

const hasOpenssl = spawnSync('openssl', ['version']).status === 0

test('openssl reads and verifies it', { skip: !hasOpenssl }, async (t) => {
  const path = await ensureSelfSigned(await temporaryDirectory(t), Date.now())
  const verified = spawnSync('openssl', ['verify', '-x509_strict', '-CAfile', path, path])
  const text = spawnSync('openssl', ['x509', '-noout', '-text', '-in', path]).stdout.toString()

  assert.equal(verified.stdout.toString().trim(), `${path}: OK`, verified.stderr.toString())
  assert.match(text, /Version: 3/)
  assert.match(text, /Signature Algorithm: ecdsa-with-SHA256/)
  assert.match(text, /othername: XmppAddr:+localhost/)
  assert.match(text, /DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1/)
  assert.match(text, /Basic Constraints: critical\s+CA:FALSE/)
  assert.match(text, /Key Usage: critical\s+Digital Signature/)
})

test('it is made once, for its owner only, and again before it ends', async (t) => {
  const directory = join(await temporaryDirectory(t), 'data')
  const now = Date.parse('2030-03-01T12:00:00Z')

  const path = await ensureSelfSigned(directory, now)
  const first = await readFile(path, 'utf8')
  assert.equal((await stat(path)).mode & 0o777, 0o600)

  assert.equal(await ensureSelfSigned(directory, now + 300 * DAY_MS), path)
  assert.equal(await readFile(path, 'utf8'), first)

  await ensureSelfSigned(directory, now + 340 * DAY_MS)
  assert.notEqual(await readFile(path, 'utf8'), first)
  assert.deepEqual(await readdir(directory), ['self-signed.pem'])
})

test('a damaged file is replaced', async (t) => {
  const directory = await temporaryDirectory(t)
  const now = Date.now()
  const path = await ensureSelfSigned(directory, now)
  const key = makeSelfSigned(now).replace(/-----BEGIN CERT.*/s, '')
  const certificate = new X509Certificate(await readFile(path)).toString()

  for (const content of ['', 'no PEM', certificate, key, key + certificate]) {
    await writeFile(path, content)
    await ensureSelfSigned(directory, now)
    const pem = await readFile(path)
    assert.ok(new X509Certificate(pem).checkPrivateKey(createPrivateKey(pem)))
  }
})

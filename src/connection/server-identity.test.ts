import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type CertificateOptions, makeCertificate } from './certificate.ts'
import { namesDomain } from './server-identity.ts'

function certificate(names: Partial<CertificateOptions>) {
  const from = Date.now() - 1_000
  return makeCertificate({ name: 'im.example.org', from, until: from + 60_000, ...names })
    .certificate
}

const names = (wishes: Partial<CertificateOptions>, domain: string) =>
  namesDomain(certificate(wishes), domain)

test('DNS names, wildcards for one label at the left', () => {
  assert.ok(names({ domains: ['im.example.org'] }, 'im.example.org'))
  assert.ok(names({ domains: ['*.example.org'] }, 'im.example.org'))
  assert.ok(!names({ domains: ['*.example.org'] }, 'example.org'))
  assert.ok(!names({ domains: ['*.example.org'] }, 'a.im.example.org'))
  assert.ok(!names({ domains: ['im.example.com'] }, 'im.example.org'))
  assert.ok(names({ domains: ['xn--bcher-kva.example'] }, 'bücher.example'))
})

test('the common name does not count', () => {
  assert.ok(!names({}, 'im.example.org'))
  assert.ok(!names({ addresses: [Uint8Array.of(127, 0, 0, 1)] }, 'im.example.org'))
})

test('names of services, of servers only', () => {
  assert.ok(names({ services: ['_xmpp-server.im.example.org'] }, 'im.example.org'))
  assert.ok(names({ services: ['_XMPP-server.IM.example.org'] }, 'im.example.org'))
  assert.ok(!names({ services: ['_xmpp-client.im.example.org'] }, 'im.example.org'))
  assert.ok(!names({ services: ['_xmpp-server.*.example.org'] }, 'im.example.org'))
  assert.ok(names({ services: ['_xmpp-server.xn--bcher-kva.example'] }, 'bücher.example'))
})

test('XMPP addresses', () => {
  assert.ok(names({ xmppAddresses: ['im.example.org'] }, 'im.example.org'))
  assert.ok(names({ xmppAddresses: ['a.example', 'bücher.example'] }, 'bücher.example'))
  assert.ok(!names({ xmppAddresses: ['juliet@im.example.org'] }, 'im.example.org'))
  assert.ok(!names({ xmppAddresses: ['*.example.org'] }, 'im.example.org'))
  assert.ok(!names({ xmppAddresses: ['im.example.org\0.evil.example'] }, 'im.example.org'))
})

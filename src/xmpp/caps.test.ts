import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Capabilities, verificationString } from './caps.ts'
import { form } from './data-form.ts'

const features = [
  'http://jabber.org/protocol/muc',
  'http://jabber.org/protocol/disco#info',
  'http://jabber.org/protocol/caps',
  'http://jabber.org/protocol/disco#items',
]

const psi: Capabilities = {
  identities: [
    { category: 'client', type: 'pc', lang: 'en', name: 'Psi 0.11' },
    { category: 'client', type: 'pc', lang: 'el', name: 'Ψ 0.11' },
  ],
  features,
  forms: [
    form({
      type: 'result',
      formType: 'urn:xmpp:dataforms:softwareinfo',
      fields: [
        { var: 'software', value: 'Psi' },
        { var: 'ip_version', type: 'text-multi', value: ['ipv6', 'ipv4'] },
        { var: 'os', value: 'Mac' },
        { var: 'software_version', value: '0.11' },
        { var: 'os_version', value: '10.5.1' },
      ],
    }),
  ],
}

test('the simple example of XEP-0115 §5.2', () => {
  const identities = [{ category: 'client', type: 'pc', name: 'Exodus 0.9.1' }]
  assert.equal(
    verificationString({ identities, features, forms: [] }),
    'QgayPKawpkPSDYmwT/WM94uAlu0=',
  )
})

test('the complex example of XEP-0115 §5.3: languages and a form', () => {
  assert.equal(verificationString(psi), 'q07IKJEyjvHSyhy//CH0CxmKi8w=')
})

test('a form without a hidden FORM_TYPE does not count', () => {
  const open = form({ type: 'result', fields: [{ var: 'os', value: 'Mac' }] })
  assert.equal(verificationString({ ...psi, forms: [...psi.forms, open] }), verificationString(psi))
})

test('the order is that of octets, not of UTF-16 units', () => {
  // U+FF5E comes before U+1F63A in UTF-8, and behind its surrogates in UTF-16.
  const forwards = verificationString({ identities: [], features: ['～', '😺'], forms: [] })
  const backwards = verificationString({ identities: [], features: ['😺', '～'], forms: [] })
  assert.equal(forwards, backwards)
  // SHA-1 of '～<😺<'.
  assert.equal(forwards, Buffer.from(SHA1_OF_BOTH, 'hex').toString('base64'))
})

const SHA1_OF_BOTH = 'f5efa25e1f08a590dab8ea1ba42812140651e675'

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { SaslContext } from './mechanism.ts'
import { createMechanism, offerMechanisms, type SaslPolicy } from './offer.ts'

const policy: SaslPolicy = {
  mechanisms: ['PLAIN', 'SCRAM-SHA-1', 'SCRAM-SHA-256'],
  allowPlainWithoutTls: false,
  downgradeProtection: true,
}
const encrypted = { isEncrypted: true, channelBindings: ['tls-exporter'] } as const
const open = { isEncrypted: false, channelBindings: [] } as const

test('the offer goes from strong to weak, as policy and connection allow', () => {
  assert.deepEqual(offerMechanisms(policy, encrypted), {
    mechanisms: ['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-1-PLUS', 'SCRAM-SHA-256', 'SCRAM-SHA-1', 'PLAIN'],
    channelBindings: ['tls-exporter'],
    isProtected: true,
  })
  assert.deepEqual(offerMechanisms(policy, open), {
    mechanisms: ['SCRAM-SHA-256', 'SCRAM-SHA-1'],
    channelBindings: [],
    isProtected: true,
  })
  const lax = { ...policy, allowPlainWithoutTls: true, downgradeProtection: false }
  assert.deepEqual(offerMechanisms(lax, open), {
    mechanisms: ['SCRAM-SHA-256', 'SCRAM-SHA-1', 'PLAIN'],
    channelBindings: [],
    isProtected: false,
  })
})

test('streams that are offered the same share the offer, and only they', () => {
  const endPoint = { isEncrypted: true, channelBindings: ['tls-server-end-point'] } as const
  const offers = [encrypted, open, endPoint, { ...open, isEncrypted: true }].map((stream) => {
    const offer = offerMechanisms(policy, stream)
    assert.equal(offerMechanisms(policy, { ...stream }), offer)
    assert.notEqual(offerMechanisms({ ...policy }, stream), offer)
    return offer
  })
  assert.equal(new Set(offers).size, offers.length)
})

test('without SCRAM no channel binding is announced', () => {
  const anonymous: SaslPolicy = { ...policy, mechanisms: ['ANONYMOUS'] }
  assert.deepEqual(offerMechanisms(anonymous, encrypted), {
    mechanisms: ['ANONYMOUS'],
    channelBindings: [],
    isProtected: true,
  })
})

function context(
  changes: Partial<SaslPolicy>,
  stream: typeof encrypted | typeof open,
): SaslContext {
  return {
    domain: 'example.com',
    isEncrypted: stream.isEncrypted,
    offer: offerMechanisms({ ...policy, ...changes }, stream),
    channelBinding: () => undefined,
    credentials: () => assert.fail('not asked for'),
    verifyPassword: () => assert.fail('not asked for'),
  }
}

test('only what was offered is made', () => {
  for (const name of context({}, encrypted).offer.mechanisms) {
    const mechanism = createMechanism(name, context({}, encrypted))
    assert.ok('start' in mechanism)
    assert.equal(mechanism.name, name)
  }
  const condition = (name: string, stream: typeof encrypted | typeof open) => {
    const refusal = createMechanism(name, context({}, stream))
    return 'condition' in refusal ? refusal.condition : refusal.name
  }
  assert.equal(condition('ANONYMOUS', encrypted), 'invalid-mechanism')
  assert.equal(condition('DIGEST-MD5', encrypted), 'invalid-mechanism')
  assert.equal(condition('toString', encrypted), 'invalid-mechanism')
  assert.equal(condition('', encrypted), 'invalid-mechanism')
  assert.equal(condition('plain', encrypted), 'invalid-mechanism')
  assert.equal(condition('PLAIN', open), 'encryption-required')
  assert.equal(condition('SCRAM-SHA-1-PLUS', open), 'invalid-mechanism')
})

test('ANONYMOUS makes up another localpart each time', async () => {
  const login = async (initial: Buffer | undefined) => {
    const mechanism = createMechanism('ANONYMOUS', context({ mechanisms: ['ANONYMOUS'] }, open))
    assert.ok('start' in mechanism)
    return mechanism.start(initial)
  }
  const first = await login(Buffer.alloc(0))
  const second = await login(Buffer.from('sirhc@example.com'))
  assert.ok(first.kind === 'success' && second.kind === 'success')
  assert.match(first.localpart, /^[0-9a-f-]{36}$/)
  assert.notEqual(first.localpart, second.localpart)
  assert.equal(first.isAnonymous, true)
  assert.equal((await login(undefined)).kind, 'success')
  assert.equal((await login(Buffer.from([0xff]))).kind, 'failure')
  await fc.assert(
    fc.asyncProperty(fc.uint8Array(), async (bytes) => {
      assert.notEqual((await login(Buffer.from(bytes))).kind, 'challenge')
    }),
  )
})

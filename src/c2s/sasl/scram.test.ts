import assert from 'node:assert/strict'
import { createHash, createHmac, pbkdf2Sync } from 'node:crypto'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import fc from 'fast-check'
import type { ScramHash, ScramKeys } from '../../core/credentials.ts'
import type { Failure, MechanismName, SaslContext, SaslOffer, Step } from './mechanism.ts'
import { offerHash, Scram, type ScramName } from './scram.ts'

const digests = { 'SHA-1': 'sha1', 'SHA-256': 'sha256' } as const
const hmac = (hash: ScramHash, key: Uint8Array, text: string) =>
  createHmac(digests[hash], key).update(text).digest()

function salted(hash: ScramHash, password: string, salt: Uint8Array, iterations: number): Buffer {
  return pbkdf2Sync(password, salt, iterations, hash === 'SHA-1' ? 20 : 32, digests[hash])
}

function keysOf(hash: ScramHash, password: string, salt: string, iterations: number): ScramKeys {
  const saltBytes = Buffer.from(salt, 'base64')
  const key = salted(hash, password, saltBytes, iterations)
  return {
    salt: saltBytes,
    iterations,
    storedKey: createHash(digests[hash])
      .update(hmac(hash, key, 'Client Key'))
      .digest(),
    serverKey: hmac(hash, key, 'Server Key'),
  }
}

const BINDINGS = {
  'tls-exporter': Buffer.from('bytes of the exporter, 32 of them'),
  'tls-server-end-point': Buffer.from([0, 1, 2, 0xff, 0xfe]),
  'tls-unique': Buffer.from('the first Finished'),
}

const unbound: SaslOffer = {
  mechanisms: ['SCRAM-SHA-256', 'SCRAM-SHA-1', 'PLAIN'],
  channelBindings: [],
  isProtected: true,
}
const bound: SaslOffer = {
  mechanisms: ['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-1-PLUS', ...unbound.mechanisms],
  channelBindings: ['tls-exporter', 'tls-server-end-point'],
  isProtected: true,
}

/** Accounts `user` and `a,b=c` exist, both with the password `pencil`. */
function context(offer: SaslOffer, salt = 'QSXCR+Q6sek8bf92'): SaslContext {
  return {
    domain: 'example.com',
    isEncrypted: true,
    offer,
    channelBinding: (type) => BINDINGS[type],
    credentials: async (localpart, hash) => {
      const exists = localpart === 'user' || localpart === 'a,b=c'
      return keysOf(hash, exists ? 'pencil' : 'known to nobody', salt, 4096)
    },
    verifyPassword: () => assert.fail('SCRAM sees no passwords'),
  }
}

function text(step: Step): string {
  assert.ok(step.kind !== 'failure', JSON.stringify(step))
  return String(step.data)
}

function fails(step: Step, condition: Failure['condition'], reason?: string): void {
  assert.deepEqual(step, {
    kind: 'failure',
    condition,
    ...(reason !== undefined && { text: reason }),
  })
}

interface ClientOptions {
  readonly header?: string
  readonly name?: string
  readonly password?: string
  readonly binding?: Buffer
  /** Changes the final message before it is signed. */
  readonly alter?: (withoutProof: string) => string
  readonly proof?: (proof: string) => string
}

/** An exchange with a client written from RFC 5802 §3, apart from the code under test. */
async function exchange(
  mechanism: ScramName,
  offer: SaslOffer,
  options: ClientOptions = {},
): Promise<Step> {
  const { header = 'n,,', name = 'user', password = 'pencil', binding = Buffer.alloc(0) } = options
  const hash: ScramHash = mechanism.includes('256') ? 'SHA-256' : 'SHA-1'
  const scram = new Scram(mechanism, context(offer))
  const bare = `n=${name},r=clientnonce`
  const challenge = await scram.start(Buffer.from(header + bare))
  if (challenge.kind !== 'challenge') return challenge

  const first = String(challenge.data)
  const fields = new Map(first.split(',').map((field) => [field[0], field.slice(2)]))
  const salt = Buffer.from(fields.get('s') ?? '', 'base64')
  const key = salted(hash, password, salt, Number(fields.get('i')))
  const clientKey = hmac(hash, key, 'Client Key')
  const storedKey = createHash(digests[hash]).update(clientKey).digest()
  const c = Buffer.concat([Buffer.from(header), binding]).toString('base64')
  const withoutProof = (options.alter ?? String)(`c=${c},r=${fields.get('r')}`)
  const message = `${bare},${first},${withoutProof}`
  const signature = hmac(hash, storedKey, message)
  const proof = Buffer.from(clientKey.map((byte, at) => byte ^ (signature[at] ?? 0)))
  const sent = (options.proof ?? String)(`p=${proof.toString('base64')}`)
  const step = await scram.respond(Buffer.from(`${withoutProof},${sent}`))
  if (step.kind === 'success') {
    const verifier = hmac(hash, hmac(hash, key, 'Server Key'), message).toString('base64')
    assert.equal(String(step.data), `v=${verifier}`)
  }
  return step
}

const everyScram: readonly [ScramName, SaslOffer, ClientOptions][] = [
  ['SCRAM-SHA-1', unbound, {}],
  ['SCRAM-SHA-256', unbound, {}],
  ['SCRAM-SHA-1-PLUS', bound, { header: 'p=tls-exporter,,', binding: BINDINGS['tls-exporter'] }],
  [
    'SCRAM-SHA-256-PLUS',
    bound,
    { header: 'p=tls-server-end-point,,', binding: BINDINGS['tls-server-end-point'] },
  ],
  // Not announced, but older clients know no other.
  ['SCRAM-SHA-256-PLUS', bound, { header: 'p=tls-unique,,', binding: BINDINGS['tls-unique'] }],
]

for (const [hash, salt, clientNonce, serverNonce, proof, verifier] of [
  [
    'SHA-1',
    'QSXCR+Q6sek8bf92',
    'fyko+d2lbbFgONRv9qkxdawL',
    '3rfcNHYJY1ZVvWVs7j',
    'v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=',
    'rmF9pqV8S7suAoZWja4dJRkFsKQ=',
  ],
  [
    'SHA-256',
    'W22ZaJ0SNY7soEsUEjb6gQ==',
    'rOprNGfwEbeRWgbNEkqO',
    '%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0',
    'dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
    '6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=',
  ],
] as const) {
  test(`SCRAM-${hash}: the example of the RFC`, async () => {
    const offer: SaslOffer = { ...unbound, isProtected: false }
    const scram = new Scram(`SCRAM-${hash}`, context(offer, salt), serverNonce)
    const challenge = await scram.start(Buffer.from(`n,,n=user,r=${clientNonce}`))
    assert.equal(text(challenge), `r=${clientNonce}${serverNonce},s=${salt},i=4096`)
    const final = `c=biws,r=${clientNonce}${serverNonce},p=${proof}`
    const success = await scram.respond(Buffer.from(final))
    assert.equal(text(success), `v=${verifier}`)
    assert.ok(success.kind === 'success')
    assert.equal(success.localpart, 'user')
    assert.equal(success.isAnonymous, false)
  })
}

for (const [name, offer, options] of everyScram) {
  test(`${name}: the right password succeeds, every other thing fails`, async () => {
    const trying = (changes: ClientOptions) => exchange(name, offer, { ...options, ...changes })

    const success = await trying({})
    assert.ok(success.kind === 'success')
    assert.equal(success.localpart, 'user')

    fails(await trying({ password: 'Pencil' }), 'not-authorized')
    fails(await trying({ name: 'nobody' }), 'not-authorized')
    fails(await trying({ proof: () => 'p=AAAA' }), 'not-authorized')
    fails(await trying({ proof: () => 'p=' }), 'malformed-request')
    fails(await trying({ proof: (proof) => `${proof}=` }), 'malformed-request')
    fails(await trying({ proof: (proof) => proof.slice(2) }), 'malformed-request')
    fails(await trying({ alter: (final) => final.slice(0, -1) }), 'not-authorized', 'other-error')
    fails(
      await trying({ binding: Buffer.from('another connection') }),
      'not-authorized',
      'channel-bindings-dont-match',
    )
    fails(await trying({ alter: (final) => final.replace('c=', 'c=!') }), 'malformed-request')
    fails(await trying({ alter: (final) => final.replace('c=', 'C=') }), 'malformed-request')
    fails(await trying({ alter: (final) => `${final},m=x` }), 'malformed-request')
    fails(await trying({ alter: (final) => `${final},xyz` }), 'malformed-request')
    assert.equal((await trying({ alter: (final) => `${final},x=y,z=1` })).kind, 'success')
  })
}

test('the GS2 header must fit the mechanism and what was offered', async () => {
  const { 'tls-exporter': binding } = BINDINGS
  const plus = (header: string, offer = bound) =>
    exchange('SCRAM-SHA-256-PLUS', offer, { header, binding })
  const plain = (header: string, offer = bound) => exchange('SCRAM-SHA-256', offer, { header })

  assert.equal((await plus('p=tls-exporter,,')).kind, 'success')
  fails(await plus('n,,'), 'malformed-request')
  fails(await plus('y,,'), 'malformed-request')
  const unsupported = 'unsupported-channel-binding-type'
  fails(await plus('p=tls-none,,'), 'not-authorized', unsupported)
  fails(await plus('p=TLS-exporter,,'), 'not-authorized', unsupported)
  fails(await plus('p=toString,,'), 'not-authorized', unsupported)
  const endPointOnly: SaslOffer = { ...bound, channelBindings: ['tls-server-end-point'] }
  fails(await plus('p=tls-exporter,,', endPointOnly), 'not-authorized', unsupported)
  fails(
    await plus('p=tls-server-end-point,,'), // with the bytes of the other
    'not-authorized',
    'channel-bindings-dont-match',
  )

  assert.equal((await plain('n,,')).kind, 'success')
  assert.equal((await plain('y,,', unbound)).kind, 'success')
  fails(await plain('y,,'), 'not-authorized', 'server-does-support-channel-binding')
  fails(await plain('p=tls-exporter,,'), 'malformed-request')
  for (const header of ['', 'n', 'n,', 'x,,', 'N,,', 'p=,,', 'p,,', 'n=1,,', 'p=a b,,', 'n,b=x,']) {
    fails(await plain(header), 'malformed-request')
  }
})

test('a binding that went away since it was offered fails', async () => {
  const gone: SaslContext = { ...context(bound), channelBinding: () => undefined }
  const scram = new Scram('SCRAM-SHA-1-PLUS', gone)
  fails(
    await scram.start(Buffer.from('p=tls-exporter,,n=user,r=x')),
    'not-authorized',
    'unsupported-channel-binding-type',
  )
})

test('an authzid must be the own bare JID', async () => {
  const acting = (authzid: string) =>
    exchange('SCRAM-SHA-1', unbound, { header: `n,a=${authzid},` })
  assert.equal((await acting('user@example.com')).kind, 'success')
  assert.equal((await acting('USER@Example.COM')).kind, 'success')
  for (const other of [
    'juliet@example.com',
    'user@example.net',
    'user',
    'example.com',
    'user@example.com/balcony',
    '@example.com',
    'user@example.com=2C',
  ]) {
    fails(await acting(other), 'invalid-authzid')
  }
  fails(await acting(''), 'malformed-request')
  fails(await acting('user@example.com='), 'malformed-request')
})

test('names are unescaped, then prepared', async () => {
  const login = (name: string) => exchange('SCRAM-SHA-256', unbound, { name })
  for (const [name, localpart] of [
    ['USER', 'user'],
    ['user', 'user'],
    ['a=2Cb=3Dc', 'a,b=c'],
  ] as const) {
    const step = await login(name)
    assert.ok(step.kind === 'success')
    assert.equal(step.localpart, localpart)
  }
  for (const name of ['', 'a=b', 'a=2cb', 'a=', '=', 'a==2C', 'a=2', 'us\0er', '=3D=4D']) {
    fails(await login(name), 'malformed-request')
  }
  for (const name of ['us er', 'user@example.com', 'a/b', '\u2028', 'x'.repeat(1024)]) {
    fails(await login(name), 'not-authorized')
  }
})

test('the first message must follow the grammar', async () => {
  const start = (message: string | Buffer) =>
    new Scram('SCRAM-SHA-1', context(unbound)).start(Buffer.from(message))
  for (const message of [
    '',
    'n,,',
    'n,,n=user',
    'n,,r=x,n=user',
    'n,,n=user,r=',
    'n,,n=user,r=a b',
    'n,,n=user,r=\u00e4',
    'n,,n=user,r=x,',
    'n,,n=user,r=x,m=1',
    'n,,m=ext,n=user,r=x',
    'n,,n=user,r=x,ext',
    'n,,n=user,r=x,e=',
    'n,,n=user,s=x',
    ' n,,n=user,r=x',
    Buffer.from([...Buffer.from('n,,n=us'), 0xc3, ...Buffer.from(',r=x')]),
  ]) {
    fails(await start(message), 'malformed-request')
  }
  assert.match(text(await start('n,,n=user,r=x,e=1,f=a=b')), /^r=x/)
})

test('without initial response the client is asked for its first message', async () => {
  const scram = new Scram('SCRAM-SHA-1', context(unbound))
  assert.equal(text(await scram.start(undefined)), '')
  assert.match(text(await scram.respond(Buffer.from('n,,n=user,r=x'))), /^r=x/)
})

test('nothing goes on after the end', async () => {
  const scram = new Scram('SCRAM-SHA-1', context(unbound))
  const first = Buffer.from('n,,n=user,r=x')
  await scram.start(first)
  fails(await scram.respond(first), 'malformed-request')
  fails(await scram.respond(first), 'malformed-request')

  const refused = new Scram('SCRAM-SHA-1', context(unbound))
  fails(await refused.start(Buffer.from('y')), 'malformed-request')
  fails(await refused.respond(first), 'malformed-request')
})

test('every exchange has a nonce of its own', async () => {
  const nonces = await Promise.all(
    Array.from({ length: 20 }, async () => {
      const scram = new Scram('SCRAM-SHA-1', context(unbound))
      return text(await scram.start(Buffer.from('n,,n=user,r=x'))).slice(3, 35)
    }),
  )
  assert.equal(new Set(nonces).size, 20)
  for (const nonce of nonces) assert.match(nonce, /^[A-Za-z0-9+/]{32}$/)
})

test('a store that fails rejects, and leaves nothing to go on with', async () => {
  const away = { ...context(unbound), credentials: () => Promise.reject(new Error('away')) }
  const scram = new Scram('SCRAM-SHA-1', away)
  await assert.rejects(async () => scram.start(Buffer.from('n,,n=user,r=x')), /away/)
  fails(await scram.respond(Buffer.from('c=biws,r=x,p=AAAA')), 'malformed-request')
})

test('downgrade protection: the example of XEP-0474', async () => {
  const offer: SaslOffer = {
    mechanisms: ['SCRAM-SHA-1-PLUS', 'SCRAM-SHA-1'],
    channelBindings: ['tls-server-end-point', 'tls-exporter'],
    isProtected: true,
  }
  assert.equal(offerHash(offer, 'SHA-1'), 'G6k/rBLDqgOhRRaCuuatSDFkJ08=')

  const mechanisms: readonly MechanismName[] = ['SCRAM-SHA-256', 'PLAIN']
  const scram = new Scram('SCRAM-SHA-256', context({ ...unbound, mechanisms }))
  const expected = createHash('sha256').update('PLAIN\x1eSCRAM-SHA-256').digest('base64')
  assert.ok(text(await scram.start(Buffer.from('n,,n=user,r=x'))).endsWith(`,h=${expected}`))
})

interface ClientMechanism {
  challenge(text: string): void
  response(credentials: { username: string; password: string }): string | Promise<string>
}

test('the client of @xmpp/client logs in', async () => {
  const Client = createRequire(import.meta.url)('sasl-scram-sha-1') as new () => ClientMechanism
  const credentials = { username: 'a,b=c', password: 'pencil' }
  const client = new Client()
  const scram = new Scram('SCRAM-SHA-1', context(bound))
  const challenge = await scram.start(Buffer.from(await client.response(credentials)))
  client.challenge(text(challenge))
  const success = await scram.respond(Buffer.from(await client.response(credentials)))
  assert.ok(success.kind === 'success')
  assert.equal(success.localpart, 'a,b=c')
})

test('garbage fails and never throws', async () => {
  const pieces = fc.constantFrom(
    ...['n,,', 'y,,', 'p=tls-exporter,,', 'n=', 'r=', 'c=biws', 'a=', 'p=', ',', '=2C', 'm=', '\0'],
    ...['user', 'x', 'Ü', '\ud800', '=='],
  )
  const garbage = fc.oneof(
    fc.uint8Array({ maxLength: 80 }).map((bytes) => Buffer.from(bytes)),
    fc.array(pieces, { maxLength: 12 }).map((parts) => Buffer.from(parts.join(''))),
  )
  const names = fc.constantFrom(...everyScram.map(([name]) => name))
  const cheap: SaslContext = {
    ...context(bound),
    credentials: (_, hash) => {
      const key = Buffer.alloc(hash === 'SHA-1' ? 20 : 32)
      return { salt: Buffer.alloc(12), iterations: 4096, storedKey: key, serverKey: key }
    },
  }
  await fc.assert(
    fc.asyncProperty(names, garbage, garbage, async (name, initial, response) => {
      const scram = new Scram(name, cheap)
      assert.notEqual((await scram.start(initial)).kind, 'success')
      assert.equal((await scram.respond(response)).kind, 'failure')

      const challenged = new Scram('SCRAM-SHA-1', cheap)
      await challenged.start(Buffer.from('n,,n=user,r=x'))
      assert.equal((await challenged.respond(response)).kind, 'failure')
    }),
    { numRuns: 500 },
  )
})

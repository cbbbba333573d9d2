import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseBare } from '../xmpp/jid.ts'
import { PrecisError } from '../xmpp/precis.ts'
import {
  DecoyCredentials,
  deriveCredentials,
  deriveKeys,
  matches,
  SCRAM_HASHES,
  VerifiedPasswords,
} from './credentials.ts'

const juliet = parseBare('juliet@capulet.example')
const romeo = parseBare('romeo@montague.example')
const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64')

test('keys are those of the examples of RFC 5802 §5 and RFC 7677 §3', async () => {
  const sha1 = await deriveKeys('SHA-1', 'pencil', Buffer.from('QSXCR+Q6sek8bf92', 'base64'), 4096)
  assert.equal(base64(sha1.storedKey), '6dlGYMOdZcOPutkcNY8U2g7vK9Y=')
  assert.equal(base64(sha1.serverKey), 'D+CSWLOshSulAsxiupA+qs2/fTE=')
  const salt = Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64')
  const sha256 = await deriveKeys('SHA-256', 'pencil', salt, 4096)
  assert.equal(base64(sha256.storedKey), 'WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=')
  assert.equal(base64(sha256.serverKey), 'wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=')
})

test('each password gets salts of its own', async () => {
  const [one, other] = [await deriveCredentials('pencil'), await deriveCredentials('pencil')]
  const salts = [one, other].flatMap((keys) => SCRAM_HASHES.map((hash) => base64(keys[hash].salt)))
  assert.equal(new Set(salts).size, 4)
})

test('only the password matches, however it is spelt', async () => {
  // U+00A0 is mapped to a space (RFC 8265 §4.2.2).
  const credentials = await deriveCredentials('pass\u00a0word', 4096)
  for (const hash of SCRAM_HASHES) {
    assert.equal(await matches(hash, credentials[hash], 'pass word'), true)
    assert.equal(await matches(hash, credentials[hash], 'pass\u00a0word'), false)
    assert.equal(await matches(hash, credentials[hash], 'Pass word'), false)
  }
})

test('forbidden passwords and cheap hashes are refused', async () => {
  await assert.rejects(deriveCredentials(''), PrecisError)
  await assert.rejects(deriveCredentials('a\u0000b'), PrecisError)
  await assert.rejects(deriveCredentials('pencil', 4095), RangeError)
})

test('decoys stay the same for one address and differ between addresses', () => {
  const secret = Buffer.alloc(32, 1)
  const decoys = new DecoyCredentials(secret, 10_000)
  for (const hash of SCRAM_HASHES) {
    const keys = decoys.keys(juliet, hash)
    assert.deepEqual(new DecoyCredentials(secret, 10_000).keys(juliet, hash), keys)
    const others = [
      decoys.keys(romeo, hash),
      new DecoyCredentials(Buffer.alloc(32, 2), 10_000).keys(juliet, hash),
    ]
    for (const other of others) assert.notDeepEqual(other.salt, keys.salt)
  }
  assert.notDeepEqual(decoys.keys(juliet, 'SHA-1').salt, decoys.keys(juliet, 'SHA-256').salt)
})

test('decoys have the shape of real keys', async () => {
  const real = await deriveCredentials('pencil', 4096)
  const decoys = new DecoyCredentials(Buffer.alloc(32), 4096)
  for (const hash of SCRAM_HASHES) {
    const decoy = decoys.keys(juliet, hash)
    assert.equal(decoy.iterations, real[hash].iterations)
    assert.equal(decoy.salt.length, real[hash].salt.length)
    assert.equal(decoy.storedKey.length, real[hash].storedKey.length)
    assert.equal(decoy.serverKey.length, real[hash].serverKey.length)
  }
})

test('a verified password is known by account, key and text, for a while', () => {
  let now = 0
  const verified = new VerifiedPasswords({ forMs: 1000, now: () => now })
  const key = Buffer.alloc(32, 1)
  verified.add(juliet, key, 'pencil')
  assert.equal(verified.has(juliet, key, 'pencil'), true)
  assert.equal(verified.has(juliet, key, 'pencils'), false)
  assert.equal(verified.has(romeo, key, 'pencil'), false)
  assert.equal(verified.has(juliet, Buffer.alloc(32, 2), 'pencil'), false)
  now = 999
  assert.equal(verified.has(juliet, key, 'pencil'), true)
  now = 1000
  assert.equal(verified.has(juliet, key, 'pencil'), false)
  assert.equal(verified.size, 0)
})

test('verified passwords are bounded, the oldest go first', () => {
  const verified = new VerifiedPasswords({ maxEntries: 2 })
  const key = Buffer.alloc(32)
  for (const password of ['a', 'b', 'a', 'c']) verified.add(juliet, key, password)
  assert.equal(verified.size, 2)
  assert.deepEqual(
    ['a', 'b', 'c'].map((password) => verified.has(juliet, key, password)),
    [true, false, true],
  )
})

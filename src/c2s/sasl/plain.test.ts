import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Failure, SaslContext, Step } from './mechanism.ts'
import { Plain } from './plain.ts'

const context: SaslContext = {
  domain: 'example.com',
  isEncrypted: true,
  offer: { mechanisms: ['PLAIN'], channelBindings: [], isProtected: true },
  channelBinding: () => undefined,
  credentials: () => assert.fail('PLAIN needs no keys'),
  verifyPassword: async (localpart, password) =>
    localpart === 'juliet' && password === 'r0m30 my\u00e9',
}

const login = async (message: string | Buffer): Promise<Step> =>
  new Plain(context).start(Buffer.from(message))

function fails(step: Step, condition: Failure['condition']): void {
  assert.ok(step.kind === 'failure')
  assert.equal(step.condition, condition)
}

const success = { kind: 'success', localpart: 'juliet', isAnonymous: false }

test('name and password are prepared, then compared', async () => {
  assert.deepEqual(await login('\0juliet\0r0m30 my\u00e9'), success)
  assert.deepEqual(await login('\0JULIET\0r0m30 my\u00e9'), success)
  assert.deepEqual(await login('\0juliet\0r0m30\u00a0mye\u0301'), success)
  fails(await login('\0juliet\0R0m30 my\u00e9'), 'not-authorized')
  fails(await login('\0romeo\0r0m30 my\u00e9'), 'not-authorized')
  fails(await login('\0jul iet\0r0m30 my\u00e9'), 'not-authorized')
  fails(await login('\0juliet@example.com\0r0m30 my\u00e9'), 'not-authorized')
  fails(await login('\0juliet\0\u0007'), 'not-authorized')
})

test('an authzid must be the own bare JID', async () => {
  assert.deepEqual(await login('juliet@example.com\0juliet\0r0m30 my\u00e9'), success)
  assert.deepEqual(await login('Juliet@EXAMPLE.com\0juliet\0r0m30 my\u00e9'), success)
  for (const other of [
    'romeo@example.com',
    'juliet',
    'juliet@example.net',
    'juliet@example.com/x',
  ]) {
    fails(await login(`${other}\0juliet\0r0m30 my\u00e9`), 'invalid-authzid')
  }
})

test('the message must follow the grammar', async () => {
  for (const message of ['', '\0', '\0\0', '\0juliet', '\0juliet\0', '\0\0x', '\0a\0b\0', 'a\0b']) {
    fails(await login(message), 'malformed-request')
  }
  fails(await login(Buffer.from([0, 0x61, 0, 0xff])), 'malformed-request')
})

test('without initial response the client is asked for it', async () => {
  const plain = new Plain(context)
  assert.deepEqual(await plain.start(undefined), { kind: 'challenge', data: Buffer.alloc(0) })
  assert.deepEqual(await plain.respond(Buffer.from('\0juliet\0r0m30 my\u00e9')), success)
})

test('garbage fails and never throws', async () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 60 }).map((garbage) => Buffer.from(garbage)),
    fc
      .array(fc.string({ unit: 'binary', maxLength: 8 }), { maxLength: 4 })
      .map((parts) => Buffer.from(parts.join('\0'))),
  )
  await fc.assert(
    fc.asyncProperty(bytes, async (garbage) => {
      assert.equal((await login(garbage)).kind, 'failure')
    }),
  )
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isSecret, withoutPasswords } from './secrets.ts'

const addresses: readonly (readonly [string, string])[] = [
  ['postgres://meerkat:hunter2@db.example.com/chat', 'postgres://meerkat:…@db.example.com/chat'],
  ['postgres//meerkat:hunter2@db.example.com/chat', 'postgres//meerkat:…@db.example.com/chat'],
  ['postgres:meerkat:hunter2@db.example.com/chat', 'postgres:meerkat:…@db.example.com/chat'],
  ['postgres:/meerkat:hun/ter2@db.example.com', 'postgres:/meerkat:…@db.example.com'],
  ['postgres://meerkat:hun@ter:2@db.example.com', 'postgres://meerkat:…@db.example.com'],
  ['postgres://meerkat:hun ter"2@db.example.com', 'postgres://meerkat:…@db.example.com'],
  ['postgres://meerkat@db.example.com:5432/chat', 'postgres://meerkat@db.example.com:5432/chat'],
  ['http://127.0.0.1:4318/v1/traces', 'http://127.0.0.1:4318/v1/traces'],
  ['xmpp:root@im.example.com', 'xmpp:root@im.example.com'],
]

for (const [written, shown] of addresses) {
  test(`shown of an address: ${shown}`, () => assert.equal(withoutPasswords(written), shown))
}

test('whatever is in a table of secrets is one', () => {
  assert.ok(isSecret(['listen', 'component', 0, 'secrets', 'irc.example.com']))
  assert.ok(isSecret(['cluster', 'password']))
  assert.ok(isSecret(['modules', 'mine', 'admin_password']))
  assert.ok(!isSecret(['cluster', 'user']))
  assert.ok(!isSecret(['auth', 'wrong_passwords_per_account']))
})

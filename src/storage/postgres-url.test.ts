import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parsePostgresUrl } from './postgres-url.ts'

test('each of several hosts gets a URL of its own; names are without the password', () => {
  const url = 'postgres://meerkat:s%40cret@db1.example.com:5433,[::1]/chat?sslmode=verify-full'
  assert.deepEqual(parsePostgresUrl(url), {
    hosts: [
      {
        connectionString:
          'postgres://meerkat:s%40cret@db1.example.com:5433/chat?sslmode=verify-full',
        name: 'db1.example.com:5433',
      },
      {
        connectionString: 'postgres://meerkat:s%40cret@[::1]/chat?sslmode=verify-full',
        name: '[::1]',
      },
    ],
    name: 'PostgreSQL database chat at db1.example.com:5433, [::1]',
  })
})

test('a socket, and what is left to the environment', () => {
  const cases = {
    'postgresql:///chat?host=/run/postgresql': '/run/postgresql',
    'postgres://%2Frun%2Fpostgresql/chat': '/run/postgresql',
    'postgres:///chat': 'localhost',
  }
  for (const [url, host] of Object.entries(cases)) {
    const { hosts, name } = parsePostgresUrl(url)
    assert.deepEqual(hosts, [{ connectionString: url, name: host }])
    assert.equal(name, `PostgreSQL database chat at ${host}`)
  }
})

test('a URL that cannot be read is not repeated: it may hold a password', () => {
  for (const url of [
    'postgres:x',
    'postgres://a:se@cret@host/chat',
    'mysql://a:secret@host/chat',
  ]) {
    assert.throws(
      () => parsePostgresUrl(url),
      (error: Error) => /The storage URL reads/.test(error.message) && !/cret/.test(error.message),
    )
  }
})

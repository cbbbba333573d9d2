import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { apiReference } from '../../src/admin/api-reference.ts'
import { commandsWith } from '../../src/admin/commands.ts'
import { streams } from '../../src/admin/streams.ts'
import { modules } from '../../src/modules.ts'

test('the reference of the HTTP API is up to date: npm run docs', () => {
  const page = readFileSync(new URL('../../docs/http-api.md', import.meta.url), 'utf8')
  assert.equal(page, apiReference({ commands: commandsWith(modules), streams }))
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DOMAIN, startCore } from '../../test/support/core.ts'
import { el } from '../xmpp/xml.ts'
import { time } from './time.ts'

test('the time is that of the clock, in UTC', async () => {
  await using core = await startCore({ modules: [[time]] })
  core.now = Date.UTC(2026, 1, 3, 4, 5, 6)
  const question = el('time', { xmlns: 'urn:xmpp:time' })
  const answer = await core.ask('romeo@elsewhere.example', DOMAIN, 'get', question)
  const [tzo, utc] = answer.childAt(0)?.elements() ?? []
  assert.equal(tzo?.text, '+00:00')
  assert.equal(utc?.text, '2026-02-03T04:05:06.000Z')
})

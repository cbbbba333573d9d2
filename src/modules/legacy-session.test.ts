import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DOMAIN, startCore } from '../../test/support/core.ts'
import { resultOf } from '../core/hooks.ts'
import { jid } from '../xmpp/jid.ts'
import { el } from '../xmpp/xml.ts'
import { legacySession } from './legacy-session.ts'

const NS = 'urn:ietf:params:xml:ns:xmpp-session'

test('the session is offered after login only, as optional, and always granted', async () => {
  await using core = await startCore({ accounts: ['juliet'], modules: [[legacySession]] })
  const point = core.hooks.at('c2s_stream_features')
  const offered = async (isLoggedIn: boolean) => {
    const account = isLoggedIn ? jid('juliet', DOMAIN) : undefined
    return resultOf(await point.run([], { domain: DOMAIN, account, isEncrypted: true }), [])
  }
  assert.deepEqual(await offered(false), [])
  const [feature] = await offered(true)
  assert.equal(String(feature), `<session xmlns='${NS}'><optional/></session>`)

  const juliet = await core.connect('juliet')
  for (const to of [DOMAIN, juliet.jid.bare]) {
    const answer = await core.ask(juliet, to, 'set', el('session', { xmlns: NS }))
    assert.equal(answer.type, 'result')
    assert.equal(answer.children.length, 0)
  }
})

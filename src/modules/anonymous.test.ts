import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DOMAIN, startCore } from '../../test/support/core.ts'
import { Stanza } from '../xmpp/stanza.ts'
import { el } from '../xmpp/xml.ts'
import { anonymous } from './anonymous.ts'
import { offline } from './offline/index.ts'
import { vcard } from './vcard/index.ts'

const CARD = el('vCard', { xmlns: 'vcard-temp' }, el('FN', {}, 'Nobody'))
const start = () => startCore({ modules: [[anonymous], [vcard], [offline]] })
type Core = Awaited<ReturnType<typeof start>>

const connect = (core: Core, isAnonymous: boolean) =>
  core.connect('somebody', 'here', { priority: undefined, isAnonymous })
const cards = async ({ storage }: Core) =>
  (await storage.read('select account from vcard', [])).length

test('what is kept for an anonymous user goes with the session', async () => {
  await using core = await start()
  const nobody = await connect(core, true)
  await core.ask(nobody, nobody.jid.bare, 'set', CARD)
  assert.equal(await cards(core), 1)
  await nobody.end('lost')
  assert.equal(await cards(core), 0)
})

test('others find theirs when they come back', async () => {
  await using core = await start()
  const somebody = await connect(core, false)
  await core.ask(somebody, somebody.jid.bare, 'set', CARD)
  await somebody.end('lost')
  assert.equal(await cards(core), 1)
})

test('messages do not wait for an anonymous user', async () => {
  await using core = await start()
  const nobody = await connect(core, true)
  const message = Stanza.build('message', { type: 'chat' }, el('body', {}, 'x'))
  const outcome = await core.send('romeo@elsewhere.example', `somebody@${DOMAIN}`, message)
  assert.equal(outcome.fate, 'bounced')
  assert.equal(nobody.received.length, 0)
})

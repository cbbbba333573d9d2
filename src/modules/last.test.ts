import assert from 'node:assert/strict'
import { test } from 'node:test'
import { conditionOf, DOMAIN, startCore } from '../../test/support/core.ts'
import { sendPresence } from '../../test/support/presence.ts'
import { Envelope } from '../core/envelope.ts'
import { jid } from '../xmpp/jid.ts'
import { Stanza } from '../xmpp/stanza.ts'
import { el } from '../xmpp/xml.ts'
import { last } from './last.ts'
import { presence } from './presence/index.ts'
import { roster } from './roster/index.ts'

const JULIET = `juliet@${DOMAIN}`
const ROMEO = 'romeo@elsewhere.example'
const QUERY = el('query', { xmlns: 'jabber:iq:last' })

const start = async () => {
  const core = await startCore({ accounts: ['juliet'], modules: [[last]] })
  core.subscriptions.set(`${JULIET} ${ROMEO}`, 'from')
  return core
}
type Core = Awaited<ReturnType<typeof start>>

const ask = async (core: Core, from = `${ROMEO}/orchard`, to = JULIET) => {
  const answer = await core.ask(from, to, 'get', QUERY)
  const query = answer.child('query', 'jabber:iq:last')
  return conditionOf(answer) ?? { seconds: Number(query?.attr('seconds')), status: query?.text }
}

/** As the presence module does it when the client sends unavailable presence. */
const goAway = async (
  core: Core,
  session: Awaited<ReturnType<Core['connect']>>,
  status: string,
) => {
  const presence = Stanza.build('presence', { type: 'unavailable' }, el('status', {}, status))
  const envelope = new Envelope(session.jid, session.jid.toBare(), presence, { kind: 'server' })
  session.setPresence(undefined, undefined)
  await core.hooks.at('unset_presence', session.domainType).run(envelope, { session })
}

test('the server says for how long it has been running', async () => {
  await using core = await start()
  const answer = await ask(core, ROMEO, DOMAIN)
  assert.ok(typeof answer === 'object' && Number.isInteger(answer.seconds) && answer.seconds >= 0)
})

test('an account that is here was active just now', async () => {
  await using core = await start()
  const juliet = await core.connect('juliet')
  core.now += 60_000
  assert.deepEqual(await ask(core), { seconds: 0, status: '' })
  const own = await core.ask(juliet, JULIET, 'get', QUERY)
  assert.equal(own.childAt(0)?.attr('seconds'), '0')
})

test('one that ends without a word is written once', async (context) => {
  await using core = await startCore({
    accounts: ['juliet'],
    modules: [[roster], [presence], [last]],
  })
  const juliet = await core.connect('juliet')
  await sendPresence(core, juliet)
  const write = context.mock.method(core.storage, 'write')
  core.now += 1_000
  await juliet.end('lost')
  assert.equal(write.mock.callCount(), 0)
  await core.tick()
  const texts = write.mock.calls.map(({ arguments: [text] }) => text)
  assert.equal(texts.filter((text) => text.includes('last_activity')).length, 1)
  assert.equal(juliet.priority, undefined)
})

test('who left with a word is told with it, also after the connection closed', async () => {
  await using core = await start()
  const juliet = await core.connect('juliet')
  await goAway(core, juliet, 'Heading Home')
  await juliet.end('closed')
  core.now += 903_999
  assert.deepEqual(await ask(core), { seconds: 903, status: 'Heading Home' })
})

test('who was lost left no word, whatever was said the time before', async () => {
  await using core = await start()
  const first = await core.connect('juliet')
  await goAway(core, first, 'Heading Home')
  await first.end('closed')
  const second = await core.connect('juliet')
  await second.end('lost')
  core.now += 5000
  assert.deepEqual(await ask(core), { seconds: 5, status: '' })
})

test('strangers get forbidden, whether the account is here or not', async () => {
  await using core = await start()
  core.subscriptions.set(`${JULIET} ${ROMEO}`, 'to')
  assert.equal(await ask(core), 'forbidden')
  const juliet = await core.connect('juliet')
  assert.equal(await ask(core), 'forbidden')
  assert.equal(await ask(core, `${ROMEO}/orchard`, juliet.jid.full), 'forbidden')
  assert.equal(juliet.received.length, 0)
})

test('contacts may ask a resource itself', async () => {
  await using core = await start()
  const juliet = await core.connect('juliet')
  await core.send(ROMEO, juliet.jid.full, Stanza.build('iq', { type: 'get', id: 'l' }, QUERY))
  assert.equal(juliet.received.length, 1)
})

test('an account that was never here, or whose traces were removed, has no last activity', async () => {
  await using core = await start()
  assert.equal(await ask(core), 'item-not-found')
  await (await core.connect('juliet')).end('closed')
  await core.hooks.at('remove_user').run(jid('juliet', DOMAIN), {})
  assert.equal(await ask(core), 'item-not-found')
})

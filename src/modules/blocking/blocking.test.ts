import assert from 'node:assert/strict'
import { test } from 'node:test'
import { conditionOf, DOMAIN, startCore } from '../../../test/support/core.ts'
import { Envelope, SERVER } from '../../core/envelope.ts'
import { jid, parseBare, parseJid } from '../../xmpp/jid.ts'
import { Stanza } from '../../xmpp/stanza.ts'
import { type Element, el } from '../../xmpp/xml.ts'
import { blocking } from './index.ts'

const JULIET = `juliet@${DOMAIN}`
const ROMEO = `romeo@${DOMAIN}`
const TYBALT = 'tybalt@elsewhere.example'
const NS = 'urn:xmpp:blocking'

const block = (address: string, ...children: Element[]) =>
  el('block', { xmlns: NS }, el('item', { jid: address }, ...children))
const chat = (body: string) => Stanza.build('message', { type: 'chat' }, el('body', {}, body))

async function start(settings: object = {}) {
  const core = await startCore({
    accounts: ['juliet', 'romeo'],
    modules: [[blocking, settings]],
  })
  const juliet = await core.connect('juliet')
  const blocks = (address: string, ...children: Element[]) =>
    core.ask(juliet, JULIET, 'set', block(address, ...children))
  return { core, juliet, blocks }
}

test('errors of somebody blocked do not come, but what this server says of one’s own', async () => {
  const { core, juliet, blocks } = await start()
  await using _ = core
  await blocks(TYBALT)
  const error = Stanza.build('message', { type: 'error' }, el('body', {}, 'thou wretched boy'))
  await core.send(TYBALT, JULIET, error)
  await core.send(TYBALT, juliet.jid.full, error)
  const own = new Envelope(parseJid(TYBALT), juliet.jid, error, SERVER)
  await core.router.route(own)
  const errors = juliet.received.filter(({ stanza }) => stanza.isError)
  assert.deepEqual(errors, [own])
  assert.deepEqual(core.sentAway, [])
})

test('once a list is at hand, nobody waits for it, whoever it is about', async () => {
  const { core, juliet, blocks } = await start()
  await using _ = core
  const outcome = () => core.send(TYBALT, juliet.jid.full, chat('hey'))
  assert.ok(!(outcome() instanceof Promise))
  await blocks(TYBALT)
  const refused = outcome()
  assert.ok(!(refused instanceof Promise))
  assert.equal(refused.fate, 'bounced')
  assert.equal(conditionOf(core.sentAway[0]?.stanza as Stanza), 'service-unavailable')
})

test('who wants to know is told', async () => {
  const { core, blocks } = await start()
  await using _ = core
  await blocks(TYBALT)
  const ask = (owner: string, from: string, to: string, direction: 'in' | 'out') => {
    const envelope = new Envelope(parseJid(from), parseJid(to), chat('?'), SERVER)
    const params = { owner: parseBare(owner), envelope, direction }
    return core.hooks.at('privacy_check_packet', 'default').run('allow', params)
  }
  assert.equal(await ask(JULIET, `${TYBALT}/square`, JULIET, 'in'), 'block')
  assert.equal(await ask(JULIET, JULIET, TYBALT, 'out'), 'block')
  assert.equal(await ask(JULIET, ROMEO, JULIET, 'in'), 'allow')
  assert.equal(await ask(ROMEO, TYBALT, ROMEO, 'in'), 'allow')
})

test('a list that cannot be read lets nothing pass', async () => {
  const { core } = await start()
  await using _ = core
  await core.storage.db.schema.dropTable('blocked').execute()
  await core.send(TYBALT, ROMEO, chat('hey'))
  assert.deepEqual(
    core.sentAway.map(({ stanza }) => conditionOf(stanza)),
    ['internal-server-error'],
  )
})

test('reports leave the server only if their authors let them, and without their names', async () => {
  const { core, blocks } = await start({ report_to: 'abuse@collectors.example' })
  await using _ = core
  const report = (...more: Element[]) =>
    el('report', { xmlns: 'urn:xmpp:reporting:1', reason: 'urn:xmpp:reporting:abuse' }, ...more)
  await blocks('one@elsewhere.example', report())
  await blocks('two@elsewhere.example', report(el('third-party')))
  const reports = core.sentAway.filter(({ to }) => to.domain === 'collectors.example')
  assert.equal(reports.length, 1)
  const [{ from, stanza }] = reports as [Envelope]
  assert.ok(from.equals(jid('', DOMAIN)))
  assert.match(stanza.child('body')?.text ?? '', /^two@elsewhere.example .* a user of/)
  assert.doesNotMatch(stanza.payload, /juliet/)
})

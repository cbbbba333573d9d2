import assert from 'node:assert/strict'
import { test } from 'node:test'
import { conditionOf, DOMAIN, startCore } from '../../../test/support/core.ts'
import { jid } from '../../xmpp/jid.ts'
import { el } from '../../xmpp/xml.ts'
import { vcard } from './index.ts'

const JULIET = `juliet@${DOMAIN}`
const NOBODY = `nobody@${DOMAIN}`
const ROMEO = 'romeo@elsewhere.example/orchard'
const QUERY = el('vCard', { xmlns: 'vcard-temp' })
const CARD = el('vCard', { xmlns: 'vcard-temp' }, el('FN', {}, 'Juliet Capulet'))

const start = async (settings = {}) => {
  const core = await startCore({ accounts: ['juliet'], modules: [[vcard, settings]] })
  return { core, juliet: await core.connect('juliet') }
}

test('everybody sees a vCard, also when its owner is away', async () => {
  const { core, juliet } = await start()
  await using _ = core
  assert.equal((await core.ask(juliet, JULIET, 'set', CARD)).type, 'result')
  await juliet.end('closed')
  const seen = await core.ask(ROMEO, JULIET, 'get', QUERY)
  assert.equal(String(seen.childAt(0)), String(CARD))
})

test('a new vCard replaces the whole old one', async () => {
  const { core, juliet } = await start()
  await using _ = core
  await core.ask(juliet, JULIET, 'set', CARD)
  await core.ask(juliet, JULIET, 'set', el('vCard', { xmlns: 'vcard-temp' }, el('NICKNAME')))
  const seen = await core.ask(juliet, JULIET, 'get', QUERY)
  assert.deepEqual(
    seen
      .childAt(0)
      ?.elements()
      .map(({ name }) => name),
    ['NICKNAME'],
  )
})

test('an account without vCard looks like none to others; its owner is told', async () => {
  const { core, juliet } = await start()
  await using _ = core
  for (const account of [JULIET, NOBODY]) {
    const answer = await core.ask(ROMEO, account, 'get', QUERY)
    assert.equal(conditionOf(answer), 'service-unavailable', account)
  }
  assert.equal(conditionOf(await core.ask(juliet, JULIET, 'get', QUERY)), 'item-not-found')
})

test('nobody sets the vCard of another, and nobody that of the server', async () => {
  const { core, juliet } = await start()
  await using _ = core
  assert.equal(conditionOf(await core.ask(ROMEO, JULIET, 'set', CARD)), 'forbidden')
  const ofServer = await core.ask(juliet, DOMAIN, 'set', CARD)
  assert.equal(conditionOf(ofServer), 'feature-not-implemented')
})

test('a vCard that is too large is refused and changes nothing', async () => {
  const { core, juliet } = await start({ max_size: '1KiB' })
  await using _ = core
  await core.ask(juliet, JULIET, 'set', CARD)
  const large = el('vCard', { xmlns: 'vcard-temp' }, el('DESC', {}, 'x'.repeat(1024)))
  assert.equal(conditionOf(await core.ask(juliet, JULIET, 'set', large)), 'policy-violation')
  const seen = await core.ask(juliet, JULIET, 'get', QUERY)
  assert.equal(String(seen.childAt(0)), String(CARD))
})

test('the server has a vCard of its own', async () => {
  const { core } = await start({ service: { name: 'Verona', url: 'https://verona.example' } })
  await using _ = core
  const seen = (await core.ask(ROMEO, DOMAIN, 'get', QUERY)).childAt(0)
  assert.equal(seen?.child('FN')?.text, 'Verona')
  assert.equal(seen?.child('URL')?.text, 'https://verona.example')
})

test('it goes with the account', async () => {
  const { core, juliet } = await start()
  await using _ = core
  await core.ask(juliet, JULIET, 'set', CARD)
  await core.hooks.at('remove_user').run(jid('juliet', DOMAIN), {})
  assert.equal(conditionOf(await core.ask(juliet, JULIET, 'get', QUERY)), 'item-not-found')
})

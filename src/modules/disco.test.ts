import assert from 'node:assert/strict'
import { test } from 'node:test'
import { z } from 'zod'
import { conditionOf, DOMAIN, startCore } from '../../test/support/core.ts'
import { DISCO_INFO_NS, DISCO_ITEMS_NS } from '../core/disco.ts'
import { defineModule } from '../core/module.ts'
import { dropped } from '../core/outcome.ts'
import type { Stanza } from '../xmpp/stanza.ts'
import { type Element, el } from '../xmpp/xml.ts'
import { contactAddresses } from './contact-addresses.ts'
import { disco } from './disco.ts'

const JULIET = `juliet@${DOMAIN}`
const ROMEO = 'romeo@elsewhere.example'
const info = (node?: string) => el('query', { xmlns: DISCO_INFO_NS, node })
const items = (node?: string) => el('query', { xmlns: DISCO_ITEMS_NS, node })

const answer = (stanza: Stanza): Element => {
  assert.equal(stanza.type, 'result')
  return stanza.childAt(0) as Element
}
const featuresIn = (stanza: Stanza) =>
  answer(stanza)
    .elements('feature')
    .map((feature) => feature.attr('var'))
const itemsIn = (stanza: Stanza) =>
  answer(stanza)
    .elements('item')
    .map((item) => item.attr('jid'))

/** A module with a feature of each kind, a node and an item. */
const balcony = defineModule({
  name: 'balcony',
  implements: [],
  features: ['urn:example:balcony'],
  accountFeatures: ['urn:example:rose'],
  config: z.strictObject({}),
  start({ hooks }) {
    hooks.on('disco_local_identity', (all, { node }) =>
      node === 'play' ? [...all, { category: 'hierarchy', type: 'branch' }] : all,
    )
    hooks.on('disco_local_items', (all, { node, target }) =>
      node === 'play' ? [...all, { jid: target.full, node: 'play/2', name: 'Act 2' }] : all,
    )
  },
})

const start = () =>
  startCore({ accounts: ['juliet', 'nurse'], modules: [[disco], [contactAddresses], [balcony]] })

test('the server tells its identity and the features of all modules, each once', async () => {
  await using core = await start()
  const stanza = await core.ask(ROMEO, DOMAIN, 'get', info())
  const [identity] = answer(stanza).elements('identity')
  assert.equal(identity?.attr('category'), 'server')
  assert.equal(identity?.attr('type'), 'im')
  assert.deepEqual(featuresIn(stanza), [DISCO_INFO_NS, DISCO_ITEMS_NS, 'urn:example:balcony'])
})

test('features go with their module', async () => {
  await using core = await start()
  await core.modules.unload('balcony')
  const features = featuresIn(await core.ask(ROMEO, DOMAIN, 'get', info()))
  assert.deepEqual(features, [DISCO_INFO_NS, DISCO_ITEMS_NS])
})

test('a node is repeated in the answer and has only what is its own', async () => {
  await using core = await start()
  const stanza = await core.ask(ROMEO, DOMAIN, 'get', info('play'))
  assert.equal(answer(stanza).attr('node'), 'play')
  assert.deepEqual(featuresIn(stanza), [])
  assert.equal(answer(stanza).elements('identity').length, 1)
  const [act] = answer(await core.ask(ROMEO, DOMAIN, 'get', items('play'))).elements('item')
  assert.deepEqual(act?.attributes, { jid: DOMAIN, node: 'play/2', name: 'Act 2' })
})

test('a node nobody knows is item-not-found', async () => {
  await using core = await start()
  const asInfo = await core.ask(ROMEO, DOMAIN, 'get', info('opera'))
  assert.equal(conditionOf(asInfo), 'item-not-found')
  const asItems = await core.ask(ROMEO, DOMAIN, 'get', items('opera'))
  assert.equal(conditionOf(asItems), 'item-not-found')
})

test('services and components are items of the domain they belong to, unless hidden', async () => {
  await using core = await start()
  const service = { domainType: undefined, isHosted: false, handle: () => dropped('test', '') }
  core.routes.add({ ...service, domain: `conference.${DOMAIN}` })
  const subhost = core.hooks.at('register_subhost')
  subhost.run('gateway.example', { isHidden: false })
  subhost.run(`secret.${DOMAIN}`, { isHidden: true })
  assert.deepEqual(itemsIn(await core.ask(ROMEO, DOMAIN, 'get', items())), [
    `conference.${DOMAIN}`,
    'gateway.example',
  ])
  core.hooks.at('unregister_subhost').run('gateway.example', {})
  const left = itemsIn(await core.ask(ROMEO, DOMAIN, 'get', items()))
  assert.deepEqual(left, [`conference.${DOMAIN}`])
})

test('an account is told to itself and to contacts subscribed to it', async () => {
  await using core = await start()
  const juliet = await core.connect('juliet')
  const own = await core.ask(juliet, JULIET, 'get', info())
  assert.equal(answer(own).child('identity')?.attr('category'), 'account')
  assert.deepEqual(featuresIn(own), [DISCO_INFO_NS, DISCO_ITEMS_NS, 'urn:example:rose'])

  for (const subscription of ['from', 'both'] as const) {
    core.subscriptions.set(`${JULIET} ${ROMEO}`, subscription)
    assert.equal((await core.ask(`${ROMEO}/orchard`, JULIET, 'get', info())).type, 'result')
  }
})

test('strangers cannot tell an account from one that does not exist', async () => {
  await using core = await start()
  core.subscriptions.set(`${JULIET} ${ROMEO}`, 'to')
  for (const account of [JULIET, `nobody@${DOMAIN}`]) {
    for (const query of [info(), info('x')]) {
      const stanza = await core.ask(`${ROMEO}/orchard`, account, 'get', query)
      assert.equal(conditionOf(stanza), 'service-unavailable', `${account} ${query}`)
    }
    for (const query of [items(), items('x')]) {
      const stanza = await core.ask(`${ROMEO}/orchard`, account, 'get', query)
      assert.deepEqual(answer(stanza), query, account)
    }
    const set = await core.ask(`${ROMEO}/orchard`, account, 'set', items())
    assert.equal(conditionOf(set), 'feature-not-implemented', account)
  }
})

test('items of an account are its available resources', async () => {
  await using core = await start()
  const juliet = await core.connect('juliet', 'balcony')
  await core.connect('juliet', 'away', { priority: undefined })
  assert.deepEqual(itemsIn(await core.ask(juliet, JULIET, 'get', items())), [juliet.jid.full])
})

test('contact addresses are a form of the server alone', async () => {
  await using core = await startCore({
    accounts: ['juliet'],
    modules: [[disco], [contactAddresses, { abuse: ['mailto:abuse@example.com', 'xmpp:a@b.c'] }]],
  })
  const x = answer(await core.ask(ROMEO, DOMAIN, 'get', info())).child('x', 'jabber:x:data')
  const fields = x
    ?.elements('field')
    .map((field) => [
      field.attr('var'),
      field.attr('type'),
      field.elements('value').map(({ text }) => text),
    ])
  assert.deepEqual(fields, [
    ['FORM_TYPE', 'hidden', ['http://jabber.org/network/serverinfo']],
    ['abuse-addresses', 'list-multi', ['mailto:abuse@example.com', 'xmpp:a@b.c']],
  ])
  const juliet = await core.connect('juliet')
  const own = answer(await core.ask(juliet, JULIET, 'get', info()))
  assert.equal(own.child('x', 'jabber:x:data'), undefined)
})

test('a contact address has to be a URI', () => {
  assert.equal(contactAddresses.config.safeParse({ abuse: ['abuse@example.com'] }).success, false)
})

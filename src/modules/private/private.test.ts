import assert from 'node:assert/strict'
import { test } from 'node:test'
import { conditionOf, DOMAIN, startCore } from '../../../test/support/core.ts'
import { jid } from '../../xmpp/jid.ts'
import { type Element, el } from '../../xmpp/xml.ts'
import { privateStorage } from './index.ts'

const JULIET = `juliet@${DOMAIN}`
const query = (...children: Element[]) => el('query', { xmlns: 'jabber:iq:private' }, ...children)
const prefs = (nick: string) =>
  el('exodus', { xmlns: 'exodus:prefs' }, el('defaultnick', { 'xml:lang': 'en' }, nick))
const EMPTY = el('exodus', { xmlns: 'exodus:prefs' })

const start = async (settings = {}) => {
  const core = await startCore({
    accounts: ['juliet', 'romeo'],
    modules: [[privateStorage, settings]],
  })
  return { core, juliet: await core.connect('juliet') }
}

test('what was set comes back, to any of the own clients', async () => {
  const { core, juliet } = await start()
  await using _ = core
  const stored = prefs('Ìuliet & <Romeo>')
  const set = await core.ask(juliet, JULIET, 'set', query(stored))
  assert.equal(set.type, 'result')
  const chamber = await core.connect('juliet', 'chamber')
  const answer = await core.ask(chamber, JULIET, 'get', query(EMPTY))
  assert.equal(String(answer.childAt(0)), String(query(stored)))
})

test('setting replaces, namespace by namespace; several of one kind stay together', async () => {
  const { core, juliet } = await start()
  await using _ = core
  await core.ask(juliet, JULIET, 'set', query(prefs('a'), el('b', { xmlns: 'urn:b' }, 'kept')))
  await core.ask(juliet, JULIET, 'set', query(prefs('c'), prefs('d')))
  const both = await core.ask(juliet, JULIET, 'get', query(EMPTY))
  assert.equal(String(both.childAt(0)), String(query(prefs('c'), prefs('d'))))
  const other = await core.ask(juliet, JULIET, 'get', query(el('b', { xmlns: 'urn:b' })))
  assert.equal(other.childAt(0)?.elements()[0]?.text, 'kept')
})

test('nothing set yet is an empty element', async () => {
  const { core, juliet } = await start()
  await using _ = core
  const answer = await core.ask(juliet, JULIET, 'get', query(EMPTY))
  assert.equal(String(answer.childAt(0)), String(query(EMPTY)))
})

test('others may neither read nor write', async () => {
  const { core } = await start()
  await using _ = core
  const romeo = await core.connect('romeo')
  const read = await core.ask(romeo, JULIET, 'get', query(EMPTY))
  assert.equal(conditionOf(read), 'forbidden')
  const write = await core.ask(romeo, JULIET, 'set', query(prefs('x')))
  assert.equal(conditionOf(write), 'forbidden')
})

test('a request without content, or in no namespace of its own, is refused', async () => {
  const { core, juliet } = await start()
  await using _ = core
  const condition = async (type: 'get' | 'set', payload: Element) =>
    conditionOf(await core.ask(juliet, JULIET, type, payload))
  assert.equal(await condition('get', query()), 'bad-request')
  assert.equal(await condition('get', query(EMPTY, EMPTY)), 'bad-request')
  assert.equal(await condition('get', query(el('x'))), 'not-acceptable')
  assert.equal(await condition('set', query()), 'not-acceptable')
  assert.equal(await condition('set', query(el('x'))), 'not-acceptable')
})

test('an account may keep so much and no more; what is replaced does not count', async () => {
  const { core, juliet } = await start({ max_size: '1KiB', max_entries: 2 })
  await using _ = core
  const set = async (...elements: Element[]) =>
    conditionOf(await core.ask(juliet, JULIET, 'set', query(...elements)))
  assert.equal(await set(prefs('x'.repeat(900))), undefined)
  assert.equal(await set(prefs('y'.repeat(900))), undefined)
  assert.equal(await set(el('b', { xmlns: 'urn:b' }, 'z'.repeat(100))), 'resource-constraint')
  assert.equal(await set(el('b', { xmlns: 'urn:b' })), undefined)
  assert.equal(await set(el('c', { xmlns: 'urn:c' })), 'resource-constraint')
})

test('it goes with the account', async () => {
  const { core, juliet } = await start()
  await using _ = core
  await core.ask(juliet, JULIET, 'set', query(prefs('a')))
  await core.hooks.at('remove_user').run(jid('juliet', DOMAIN), {})
  const answer = await core.ask(juliet, JULIET, 'get', query(EMPTY))
  assert.equal(String(answer.childAt(0)), String(query(EMPTY)))
})

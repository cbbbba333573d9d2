import assert from 'node:assert/strict'
import { test } from 'node:test'
import { z } from 'zod'
import { type AdhocStage, badPayload, COMMANDS_NS } from '../../src/core/adhoc.ts'
import type { Module } from '../../src/core/module.ts'
import { FORM_NS, form } from '../../src/xmpp/data-form.ts'
import { jid } from '../../src/xmpp/jid.ts'
import { el } from '../../src/xmpp/xml.ts'
import { type Execution, execute } from '../support/adhoc.ts'
import type { Client } from '../support/client.ts'
import { conditionOf } from '../support/client.ts'
import { giveAsOperator } from '../support/operator.ts'
import { DOMAIN, type Settings, startServer } from '../support/server.ts'
import { presence } from '../support/stanzas.ts'

const INFO = 'http://jabber.org/protocol/disco#info'
const ITEMS = 'http://jabber.org/protocol/disco#items'
const WIZARD = 'urn:example:wizard'

const fieldOf = (name: string) =>
  form({ type: 'form', fields: [{ var: name, type: 'text-single' }] })

/** Asks for a name, then for a colour, and tells both. Nothing is called `wrong`. */
function wizard(isAllowed: (jid: string) => boolean = () => true): Module {
  return {
    name: 'wizard',
    implements: [],
    config: z.strictObject({}),
    start({ hooks }) {
      const second = (name: string): AdhocStage => ({
        form: fieldOf('colour'),
        isLast: true,
        submit: (given) => ({
          payload: [],
          notes: [{ type: 'info', text: `${name} is ${given.text('colour')}` }],
        }),
      })
      const first: AdhocStage = {
        form: fieldOf('name'),
        isLast: false,
        notes: [{ type: 'warn', text: 'Mind' }],
        async submit(given) {
          const name = given.text('name') ?? ''
          if (name === 'wrong') throw badPayload('not this one')
          if (name === 'bug') throw new Error('private matters')
          return second(name)
        },
      }
      hooks.on('adhoc_commands', (all, { from }) => [
        ...all,
        { node: WIZARD, name: 'A wizard', isAllowed: isAllowed(from.local), begin: () => first },
      ])
    },
  }
}

async function start(settings: Settings = {}, use = wizard()) {
  const server = await startServer({ use: [use], ...settings })
  const romeo = await server.connect('romeo', 'phone')
  return { server, romeo }
}

const step = (
  client: Client,
  execution: Omit<Execution, 'node'> & { readonly node?: string } = {},
) => execute(client, DOMAIN, { node: WIZARD, ...execution })

const noteOf = (command: Awaited<ReturnType<typeof step>>) => command.child('note')?.text

test('a command goes forth and back through its stages', async () => {
  const { server, romeo } = await start()
  await using _ = server
  const first = await step(romeo)
  const sessionid = first.attr('sessionid') ?? ''
  assert.deepEqual([first.attr('status'), first.attr('node')], ['executing', WIZARD])
  const actionsOf = (command: typeof first) => {
    const actions = command.child('actions')
    return [actions?.attr('execute'), ...(actions?.elements().map(({ name }) => name) ?? [])]
  }
  assert.deepEqual(actionsOf(first), ['next', 'next'])
  assert.equal(first.child('note')?.attr('type'), 'warn')

  const second = await step(romeo, { sessionid, action: 'next', fields: { name: 'Rose' } })
  assert.deepEqual(actionsOf(second), ['complete', 'prev', 'complete'])
  assert.equal(second.attr('sessionid'), sessionid)
  const again = await step(romeo, { sessionid, action: 'prev' })
  assert.deepEqual(actionsOf(again), ['next', 'next'])
  // `execute`, or nothing, is what the stage says it is.
  await step(romeo, { sessionid, fields: { name: 'Thorn' } })
  const fields = { colour: 'red' }
  const done = await step(romeo, { sessionid, action: 'execute', fields })
  assert.deepEqual([done.attr('status'), noteOf(done)], ['completed', 'Thorn is red'])
  await assert.rejects(step(romeo, { sessionid, fields }), {
    condition: 'not-allowed',
    specific: 'session-expired',
  })
})

test('what cannot be is refused as the specification has it', async () => {
  const { server, romeo } = await start()
  await using _ = server
  const juliet = await server.connect('juliet')
  const first = await step(romeo)
  const sessionid = first.attr('sessionid') ?? ''
  const fields = { name: 'Rose' }
  const cases: [
    Omit<Execution, 'node'> & { node?: string },
    condition: string,
    specific?: string,
  ][] = [
    [{ node: 'urn:example:nothing' }, 'item-not-found'],
    [{ action: 'dance' }, 'bad-request', 'malformed-action'],
    [{ sessionid, action: 'dance' }, 'bad-request', 'malformed-action'],
    [{ action: 'next' }, 'bad-request', 'bad-action'],
    [{ action: 'cancel' }, 'bad-request', 'bad-action'],
    [{ sessionid, action: 'prev' }, 'bad-request', 'bad-action'],
    [{ sessionid, action: 'complete', fields }, 'bad-request', 'bad-action'],
    [{ sessionid }, 'bad-request', 'bad-payload'],
    [{ sessionid, fields: { name: 'wrong' } }, 'bad-request', 'bad-payload'],
    [{ sessionid: 'x' }, 'bad-request', 'bad-sessionid'],
    [{ sessionid: `${sessionid}0`, fields }, 'bad-request', 'bad-sessionid'],
  ]
  for (const [execution, condition, specific] of cases) {
    await assert.rejects(step(romeo, execution), { condition, specific }, JSON.stringify(execution))
  }
  // Somebody else's.
  await assert.rejects(step(juliet, { sessionid, fields }), { specific: 'bad-sessionid' })
  // After all that, it goes on.
  assert.equal((await step(romeo, { sessionid, fields })).attr('status'), 'executing')
  const nodeless = await romeo.ask('set', DOMAIN, el('command', { xmlns: COMMANDS_NS }))
  assert.equal(conditionOf(nodeless), 'bad-request')
  const malformed = el(
    'command',
    { xmlns: COMMANDS_NS, node: WIZARD, sessionid },
    el('x', { xmlns: FORM_NS }),
  )
  assert.equal(conditionOf(await romeo.ask('set', DOMAIN, malformed)), 'bad-request')
})

test('a command that fails, or is cancelled, is over', async () => {
  const { server, romeo } = await start()
  await using _ = server
  const begin = async () => (await step(romeo)).attr('sessionid') ?? ''
  const cancelled = await begin()
  const answer = await step(romeo, { sessionid: cancelled, action: 'cancel' })
  assert.deepEqual([answer.attr('status'), answer.children.length], ['canceled', 0])
  await assert.rejects(step(romeo, { sessionid: cancelled }), { specific: 'session-expired' })
  const failed = await begin()
  await assert.rejects(step(romeo, { sessionid: failed, fields: { name: 'bug' } }), {
    condition: 'internal-server-error',
  })
  await assert.rejects(step(romeo, { sessionid: failed }), { specific: 'session-expired' })
})

test('commands are bounded, and end with the client that has begun them', async () => {
  const { server, romeo } = await start({
    modules: { adhoc: { max_sessions_per_user: 2, max_sessions: 3 } },
  })
  await using _ = server
  const begin = async (client: Client) => (await step(client)).attr('sessionid') ?? ''
  const cancel = { action: 'cancel' }
  const [oldest, second, third] = [await begin(romeo), await begin(romeo), await begin(romeo)]
  await assert.rejects(step(romeo, { sessionid: oldest }), { specific: 'session-expired' })
  await step(romeo, { sessionid: second, ...cancel })
  const juliet = await server.connect('juliet')
  await begin(juliet)
  await begin(juliet)
  const nurse = await server.connect('nurse')
  await assert.rejects(step(nurse), { condition: 'resource-constraint' })
  await romeo.leaves()
  await begin(nurse)
  const back = await server.connect('romeo', 'phone')
  await assert.rejects(step(back, { sessionid: third }), { specific: 'session-expired' })
})

test('who may not give a command is told so, and not shown it', async () => {
  const { server, romeo } = await start(
    {},
    wizard((localpart) => localpart === 'romeo'),
  )
  await using _ = server
  const juliet = await server.connect('juliet')
  const query = (xmlns: string, node: string) => el('query', { xmlns, node })
  const features = (await romeo.ask('get', DOMAIN, el('query', { xmlns: INFO }))).toString()
  assert.match(features, /var='http:\/\/jabber\.org\/protocol\/commands'/)

  const nodes = async (client: Client) => {
    const answer = await client.ask('get', DOMAIN, query(ITEMS, COMMANDS_NS))
    return answer
      .child('query', ITEMS)
      ?.elements()
      .map((item) => item.attr('node'))
  }
  assert.deepEqual(await nodes(romeo), [WIZARD])
  assert.deepEqual(await nodes(juliet), [])
  const list = (await juliet.ask('get', DOMAIN, query(INFO, COMMANDS_NS))).child('query', INFO)
  assert.equal(list?.child('identity')?.attr('type'), 'command-list')
  const info = (await romeo.ask('get', DOMAIN, query(INFO, WIZARD))).child('query', INFO)
  assert.deepEqual(
    [info?.child('identity')?.attr('category'), info?.child('identity')?.attr('type')],
    ['automation', 'command-node'],
  )
  assert.deepEqual(
    info?.elements('feature').map((each) => each.attr('var')),
    [COMMANDS_NS, FORM_NS],
  )
  assert.equal(conditionOf(await juliet.ask('get', DOMAIN, query(INFO, WIZARD))), 'forbidden')
  await assert.rejects(step(juliet), { condition: 'forbidden' })
})

test('the commands of the server are at everybody’s own account, too', async () => {
  const { server, romeo } = await start()
  await using _ = server
  const own = romeo.bareJid
  const query = (xmlns: string, node?: string) => el('query', { xmlns, node })
  const ask = async (client: Client, xmlns: string, node?: string) => {
    const answer = await client.ask('get', own, query(xmlns, node))
    return answer.attr('type') === 'error' ? conditionOf(answer) : answer.child('query', xmlns)
  }

  assert.match(String(await ask(romeo, INFO)), /var='http:\/\/jabber\.org\/protocol\/commands'/)
  assert.match(String(await ask(romeo, INFO, COMMANDS_NS)), /type='command-list'/)
  assert.match(String(await ask(romeo, INFO, WIZARD)), /type='command-node'/)
  const items = await romeo.ask('get', own, query(ITEMS, COMMANDS_NS))
  const [item] = items.child('query', ITEMS)?.elements() ?? []
  assert.deepEqual([item?.attr('jid'), item?.attr('node')], [own, WIZARD])
  const first = await execute(romeo, own, { node: WIZARD })
  const sessionid = first.attr('sessionid')
  const second = await execute(romeo, own, { node: WIZARD, sessionid, fields: { name: 'Rose' } })
  assert.equal(second.attr('status'), 'executing')

  const juliet = await server.connect('juliet')
  juliet.send(presence('subscribe', own))
  await romeo.receives({ name: 'presence', type: 'subscribe' })
  romeo.send(presence('subscribed', juliet.bareJid))
  await juliet.receives({ name: 'presence', from: romeo.fullJid })
  assert.doesNotMatch(String(await ask(juliet, INFO)), /commands/)
  assert.equal(await ask(juliet, ITEMS, COMMANDS_NS), 'item-not-found')
  await assert.rejects(execute(juliet, own, { node: WIZARD }), { condition: 'service-unavailable' })
})

// --- XEP-0133.

const ADMIN = 'http://jabber.org/protocol/admin#'

test('service administration: accounts come, go and are told about', async () => {
  await using server = await startServer({ admin: { jids: [`romeo@${DOMAIN}`] } })
  const romeo = await server.connect('romeo', 'phone')
  const juliet = await server.connect('juliet', 'balcony')
  const give = async (name: string, fields?: Execution['fields']) => {
    const node = ADMIN + name
    const first = await execute(romeo, DOMAIN, { node })
    if (first.attr('status') === 'completed') return first
    const formType = first.child('x', FORM_NS)?.elements('field')[0]
    assert.equal(formType?.child('value')?.text, 'http://jabber.org/protocol/admin')
    const sessionid = first.attr('sessionid')
    return await execute(romeo, DOMAIN, {
      node,
      sessionid,
      action: 'complete',
      ...(fields && { fields }),
    })
  }
  const valuesOf = async (name: string, field: string, fields?: Execution['fields']) => {
    const x = (await give(name, fields)).child('x', FORM_NS)
    const found = x?.elements('field').find((each) => each.attr('var') === field)
    return found?.elements('value').map(({ text }) => text)
  }
  const nurse = `nurse@${DOMAIN}`
  const password = { password: 'Angelica', 'password-verify': 'Angelica' }
  await give('add-user', { accountjid: nurse, ...password })
  await assert.rejects(give('add-user', { accountjid: nurse, ...password }), {
    condition: 'conflict',
  })
  await assert.rejects(
    give('add-user', { accountjid: `x@${DOMAIN}`, ...password, 'password-verify': 'other' }),
    { specific: 'bad-payload' },
  )
  await give('change-user-password', { accountjid: nurse, password: 'Susan' })
  assert.ok(await server.server.accounts.verifyPassword(nurseJid(server), 'Susan'))

  await give('disable-user', { accountjids: nurse })
  assert.deepEqual(await valuesOf('get-disabled-users-num', 'disabledusersnum'), ['1'])
  const all = { max_items: 'none' }
  assert.deepEqual(await valuesOf('get-disabled-users-list', 'disableduserjids', all), [nurse])
  await give('reenable-user', { accountjids: nurse })
  assert.deepEqual(await valuesOf('get-disabled-users-num', 'disabledusersnum'), ['0'])
  assert.deepEqual(await valuesOf('get-registered-users-num', 'registeredusersnum'), ['3'])
  assert.deepEqual(await valuesOf('get-online-users-num', 'onlineusersnum'), ['2'])
  const online = await valuesOf('get-online-users-list', 'onlineuserjids', { max_items: '25' })
  assert.deepEqual(online?.toSorted(), [`juliet@${DOMAIN}`, `romeo@${DOMAIN}`])
  await assert.rejects(give('get-online-users-list', { max_items: '7' }), {
    specific: 'bad-payload',
  })

  await juliet.ask(
    'set',
    juliet.bareJid,
    el('query', { xmlns: 'jabber:iq:roster' }, el('item', { jid: nurse, name: 'N' })),
  )
  const roster = (await give('get-user-roster', { accountjids: juliet.bareJid })).child(
    'x',
    FORM_NS,
  )
  const item = roster?.child('query', 'jabber:iq:roster')?.child('item')
  assert.deepEqual([item?.attr('jid'), item?.attr('name')], [nurse, 'N'])
  const who = { accountjid: juliet.bareJid }
  assert.deepEqual(await valuesOf('user-stats', 'onlineresources', who), ['balcony'])
  assert.deepEqual(await valuesOf('user-stats', 'rostersize', who), ['1'])
  const named = { accountjids: juliet.fullJid }
  assert.deepEqual(await valuesOf('user-stats', 'rostersize', named), ['1'])
  await assert.rejects(give('user-stats', { accountjids: [nurse, juliet.bareJid] }), {
    specific: 'bad-payload',
  })
  await assert.rejects(give('user-stats', {}), { specific: 'bad-payload' })
  const seen = await valuesOf('get-user-lastlogin', 'lastlogin', { accountjids: juliet.bareJid })
  assert.match(String(seen), /^\d{4}-/)

  assert.deepEqual(await valuesOf('get-active-users-num', 'activeusersnum'), ['2'])
  assert.deepEqual(await valuesOf('get-idle-users-num', 'idleusersnum'), ['0'])
  const active = await valuesOf('get-active-users', 'activeuserjids', all)
  assert.deepEqual(active?.toSorted(), [`juliet@${DOMAIN}`, `romeo@${DOMAIN}`])
  assert.deepEqual(await valuesOf('get-idle-users', 'activeuserjids', all), [])

  await give('announce', { announcement: ['The palace', 'is on fire'] })
  await juliet.receives({ body: 'The palace\nis on fire' })
  await give('end-user-session', { accountjids: juliet.fullJid })
  await juliet.receivesStreamError('policy-violation')
  // One stanza holds so much and no more.
  for (let i = 0; i < 210; i++) {
    const [contact, name] = [`c${i}@example.net`, 'x'.repeat(1_000)]
    await giveAsOperator(server, 'roster set', { jid: juliet.bareJid, contact, name })
  }
  await assert.rejects(give('get-user-roster', { accountjids: juliet.bareJid }), {
    condition: 'resource-constraint',
  })
  await give('delete-user', { accountjids: [`${nurse}/kitchen`] })
  assert.deepEqual(await valuesOf('get-registered-users-num', 'registeredusersnum'), ['2'])
  await assert.rejects(give('delete-user', { accountjids: nurse }), { condition: 'item-not-found' })
})

test('service administration: standing messages, lists, and the end', async () => {
  await using server = await startServer({ admin: { jids: [`romeo@${DOMAIN}`] } })
  const ends: unknown[] = []
  server.server.process = { end: (...asked) => void ends.push(asked) }
  const romeo = await server.connect('romeo', 'phone')
  const juliet = await server.connect('juliet', 'balcony')
  const begin = (name: string) => execute(romeo, DOMAIN, { node: ADMIN + name })
  const give = async (name: string, fields: Execution['fields'] = {}) => {
    const sessionid = (await begin(name)).attr('sessionid')
    const rest = { sessionid, action: 'complete', fields }
    return await execute(romeo, DOMAIN, { node: ADMIN + name, ...rest })
  }
  const filled = async (name: string, field: string) => {
    const x = (await begin(name)).child('x', FORM_NS)
    const found = x?.elements('field').find((each) => each.attr('var') === field)
    return found?.elements('value').map(({ text }) => text)
  }

  await give('set-motd', { motd: ['The grand opening', 'is tomorrow'] })
  await juliet.receives({ body: 'The grand opening\nis tomorrow' })
  assert.deepEqual(await filled('edit-motd', 'motd'), ['The grand opening', 'is tomorrow'])
  await give('edit-motd', { motd: ['Tomorrow'] })
  assert.deepEqual(await filled('edit-motd', 'motd'), ['Tomorrow'])
  await assert.rejects(give('set-motd', { motd: [''] }), { specific: 'bad-payload' })
  assert.equal((await begin('delete-motd')).attr('status'), 'completed')
  const again = await begin('delete-motd')
  assert.deepEqual([again.attr('status'), noteOf(again)], ['completed', 'there was none'])

  await give('set-welcome', { welcome: ['Welcome'] })
  assert.deepEqual(await filled('set-welcome', 'welcome'), ['Welcome'])
  assert.equal((await begin('delete-welcome')).attr('status'), 'completed')

  for (const list of ['blacklist', 'whitelist']) {
    const [node, field] = [`edit-${list}`, `${list}jids`]
    assert.deepEqual(await filled(node, field), [])
    await give(node, { [field]: ['denmark.lit', 'Hamlet@France.lit'] })
    assert.deepEqual(await filled(node, field), ['denmark.lit', 'hamlet@france.lit'])
    await give(node, { [field]: ['marlowe.lit', 'denmark.lit'] })
    assert.deepEqual(await filled(node, field), ['denmark.lit', 'marlowe.lit'])
    await give(node)
    assert.deepEqual(await filled(node, field), [])
  }

  assert.deepEqual(await filled('edit-admin', 'adminjids'), [romeo.bareJid])
  const asJuliet = () => execute(juliet, DOMAIN, { node: `${ADMIN}get-online-users-num` })
  await assert.rejects(asJuliet(), { condition: 'forbidden' })
  await give('edit-admin', { adminjids: [romeo.bareJid, juliet.bareJid] })
  assert.equal((await asJuliet()).attr('status'), 'completed')
  await assert.rejects(give('edit-admin', { adminjids: [juliet.bareJid] }), {
    condition: 'conflict',
  })
  await give('edit-admin', { adminjids: [romeo.bareJid] })
  await assert.rejects(asJuliet(), { condition: 'forbidden' })
  // Whoever has the address of an administrator that is gone is none.
  const nurse = `nurse@${DOMAIN}`
  await server.createAccount('nurse')
  await give('edit-admin', { adminjids: [romeo.bareJid, nurse] })
  await server.server.lifecycle.remove(nurseJid(server).toBare())
  assert.deepEqual(await filled('edit-admin', 'adminjids'), [romeo.bareJid])

  await give('restart', { delay: '120', announcement: ['Back soon'] })
  await juliet.receives({ body: 'Back soon' })
  await give('shutdown', { delay: '30' })
  assert.deepEqual(ends, [
    ['restart', 120_000],
    ['shutdown', 30_000],
  ])
  await assert.rejects(give('shutdown', { delay: '1' }), { specific: 'bad-payload' })
})

const nurseJid = (server: { readonly domain: string }) => jid('nurse', server.domain)

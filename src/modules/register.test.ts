import assert from 'node:assert/strict'
import { test } from 'node:test'
import { conditionOf, DOMAIN, startCore } from '../../test/support/core.ts'
import { resultOf, Stop } from '../core/hooks.ts'
import { type BareJid, jid } from '../xmpp/jid.ts'
import { type Element, el } from '../xmpp/xml.ts'
import { register } from './register.ts'

const NS = 'jabber:iq:register'
const JULIET = jid('juliet', DOMAIN)

const start = async (settings: object = {}) => {
  const core = await startCore({ modules: [[register, { enabled: true, ...settings }]] })
  await core.lifecycle.register(JULIET, 'R0m30')
  return core
}
type Core = Awaited<ReturnType<typeof start>>
type Client = { readonly address?: string; readonly isEncrypted?: boolean }

const query = (...children: Element[]) => el('query', { xmlns: NS }, ...children)
const fields = (username: string, password: string) =>
  query(el('username', {}, username), el('password', {}, password))

/** What a client gets before it has authenticated. */
const ask = async (
  { hooks }: Core,
  type: 'get' | 'set',
  payload: Element,
  { address = '192.0.2.1', isEncrypted = true }: Client = {},
): Promise<Element> => {
  const request = el('iq', { xmlns: 'jabber:client', type, id: 'r1' }, payload)
  const verdict = await hooks
    .at('c2s_unauthenticated_iq')
    .run(undefined, { request, domain: DOMAIN, address, isEncrypted })
  assert.ok(verdict instanceof Stop && verdict.acc !== undefined)
  assert.equal(verdict.acc.attr('id'), 'r1')
  return verdict.acc
}
const refusal = (iq: Element) => iq.child('error')?.elements()[0]?.name
const create = async (core: Core, username: string, password = 'secret', client: Client = {}) =>
  refusal(await ask(core, 'set', fields(username, password), client))

const isOffered = async ({ hooks }: Core, account: BareJid | undefined, isEncrypted = true) => {
  const point = hooks.at('c2s_stream_features')
  const features = resultOf(await point.run([], { domain: DOMAIN, account, isEncrypted }), [])
  return features.some(({ ns }) => ns === 'http://jabber.org/features/iq-register')
}

test('strangers are offered an account and get it', async () => {
  await using core = await start()
  assert.equal(await isOffered(core, undefined), true)
  const asked = (await ask(core, 'get', query())).child('query', NS)
  assert.deepEqual(
    asked?.elements().map((field) => field.name),
    ['username', 'password', 'instructions'],
  )
  const registered: string[] = []
  core.hooks.on('register_user', (account) => {
    registered.push(account.full)
    return account
  })
  assert.equal(await create(core, 'Nurse', 'Angelica'), undefined)
  assert.equal(await core.accounts.verifyPassword(jid('nurse', DOMAIN), 'Angelica'), true)
  assert.deepEqual(registered, [`nurse@${DOMAIN}`])
})

test('who is logged in is offered nothing', async () => {
  await using core = await start()
  assert.equal(await isOffered(core, JULIET), false)
})

test('unless the operator wants it, nobody can register', async () => {
  await using core = await start({ enabled: false })
  assert.equal(await isOffered(core, undefined), false)
  assert.equal(refusal(await ask(core, 'get', query())), 'service-unavailable')
  assert.equal(await create(core, 'nurse'), 'not-allowed')
  assert.equal(await core.accounts.exists(jid('nurse', DOMAIN)), false)
})

test('nor can anybody without TLS', async () => {
  await using core = await start()
  assert.equal(await isOffered(core, undefined, false), false)
  assert.equal(await create(core, 'nurse', 'x', { isEncrypted: false }), 'not-allowed')
})

test('unless the operator allows that', async () => {
  await using core = await start({ allow_without_tls: true })
  assert.equal(await isOffered(core, undefined, false), true)
  assert.equal(await create(core, 'nurse', 'x', { isEncrypted: false }), undefined)
})

test('a name that is taken, or reserved, is a conflict', async () => {
  await using core = await start()
  assert.equal(await create(core, 'JULIET'), 'conflict')
  assert.equal(await create(core, 'Admin'), 'conflict')
  assert.equal(await core.accounts.verifyPassword(JULIET, 'R0m30'), true)
})

test('what is missing or impossible is not acceptable', async () => {
  await using core = await start()
  const incomplete = query(el('username', {}, 'nurse'), el('password'))
  assert.equal(refusal(await ask(core, 'set', incomplete)), 'not-acceptable')
  assert.equal(refusal(await ask(core, 'set', query())), 'not-acceptable')
  assert.equal(await create(core, 'friar lawrence'), 'not-acceptable')
  assert.equal(await create(core, 'nurse', '\u0007'), 'not-acceptable')
})

test('one address has so many attempts, others have theirs', async () => {
  await using core = await start({ attempts: 2, window: '1h' })
  const from = (address: string, username: string) => create(core, username, 'x', { address })
  assert.equal(await from('2001:db8::1', 'a'), undefined)
  assert.equal(await from('2001:db8::2', 'juliet'), 'conflict')
  assert.equal(await from('2001:db8:0:0:9::3', 'b'), 'resource-constraint')
  assert.equal(await from('2001:db8:0:1::1', 'b'), undefined)
  assert.equal(await from('::ffff:192.0.2.7', 'c'), undefined)
  assert.equal(await from('192.0.2.7', 'd'), undefined)
  assert.equal(await from('192.0.2.7', 'e'), 'resource-constraint')
  core.now += 3_600_000
  assert.equal(await from('192.0.2.7', 'e'), undefined)
})

test('other requests before authentication are left to others', async () => {
  await using core = await start()
  const request = el('iq', { xmlns: 'jabber:client', type: 'get', id: 'x' }, el('ping'))
  const stream = { request, domain: DOMAIN, address: '192.0.2.1', isEncrypted: true }
  assert.equal(await core.hooks.at('c2s_unauthenticated_iq').run(undefined, stream), undefined)
})

test('an account is told that it is registered', async () => {
  await using core = await start()
  const juliet = await core.connect('juliet')
  for (const to of [DOMAIN, JULIET.full]) {
    const answer = await core.ask(juliet, to, 'get', query())
    assert.notEqual(answer.childAt(0)?.child('registered'), undefined)
    assert.equal(answer.childAt(0)?.child('username')?.text, 'juliet')
    assert.equal(answer.childAt(0)?.child('password')?.text, '')
  }
})

test('a user changes the own password', async () => {
  await using core = await start()
  const juliet = await core.connect('juliet')
  const answer = await core.ask(juliet, DOMAIN, 'set', fields('Juliet', 'T4b0r'))
  assert.equal(answer.type, 'result')
  assert.equal(await core.accounts.verifyPassword(JULIET, 'T4b0r'), true)
  assert.equal(await core.accounts.verifyPassword(JULIET, 'R0m30'), false)
})

test('an error does not repeat the password', async () => {
  await using core = await start()
  const juliet = await core.connect('juliet')
  const answer = await core.ask(juliet, DOMAIN, 'set', fields('romeo', 'T4b0r'))
  assert.equal(conditionOf(answer), 'not-allowed')
  assert.equal(answer.payload.includes('T4b0r'), false)
})

test('an empty password changes nothing', async () => {
  await using core = await start()
  const juliet = await core.connect('juliet')
  const answer = await core.ask(juliet, DOMAIN, 'set', fields('juliet', ''))
  assert.equal(conditionOf(answer), 'bad-request')
  assert.equal(await core.accounts.verifyPassword(JULIET, 'R0m30'), true)
})

test('nobody changes or removes the account of another', async () => {
  await using core = await start()
  await core.createAccount('romeo')
  const romeo = await core.connect('romeo')
  const removal = query(el('remove'))
  for (const payload of [fields('juliet', 'x'), removal]) {
    assert.equal(conditionOf(await core.ask(romeo, JULIET.full, 'set', payload)), 'not-allowed')
  }
  const stranger = await core.ask('juliet@elsewhere.example', DOMAIN, 'set', removal)
  assert.equal(conditionOf(stranger), 'not-allowed')
  assert.equal(await core.accounts.exists(JULIET), true)
})

test('a user removes the own account: answered first, then all sessions end', async () => {
  await using core = await start()
  const removed: string[] = []
  core.hooks.on('remove_user', (account) => {
    removed.push(account.full)
    return account
  })
  const balcony = await core.connect('juliet', 'balcony')
  const chamber = await core.connect('juliet', 'chamber')
  const answer = await core.ask(balcony, DOMAIN, 'set', query(el('remove')))
  assert.equal(answer.type, 'result')
  assert.equal(balcony.closedWith?.condition, 'not-authorized')
  assert.equal(chamber.closedWith?.condition, 'not-authorized')
  assert.equal(await core.accounts.exists(JULIET), false)
  assert.deepEqual(removed, [JULIET.full])
})

test('a removal with anything else is a bad request', async () => {
  await using core = await start()
  const juliet = await core.connect('juliet')
  const payload = query(el('remove'), el('username', {}, 'juliet'))
  const answer = await core.ask(juliet, DOMAIN, 'set', payload)
  assert.equal(conditionOf(answer), 'bad-request')
  assert.equal(await core.accounts.exists(JULIET), true)
})

test('the operator may keep both from users', async () => {
  await using core = await start({ allow_password_change: false, allow_removal: false })
  const juliet = await core.connect('juliet')
  for (const payload of [fields('juliet', 'x'), query(el('remove'))]) {
    assert.equal(conditionOf(await core.ask(juliet, DOMAIN, 'set', payload)), 'not-allowed')
  }
})

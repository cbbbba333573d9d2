import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Element, el } from '../../src/xmpp/xml.ts'
import { conditionOf } from '../support/client.ts'
import type { TestComponent } from '../support/component.ts'
import { startServer, type TestServer } from '../support/server.ts'

const PUBSUB = 'pubsub.im.example.com'
const NS = 'urn:xmpp:delegation:2'
const FORWARD = 'urn:xmpp:forward:0'
const CLIENT = 'jabber:client'
const INFO = 'http://jabber.org/protocol/disco#info'
const ITEMS = 'http://jabber.org/protocol/disco#items'
const TASK = 'urn:example:task'
const ROSTER = 'jabber:iq:roster'
const JULIET = 'juliet@im.example.com'

type Table = Readonly<Record<string, unknown>>

function start(...namespaces: readonly Table[]): Promise<TestServer> {
  return startWith({}, ...namespaces)
}

function startWith(settings: Table, ...namespaces: readonly Table[]): Promise<TestServer> {
  return startServer({
    component: {},
    modules: {
      delegation: {
        namespaces: namespaces.map((entry) => ({ component: PUBSUB, ...entry })),
        ...settings,
      },
    },
  })
}

/** As `connectComponent`, with the questions of the server answered by `info`. */
async function connect(
  server: TestServer,
  info: (node: string) => readonly Element[] = () => [],
  questions = 2,
  name = PUBSUB,
): Promise<TestComponent> {
  const component = await server.connectComponent(name)
  for (let i = 0; i < questions; i++) {
    const question = await component.receives({ name: 'iq', type: 'get', child: INFO })
    const node = question.child('query', INFO)?.attr('node') ?? ''
    const answer = el('query', { xmlns: INFO, node }, ...info(node))
    await component.sends(
      el('iq', { type: 'result', id: question.attr('id'), from: name, to: server.domain }, answer),
    )
  }
  await component.roundTrip()
  return component
}

/** The request inside of what the component got. */
async function receivesDelegated(component: TestComponent) {
  const outer = await component.receives({ name: 'iq', type: 'set', child: NS })
  const inner = outer.child('delegation', NS)?.child('forwarded', FORWARD)?.child('iq', CLIENT)
  assert.ok(inner !== undefined, String(outer))
  return { outer, inner }
}

type Delegated = Awaited<ReturnType<typeof receivesDelegated>>

async function answers(
  component: TestComponent,
  { outer, inner }: Delegated,
  changes: Readonly<Record<string, string | undefined>> = {},
  ...payload: readonly Element[]
): Promise<void> {
  const attributes = {
    xmlns: CLIENT,
    type: 'result',
    id: inner.attr('id'),
    to: inner.attr('from'),
    from: inner.attr('to'),
    ...changes,
  }
  const wrapped = el('forwarded', { xmlns: FORWARD }, el('iq', attributes, ...payload))
  const reply = { type: 'result', id: outer.attr('id'), from: PUBSUB, to: outer.attr('from') }
  await component.sends(el('iq', reply, el('delegation', { xmlns: NS }, wrapped)))
}

const task = el('task', { xmlns: TASK })

test('a component is told what it is to answer', async () => {
  await using server = await start(
    { namespace: TASK },
    { namespace: 'urn:xmpp:mam:2', attributes: ['node'] },
    { namespace: 'urn:other', component: 'other.example.net' },
  )
  const pubsub = await server.connectComponent(PUBSUB)
  const told = await pubsub.receives({ name: 'message', from: server.domain, to: PUBSUB })
  const delegated = told.child('delegation', NS)?.elements('delegated') ?? []
  assert.deepEqual(
    delegated.map((one) => [
      one.attr('namespace'),
      one.elements('attribute').map((attribute) => attribute.attr('name')),
    ]),
    [
      [TASK, []],
      ['urn:xmpp:mam:2', ['node']],
    ],
  )
})

for (const to of ['im.example.com', JULIET, undefined]) {
  test(`a request to ${to ?? 'nobody in particular'} is answered by the component`, async () => {
    await using server = await start({ namespace: TASK })
    await server.createAccount('juliet')
    const pubsub = await connect(server)
    const romeo = await server.connect('romeo')
    const asking = romeo.ask('set', to, task)
    const delegated = await receivesDelegated(pubsub)
    assert.equal(delegated.inner.attr('from'), romeo.fullJid)
    assert.equal(delegated.inner.attr('to'), to ?? romeo.bareJid)
    assert.equal(delegated.inner.attr('type'), 'set')
    assert.ok(delegated.inner.child('task', TASK) !== undefined)
    await answers(pubsub, delegated, {}, el('done', { xmlns: TASK }))
    const answer = await asking
    assert.equal(answer.attr('type'), 'result')
    assert.equal(answer.attr('from'), to ?? romeo.bareJid)
    assert.ok(answer.child('done', TASK) !== undefined)
    assert.equal(answer.child('delegation', NS), undefined)
  })
}

for (const [what, changes] of [
  ['to somebody else', { to: 'nurse@im.example.com/x' }],
  ['from somebody else', { from: 'nurse@im.example.com' }],
  ['to another request', { id: 'other' }],
  ['that is no result', { type: 'error' }],
] as const) {
  test(`an answer ${what} is none`, async () => {
    await using server = await start({ namespace: TASK })
    const pubsub = await connect(server)
    const romeo = await server.connect('romeo')
    const asking = romeo.ask('get', server.domain, task)
    await answers(pubsub, await receivesDelegated(pubsub), changes)
    assert.equal(conditionOf(await asking), 'service-unavailable')
  })
}

test('a component that fails, is silent or is not there: service-unavailable', async () => {
  await using server = await startWith({ timeout: '1s' }, { namespace: TASK })
  const pubsub = await connect(server)
  const romeo = await server.connect('romeo')
  const failing = romeo.ask('get', server.domain, task)
  const { outer } = await receivesDelegated(pubsub)
  const error = el(
    'error',
    { type: 'auth' },
    el('forbidden', { xmlns: 'urn:ietf:params:xml:ns:xmpp-stanzas' }),
  )
  await pubsub.sends(
    el('iq', { type: 'error', id: outer.attr('id'), from: PUBSUB, to: server.domain }, error),
  )
  assert.equal(conditionOf(await failing), 'service-unavailable')
  assert.equal(conditionOf(await romeo.ask('get', server.domain, task)), 'service-unavailable')
  await pubsub.leaves()
  assert.equal(conditionOf(await romeo.ask('get', server.domain, task)), 'service-unavailable')
})

test('requests without the attributes are for the server itself', async () => {
  await using server = await start({ namespace: ROSTER, attributes: ['ver'] })
  const pubsub = await connect(server)
  const romeo = await server.connect('romeo')
  const roster = await romeo.ask('get', undefined, el('query', { xmlns: ROSTER }))
  assert.equal(roster.attr('type'), 'result')
  const asking = romeo.ask('get', undefined, el('query', { xmlns: ROSTER, ver: '' }))
  await answers(pubsub, await receivesDelegated(pubsub))
  assert.equal((await asking).attr('type'), 'result')
})

test('what the component itself asks is for the server, also in the name of an account', async () => {
  await using server = await startServer({
    component: {},
    modules: {
      delegation: { namespaces: [{ namespace: ROSTER, component: PUBSUB }] },
      privilege: { components: { [PUBSUB]: { roster: 'both', push: false } } },
    },
  })
  await server.createAccount('juliet')
  const pubsub = await connect(server)
  const answer = await pubsub.ask('get', JULIET, el('query', { xmlns: ROSTER }))
  assert.equal(answer.attr('type'), 'result')
  assert.ok(answer.child('query', ROSTER) !== undefined)
})

test('for accounts that do not exist nobody is asked', async () => {
  await using server = await start({ namespace: TASK })
  await connect(server)
  const romeo = await server.connect('romeo')
  const answer = await romeo.ask('get', 'nobody@im.example.com', task)
  assert.equal(conditionOf(answer), 'service-unavailable')
})

test('the server tells of a delegated namespace what the component tells', async () => {
  await using server = await start({ namespace: ROSTER })
  const romeo = await server.connect('romeo')
  const features = async (of: string | undefined) => {
    const answer = await romeo.ask('get', of, el('query', { xmlns: INFO }))
    const query = answer.child('query', INFO)
    return [
      ...(query?.elements('feature') ?? []).map((feature) => feature.attr('var')),
      ...(query?.elements('identity') ?? []).map((identity) => identity.attr('type')),
    ]
  }
  assert.ok(!(await features(server.domain)).includes(ROSTER))
  assert.ok((await features(server.domain)).includes(NS))
  const pubsub = await connect(server, (node) =>
    node === `${NS}::${ROSTER}`
      ? [el('feature', { var: `${ROSTER}#better` })]
      : [el('identity', { category: 'pubsub', type: 'pep' })],
  )
  assert.ok((await features(server.domain)).includes(`${ROSTER}#better`))
  assert.ok(!(await features(server.domain)).includes(ROSTER))
  assert.ok((await features(undefined)).includes('pep'))
  await pubsub.leaves()
  assert.ok(!(await features(server.domain)).includes(`${ROSTER}#better`))
})

test('of two components with parts of one namespace both are told of', async () => {
  const other = 'tasks.im.example.com'
  await using server = await start(
    { namespace: TASK, attributes: ['list'] },
    { namespace: TASK, component: other },
  )
  const romeo = await server.connect('romeo')
  const features = async () => {
    const answer = await romeo.ask('get', server.domain, el('query', { xmlns: INFO }))
    const all = answer.child('query', INFO)?.elements('feature') ?? []
    return all.map((feature) => feature.attr('var')).filter((name) => name?.startsWith(TASK))
  }
  const telling = (name: string) => () => [
    el('feature', { var: `${TASK}#all` }),
    el('feature', { var: `${TASK}#${name}` }),
  ]
  await connect(server, telling('lists'))
  const second = await connect(server, telling('tasks'), 2, other)
  assert.deepEqual(await features(), [`${TASK}#all`, `${TASK}#lists`, `${TASK}#tasks`])
  await second.leaves()
  assert.deepEqual(await features(), [`${TASK}#all`, `${TASK}#lists`])
})

test('discovery of nodes that the server does not know', async () => {
  await using server = await start(
    { namespace: `${NS}:bare:disco#info:*` },
    { namespace: `${NS}:bare:disco#items:*` },
  )
  const pubsub = await connect(server, undefined, 0)
  const romeo = await server.connect('romeo')
  const stranger = await server.connect('tybalt')

  const asking = romeo.ask('get', undefined, el('query', { xmlns: INFO, node: 'urn:x' }))
  const identity = el('identity', { category: 'pubsub', type: 'leaf' })
  await answers(
    pubsub,
    await receivesDelegated(pubsub),
    {},
    el('query', { xmlns: INFO, node: 'urn:x' }, identity),
  )
  const info = (await asking).child('query', INFO)
  assert.equal(info?.child('identity')?.attr('type'), 'leaf')

  const listing = romeo.ask('get', undefined, el('query', { xmlns: ITEMS }))
  const item = el('item', { jid: romeo.bareJid, node: 'urn:x' })
  await answers(pubsub, await receivesDelegated(pubsub), {}, el('query', { xmlns: ITEMS }, item))
  assert.equal((await listing).child('query', ITEMS)?.child('item')?.attr('node'), 'urn:x')

  const whole = await romeo.ask('get', undefined, el('query', { xmlns: INFO }))
  assert.equal(whole.child('query', INFO)?.child('identity')?.attr('category'), 'account')
  const refused = await stranger.ask(
    'get',
    romeo.bareJid,
    el('query', { xmlns: INFO, node: 'urn:x' }),
  )
  assert.equal(conditionOf(refused), 'service-unavailable')
})

test('delegation itself is not delegated', async () => {
  await assert.rejects(start({ namespace: NS }), /expected a namespace that may be delegated/)
})

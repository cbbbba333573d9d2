import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { Link } from '../../src/cluster/link.ts'
import { openNats } from '../../src/cluster/nats.ts'
import { keyOf } from '../../src/cluster/session-table.ts'
import { Envelope, SERVER } from '../../src/core/envelope.ts'
import { silentLogger } from '../../src/core/log.ts'
import { isLocalSession, type StreamSession } from '../../src/core/session.ts'
import type { TraceItem } from '../../src/core/trace-item.ts'
import { within } from '../../src/core/within.ts'
import { OfflineStore } from '../../src/modules/offline/store.ts'
import { type BareJid, parseBare, parseJid } from '../../src/xmpp/jid.ts'
import { Stanza } from '../../src/xmpp/stanza.ts'
import { el } from '../../src/xmpp/xml.ts'
import { askArchive } from '../support/archive.ts'
import type { Client } from '../support/client.ts'
import { skipWithoutCluster, TestCluster, until } from '../support/cluster.ts'
import { apart, knows, type Resumable, resumableAt, startPair } from '../support/cluster-pair.ts'
import { DOMAIN, PASSWORD, type TestServer } from '../support/server.ts'
import { chat, iq, presence } from '../support/stanzas.ts'
import {
  acknowledge,
  authenticated,
  connectResumable,
  enable,
  handles,
  resume,
  tryToResume,
} from '../support/stream-management.ts'

const options = { skip: skipWithoutCluster }

/** Whether something that a client has sent is not decided about yet. */
function isSending({ server }: TestServer, { fullJid }: Client): boolean {
  const session = server.sessionManager.sessions.get(parseJid(fullJid))
  return session !== undefined && 'receiving' in session && session.receiving !== undefined
}

test('messages between clients of different nodes arrive in order', options, async () => {
  await using scene = await apart()
  const { romeo, juliet } = scene
  const bodies = Array.from({ length: 300 }, (_, index) => `line ${index}`)

  for (const body of bodies) romeo.send(chat(juliet.fullJid, body))
  for (const body of bodies) await juliet.receivesNext({ from: romeo.fullJid, body })

  juliet.send(chat(romeo.bareJid, 'By whose direction found’st thou out this place?'))
  await romeo.receives({
    from: juliet.fullJid,
    body: 'By whose direction found’st thou out this place?',
  })
})

test('whoever gets an address on one node waits for its removal on another', options, async () => {
  await using pair = await startPair()
  const { one, two } = pair
  const account = parseBare(`benvolio@${one.domain}`)
  const [begun, goOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const wait = async (removed: BareJid) => {
    begun.resolve()
    await goOn.promise
    return removed
  }
  one.server.hooks.on('remove_user', wait, { by: 'test', order: 1 })
  const ofCards = 'select xml from vcard where account = ?'
  const { storage, lifecycle } = two.server
  await lifecycle.register(account, 'first')

  const removed = one.server.lifecycle.remove(account)
  await begun.promise
  let isRegistered = false
  const registered = lifecycle.register(account, 'second').then(async (isNew) => {
    isRegistered = true
    await storage.write('insert into vcard (account, xml) values (?, ?)', [account.full, '<new/>'])
    return isNew
  })
  await Promise.race([registered, delay(500)])
  const hasWaited = !isRegistered
  goOn.resolve()

  assert.ok(hasWaited)
  assert.deepEqual(await Promise.all([removed, registered]), [true, true])
  assert.deepEqual(await storage.read(ofCards, [account.full]), [{ xml: '<new/>' }])
})

test('a session of a node of which nothing else is known keeps no message', options, async () => {
  await using cluster = await TestCluster.start()
  const jid = parseJid(`juliet@${DOMAIN}`).withResource('balcony')
  const settings = { servers: [cluster.nats.url], name: 'meerkat', node: 'ghost', replicas: 1 }
  const { registry, transport } = await openNats(settings, silentLogger)
  const row = {
    jid: jid.full,
    id: 'id',
    node: 'ghost',
    epoch: 5,
    priority: 0,
    shared: {},
    info: {},
  }
  await registry.put(keyOf(jid), JSON.stringify(row), 0)
  await registry.close()
  await transport.close()

  const one = await cluster.node('one')
  assert.ok(knows(one, jid.full)())
  await one.createAccount('juliet')
  const romeo = await one.connect('romeo', 'orchard')
  await romeo.sends(chat(jid.full, 'Art thou there?'))
  await until(() => one.server.sessionManager.sessions.get(jid) === undefined)

  const juliet = await one.connect('juliet', 'chamber')
  await juliet.receives({ body: 'Art thou there?' })
})

test('a message is known again on another node, and its client sees it once', options, async () => {
  await using scene = await apart()
  const { two, romeo, juliet } = scene
  await enable(juliet)
  const came: Envelope[] = []
  two.server.hooks.on('user_receive_message', (envelope) => {
    came.push(envelope)
    return envelope
  })
  romeo.send(chat(juliet.fullJid, 'once'))
  await juliet.receives({ body: 'once' })
  const [envelope] = came as [Envelope]
  assert.match(envelope.notes.id ?? '', /^one:/)
  const session = two.server.sessionManager.sessions.get(parseJid(juliet.fullJid))
  // Before she has acknowledged it, and after.
  session?.deliver(envelope.noted({ isRetry: true }))
  await juliet.roundTrip()
  acknowledge(juliet, 2)
  await juliet.roundTrip()
  session?.deliver(envelope.noted({ isRetry: true }))
  romeo.send(chat(juliet.fullJid, 'and then'))
  await juliet.receives({ body: 'and then' })
  assert.deepEqual(juliet.inbox({ body: 'once' }), [])
  assert.equal(came.length, 4)
})

test('requests between clients of different nodes are answered', options, async () => {
  await using scene = await apart()
  const { romeo, juliet } = scene
  const request = iq('get', juliet.fullJid, el('query', { xmlns: 'urn:example:light' }))
  romeo.send(request)
  const asked = await juliet.receives({ name: 'iq', from: romeo.fullJid })
  juliet.send(el('iq', { type: 'result', to: romeo.fullJid, id: asked.attr('id') }))
  await romeo.receives({ name: 'iq', from: juliet.fullJid, type: 'result' })
})

test('who has a resource loses it to whoever binds it on another node', options, async () => {
  await using pair = await startPair()
  const { one, two } = pair
  const before = await one.connect('juliet', 'balcony')
  await until(knows(two, before.fullJid))
  const after = await two.connect('juliet', 'balcony')
  await before.receives((element) => element.name === 'error')
  await until(knows(one, after.fullJid))
  const romeo = await one.connect('romeo')
  romeo.send(chat('juliet@im.example.com', 'Which of you?'))
  await after.receives({ body: 'Which of you?' })
  assert.equal(one.server.sessionManager.sessions.of(after.bareJid).length, 1)
})

test('what it had sent last there comes before what it sends here', options, async () => {
  await using pair = await startPair()
  const { one, two } = pair
  const juliet = await two.connect('juliet', 'balcony')
  await until(knows(one, juliet.fullJid))
  const romeo = await one.connect('romeo', 'orchard')
  await until(knows(two, romeo.fullJid))
  // For whatever reason that has to wait.
  one.server.sessionManager.holdBack(parseJid(juliet.fullJid), delay(1_500), true)
  romeo.send(chat(juliet.fullJid, 'there'))
  await until(() => isSending(one, romeo))
  const again = await two.connect('romeo', 'orchard')
  again.send(chat(juliet.fullJid, 'here'))
  for (const body of ['there', 'here']) {
    const next = await juliet.receives(({ name }) => name === 'message')
    assert.equal(next.child('body')?.text, body)
  }
})

test('at a third node, too, however long that takes to get there', options, async (context) => {
  await using cluster = await TestCluster.start()
  const one = await cluster.node('one')
  const two = await cluster.node('two')
  const three = await cluster.node('three')
  const juliet = await three.connect('juliet', 'balcony')
  const romeo = await one.connect('romeo', 'orchard')
  await until(() => [one, two].every((node) => knows(node, juliet.fullJid)()))
  await until(knows(two, romeo.fullJid))
  const { receive } = Link.prototype
  context.mock.method(Link.prototype, 'receive', function (this: Link, ...message: never) {
    const isSlow = this.self.node === 'three' && this.peer.node === 'one'
    void delay(isSlow ? 300 : 0).then(() => receive.apply(this, message))
  })
  romeo.send(chat(juliet.fullJid, 'there'))
  await romeo.roundTrip()
  const again = await two.connect('romeo', 'orchard')
  again.send(chat(juliet.fullJid, 'here'))
  for (const body of ['there', 'here']) {
    const next = await juliet.receives(({ name }) => name === 'message')
    assert.equal(next.child('body')?.text, body)
  }
})

test('contacts on another node see who comes and goes', options, async () => {
  await using scene = await apart()
  const { romeo, juliet } = scene
  romeo.send(presence('subscribe', juliet.bareJid))
  await juliet.receives({ name: 'presence', type: 'subscribe' })
  juliet.send(presence('subscribed', romeo.bareJid))
  await romeo.receives({ name: 'presence', from: juliet.fullJid, type: undefined })
  juliet.send(presence('unavailable'))
  await romeo.receives({ name: 'presence', from: juliet.fullJid, type: 'unavailable' })
})

test(
  'what its recipient has not acknowledged is durable before the sender’s count',
  options,
  async () => {
    await using scene = await apart()
    const { two, romeo, juliet } = scene
    await enable(romeo)
    await enable(juliet)
    romeo.send(chat(juliet.fullJid, 'Good night'))
    await juliet.receives({ body: 'Good night' })
    await handles(romeo, 1)
    const kept = await two.server.storage.read<{ node: string }>('select node from sm_kept', [])
    assert.deepEqual(kept, [{ node: 'two' }])
    acknowledge(juliet, 1)
    await juliet.roundTrip()
  },
)

test('a session is resumed on another node, and misses nothing', options, async () => {
  await using scene = await resumableAt('one')
  const { one, two, romeo, juliet, id, fullJid } = scene
  romeo.send(chat(fullJid, 'one'))
  await juliet.receives({ body: 'one' })
  await juliet.vanishes()
  romeo.send(chat(fullJid, 'two'), chat(fullJid, 'three'))
  await romeo.roundTrip()
  const { client } = await resume(two, { id, h: 1, fullJid })
  for (const body of ['one', 'two', 'three']) await client.receives({ body })
  romeo.send(chat(fullJid, 'four'))
  await client.receives({ body: 'four' })
  assert.equal(one.server.sessionManager.sessions.of(client.bareJid).length, 1)
})

test(
  'what a session took along to another node, and its client has, is kept nowhere',
  options,
  async () => {
    await using scene = await resumableAt('one')
    const { two, romeo, juliet, id, fullJid } = scene
    await enable(romeo)
    await juliet.vanishes()
    romeo.send(chat(fullJid, 'one'), chat(fullJid, 'two'))
    await handles(romeo, 2)
    const kept = () => two.server.storage.read<{ node: string }>('select node from sm_kept', [])
    assert.deepEqual(await kept(), [{ node: 'one' }, { node: 'one' }])
    const { client } = await resume(two, { id, h: 0, fullJid })
    for (const body of ['one', 'two']) await client.receives({ body })
    assert.deepEqual(await kept(), [{ node: 'two' }, { node: 'two' }])
    // Her own presence and an answer were first.
    acknowledge(client, 4)
    await client.roundTrip()
    for (let attempt = 0; (await kept()).length > 0; attempt++) {
      assert.ok(attempt < 400, 'it is kept still')
      await new Promise((resolve) => setTimeout(resolve, 25))
    }
  },
)

/** Juliet's chamber at `one`, and her balcony at `two` without a connection, are sent the same. */
async function toBoth({ one, two, romeo, juliet }: Resumable): Promise<Client> {
  const { client: chamber } = await connectResumable(one, 'juliet', 'chamber')
  await chamber.becomesAvailable(0)
  await until(knows(two, chamber.fullJid))
  await juliet.vanishes()
  await enable(romeo)
  romeo.send(chat(juliet.bareJid, 'to both'))
  await chamber.receives({ body: 'to both' })
  await handles(romeo, 1)
  return chamber
}

test('what others had as well is kept nowhere once it has arrived', options, async () => {
  await using scene = await resumableAt('two')
  const { one, id, fullJid } = scene
  const chamber = await toBoth(scene)
  const { client } = await resume(one, { id, h: 0, fullJid })
  await client.receives({ body: 'to both' })
  // Her own presence, an answer and the other's presence were first.
  acknowledge(client, 4)
  await client.roundTrip()
  await chamber.leaves()
  const kept = () => one.server.storage.read<{ node: string }>('select node from sm_kept', [])
  for (let attempt = 0; (await kept()).length > 0; attempt++) {
    assert.ok(attempt < 400, `it is kept still: ${JSON.stringify(await kept())}`)
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
})

test('wherever a session goes on, nobody else is asked for what it has', options, async () => {
  await using scene = await resumableAt('two')
  const { one, id, fullJid } = scene
  await toBoth(scene)
  const kept = async () => {
    const rows = await one.server.storage.read<{ notes: string }>('select notes from sm_kept', [])
    return rows.map(({ notes }) => JSON.parse(notes).handed)
  }
  const isHanded = (handed: unknown) => typeof handed === 'string'
  assert.ok((await kept()).some(isHanded))
  const { client } = await resume(one, { id, h: 0, fullJid })
  await client.receives({ body: 'to both' })
  // From then on `one` takes it for arrived, whatever becomes of the node that has the session.
  assert.ok((await kept()).length > 0)
  assert.deepEqual((await kept()).filter(isHanded), [])
})

test(
  'what came just before a session went to another node is not left behind',
  options,
  async () => {
    await using scene = await resumableAt('one')
    const { one, two, romeo, juliet, id, fullJid } = scene
    await enable(romeo)
    await juliet.vanishes()
    const client = await authenticated(two, 'juliet')
    romeo.send(chat(fullJid, 'one'), chat(fullJid, 'two'))
    await romeo.roundTrip()
    const answer = await tryToResume(client, id, 0)
    assert.equal(answer.name, 'resumed')
    for (const body of ['one', 'two']) await client.receives({ body })
    // Her own presence and an answer were first.
    acknowledge(client, 4)
    await client.roundTrip()
    // It writes what it still has to keep.
    await one.stop()
    const kept = await two.server.storage.read<{ node: string }>('select node from sm_kept', [])
    assert.deepEqual(kept, [])
  },
)

test(
  'what is stored comes before what is newer wherever the session goes on',
  options,
  async () => {
    await using pair = await startPair({ modules: { offline: { batch: 1, patience: '1m' } } })
    const { one, two } = pair
    const romeo = await one.connect('romeo', 'orchard')
    const { client: juliet, id } = await connectResumable(one, 'juliet', 'balcony')
    for (const body of ['one', 'two', 'three']) romeo.send(chat(juliet.bareJid, body))
    await romeo.roundTrip()
    juliet.send(el('presence'))
    await juliet.receives({ body: 'one' })
    await juliet.vanishes()
    const client = await authenticated(two, 'juliet')
    assert.equal((await tryToResume(client, id, 0)).name, 'resumed')
    romeo.send(chat(juliet.bareJid, 'four'))
    await romeo.roundTrip()
    for (const [index, body] of ['one', 'two', 'three', 'four'].entries()) {
      const next = await client.receives({ name: 'message' })
      assert.equal(next.child('body')?.text, body)
      acknowledge(client, index + 1)
    }
  },
)

/** `one` lets her session go, and a message that she has not got with it; `two` does not fetch it. */
async function letGo({ two, romeo, juliet, id, fullJid }: Resumable): Promise<void> {
  await juliet.vanishes()
  romeo.send(chat(fullJid, 'one'))
  await romeo.roundTrip()
  const { cluster } = two.server
  const asked = { id, account: juliet.bareJid, epoch: cluster.self.epoch }
  assert.notEqual(await cluster.ask('one', 'stream_release', asked), null)
}

test('a session that was let go, and nobody has fetched, is where it was', options, async () => {
  await using scene = await resumableAt('one')
  const { one, romeo, id, fullJid } = scene
  await letGo(scene)
  romeo.send(chat(fullJid, 'two'))
  await until(knows(one, fullJid))
  const { client } = await resume(one, { id, h: 0, fullJid })
  for (const body of ['one', 'two']) await client.receives({ body })
})

test('what it had goes on if its client began another meanwhile', options, async () => {
  await using scene = await resumableAt('one')
  const { one, romeo, fullJid } = scene
  await letGo(scene)
  const client = await one.connect('juliet', 'balcony')
  romeo.send(chat(fullJid, 'two'))
  for (const body of ['one', 'two']) await client.receives({ body })
})

test('a node that let a session go does not tell its client what it counted', options, async () => {
  await using scene = await resumableAt('one')
  const { one, two, juliet, id, fullJid } = scene
  await juliet.vanishes()
  const { client } = await resume(two, { id, h: 0, fullJid })
  await client.leaves()
  await until(() => one.server.sessionManager.sessions.get(parseJid(fullJid)) === undefined)
  const late = await authenticated(one, 'juliet')
  const answer = await tryToResume(late, id, 0)
  assert.deepEqual([answer.name, answer.attr('h')], ['failed', undefined])
})

test('offline messages go to whoever comes, on whatever node', options, async () => {
  await using pair = await startPair()
  const { one, two } = pair
  const romeo = await one.connect('romeo', 'orchard')
  await two.createAccount('juliet')
  for (const body of ['one', 'two', 'three']) romeo.send(chat('juliet@im.example.com', body))
  await romeo.roundTrip()
  const juliet = await two.connect('juliet', 'balcony')
  for (const body of ['one', 'two', 'three']) await juliet.receives({ body })
})

test(
  'what a node has stored is found when it is gone, though it told nobody',
  options,
  async () => {
    await using pair = await startPair()
    const { one, two } = pair
    const juliet = await one.connect('juliet', 'balcony')
    // As if it had not known that she is here.
    const store = new OfflineStore(two.server.storage, { isShared: true })
    const romeo = parseJid('romeo@im.example.com/orchard')
    const account = parseBare('juliet@im.example.com')
    const stanza = Stanza.build('message', { type: 'chat' }, el('body', {}, 'unseen'))
    await store.add(account, new Envelope(romeo, account, stanza, SERVER), Date.now(), 1)
    await two.stop()
    await juliet.receives({ body: 'unseen' })
  },
)

test('a drained node sends its clients elsewhere, where they go on', options, async () => {
  await using scene = await resumableAt('two')
  const { one, two, romeo, juliet, id, fullJid } = scene
  const drained = await two.server.drain.run({ to: 'one.example.com', onProgress() {} })
  assert.deepEqual(drained, { sessions: 1, resumable: 1 })
  await juliet.receivesStreamError('see-other-host')
  romeo.send(chat(fullJid, 'on the way'))
  await romeo.roundTrip()
  const { client } = await resume(one, { id, h: 0, fullJid })
  await client.receives({ body: 'on the way' })
  assert.equal(two.server.isServing, false)
})

test('a node that stops leaves its sessions to the others', options, async () => {
  await using scene = await resumableAt('two')
  const { one, two, romeo, id, fullJid } = scene
  await two.stop()
  const isHere = () => {
    const session = one.server.sessionManager.sessions.get(parseJid(fullJid))
    return session !== undefined && isLocalSession(session)
  }
  await until(isHere)
  romeo.send(chat(fullJid, 'still there?'))
  await romeo.roundTrip()
  const { client } = await resume(one, { id, h: 0, fullJid })
  await client.receives({ body: 'still there?' })
})

test('a newer one waits for what it had, if its node is leaving', options, async () => {
  await using scene = await resumableAt('two')
  const { one, two, romeo, juliet, fullJid } = scene
  romeo.send(chat(fullJid, 'not acknowledged'))
  await juliet.receives({ body: 'not acknowledged' })
  await two.server.cluster.closeIntake()
  const { sessions } = two.server.sessionManager
  sessions.remove(sessions.get(parseJid(fullJid)) as StreamSession)
  const again = one.connect('juliet', parseJid(fullJid).resource)
  assert.equal(await within(500, again), false)
  await two.stop()
  await (await again).receives({ body: 'not acknowledged' })
})

test('a session that was left does not take the place of a newer one', options, async () => {
  await using scene = await resumableAt('two')
  const { one, two, romeo, juliet, fullJid } = scene
  await juliet.vanishes()
  romeo.send(chat(fullJid, 'one'))
  await romeo.roundTrip()
  const { promise: goOn, resolve: letGoOn } = Promise.withResolvers<void>()
  const { promise: begun, resolve: begin } = Promise.withResolvers<void>()
  one.server.hooks.on(
    'node_remains',
    async (remains) => {
      begin()
      await goOn
      return remains
    },
    { order: 1 },
  )
  const stopped = two.stop()
  await begun
  const connecting = one.connect('juliet', 'balcony')
  const here = () => one.server.sessionManager.sessions.get(parseJid(fullJid))
  const isHere = () => {
    const session = here()
    return session !== undefined && isLocalSession(session)
  }
  await until(isHere, 'the new session')
  const id = here()?.id
  letGoOn()
  const client = await connecting
  await stopped
  await client.receives({ body: 'one' })
  romeo.send(chat(fullJid, 'two'))
  await client.receives({ body: 'two' })
  await client.roundTrip()
  assert.equal(here()?.id, id)
  assert.equal((await one.server.storage.read('select id from sm_session', [])).length, 0)
})

test('what comes for a node that is stopping is not refused', options, async () => {
  await using scene = await resumableAt('two')
  const { one, two, romeo, id, fullJid } = scene
  const stopped = two.stop()
  const bodies: string[] = []
  let isStopped = false
  void stopped.then(() => {
    isStopped = true
  })
  while (!isStopped) {
    const body = `line ${bodies.length}`
    bodies.push(body)
    romeo.send(chat(fullJid, body))
    await romeo.roundTrip()
  }
  const { client } = await resume(one, { id, h: 0, fullJid })
  for (const body of bodies) await client.receives({ body })
})

test('a component of another node is reached, and answers', options, async () => {
  await using pair = await startPair({ component: {} })
  const { one, two } = pair
  const component = await two.connectComponent('service.example.net')
  await until(() => one.server.components.domains().includes('service.example.net'))
  const romeo = await one.connect('romeo', 'orchard')
  await until(knows(two, romeo.fullJid))
  romeo.send(chat('echo@service.example.net', 'Is there anybody?'))
  await component.receives({ body: 'Is there anybody?' })
  component.send(
    `<message from='echo@service.example.net' to='${romeo.fullJid}'><body>I am</body></message>`,
  )
  await romeo.receives({ body: 'I am' })
})

test('a roster is the same whichever node is asked', options, async () => {
  await using pair = await startPair()
  const { one, two } = pair
  const phone = await one.connect('romeo', 'phone')
  const desk = await two.connect('romeo', 'desk')
  await until(knows(one, desk.fullJid))
  for (const client of [phone, desk]) {
    await client.ask('get', undefined, el('query', { xmlns: 'jabber:iq:roster' }))
  }
  const add = (client: typeof phone, name: string) =>
    client.ask(
      'set',
      undefined,
      el('query', { xmlns: 'jabber:iq:roster' }, el('item', { jid: `${name}@example.net` })),
    )
  const all = Array.from({ length: 20 }, (_, index) => index)
  await Promise.all(all.map((i) => add(i % 2 === 0 ? phone : desk, `contact-${i}`)))
  for (const client of [phone, desk]) {
    const answer = await client.ask('get', undefined, el('query', { xmlns: 'jabber:iq:roster' }))
    assert.equal(answer.child('query', 'jabber:iq:roster')?.elements().length, 20)
  }
})

test('an account that is removed is gone on every node', options, async () => {
  await using scene = await apart()
  const { one, romeo, juliet } = scene
  await one.server.lifecycle.remove(parseJid(juliet.bareJid).toBare())
  await juliet.receivesStreamError('not-authorized')
  romeo.send(chat(juliet.bareJid, 'Are you there?'))
  await romeo.receives({ name: 'message', type: 'error' })
})

test('a new password counts on every node, and a disabled account is closed', options, async () => {
  await using pair = await startPair()
  const { one, two } = pair
  const credentials = { localpart: 'romeo', mechanism: 'PLAIN', password: PASSWORD }
  const tryAt = async (node: typeof one, password: string) => {
    const client = await node.openStream()
    const answer = await client.tryToAuthenticate({ ...credentials, password })
    return answer.elements()[0]?.name ?? answer.name
  }
  await one.createAccount('romeo')
  const account = parseBare(`romeo@${one.domain}`)
  for (const node of [one, two]) assert.equal(await tryAt(node, PASSWORD), 'success')

  await one.server.lifecycle.setPassword(account, 'another')
  for (const node of [one, two]) assert.equal(await tryAt(node, PASSWORD), 'not-authorized')
  for (const node of [one, two]) assert.equal(await tryAt(node, 'another'), 'success')
  await one.server.lifecycle.setDisabled(account, true)
  for (const node of [one, two]) assert.equal(await tryAt(node, 'another'), 'account-disabled')
})

test('what a node of another name has left is taken over, too', options, async () => {
  await using cluster = await TestCluster.start()
  const before = await cluster.node('before')
  const juliet = await connectResumable(before, 'juliet', 'balcony')
  await juliet.client.becomesAvailable(0)
  const { fullJid } = juliet.client
  await before.stop()
  // Nobody was there to take it over, and the registry forgets.
  await cluster.nats.stop()
  await cluster.forget()
  const after = await cluster.node('after')
  const isHere = () =>
    after.server.sessionManager.sessions.get(parseJid(fullJid))?.priority !== undefined
  await until(isHere)
  const { client } = await resume(after, { id: juliet.id, h: 0, fullJid })
  await client.roundTrip()
  // Should it be there after all, nothing of it is stored any more.
  assert.ok((await after.server.storage.fences.lastOf('before')) > 0)
})

test('who follows an account sees what happens to its stanzas on all nodes', options, async () => {
  await using scene = await apart()
  const { cluster, romeo, juliet } = scene
  const three = await cluster.node('three')
  const items: TraceItem[] = []
  const unfollow = three.server.traces.follow({ jid: juliet.bareJid }, (item) => items.push(item))
  const stories = (node: string) =>
    items.flatMap((item) =>
      item.node === node && item.stanza.from === romeo.fullJid ? item.trace : [],
    )
  // Whoever begins to follow first sees messages that the other does not.
  for (let attempt = 0; !stories('one').some((one) => stories('two').includes(one)); attempt++) {
    assert.ok(attempt < 2_000, `one story of ${stories('one').length} and ${stories('two').length}`)
    romeo.send(chat(juliet.fullJid, 'Wherefore?'))
    await romeo.roundTrip()
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  unfollow()
})

test('NATS that begins again without its files is told all anew', options, async () => {
  await using pair = await startPair({ component: {} })
  const { cluster, one, two } = pair
  const romeo = await one.connect('romeo', 'orchard')
  const juliet = await two.connect('juliet', 'balcony')
  const left = await two.connect('juliet', 'chamber')
  for (const client of [romeo, juliet, left]) await client.becomesAvailable()
  await two.connectComponent('service.example.net')
  await until(knows(one, left.fullJid))
  await until(() => one.server.components.domains().includes('service.example.net'))
  await cluster.nats.stop()
  await left.leaves()
  await cluster.nats.begin({ isEmpty: true })
  const come = await one.connect('romeo', 'street')
  await come.becomesAvailable()
  // Who comes now finds all that there is, and nobody who has gone.
  const three = await cluster.node('three')
  for (const node of [one, two, three]) {
    for (const client of [romeo, juliet, come]) await until(knows(node, client.fullJid))
    await until(() => node.server.components.domains().includes('service.example.net'))
    await until(() => !knows(node, left.fullJid)(), 'the end of a session')
  }
  romeo.send(chat(juliet.fullJid, 'there'))
  await juliet.receives({ body: 'there' })
  juliet.send(chat(come.fullJid, 'and back'))
  await come.receives({ body: 'and back' })
  // Nobody was given up for that.
  for (const { server } of [one, two, three]) {
    assert.deepEqual(server.cluster.nodes.map(({ node, state }) => `${node} ${state}`).sort(), [
      'one alive',
      'three alive',
      'two alive',
    ])
  }
})

test(
  'words are found on nodes that search, whichever node has archived them',
  options,
  async () => {
    await using cluster = await TestCluster.start()
    const archive = (fulltext: boolean) => ({ modules: { archive: { fulltext } } })
    const plain = await cluster.node('plain', archive(false))
    const romeo = await plain.connect('romeo', 'orchard')
    await plain.createAccount('juliet')
    const says = async (body: string) => {
      romeo.send(chat('juliet@im.example.com', body))
      await romeo.roundTrip()
    }
    await says('a moon before there was an index')
    const searching = await cluster.node('searching', archive(true))
    const juliet = await searching.connect('juliet', 'balcony')
    const search = { fields: { '{urn:xmpp:fulltext:0}fulltext': 'moon' } }
    const finds = async (count: number) => {
      for (let attempt = 0; (await askArchive(juliet, search)).bodies.length !== count; attempt++) {
        assert.ok(attempt < 800, `${count} are not found`)
        await new Promise((resolve) => setTimeout(resolve, 25))
      }
    }
    await finds(1)
    await says('the moon is in it')
    await finds(2)
    // Neither a node that starts without removes it, nor does it miss anything.
    const third = await cluster.node('third', archive(false))
    const nurse = await third.connect('romeo', 'street')
    nurse.send(chat('juliet@im.example.com', 'the inconstant moon'))
    await nurse.roundTrip()
    await finds(3)
  },
)

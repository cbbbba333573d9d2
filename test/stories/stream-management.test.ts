import assert from 'node:assert/strict'
import { test } from 'node:test'
import { z } from 'zod'
import { BIND_NS } from '../../src/c2s/binding.ts'
import { defineModule } from '../../src/core/module.ts'
import { el } from '../../src/xmpp/xml.ts'
import { startServer } from '../support/server.ts'
import { chat, iq, presence } from '../support/stanzas.ts'
import {
  acknowledge,
  authenticated,
  connectResumable,
  enable,
  handled,
  handledLater,
  handles,
  refusal,
  resume,
  SM_NS,
  tryToResume,
} from '../support/stream-management.ts'

test('stream management is offered to whom is authenticated', async () => {
  await using server = await startServer()
  const client = await server.openStream()
  assert.equal(client.features?.child('sm', SM_NS), undefined)
  await server.createAccount('romeo')
  const later = await authenticated(server, 'romeo')
  assert.ok(later.features?.child('sm', SM_NS))
})

test('a stream is enabled once, after binding', async () => {
  await using server = await startServer()
  const stranger = await server.openStream()
  assert.equal(refusal(await enable(stranger)), 'unexpected-request')
  await server.createAccount('romeo')
  const early = await authenticated(server, 'romeo')
  const refused = await enable(early)
  assert.equal(refused.name, 'failed')
  assert.equal(refusal(refused), 'unexpected-request')

  const romeo = await server.connect('romeo')
  const answer = await enable(romeo)
  assert.equal(answer.attr('resume'), 'true')
  assert.equal(answer.attr('max'), '600')
  assert.match(answer.attr('id') ?? '', /^.{20,}$/)
  romeo.send(el('enable', { xmlns: SM_NS }))
  await romeo.receivesStreamError('policy-violation')
})

test('a stream that is not to be resumed has no id', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo')
  const { attributes } = await enable(romeo, {})
  assert.deepEqual(attributes, {})
})

test('the client may ask for less time, not for more', async () => {
  await using server = await startServer({
    modules: { stream_management: { resume_timeout: '5m', location: 'im.example.com:5223' } },
  })
  const romeo = await server.connect('romeo')
  const { attributes } = await enable(romeo, { resume: '1', max: '100' })
  assert.equal(attributes.max, '100')
  assert.equal(attributes.location, 'im.example.com:5223')
  const juliet = await server.connect('juliet')
  assert.equal((await enable(juliet, { resume: 'true', max: '99999' })).attr('max'), '300')
})

test('all stanzas count, even refused ones; nothing else does', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo')
  await enable(romeo)
  assert.equal(await handled(romeo), 0)
  romeo.send(
    chat('nobody@im.example.com', 'Is there anybody?'),
    chat('@@', 'Where?'),
    iq('get', undefined),
    presence(),
    el('inactive', { xmlns: 'urn:xmpp:csi:0' }),
    el('active', { xmlns: 'urn:xmpp:csi:0' }),
  )
  await handles(romeo, 4)
  await romeo.roundTrip()
  await handles(romeo, 5)
})

test('without <enable/> there is nothing to acknowledge', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo')
  romeo.send(el('r', { xmlns: SM_NS }))
  const answer = await romeo.receives({ name: 'failed', ns: SM_NS })
  assert.equal(refusal(answer), 'unexpected-request')
})

test('the client is asked to acknowledge what it gets', async () => {
  await using server = await startServer()
  const juliet = await server.connect('juliet')
  const { client: romeo } = await connectResumable(server, 'romeo')
  juliet.send(chat(romeo.fullJid, 'one'))
  await romeo.receivesNext({ body: 'one' })
  await romeo.receivesNext({ name: 'r', ns: SM_NS })
  acknowledge(romeo, 1)
  for (let i = 0; i < 30; i++) juliet.send(chat(romeo.fullJid, `more ${i}`))
  await romeo.receives({ name: 'r', ns: SM_NS })
  acknowledge(romeo, 31)
  await romeo.roundTrip()
})

test('who acknowledges more than it was sent is told how much that was', async () => {
  await using server = await startServer()
  const { client: romeo } = await connectResumable(server, 'romeo')
  await romeo.roundTrip()
  acknowledge(romeo, 10)
  const error = await romeo.receivesStreamError('undefined-condition')
  const detail = error.child('handled-count-too-high', SM_NS)
  assert.deepEqual(detail?.attributes, { h: '10', 'send-count': '1' })
})

for (const h of ['', 'many', '-1', '4294967296', '1.5']) {
  test(`an acknowledgement of "${h}" ends the stream`, async () => {
    await using server = await startServer()
    const { client: romeo } = await connectResumable(server, 'romeo')
    romeo.send(el('a', { xmlns: SM_NS, h }))
    await romeo.receivesStreamError('policy-violation')
  })
}

test('what came while the client was away is there when it resumes, in order, once', async () => {
  await using server = await startServer()
  const juliet = await server.connect('juliet')
  const { client: romeo, id } = await connectResumable(server, 'romeo', 'orchard')
  await romeo.becomesAvailable(5)
  juliet.forgets()
  const before = chat(romeo.fullJid, 'got')
  juliet.send(before, chat(romeo.fullJid, 'got, but the client has not said so'))
  await romeo.receives({ body: 'got, but the client has not said so' })
  // Presence, pong, two messages.
  const h = 3
  romeo.send(chat(juliet.fullJid, 'handled'))
  await handles(romeo, 3)

  await romeo.vanishes()
  juliet.send(chat(romeo.bareJid, 'missed 1'), chat(romeo.fullJid, 'missed 2'))
  await juliet.roundTrip()

  const { client: back, handled: known } = await resume(server, { id, h, fullJid: romeo.fullJid })
  assert.equal(known, 3)
  juliet.send(chat(romeo.fullJid, 'live'))
  const delayed = { child: 'urn:xmpp:delay' }
  await back.receivesNext({ body: 'got, but the client has not said so', ...delayed })
  await back.receivesNext({ body: 'missed 1', ...delayed })
  await back.receivesNext({ body: 'missed 2', ...delayed })
  await back.receives({ body: 'live', without: 'urn:xmpp:delay' })
  assert.equal(back.inbox({ name: 'message' }).length, 0)
  const session = server.sessionOf(back)
  assert.equal(session.priority, 5)
  // The counters go on: three before, four again, the ping's answer.
  await back.roundTrip()
  acknowledge(back, h + 5)
  await handles(back, 4)
})

test('contacts do not notice that a session was resumed', async () => {
  await using server = await startServer()
  const desk = await server.connect('romeo', 'desk')
  const { client: romeo, id } = await connectResumable(server, 'romeo', 'orchard')
  await romeo.becomesAvailable()
  await desk.receives({ name: 'presence', from: romeo.fullJid })
  desk.forgets()

  await romeo.vanishes()
  await desk.receivesNothing()
  const { client: back } = await resume(server, { id, h: 2, fullJid: romeo.fullJid })
  await desk.receivesNothing()
  await back.leaves()
  await desk.receives({ name: 'presence', from: romeo.fullJid, type: 'unavailable' })
})

test('a session is resumed while its old connection is open still', async () => {
  await using server = await startServer()
  const juliet = await server.connect('juliet')
  const { client: romeo, id } = await connectResumable(server, 'romeo')
  juliet.send(chat(romeo.fullJid, 'unacknowledged'))
  await romeo.receives({ body: 'unacknowledged' })

  const { client: back } = await resume(server, { id, h: 0, fullJid: romeo.fullJid })
  await romeo.receivesStreamError('conflict')
  await back.receives({ body: 'unacknowledged' })
  juliet.send(chat(romeo.fullJid, 'live'))
  await back.receives({ body: 'live' })
})

test('of two connections that resume a session together, the later one has it', async () => {
  await using server = await startServer()
  const juliet = await server.connect('juliet')
  const { client: romeo, id } = await connectResumable(server, 'romeo', 'orchard')
  await romeo.vanishes()
  const first = await authenticated(server, 'romeo')
  const second = await authenticated(server, 'romeo')
  for (const client of [first, second]) {
    client.fullJid = romeo.fullJid
    client.send(el('resume', { xmlns: SM_NS, previd: id, h: 0 }), chat(juliet.fullJid, 'Hist!'))
  }
  await first.receivesStreamError('conflict')
  const answer = await second.receives({ name: 'resumed', ns: SM_NS })
  // What the first sent counts, if it had the session for a moment.
  await handles(second, Number(answer.attr('h')) + 1)
})

test('a session that is not there, or is another’s, is not resumed; binding goes on', async () => {
  await using server = await startServer()
  const { id } = await connectResumable(server, 'romeo')
  await server.createAccount('tybalt')
  const tybalt = await authenticated(server, 'tybalt')
  for (const wrong of ['nothing', id]) {
    const answer = await tryToResume(tybalt, wrong, 0)
    assert.equal(answer.name, 'failed')
    assert.equal(refusal(answer), 'item-not-found')
    assert.equal(answer.attr('h'), undefined)
  }
  await tybalt.bind()
  assert.equal(refusal(await tryToResume(tybalt, id, 0)), 'unexpected-request')
})

test('a request to resume that says too little is refused; another may follow', async () => {
  await using server = await startServer()
  const { client: romeo, id } = await connectResumable(server, 'romeo')
  await romeo.vanishes()
  const back = await authenticated(server, 'romeo')
  for (const attributes of [
    { previd: id },
    { h: '0' },
    { previd: id, h: '' },
    { previd: id, h: '-1' },
    { previd: id, h: '4294967296' },
  ]) {
    back.send(el('resume', { xmlns: SM_NS, ...attributes }))
    assert.equal(refusal(await back.receives({ ns: SM_NS })), 'bad-request')
  }
  assert.equal((await tryToResume(back, id, 0)).name, 'resumed')
})

test('who resumes too late learns how much was handled', async () => {
  await using server = await startServer()
  const { client: romeo, id } = await connectResumable(server, 'romeo')
  await romeo.roundTrip()
  const session = server.sessionOf(romeo)
  await romeo.vanishes()
  await session.close()
  const late = await authenticated(server, 'romeo')
  const answer = await tryToResume(late, id, 0)
  assert.equal(answer.attr('h'), '1')
})

test('resuming with too high a count ends the stream, not the session', async () => {
  await using server = await startServer()
  const { client: romeo, id } = await connectResumable(server, 'romeo')
  await romeo.vanishes()
  const wrong = await authenticated(server, 'romeo')
  wrong.send(el('resume', { xmlns: SM_NS, previd: id, h: 5 }))
  await wrong.receivesStreamError('undefined-condition')
  await resume(server, { id, h: 0, fullJid: romeo.fullJid })
})

test('the end of a session that had its connection all the time is nothing to the disk', async (context) => {
  await using server = await startServer()
  const { client: juliet } = await connectResumable(server, 'juliet', 'balcony')
  const writeAll = context.mock.method(server.server.storage, 'writeAll')
  const session = server.sessionOf(juliet)
  await juliet.leaves()
  await session.close()
  const statements = writeAll.mock.calls.flatMap(({ arguments: [all] }) => all)
  assert.deepEqual(
    statements.filter(({ sql }) => /\bsm_(session|queue)\b/.test(sql)),
    [],
  )
})

test('who closes its stream has no session left', async () => {
  await using server = await startServer()
  const { client: romeo, id } = await connectResumable(server, 'romeo')
  await romeo.leaves()
  const back = await authenticated(server, 'romeo')
  assert.equal(refusal(await tryToResume(back, id, 0)), 'item-not-found')
})

test('what a client never acknowledged waits offline for the next', async () => {
  await using server = await startServer()
  const juliet = await server.connect('juliet')
  const { client: romeo } = await connectResumable(server, 'romeo', 'orchard', { priority: 0 })
  juliet.send(chat(romeo.bareJid, 'one'), chat(romeo.fullJid, 'two'))
  juliet.send(iq('get', romeo.fullJid, el('query', { xmlns: 'jabber:iq:version' })))
  await romeo.receives({ name: 'iq', type: 'get' })
  const session = server.sessionOf(romeo)
  await romeo.vanishes()
  juliet.send(chat(romeo.bareJid, 'three'))
  await juliet.roundTrip()
  await session.close()

  await juliet.receives({ name: 'iq', type: 'error', error: 'service-unavailable' })
  const next = await server.connect('romeo', 'mantua')
  for (const body of ['one', 'two', 'three']) {
    await next.receives({ body, child: 'urn:xmpp:delay' })
  }
  assert.equal(juliet.inbox({ name: 'message' }).length, 0)
})

test('a session that is not resumed in time ends', async () => {
  await using server = await startServer({
    modules: { stream_management: { resume_timeout: '1s' } },
  })
  const desk = await server.connect('romeo', 'desk')
  const { client: romeo } = await connectResumable(server, 'romeo', 'orchard')
  await romeo.becomesAvailable()
  await romeo.vanishes()
  await desk.receives({ name: 'presence', from: romeo.fullJid, type: 'unavailable' })
})

test('who binds the same resource anew gets what the old session had not', async () => {
  await using server = await startServer()
  const juliet = await server.connect('juliet')
  const { client: romeo } = await connectResumable(server, 'romeo', 'orchard', { priority: 0 })
  juliet.send(chat(romeo.bareJid, 'acknowledged'), chat(romeo.bareJid, 'one'))
  await romeo.receives({ body: 'one' })
  acknowledge(romeo, 1)
  await romeo.roundTrip()
  await romeo.vanishes()
  juliet.send(chat(romeo.fullJid, 'two'))
  await juliet.roundTrip()

  const next = await server.connect('romeo', 'orchard')
  juliet.send(chat(romeo.fullJid, 'three'))
  await next.receives({ body: 'three' })
  const got = next.inbox({ name: 'message' }).map((message) => message.child('body')?.text)
  assert.deepEqual(got, ['one', 'two'])
})

test('what one resource acknowledged is not given to others', async () => {
  await using server = await startServer()
  const juliet = await server.connect('juliet')
  const { client: phone } = await connectResumable(server, 'romeo', 'phone', { priority: 0 })
  const { client: desk } = await connectResumable(server, 'romeo', 'desk', { priority: 0 })
  juliet.send(chat(phone.bareJid, 'for both'))
  await phone.receives({ body: 'for both' })
  await desk.receives({ body: 'for both' })
  acknowledge(desk, 1)
  await desk.roundTrip()

  const session = server.sessionOf(phone)
  await phone.vanishes()
  await session.close()
  await desk.receivesNothing({ name: 'message' })

  juliet.send(chat(phone.bareJid, 'for one'))
  await desk.receives({ body: 'for one' })
  const last = server.sessionOf(desk)
  await desk.vanishes()
  await last.close()
  const next = await server.connect('romeo', 'mantua')
  await next.receives({ body: 'for one' })
  await next.receivesNothing({ name: 'message' })
})

test('a client that acknowledges nothing gets no more after a while, and all of it once it does', async () => {
  await using server = await startServer({
    modules: { stream_management: { max_unacknowledged: 10 } },
  })
  const juliet = await server.connect('juliet')
  const { client: romeo } = await connectResumable(server, 'romeo', 'orchard')
  for (let i = 0; i < 25; i++) juliet.send(chat(romeo.fullJid, `${i}`))
  await romeo.receives({ body: '9' })
  await juliet.roundTrip()
  assert.equal(romeo.inbox({ body: '10' }).length, 0)
  acknowledge(romeo, 10)
  await romeo.receives({ body: '19' })
  acknowledge(romeo, 20)
  await romeo.receives({ body: '24' })
})

test('more than is kept for a client that is away goes back to the route, once', async () => {
  await using server = await startServer({
    modules: { stream_management: { max_unacknowledged: 10 } },
  })
  const juliet = await server.connect('juliet')
  const { client: romeo, id } = await connectResumable(server, 'romeo', 'orchard')
  await romeo.vanishes()
  const bodies = Array.from({ length: 12 }, (_, index) => `${index}`)
  for (const body of bodies) juliet.send(chat(romeo.fullJid, body))
  await juliet.roundTrip()
  const back = await authenticated(server, 'romeo')
  assert.equal(refusal(await tryToResume(back, id, 0)), 'item-not-found')
  await back.bind('orchard')
  await back.becomesAvailable()
  const got = back.inbox({ name: 'message' }).map((message) => message.child('body')?.text)
  assert.deepEqual(got, bodies)
})

/** Writes of the test's own that each message to `slow@…` waits for. */
function slowWrites() {
  const writes: PromiseWithResolvers<void>[] = []
  const module = defineModule({
    name: 'slow-writes',
    implements: [],
    config: z.strictObject({}),
    start({ hooks }) {
      hooks.on('user_send_message', (envelope) => {
        if (envelope.to.local !== 'slow') return envelope
        const write = Promise.withResolvers<void>()
        writes.push(write)
        envelope.settlement?.waitFor(write.promise)
        return envelope
      })
    },
  })
  return { writes, module }
}

test('who asks for it together with the resource gets nothing that is not counted', async () => {
  const gate = Promise.withResolvers<void>()
  const module = defineModule({
    name: 'slow-leave',
    implements: [],
    config: z.strictObject({}),
    start({ hooks }) {
      hooks.on('user_terminate', (reason) => gate.promise.then(() => reason))
      hooks.on('user_send_message', (envelope) => {
        if (envelope.stanza.child('body')?.text === 'two') setImmediate(gate.resolve)
        return envelope
      })
    },
  })
  await using server = await startServer({ use: [module] })
  const { client: before } = await connectResumable(server, 'romeo', 'orchard')
  const { client: juliet } = await connectResumable(server, 'juliet')
  juliet.send(chat(before.fullJid, 'one'))
  await before.receives({ body: 'one' })
  const romeo = await authenticated(server, 'romeo')
  const bind = el('bind', { xmlns: BIND_NS }, el('resource', {}, 'orchard'))
  romeo.send(iq('set', undefined, bind), el('enable', { xmlns: SM_NS }))
  await romeo.receives({ name: 'iq' })
  juliet.send(chat(before.fullJid, 'two'))
  const first = await romeo.receives(({ name }) => name === 'enabled' || name === 'message')
  assert.equal(first.name, 'enabled')
  await romeo.receives({ body: 'two' })
})

test('a stanza counts when all that keeps it is done, and not before one sent earlier', async () => {
  const { writes, module } = slowWrites()
  await using server = await startServer({ use: [module] })
  await server.createAccount('slow')
  const { client: romeo } = await connectResumable(server, 'romeo')
  romeo.send(
    chat('slow@im.example.com', 'one'),
    chat('slow@im.example.com', 'two'),
    chat('juliet@im.example.com', 'quick'),
  )
  assert.equal(await handled(romeo), 0)
  writes[1]?.resolve()
  await romeo.roundTrip()
  assert.equal(await handled(romeo), 0)
  writes[0]?.resolve()
  assert.equal(await handledLater(romeo), 4)
})

test('what could not be stored is sent again by the client, with all after it', async () => {
  const { writes, module } = slowWrites()
  await using server = await startServer({ use: [module] })
  await server.createAccount('slow')
  const { client: romeo, id } = await connectResumable(server, 'romeo')
  await romeo.roundTrip()
  romeo.send(chat('slow@im.example.com', 'one'), chat('juliet@im.example.com', 'two'))
  assert.equal(await handled(romeo), 1)
  writes[0]?.reject(new Error('the disk is full'))
  await romeo.receivesStreamError('internal-server-error')
  const { client: back, handled: known } = await resume(server, {
    id,
    h: 2,
    fullJid: romeo.fullJid,
  })
  assert.equal(known, 1)
  back.send(chat('slow@im.example.com', 'one'))
  assert.equal(await handled(back), 1)
  writes[1]?.resolve()
  assert.equal(await handledLater(back), 2)
})

test('a resuming client waits until it is certain what it has to send again', async () => {
  const { writes, module } = slowWrites()
  await using server = await startServer({ use: [module] })
  await server.createAccount('slow')
  const { client: romeo, id } = await connectResumable(server, 'romeo')
  romeo.send(chat('slow@im.example.com', 'one'))
  assert.equal(await handled(romeo), 0)
  await romeo.vanishes()
  const resuming = resume(server, { id, h: 0, fullJid: romeo.fullJid })
  writes[0]?.resolve()
  assert.equal((await resuming).handled, 1)
})

test('a session and what waits for it are there again after a restart', async () => {
  await using first = await startServer({ storage: { url: 'sqlite:meerkat.db' } })
  const desk = await first.connect('romeo', 'desk')
  const juliet = await first.connect('juliet')
  const { client: romeo, id } = await connectResumable(first, 'romeo', 'orchard')
  await romeo.becomesAvailable(3)
  await desk.leaves()
  await romeo.receives({ name: 'presence', from: desk.fullJid, type: 'unavailable' })
  juliet.send(chat(romeo.fullJid, 'got'), chat(romeo.fullJid, 'unacknowledged'))
  await romeo.receives({ body: 'unacknowledged' })
  await romeo.vanishes()
  juliet.send(chat(romeo.bareJid, 'missed'))
  await juliet.roundTrip()
  await first.stop()

  await using second = await startServer({
    data_dir: first.directory,
    storage: { url: 'sqlite:meerkat.db' },
  })
  const tybalt = await second.connect('tybalt')
  tybalt.send(chat(romeo.bareJid, 'later'))
  await tybalt.roundTrip()
  // Presence, pong, the desk's presence, one message.
  const { client: back, handled: known } = await resume(second, {
    id,
    h: 4,
    fullJid: romeo.fullJid,
  })
  assert.equal(known, 2)
  for (const body of ['unacknowledged', 'missed', 'later']) await back.receives({ body })
  assert.equal(second.sessionOf(back).priority, 3)
  await handles(back, 2)
})

test('a session that nobody resumed after a restart gives back what it had', async () => {
  await using first = await startServer({ storage: { url: 'sqlite:meerkat.db' } })
  const juliet = await first.connect('juliet')
  const { client: romeo } = await connectResumable(first, 'romeo', 'orchard', { priority: 0 })
  juliet.send(chat(romeo.fullJid, 'unacknowledged'))
  await romeo.receives({ body: 'unacknowledged' })
  await first.stop()
  await romeo.receivesStreamError('system-shutdown')

  await using second = await startServer({
    data_dir: first.directory,
    storage: { url: 'sqlite:meerkat.db' },
  })
  const next = await second.connect('romeo', 'orchard')
  await next.receives({ body: 'unacknowledged', child: 'urn:xmpp:delay' })
  await next.receivesNothing({ name: 'message' })
})

test('what comes while a resource is being bound is safe before its sender is told', async () => {
  await using server = await startServer({ modules: { archive: false } })
  const known = Promise.withResolvers<void>()
  server.server.hooks.on(
    'sm_register_connection',
    (session) => (session.jid.resource === 'balcony' ? known.promise.then(() => session) : session),
    { by: 'test' },
  )
  const romeo = await server.connect('romeo')
  await enable(romeo)
  await server.createAccount('juliet')
  const juliet = await authenticated(server, 'juliet')
  const bind = el('bind', { xmlns: BIND_NS }, el('resource', {}, 'balcony'))
  juliet.send(iq('set', undefined, bind), el('enable', { xmlns: SM_NS, resume: 'true' }))
  const isThere = () => server.server.sessionManager.sessions.of('juliet@im.example.com').length > 0
  let sent = 0
  for (; !isThere(); sent++) await romeo.roundTrip()
  romeo.send(chat('juliet@im.example.com/balcony', 'Who art thou?'))
  await handles(romeo, sent + 1)
  const { storage } = server.server
  const kept = await storage.read<{ stanza: string }>('select stanza from sm_kept', [])
  assert.equal(kept.length, 1)
  known.resolve()
  await juliet.receives({ body: 'Who art thou?' })
  acknowledge(juliet, 1)
  await juliet.roundTrip()
})

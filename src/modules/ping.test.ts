import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { DOMAIN, startCore } from '../../test/support/core.ts'
import type { RecordingSession } from '../../test/support/recording-session.ts'
import { stop } from '../core/hooks.ts'
import { Stanza } from '../xmpp/stanza.ts'
import { el } from '../xmpp/xml.ts'
import { ping } from './ping.ts'

const PING = el('ping', { xmlns: 'urn:xmpp:ping' })
const INTERVAL = 60_000
const TIMEOUT = 10_000

const start = () =>
  startCore({
    accounts: ['juliet'],
    modules: [[ping, { interval: INTERVAL, timeout: TIMEOUT }]],
  })

const pingsTo = (session: RecordingSession) =>
  session.received
    .map(({ stanza }) => stanza)
    .filter((stanza) => stanza.hasNamespace('urn:xmpp:ping'))

test('the server and accounts answer pings', async () => {
  await using core = await start()
  const juliet = await core.connect('juliet')
  for (const to of [DOMAIN, juliet.jid.bare]) {
    assert.equal((await core.ask(juliet, to, 'get', PING)).type, 'result')
  }
})

test('a silent client is asked once, a busy one is not', async () => {
  await using core = await start()
  const silent = await core.connect('juliet', 'silent')
  core.now += INTERVAL
  const busy = await core.connect('juliet', 'busy')
  await core.tick()
  await core.tick()
  assert.equal(pingsTo(silent).length, 1)
  assert.equal(pingsTo(busy).length, 0)
})

test('who answers stays, with a result or with an error, and is asked again later', async (t) => {
  mock.timers.enable({ apis: ['setTimeout'] })
  t.after(() => mock.timers.reset())
  await using core = await start()
  const juliet = await core.connect('juliet')
  for (const type of ['result', 'error']) {
    core.now += INTERVAL
    await core.tick()
    const { id } = pingsTo(juliet).at(-1) as Stanza
    juliet.lastActivity = core.now
    await core.send(juliet, DOMAIN, Stanza.build('iq', { type, id }))
    mock.timers.tick(TIMEOUT)
    await settled()
    assert.equal(juliet.isClosed, false)
  }
  assert.equal(pingsTo(juliet).length, 2)
})

test('who does not answer in time is taken for lost', async (t) => {
  mock.timers.enable({ apis: ['setTimeout'] })
  t.after(() => mock.timers.reset())
  await using core = await start()
  const juliet = await core.connect('juliet')
  core.now += INTERVAL
  await core.tick()
  mock.timers.tick(TIMEOUT - 1)
  await settled()
  assert.equal(juliet.isClosed, false)
  mock.timers.tick(1)
  await settled()
  assert.equal(juliet.closedWith?.condition, 'connection-timeout')
})

test('a session that somebody keeps without a connection is kept, and left alone', async (t) => {
  mock.timers.enable({ apis: ['setTimeout'] })
  t.after(() => mock.timers.reset())
  await using core = await start()
  core.hooks.on('user_socket_closed', (reason) => stop(reason))
  const juliet = await core.connect('juliet')
  core.now += INTERVAL
  await core.tick()
  mock.timers.tick(TIMEOUT)
  await settled()
  assert.equal(juliet.isConnected, false)
  assert.equal(juliet.isClosed, false)
  core.now += INTERVAL
  await core.tick()
  assert.equal(pingsTo(juliet).length, 1)
})

/** Everything that waits for promises has gone on. */
const settled = () => new Promise((resolve) => setImmediate(resolve))

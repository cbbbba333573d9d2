import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Envelope, SERVER } from '../../core/envelope.ts'
import { silentLogger } from '../../core/log.ts'
import type { Resource } from '../../core/session.ts'
import { Sessions } from '../../core/sessions.ts'
import { jid } from '../../xmpp/jid.ts'
import { Stanza } from '../../xmpp/stanza.ts'
import { Backlog } from './backlog.ts'

const JULIET = jid('juliet', 'im.example.com', 'balcony')

/** Of a node with others. */
function backlog() {
  const sessions = new Sessions()
  const looked: string[] = []
  const parts = {
    store: { page: async () => [], waiting: async () => [] },
    usage: { release() {}, forget() {} },
    removals: { remove() {}, has: () => false },
    sessions,
    log: silentLogger,
    lookAt: (node: string) => void looked.push(node),
    isShared: true,
    settingsFor: () => ({ batch: 10, patience: 1_000 }),
  }
  return { sessions, looked, backlog: new Backlog(parts) }
}

/** A resource of another node, as this one sees it. */
const remote = {
  jid: JULIET,
  id: 'session',
  priority: 0,
  shared: { clusterNode: 'two' },
  info: { openedAt: 0 },
} as unknown as Resource

test('what was stored goes first to whoever is on another node by now', async () => {
  const { backlog: all, sessions, looked } = backlog()
  const written = Promise.withResolvers<void>()
  void all.look(JULIET.bare, written.promise)
  sessions.add(remote)
  const done: string[] = []
  const before = all.elsewhere.before(JULIET.bare, [])?.then(() => done.push('one'))
  const next = all.elsewhere.before(JULIET.bare, [])?.then(() => done.push('two'))
  await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual([done, looked], [[], []])
  written.resolve()
  await Promise.all([before, next])
  assert.deepEqual(done, ['one', 'two'])
  // That the other node is told is in the order of what it is handed.
  assert.equal(looked[0], 'two')
  assert.equal(all.elsewhere.before(JULIET.bare, []), undefined)
})

test('nobody waits for a write that fails, nor for the account of somebody else', async () => {
  const { backlog: all, sessions } = backlog()
  sessions.add(remote)
  void all.look(JULIET.bare, Promise.reject(new Error('full')))
  assert.equal(all.elsewhere.before('romeo@im.example.com', []), undefined)
  await all.elsewhere.before(JULIET.bare, [])
  assert.equal(all.elsewhere.before(JULIET.bare, []), undefined)
})

test('who is not known to be available is looked for where something newer goes', async () => {
  const { backlog: all, looked } = backlog()
  void all.look(JULIET.bare, Promise.resolve())
  await all.elsewhere.before(JULIET.bare, [{ ...remote, priority: undefined }])
  assert.deepEqual(looked, ['two'])
})

test('what is stored is told where it is not known yet whether somebody is available', async () => {
  const { backlog: all, sessions, looked } = backlog()
  sessions.add({ ...remote, priority: undefined })
  const written = Promise.withResolvers<void>()
  const told = all.look(JULIET.bare, written.promise)
  await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(looked, [])
  written.resolve()
  await told
  assert.deepEqual(looked, ['two'])
})

test('whoever is asked to look for a session that has gone on tells where it is now', async () => {
  const { backlog: all, looked } = backlog()
  all.lookFor(JULIET.bare)
  assert.deepEqual(looked, [])
  await all.elsewhere.before(JULIET.bare, [{ ...remote, priority: undefined }])
  assert.deepEqual(looked, ['two'])
})

test('and nobody else if it is here', async () => {
  const { backlog: all, sessions } = backlog()
  const { promise: isGiven, resolve: given } = Promise.withResolvers<void>()
  const hold = () => ({ through: () => true, release: given })
  const session = { ...remote, shared: {}, isClosed: false, setPresence() {}, hold }
  sessions.add(session as unknown as Resource)
  all.lookFor(JULIET.bare)
  await isGiven
  assert.equal(all.elsewhere.before(JULIET.bare, []), undefined)
})

test('what is stored comes before what is passed on, and behind what was given back', async () => {
  const { backlog: all } = backlog()
  const message = new Envelope(JULIET, JULIET, Stanza.build('message', {}), SERVER)
  const given = message.asRetry()
  const passedOn = message.noted({ isRetry: true, hops: 1 })
  for (const envelope of [message, passedOn]) {
    void all.look(JULIET.bare, Promise.resolve())
    assert.equal(all.before(envelope, []), envelope)
    assert.equal(all.before(given, [remote]), given)
    const waiting = all.before(envelope, [remote])
    assert.ok(waiting instanceof Promise)
    assert.equal(await waiting, envelope)
    assert.equal(all.before(envelope, [remote]), envelope)
  }
})

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { silentLogger } from '../../core/log.ts'
import type { Resource } from '../../core/session.ts'
import { Sessions } from '../../core/sessions.ts'
import { parseJid } from '../../xmpp/jid.ts'
import { Relocation } from './relocation.ts'

const JID = parseJid('juliet@im.example.com').toBare().withResource('balcony')
const SELF = { node: 'one', epoch: 1 }
const OTHER = { node: 'two', epoch: 2 }

/** Node one lets a session of juliet's go to node two. */
async function letGo(t: TestContext) {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'] })
  const scene = {
    /** Whether the disk has it as node one's still, and how often that was asked. */
    isLeft: false,
    fetched: 0,
    /** Whether node two is over, and what it had is taken care of. */
    isTakenCareOf: false,
    /** What is newer need not wait any more. */
    isMoved: false,
    sessions: new Sessions(),
    /** A session is over at node two. */
    left: (_: Resource) => {},
    /** Its client is here again. */
    isBack: async () => {},
    asked: [] as string[],
    pass: async (ms: number) => {
      for (let passed = 0; passed < ms; passed += 10) {
        t.mock.timers.tick(10)
        await setImmediate()
      }
    },
  }
  const session = { jid: JID, id: 'session', isClosed: false, isConnected: false }
  const managed = {
    session,
    unacknowledged: [],
    repeats: { waiting: [] },
    handOver: async (letGo: () => void) => {
      letGo()
      return true
    },
  }
  const relocation = new Relocation({
    streams: { find: () => managed, letGo: () => {} },
    restoration: {
      fetch: async () => {
        scene.fetched++
        return scene.isLeft
      },
    },
    sessions: {
      sessions: scene.sessions,
      release: async (_: unknown, moved: Promise<void>) => {
        void moved.then(() => {
          scene.isMoved = true
        })
      },
    },
    cluster: {
      self: SELF,
      isShared: true,
      ask: async (node: string) => {
        scene.asked.push(node)
        return OTHER.epoch
      },
      isTakenCareOf: (run: unknown) => run === OTHER && scene.isTakenCareOf,
    },
    log: silentLogger,
  } as unknown as ConstructorParameters<typeof Relocation>[0])
  scene.left = (resource) => relocation.left(resource)
  scene.isBack = () => relocation.fetch('stream', JID.bare)
  assert.equal(await relocation.release('stream', JID.bare, OTHER), SELF.epoch)
  return scene
}

test('a session that was let go has moved when another node has it', async (t) => {
  const scene = await letGo(t)
  await scene.pass(2_000)
  assert.equal(scene.isMoved, false)
  scene.sessions.add({ jid: JID, id: 'session' } as Resource)
  await scene.pass(100)
  assert.equal(scene.isMoved, true)
  assert.equal(scene.fetched, 0)
})

test('or has had it, whether that was looked at or not', async (t) => {
  const scene = await letGo(t)
  scene.left({ jid: JID, id: 'another' } as Resource)
  await scene.pass(100)
  assert.equal(scene.isMoved, false)
  scene.left({ jid: JID, id: 'session' } as Resource)
  await scene.pass(100)
  assert.equal(scene.isMoved, true)
  assert.equal(scene.fetched, 0)
})

test('one that nobody has taken comes back', async (t) => {
  const scene = await letGo(t)
  scene.isLeft = true
  await scene.pass(3_100)
  assert.equal(scene.isMoved, true)
  assert.equal(scene.fetched, 1)
})

test('at once, if the node that it was for is gone', async (t) => {
  const scene = await letGo(t)
  scene.isLeft = true
  scene.isTakenCareOf = true
  await scene.pass(100)
  assert.equal(scene.isMoved, true)
  assert.equal(scene.fetched, 1)
})

test('what is newer waits for what a node had that died with the session in its hands', async (t) => {
  const scene = await letGo(t)
  await scene.pass(4_000)
  assert.equal(scene.fetched, 1)
  assert.equal(scene.isMoved, false)
  scene.isTakenCareOf = true
  await scene.pass(100)
  assert.equal(scene.isMoved, true)
})

test('but no longer than for anything', async (t) => {
  const scene = await letGo(t)
  await scene.pass(5_100)
  assert.equal(scene.isMoved, true)
})

test('a client that is back before its session has arrived elsewhere waits, and fetches it', async (t) => {
  const scene = await letGo(t)
  const back = scene.isBack()
  await scene.pass(1_000)
  assert.deepEqual(scene.asked, [])
  const shared = { stream: 'stream', clusterNode: OTHER.node }
  scene.sessions.add({ jid: JID, id: 'session', shared } as Resource)
  await scene.pass(100)
  await back
  assert.deepEqual(scene.asked, [OTHER.node])
})

test('or finds it here, when nobody has taken it', async (t) => {
  const scene = await letGo(t)
  scene.isLeft = true
  let isBack = false
  void scene.isBack().then(() => {
    isBack = true
  })
  await scene.pass(2_000)
  assert.equal(isBack, false)
  await scene.pass(1_100)
  assert.equal(isBack, true)
  assert.equal(scene.fetched, 1)
  assert.deepEqual(scene.asked, [])
})

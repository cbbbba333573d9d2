import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HeldBack } from './held-back.ts'

const ACCOUNT = 'juliet@im.example.com'

/** Time passes when it is told to. */
function heldBack() {
  const rings: (() => void)[] = []
  const timers = {
    after: (_: number, work: () => void) => {
      rings.push(work)
      return () => void rings.splice(rings.indexOf(work), 1)
    },
  }
  const done: string[] = []
  const held = new HeldBack(timers, { here: 1_000, elsewhere: 2_000 })
  const say = (what: string, work?: Promise<void>) =>
    held.run(ACCOUNT, () => {
      done.push(what)
      return work
    })
  return { held, done, say, ring: () => rings.splice(0).forEach((work) => void work()) }
}

const turn = () => new Promise((resolve) => setImmediate(resolve))

test('what has nothing to wait for is done at once', () => {
  const { held, done, say } = heldBack()
  held.hold('romeo@im.example.com', new Promise(() => {}))
  assert.equal(say('one'), undefined)
  assert.deepEqual(done, ['one'])
})

test('what waits goes on in the order in which it came', async () => {
  const { held, done, say } = heldBack()
  const [first, second] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  held.hold(ACCOUNT, first.promise)
  void say('one')
  held.hold(ACCOUNT, second.promise)
  void say('two')
  first.resolve()
  await turn()
  void say('three')
  assert.deepEqual(done, [])
  second.resolve()
  await held.released(ACCOUNT)
  assert.deepEqual(done, ['one', 'two', 'three'])
  assert.equal(held.isEmpty, true)
})

test('the next waits until the one before is done', async () => {
  const { held, done, say } = heldBack()
  const reason = Promise.withResolvers<void>()
  const work = Promise.withResolvers<void>()
  held.hold(ACCOUNT, reason.promise)
  void say('one', work.promise)
  void say('two')
  reason.resolve()
  await turn()
  void say('three')
  assert.deepEqual(done, ['one'])
  work.resolve()
  await turn()
  assert.deepEqual(done, ['one', 'two', 'three'])
})

test('a new reason to wait, from what went on, holds for all behind it', async () => {
  const { held, done, say } = heldBack()
  const [first, second] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  held.hold(ACCOUNT, first.promise)
  void held.run(ACCOUNT, () => {
    done.push('one')
    // It ends a session, which gives back what it has not delivered.
    held.hold(ACCOUNT, second.promise)
  })
  void say('two')
  first.resolve()
  await turn()
  void say('three')
  assert.deepEqual(done, ['one'])
  second.resolve()
  await held.released(ACCOUNT)
  assert.deepEqual(done, ['one', 'two', 'three'])
  assert.equal(held.isEmpty, true)
})

test('nothing waits for ever, neither for a reason nor for another', async () => {
  const { held, done, say, ring } = heldBack()
  const endless = new Promise<void>(() => {})
  held.hold(ACCOUNT, endless)
  void say('one', endless)
  void say('two')
  ring()
  assert.deepEqual(done, ['one'])
  ring()
  assert.deepEqual(done, ['one', 'two'])
  await held.allReleased()
})

test('what fails holds nobody up', async () => {
  const { held, done, say } = heldBack()
  const reason = Promise.withResolvers<void>()
  held.hold(ACCOUNT, reason.promise)
  const thrown = held.run(ACCOUNT, () => {
    throw new Error('thrown')
  })
  const rejected = say('one', Promise.reject(new Error('rejected')))
  void say('two')
  reason.reject(new Error('as well'))
  await assert.rejects(Promise.resolve(thrown), /thrown/)
  await assert.rejects(Promise.resolve(rejected), /rejected/)
  await turn()
  assert.deepEqual(done, ['one', 'two'])
})

test('whoever another node waits for does not wait for other nodes', async () => {
  const { held, done, say } = heldBack()
  const [own, others] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  assert.equal(held.releasedHere(ACCOUNT), undefined)
  held.hold(ACCOUNT, own.promise)
  held.hold(ACCOUNT, others.promise, true)
  void say('one')
  let isReleasedHere = false
  void held.releasedHere(ACCOUNT)?.then(() => {
    isReleasedHere = true
  })
  await turn()
  assert.equal(isReleasedHere, false)
  own.resolve()
  await turn()
  assert.equal(isReleasedHere, true)
  assert.equal(held.releasedHere(ACCOUNT), undefined)
  assert.deepEqual(done, [])
  others.resolve()
  await held.released(ACCOUNT)
  assert.deepEqual(done, ['one'])
})

test('without other nodes in question, what waits is done before', async () => {
  const { held, done, say } = heldBack()
  const [own, others] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const work = Promise.withResolvers<void>()
  held.hold(ACCOUNT, own.promise)
  held.hold(ACCOUNT, others.promise, true)
  void say('one', work.promise)
  const released = held.releasedHere(ACCOUNT)?.then(() => done.push('released'))
  others.resolve()
  own.resolve()
  await turn()
  assert.deepEqual(done, ['one'])
  work.resolve()
  await released
  assert.deepEqual(done, ['one', 'released'])
})

test('what others may wait for does not wait for them, but for what is here, in its turn', async () => {
  const { held, done, say } = heldBack()
  const here = (what: string) => void held.runHere(ACCOUNT, () => void done.push(what))
  const [own, others] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  held.hold(ACCOUNT, others.promise, true)
  here('at once')
  held.hold(ACCOUNT, own.promise)
  void say('newer')
  here('one')
  here('two')
  await turn()
  assert.deepEqual(done, ['at once'])
  own.resolve()
  await turn()
  assert.deepEqual(done, ['at once', 'one', 'two'])
  held.hold(ACCOUNT, turn())
  here('three')
  void say('newest')
  others.resolve()
  await held.released(ACCOUNT)
  assert.deepEqual(done, ['at once', 'one', 'two', 'newer', 'three', 'newest'])
})

test('what may not wait for others does not wait for what waits for them', async () => {
  const { held, done, say } = heldBack()
  const [here, elsewhere] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  held.hold(ACCOUNT, here.promise)
  void held.run(ACCOUNT, () => {
    done.push('one')
    held.hold(ACCOUNT, elsewhere.promise, true)
    return elsewhere.promise
  })
  void say('two')
  void held.runHere(ACCOUNT, () => void done.push('three'))
  here.resolve()
  await turn()
  assert.deepEqual(done, ['one', 'three'])
  elsewhere.resolve()
  await held.released(ACCOUNT)
  assert.deepEqual(done, ['one', 'three', 'two'])
})

test('what another node has is waited for longer', () => {
  const waits: number[] = []
  const timers = {
    after: (ms: number) => {
      waits.push(ms)
      return () => {}
    },
  }
  const held = new HeldBack(timers, { here: 1_000, elsewhere: 2_000 })
  held.hold(ACCOUNT, new Promise(() => {}))
  held.hold(ACCOUNT, new Promise(() => {}), true)
  assert.deepEqual(waits, [1_000, 2_000])
})

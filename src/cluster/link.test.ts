import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Random } from '../../test/loss/random.ts'
import { Process, Scheduler } from '../../test/simulation/scheduler.ts'
import { silentLogger } from '../core/log.ts'
import { Link, MAX_MESSAGE } from './link.ts'
import { readMessage } from './message.ts'
import type { Clock } from './transport.ts'

type Step =
  | { readonly do: 'send'; readonly size: number }
  | { readonly do: 'cut' | 'heal' }
  | { readonly do: 'wait'; readonly ms: number }

const LONG = 1_300_000

/** Two ends of a line, and what is between them: what it loses, repeats and delays comes from the seed. */
class Line {
  readonly scheduler = new Scheduler()
  readonly ends: readonly [Link, Link]
  /** What the other end was given, and what is done with. */
  readonly taken: string[] = []
  readonly finish: (() => void)[] = []
  timers = 0
  isCut = false
  loss = 0
  repeats = 0
  /** Messages keep their order if this is 0. */
  delay = 0
  isSlow = false
  acknowledged = 0
  /** What the other end waits for before it takes a message in. */
  seen: () => Promise<void> | undefined = () => undefined

  constructor(seed: number) {
    const random = new Random(seed)
    const runs = [
      { node: 'one', epoch: 1 },
      { node: 'two', epoch: 2 },
    ] as const
    const clock = this.#counting(new Process(this.scheduler).clock)
    const end = (self: 0 | 1): Link =>
      new Link({
        self: runs[self],
        peer: runs[self === 0 ? 1 : 0],
        clock,
        log: silentLogger,
        isConnected: () => !this.isCut,
        send: (message) => {
          const arrive = () => {
            const read = readMessage(message)
            assert.ok(read !== undefined)
            this.ends[self === 0 ? 1 : 0].receive(read.header, read.entries)
          }
          const times = this.repeats > 0 && random.next() < this.repeats ? 2 : 1
          for (let i = 0; i < times; i++) {
            if (random.next() < this.loss) continue
            this.scheduler.in(1 + random.next() * this.delay, arrive)
          }
        },
        take: (entry) => {
          this.taken.push(entry)
          if (!this.isSlow) return undefined
          return new Promise<void>((resolve) => this.finish.push(resolve))
        },
        onAcknowledged: (upTo) => {
          if (self === 0) this.acknowledged = upTo
        },
        written: () => 0,
        seen: () => (self === 0 ? undefined : this.seen()),
      })
    this.ends = [end(0), end(1)]
  }

  #counting(clock: Clock): Clock {
    return {
      ...clock,
      after: (ms, work) => {
        this.timers++
        let isOver = false
        const over = () => {
          if (!isOver) this.timers--
          isOver = true
        }
        const cancel = clock.after(ms, () => {
          over()
          work()
        })
        return () => {
          over()
          cancel()
        }
      },
    }
  }

  run(ms: number): Promise<void> {
    return this.scheduler.run(this.scheduler.now + ms)
  }
}

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('send' as const), size: fc.nat(50) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('cut' as const, 'heal' as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.nat(2_000) }) },
)
const weather = fc.record({
  seed: fc.nat(),
  loss: fc.constantFrom(0, 0.1, 0.5),
  repeats: fc.constantFrom(0, 0.3),
  delay: fc.constantFrom(0, 20, 800),
})

test('entries arrive once and in order, whatever is lost, repeated, late or cut', async () => {
  const histories = fc.asyncProperty(
    weather,
    fc.array(step, { maxLength: 40 }),
    async (all, steps) => {
      const line = new Line(all.seed)
      Object.assign(line, all)
      const [link] = line.ends
      const sent: string[] = []
      const numbered: [number, string][] = []
      let last = 0
      for (const one of steps) {
        if (one.do === 'send') {
          const entry = `${sent.length}${'x'.repeat(one.size)}`
          sent.push(entry)
          last = link.send(entry)
          if (entry.length <= MAX_MESSAGE) numbered.push([last, entry])
        } else if (one.do === 'wait') await line.run(one.ms)
        else line.isCut = one.do === 'cut'
      }
      const kept = numbered.filter(([number]) => number > line.acknowledged)
      assert.deepEqual([...link.unacknowledged()], kept)
      const done = link.acknowledged(last)
      Object.assign(line, { isCut: false, loss: 0, repeats: 0 })
      link.resend()
      await line.run(60_000)
      await done
      assert.deepEqual(line.taken, sent)
      assert.equal(line.acknowledged, last)
      assert.deepEqual([link.waiting, link.waitingBytes], [0, 0])
      for (const end of line.ends) end.close()
      assert.equal(line.timers, 0)
    },
  )
  await fc.assert(histories, { numRuns: 150 })
})

test('what is longer than a message goes in parts', async () => {
  const line = new Line(1)
  const [link] = line.ends
  const long = 'a'.repeat(LONG)
  const [before, , behind] = ['before', long, 'behind'].map((entry) => link.send(entry))
  // What is acknowledged part by part could not be put together again.
  const short = [
    [before, 'before'],
    [behind, 'behind'],
  ]
  assert.deepEqual([...link.unacknowledged()], short)
  await line.run(1)
  assert.deepEqual([...link.unacknowledged()], short)
  await line.run(1_000)
  assert.deepEqual(line.taken, ['before', long, 'behind'])
  assert.deepEqual([...link.unacknowledged()], [])
})

test('an entry is acknowledged when it is dealt with, and not before those ahead of it', async () => {
  const line = new Line(1)
  line.isSlow = true
  const [link] = line.ends
  link.send('one')
  const second = link.send('two')
  await line.run(100)
  line.finish[1]?.()
  await line.run(1_000)
  assert.equal(line.acknowledged, 0)
  assert.equal(link.waiting, 2)
  line.finish[0]?.()
  await line.run(1_000)
  assert.equal(line.acknowledged, second)
  // What is sent again meanwhile is not taken again.
  assert.deepEqual(line.taken, ['one', 'two'])
})

test('what was never sent can be taken back, what was sent cannot', async () => {
  const line = new Line(1)
  const [link] = line.ends
  const sent = link.send('sent')
  await line.run(100)
  line.isCut = true
  const kept = link.send('kept back')
  const other = link.send('other')
  await line.run(100)
  assert.equal(link.withdraw(kept), true)
  link.resend()
  assert.equal(link.withdraw(sent), false)
  line.isCut = false
  link.resend()
  await line.run(1_000)
  assert.deepEqual(line.taken, ['sent', 'other'])
  assert.equal(line.acknowledged, other)
})

test('what is longer than a message is taken back with all its parts', async () => {
  const line = new Line(1)
  const [link] = line.ends
  line.isCut = true
  link.send('a'.repeat(LONG))
  const long = link.send('b'.repeat(LONG))
  const last = link.send('last')
  assert.equal(link.withdraw(long), true)
  line.isCut = false
  link.resend()
  await line.run(1_000)
  assert.deepEqual(line.taken, ['a'.repeat(LONG), 'last'])
  assert.equal(line.acknowledged, last)
  assert.deepEqual([link.waiting, link.waitingBytes], [0, 0])
})

test('whoever waits for an acknowledgement hears of the end of the other run', async () => {
  const line = new Line(1)
  line.loss = 1
  const [link] = line.ends
  const waiting = link.acknowledged(link.send('lost'))
  await line.run(100)
  link.close()
  await waiting
  assert.equal(link.waiting, 0)
  assert.equal(link.send('later'), 0)
  assert.equal(line.timers, 0)
})

test('what is sent again while it waits for the registry is not kept twice', async () => {
  const line = new Line(1)
  const { promise, resolve } = Promise.withResolvers<void>()
  let taken = 0
  line.seen = () => {
    taken++
    return taken === 1 ? promise : undefined
  }
  const [link] = line.ends
  for (const entry of ['one', 'two', 'three']) {
    link.send(entry)
    await line.run(10)
  }
  await line.run(60_000)
  assert.equal(taken, 1)
  resolve()
  await line.run(0.1)
  // The first once more, and those behind it.
  assert.equal(taken, 1 + 3)
  await line.run(10_000)
  assert.deepEqual(line.taken, ['one', 'two', 'three'])
})

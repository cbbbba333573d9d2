import assert from 'node:assert/strict'
import { test } from 'node:test'
import { silentLogger } from '../core/log.ts'
import type { SqlRow } from '../core/storage.ts'
import { SharedClock } from './shared-clock.ts'

/** When the database was set up, as it sees it. */
const THEN = Date.parse('1597-01-30T20:00:00Z')

/** A database that answers each question late: after so long, having looked at its clock in between. */
function database(delays: readonly (readonly [there: number, back: number])[]) {
  let ticks = 1_000
  let asked = 0
  return {
    ticks: () => ticks,
    wait: (ms: number) => {
      ticks += ms
    },
    now: () => THEN + ticks,
    isShared: true,
    async read<Row = SqlRow>(): Promise<readonly Row[]> {
      const [there, back] = delays[asked++ % delays.length] as readonly [number, number]
      ticks += there
      const now = Math.round(THEN + ticks)
      ticks += back
      return [{ now } as unknown as Row]
    },
  }
}

test('the quickest of several answers tells the time of the database', async () => {
  // The first comes over a connection that has to be made, some while the machine is busy.
  const store = database([
    [900, 2],
    [2, 400],
    [1, 1],
    [60, 1],
    [2, 30],
  ])
  const clock = new SharedClock(store, silentLogger, store.ticks)
  await clock.start()
  assert.equal(clock.now(), store.now())
  store.wait(25_000)
  assert.equal(clock.now(), store.now())
  clock.stop()
})

test("a server alone goes by this machine's time", async () => {
  const store = { ...database([[1, 1]]), isShared: false }
  const clock = new SharedClock(store, silentLogger, store.ticks)
  await clock.start()
  const before = Date.now()
  const now = clock.now()
  assert.ok(before <= now && now <= Date.now())
})

test('it does not follow when the time of this machine is set', async (context) => {
  const store = database([[1, 1]])
  const clock = new SharedClock(store, silentLogger, store.ticks)
  await clock.start()
  context.mock.method(Date, 'now', () => 7)
  store.wait(10)
  assert.equal(clock.now(), store.now())
  clock.stop()
})

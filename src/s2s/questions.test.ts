import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Hooks } from '../core/hooks.ts'
import { IqDispatcher } from '../core/iq.ts'
import { silentLogger } from '../core/log.ts'
import { Router } from '../core/router.ts'
import { Pings } from './pings.ts'
import { type Channel, Questions } from './questions.ts'

const PAIR = { local: 'capulet.example', remote: 'montague.example' }
const SECOND = 1_000
const HOUR = 3_600 * SECOND
const TIMEOUT = 30 * SECOND

/** To a server that answers no pings; what it is asked about keys is in `probes`. */
function ask() {
  const hooks = new Hooks(silentLogger)
  const router = new Router(silentLogger, hooks.at('message_routed'))
  const { underWay } = hooks
  const iq = new IqDispatcher({ router, log: silentLogger, domainTypeOf: () => 'main', underWay })
  const probes: (() => void)[] = []
  const arrived: number[] = []
  let pings = 0
  const channel: Channel = {
    write() {
      pings++
    },
    probe(onAnswer) {
      probes.push(onAnswer)
      return true
    },
    onArrived: (count) => arrived.push(count),
  }
  const questions = new Questions(new Pings(iq), PAIR, channel, silentLogger)
  return { questions, probes, arrived, pings: () => pings }
}

test('a server that is asked about a key late has time to answer', (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: 0 })
  const { questions, probes, arrived } = ask()
  questions.wrote(1)
  questions.flushing(1)
  // Nobody looked meanwhile.
  t.mock.timers.tick(TIMEOUT)
  questions.look(1, Date.now(), TIMEOUT)
  assert.equal(probes.length, 1)
  assert.equal(questions.isLate(Date.now(), TIMEOUT), false)

  t.mock.timers.tick(TIMEOUT / 2 - SECOND)
  assert.equal(questions.isLate(Date.now(), TIMEOUT), false)
  t.mock.timers.tick(SECOND)
  assert.equal(questions.isLate(Date.now(), TIMEOUT), true)
  probes[0]?.()
  assert.deepEqual(arrived, [1])
  assert.equal(questions.isLate(Date.now(), TIMEOUT), false)
})

test('a server that answers no pings is asked about a key whenever it is pinged anew', (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: 0 })
  const { questions, probes, arrived, pings } = ask()
  const look = (count: number) => questions.look(count, Date.now(), TIMEOUT)
  const pass = (ms: number) => t.mock.timers.tick(ms)

  questions.wrote(1)
  questions.flushing(1)
  pass(TIMEOUT / 2)
  look(1)
  assert.deepEqual([pings(), probes.length], [1, 1])
  probes[0]?.()
  assert.deepEqual(arrived, [1])

  pass(HOUR + SECOND)
  questions.wrote(2)
  questions.flushing(2)
  pass(TIMEOUT / 2)
  look(2)
  assert.deepEqual([pings(), probes.length], [2, 2])
  probes[1]?.()

  assert.deepEqual(arrived, [1, 2])
  pass(TIMEOUT)
  assert.equal(questions.isLate(Date.now(), TIMEOUT), false)
})

test('what left while pings were ignored is asked about, though they are ignored no longer', (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: 0 })
  const { questions, probes, arrived, pings } = ask()
  questions.wrote(1)
  questions.flushing(1)
  t.mock.timers.tick(TIMEOUT / 2)
  questions.look(1, Date.now(), TIMEOUT)
  probes[0]?.()
  assert.deepEqual(arrived, [1])

  t.mock.timers.tick(HOUR - SECOND)
  questions.wrote(2)
  questions.flushing(2)
  assert.deepEqual([pings(), probes.length], [1, 1])
  t.mock.timers.tick(2 * SECOND)
  questions.look(2, Date.now(), TIMEOUT)
  assert.deepEqual([pings(), probes.length], [2, 1])
  t.mock.timers.tick(TIMEOUT)
  assert.equal(questions.isLate(Date.now(), TIMEOUT), true)
})

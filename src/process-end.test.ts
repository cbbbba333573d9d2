import assert from 'node:assert/strict'
import { test } from 'node:test'
import { silentLogger } from './core/log.ts'
import { ProcessEnd } from './process-end.ts'

test('the moment that was asked for last counts', ({ mock }) => {
  mock.timers.enable({ apis: ['setTimeout'] })
  const signals: string[] = []
  const end = new ProcessEnd({ log: silentLogger, kill: (signal) => signals.push(signal) })
  end.end('shutdown', 10_000)
  end.end('restart', 60_000)
  mock.timers.tick(59_999)
  assert.deepEqual(signals, [])
  mock.timers.tick(1)
  assert.deepEqual(signals, ['SIGUSR2'])
})

test('whoever asks for an end at once is answered before it', ({ mock }) => {
  mock.timers.enable({ apis: ['setTimeout'] })
  const signals: string[] = []
  const end = new ProcessEnd({ log: silentLogger, kill: (signal) => signals.push(signal) })
  end.end('shutdown', 0)
  mock.timers.tick(1)
  assert.deepEqual(signals, [])
  mock.timers.tick(1_000)
  assert.deepEqual(signals, ['SIGTERM'])
})

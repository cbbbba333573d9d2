import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ProgressLog } from './progress-log.ts'

test('a line every five seconds, with what is left at the speed of this attempt', () => {
  const written: string[] = []
  let now = 0
  const log = new ProgressLog(
    (line) => void written.push(line),
    () => now,
  )
  // An earlier attempt did half of it.
  for (let second = 0; second <= 10; second++) {
    now = second * 1000
    log.show({ done: 500 + second * 10, total: 1000, of: 'rows' })
  }
  assert.deepEqual(written, [
    '50 %  500 of 1000 rows\n',
    '55 %  550 of 1000 rows, about 0:45 left\n',
    '60 %  600 of 1000 rows, about 0:40 left\n',
  ])
})

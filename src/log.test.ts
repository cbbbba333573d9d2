import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { LogLevel } from './core/log.ts'
import { createLogger, type LogFormat } from './log.ts'

function logTo(lines: string[], format: LogFormat, level: LogLevel = 'info') {
  return createLogger({ level, format, write: (line) => void lines.push(line) })
}

test('json: an object per line with event, level, time and fields', () => {
  const lines: string[] = []
  logTo(lines, 'json').child({ stream: 7 }).info('session_opened', { jid: 'a@b/c' })
  const { time, ...rest } = JSON.parse(lines[0] ?? '')
  assert.deepEqual(rest, { level: 'info', stream: 7, jid: 'a@b/c', event: 'session_opened' })
  assert.equal(new Date(time).toISOString(), time)
  assert.equal(lines[0]?.endsWith('}\n'), true)
})

test('pretty: one line for people, quoted where a value could be mistaken', () => {
  const lines: string[] = []
  logTo(lines, 'pretty').warn('refused', { port: 5222, reason: 'too\nmany', who: '\x1b[2J' })
  assert.match(
    lines.join(''),
    /^\d\d:\d\d:\d\d\.\d{3} WARN {2}refused port=5222 reason="too\\nmany" who="\\u001b\[2J"\n$/,
  )
})

test('an error is written with its stack and cause', () => {
  for (const format of ['json', 'pretty'] as const) {
    const lines: string[] = []
    const error = new Error('outer', { cause: new Error('inner') })
    logTo(lines, format).error('failed', { error })
    assert.equal(lines.length, 1)
    assert.match(lines[0] ?? '', /outer/)
    assert.match(lines[0] ?? '', /inner/)
    assert.match(lines[0] ?? '', /log\.test\.ts/)
  }
})

test('secrets are not written, at the top or one level down', () => {
  const lines: string[] = []
  const log = logTo(lines, 'json')
  log.info('a', { password: 'hunter2', settings: { token: 'hunter2', name: 'x' } })
  log.child({ secret: 'hunter2' }).info('b')
  assert.doesNotMatch(lines.join(''), /hunter2/)
  assert.equal(JSON.parse(lines[0] ?? '').settings.name, 'x')
})

test('levels below the configured one write nothing', () => {
  const lines: string[] = []
  const log = logTo(lines, 'json', 'warn')
  log.info('a')
  log.debug('b')
  log.fatal('c')
  assert.equal(lines.length, 1)
  assert.deepEqual([log.isEnabled('info'), log.isEnabled('warn')], [false, true])
})

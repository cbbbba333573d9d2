import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ProgressBar } from './progress-bar.ts'

function terminal(isTTY: boolean) {
  const written: string[] = []
  return { isTTY, columns: 60, written, write: (text: string) => void written.push(text) }
}

test('on a terminal: one line, drawn over the last one, then gone', () => {
  const shown = terminal(true)
  const bar = new ProgressBar(shown)
  bar.clear()
  bar.show({ done: 5, total: 20, of: 'messages' })
  bar.show({ done: 7, of: 'messages' })
  bar.show({ done: 30, total: 20, of: 'x'.repeat(100) })
  bar.clear()
  bar.clear()
  assert.deepEqual(shown.written, [
    `\r\x1b[K${'█'.repeat(8)}${'░'.repeat(22)} 25 %  5 of 20 messages`,
    '\r\x1b[K7 messages',
    `\r\x1b[K${`${'█'.repeat(30)} 100 %  30 of 20 ${'x'.repeat(100)}`.slice(0, 59)}`,
    '\r\x1b[K',
  ])
})

test('elsewhere nothing is drawn', () => {
  const log = terminal(false)
  const bar = new ProgressBar(log)
  bar.show({ done: 1, of: 'messages' })
  bar.clear()
  assert.deepEqual(log.written, [])
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Envelope, SERVER } from '../../core/envelope.ts'
import { jid } from '../../xmpp/jid.ts'
import { Stanza } from '../../xmpp/stanza.ts'
import { Repeats } from './repeats.ts'

const ROMEO = jid('romeo', 'im.example.com')

function message(id?: string): Envelope {
  const stanza = Stanza.build('message', { type: 'chat' })
  return new Envelope(ROMEO, ROMEO, stanza, SERVER, id === undefined ? {} : { id })
}

test('what has no id is always new', () => {
  const repeats = new Repeats()
  assert.deepEqual([repeats.take(message()), repeats.take(message())], ['new', 'new'])
})

test('what comes again before it is acknowledged is acknowledged with the first', () => {
  const repeats = new Repeats()
  const [first, second, other] = [message('a'), message('a'), message('b')]
  assert.equal(repeats.take(first), 'new')
  assert.equal(repeats.take(other), 'new')
  assert.equal(repeats.take(second), 'kept')
  assert.deepEqual(repeats.of(first), [second])
  assert.deepEqual(repeats.waiting, [second])
  assert.deepEqual(repeats.acknowledged(other), [])
  assert.deepEqual(repeats.acknowledged(first), [second])
  assert.deepEqual(repeats.waiting, [])
  assert.equal(repeats.take(message('a')), 'had')
})

test('what was acknowledged is known where the session goes on', () => {
  const repeats = new Repeats()
  for (let i = 0; i < 2_000; i++) {
    repeats.take(message(`${i}`))
    repeats.acknowledged(message(`${i}`))
  }
  assert.equal(repeats.take(message('1600')), 'had')
  assert.equal(repeats.take(message('10')), 'new')
  const next = new Repeats(repeats.last)
  assert.equal(next.take(message('1999')), 'had')
  assert.equal(next.take(message('2000')), 'new')
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fromTraceparent, newContext, toTraceparent } from './trace-context.ts'

test('a context travels as text', () => {
  for (const isSampled of [true, false]) {
    const context = newContext(undefined, isSampled)
    assert.match(context.trace, /^[0-9a-f]{32}$/)
    assert.match(context.span, /^[0-9a-f]{16}$/)
    assert.deepEqual(fromTraceparent(toTraceparent(context)), context)
  }
})

test('what is caused is a chapter of the same story', () => {
  const cause = newContext()
  const effect = newContext(cause)
  assert.deepEqual([effect.trace, effect.parent], [cause.trace, cause.span])
  assert.notEqual(effect.span, cause.span)
})

test('other text is no context', () => {
  const good = toTraceparent(newContext())
  for (const text of [
    '',
    `${good}0`,
    good.toUpperCase(),
    good.replace('00-', '01-'),
    '00-1-2-01',
  ]) {
    assert.equal(fromTraceparent(text), undefined, text)
  }
})

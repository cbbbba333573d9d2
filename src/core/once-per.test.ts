import assert from 'node:assert/strict'
import { test } from 'node:test'
import { oncePer } from './once-per.ts'

test('it is made once for each object, even if it is nothing', () => {
  const asked: object[] = []
  const nameOf = oncePer((key: { readonly name?: string }) => {
    asked.push(key)
    return key.name
  })
  const [romeo, nobody] = [{ name: 'romeo' }, {}]
  for (let i = 0; i < 2; i++) {
    assert.equal(nameOf(romeo), 'romeo')
    assert.equal(nameOf(nobody), undefined)
  }
  assert.deepEqual(asked, [romeo, nobody])
})

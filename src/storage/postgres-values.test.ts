import assert from 'node:assert/strict'
import { test } from 'node:test'
import { numbered, toColumns, toRow } from './postgres-values.ts'

test('question marks become numbers, except in quotes and comments', () => {
  const cases = {
    'select 1': 'select 1',
    'insert into a (b, c) values (?, ?), (?, ?)': 'insert into a (b, c) values ($1, $2), ($3, $4)',
    "select '?', 'it''s ?', ? as \"?\" -- ?\n, ? /* ? \n ? */ , ?":
      "select '?', 'it''s ?', $1 as \"?\" -- ?\n, $2 /* ? \n ? */ , $3",
    "a like ? escape '\\' and b = ?": "a like $1 escape '\\' and b = $2",
  }
  for (const [sql, text] of Object.entries(cases)) assert.equal(numbered(sql), text)
})

test('columns are read by their types', () => {
  const read = (dataTypeID: number, text: string | null) =>
    toRow(toColumns([{ name: 'it', dataTypeID }]), [text]).it
  assert.equal(read(16, 't'), 1)
  assert.equal(read(16, 'f'), 0)
  assert.deepEqual(read(17, '\\x00ff'), new Uint8Array([0, 255]))
  assert.equal(read(20, '-9007199254740991'), -9007199254740991)
  assert.throws(() => read(20, '9007199254740992'), { kind: 'other' })
  assert.equal(read(701, '1e+300'), 1e300)
  assert.equal(read(1700, '12'), 12)
  assert.equal(read(1700, '0.5'), 0.5)
  assert.throws(() => read(1700, '90071992547409920'), { kind: 'other' })
  assert.equal(read(25, '12'), '12')
  assert.equal(read(20, null), null)
})

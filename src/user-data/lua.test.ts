import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LuaEndError, LuaError, LuaReader, type LuaValue } from './lua.ts'

const read = (text: string) => new LuaReader(Buffer.from(text).toString('latin1')).returned()
const plain = (value: LuaValue): unknown =>
  value instanceof Map ? [...value].map(([key, each]) => [key, plain(each)]) : value

test('constants as Prosody writes them', () => {
  const text = `-- made by hand
    return {
      [false] = { ["version"] = 12; }; ["a\\"b\\\\\\
c\\9\\195\\188"] = true, name = 'x'; "first", -1.5e3; { nil, [1] = 0x10 }; [7] = 1/0;
    };`
  assert.deepEqual(plain(read(text)), [
    [false, [['version', 12]]],
    ['a"b\\\nc\tü', true],
    ['name', 'x'],
    [1, 'first'],
    [2, -1500],
    [3, [[1, 16]]],
    [7, Number.POSITIVE_INFINITY],
  ])
  assert.equal(read('return "\\255";'), '\xff')
  assert.equal(read('return "ü ☾"'), 'ü ☾')
})

test('nothing is carried out', () => {
  const calls = [
    'os.execute("x")',
    'function() end',
    '{ f() }',
    '"a" .. "b"',
    '1 + 1',
    '{ [{}] = 1 }',
  ]
  for (const text of calls) assert.throws(() => read(`return ${text}`), LuaError, text)
  assert.throws(() => read('os.exit()'), LuaError)
  assert.throws(() => read('return 1; os.exit()'), LuaError)
  assert.throws(() => read(`return ${'{'.repeat(100_000)}`), /too deep/)
})

test('a list item by item; what is not there yet is told apart from what is wrong', () => {
  const octets = 'item({ 1 });\nitem({ ["a"] = "b" });\n'
  const reader = new LuaReader(octets)
  assert.deepEqual([plain(reader.item()), plain(reader.item())], [[[1, 1]], [['a', 'b']]])
  assert.ok(reader.isAtEnd)
  for (let end = 0; end < 11; end++) {
    assert.throws(() => new LuaReader(octets.slice(0, end)).item(), LuaEndError, `${end}`)
  }
  const wrong = () => new LuaReader('item(}').item()
  assert.throws(wrong, (error) => error instanceof LuaError && !(error instanceof LuaEndError))
})

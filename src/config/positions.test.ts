import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parse } from 'smol-toml'
import { type Path, Positions } from './positions.ts'

const document = `\
# settings
domains = ["im.example.com", # first
  "example.net"]
"quoted key" = 'x = 1'
text = """
port = 1
[not.a.table] "" \\"""
"""

[[listen.c2s]]
port = 5222
shaper = { rate = "1KiB", 'b.urst' = 2 }

[[listen.c2s]]
  address="::" # [[listen.c2s]]
  tls . mode = 'none'

[tls.domains."im.example.com"]
key = 'a'
[[listen.c2s.deep]]
x = [ { y = 1 }, [ 2 ] ]
`

test('every kind of key is found where it stands', () => {
  const positions = new Positions(document)
  const cases: [Path, number, number][] = [
    [['domains'], 2, 1],
    [['domains', 0], 2, 12],
    [['domains', 1], 3, 3],
    [['quoted key'], 4, 1],
    [['text'], 5, 1],
    [['listen'], 10, 3],
    [['listen', 'c2s'], 10, 10],
    [['listen', 'c2s', 0], 10, 1],
    [['listen', 'c2s', 0, 'port'], 11, 1],
    [['listen', 'c2s', 0, 'shaper', 'rate'], 12, 12],
    [['listen', 'c2s', 0, 'shaper', 'b.urst'], 12, 27],
    [['listen', 'c2s', 1], 14, 1],
    [['listen', 'c2s', 1, 'address'], 15, 3],
    [['listen', 'c2s', 1, 'tls', 'mode'], 16, 9],
    [['tls', 'domains', 'im.example.com'], 18, 14],
    [['tls', 'domains', 'im.example.com', 'key'], 19, 1],
    [['listen', 'c2s', 1, 'deep', 0], 20, 1],
    [['listen', 'c2s', 1, 'deep', 0, 'x', 0, 'y'], 21, 9],
    [['listen', 'c2s', 1, 'deep', 0, 'x', 1, 0], 21, 20],
  ]
  for (const [path, line, column] of cases) {
    assert.deepEqual(positions.at(path), { line, column }, JSON.stringify(path))
  }
})

test('a missing key stands where its table stands', () => {
  const positions = new Positions(document)
  assert.equal(positions.at(['listen', 'c2s', 1, 'port']), undefined)
  assert.deepEqual(positions.near(['listen', 'c2s', 1, 'port']), { line: 14, column: 1 })
  assert.equal(positions.near(['storage', 'url']), undefined)
})

const NAMES = ['a', 'port', 'x-1', '5', 'im.example.com', 'two words', 'q"uote', "a'b", '', 'é#=[']

const written = fc.constantFrom(...NAMES).chain((name) => {
  const ways = [JSON.stringify(name)]
  if (/^[\w-]+$/.test(name)) ways.push(name)
  if (!name.includes("'")) ways.push(`'${name}'`)
  return fc.constantFrom(...ways)
})

const blank = fc.constantFrom('', ' ', '\t')
const gap = fc.constantFrom('', ' ', '\n', ' # ] } x = 1\n')

const dottedKey = fc
  .tuple(fc.array(written, { minLength: 1, maxLength: 3 }), blank)
  .map(([keys, around]) => keys.join(`${around}.${around}`))

const scalar = fc.constantFrom(
  '1',
  'true',
  '1979-05-27 07:32:00',
  '"a = 1 # ] }"',
  '"\\"\\\\"',
  "'[x]'",
  '"""\nport = 1 "" \\""" x\n"""',
  '""""two quotes"""""',
  "'''\n[a]\n''''",
  '""',
)

const { value } = fc.letrec<{ value: string; array: string; table: string }>((tie) => ({
  value: fc.oneof({ maxDepth: 2 }, scalar, tie('array'), tie('table')),
  array: fc
    .tuple(fc.array(fc.tuple(gap, tie('value'), gap), { maxLength: 3 }), fc.constantFrom('', ','))
    .map(([items, trailing]) => {
      const inside = items.map((item) => item.join('')).join(',')
      return `[${inside}${items.length > 0 ? trailing : ''}]`
    }),
  table: fc
    .array(fc.tuple(blank, dottedKey, blank, tie('value'), blank), { maxLength: 3 })
    .map((items) => `{${items.map(([b, k, c, v, d]) => `${b}${k}${c}=${c}${v}${d}`).join(',')}}`),
}))

const statement = fc.oneof(
  { weight: 3, arbitrary: fc.tuple(blank, dottedKey, value).map(([b, k, v]) => `${b}${k} = ${v}`) },
  fc.tuple(dottedKey, blank).map(([k, b]) => `[${b}${k}${b}]`),
  fc.tuple(dottedKey, blank).map(([k, b]) => `${b}[[${b}${k}${b}]] # [x]`),
  // Few names, so that tables of one array follow one another and nest.
  fc.constantFrom('[[a]]', '[[a.port]]', '[a.x-1]', '[[a.port."5"]]', '[a.port.x-1]'),
  fc.constantFrom('', '# port = 1'),
)

/** Grown line by line, so that it stays valid: what the parser refuses is left out. */
const anyDocument = fc
  .tuple(fc.array(statement, { maxLength: 20, size: 'max' }), fc.constantFrom('\n', '\r\n'))
  .map(([statements, end]) =>
    statements.reduce((toml, line) => {
      const longer = `${toml}${line.replaceAll('\n', end)}${end}`
      try {
        parse(longer)
        return longer
      } catch {
        return toml
      }
    }, ''),
  )

function* pathsOf(value: unknown, path: Path = []): Generator<Path> {
  if (path.length > 0) yield path
  if (typeof value !== 'object' || value === null || value instanceof Date) return
  for (const [key, child] of Object.entries(value)) {
    yield* pathsOf(child, [...path, Array.isArray(value) ? Number(key) : key])
  }
}

/** The key that is written at the start of this text, as the parser reads it. */
function keyAt(text: string): string | undefined {
  const token = /^(?:[\w-]+|"(?:[^"\\]|\\.)*"|'[^']*')/.exec(text)?.[0]
  return token === undefined ? undefined : Object.keys(parse(`${token} = 1`))[0]
}

test('each key of any document is found at a place where it is written', () => {
  fc.assert(
    fc.property(anyDocument, (toml) => {
      const positions = new Positions(toml)
      const lines = toml.split('\n')
      for (const path of pathsOf(parse(toml))) {
        const position = positions.at(path)
        assert.ok(position, `${JSON.stringify(path)} is nowhere in\n${toml}`)
        const name = path.at(-1)
        if (typeof name !== 'string') continue
        const text = (lines[position.line - 1] ?? '').slice(position.column - 1)
        assert.equal(keyAt(text), name, `${JSON.stringify(position)} in\n${toml}`)
      }
    }),
    { numRuns: 300 },
  )
})

test('each array element of any document is found at its value', () => {
  fc.assert(
    fc.property(fc.array(scalar, { minLength: 1 }), gap, (items, between) => {
      const toml = `list = [${items.map((item) => `${between}${item}`).join(',')}]`
      const positions = new Positions(toml)
      const lines = toml.split('\n')
      for (const [index, item] of items.entries()) {
        const { line, column } = positions.at(['list', index]) ?? { line: 0, column: 0 }
        const rest = lines.slice(line - 1).join('\n')
        assert.ok(rest.slice(column - 1).startsWith(item), `element ${index} of ${toml}`)
      }
    }),
  )
})

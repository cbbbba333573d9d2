import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { z } from 'zod'
import { accountJid, domain, duration, size } from './config-types.ts'

test('durations are milliseconds', () => {
  const cases: [unknown, number][] = [
    [0, 0],
    [1500, 1500],
    ['250ms', 250],
    ['30s', 30_000],
    ['1.5s', 1_500],
    ['5m', 300_000],
    ['2h', 7_200_000],
    ['1d', 86_400_000],
    ['1w', 604_800_000],
  ]
  for (const [input, expected] of cases) assert.equal(duration().parse(input), expected)
})

test('sizes are bytes: KiB counts in 1024, kB and KB in 1000', () => {
  const cases: [unknown, number][] = [
    [4096, 4096],
    ['10B', 10],
    ['1kB', 1000],
    ['1KB', 1000],
    ['256KiB', 262_144],
    ['1MB', 1_000_000],
    ['1.5MiB', 1_572_864],
    ['1GiB', 1_073_741_824],
  ]
  for (const [input, expected] of cases) assert.equal(size().parse(input), expected)
})

test('anything else is refused with what was expected', () => {
  for (const input of ['', '5', '5 m', '-5s', 's', '5parsecs', -1, true, null, Number.NaN]) {
    const result = duration().safeParse(input)
    assert.equal(result.success, false, `${input}`)
    assert.match(result.error.issues[0]?.message ?? '', /^a duration such as "30s"/)
  }
})

test('bounds hold for numbers and text alike, both ends included', () => {
  const bounded = size({ min: 10_000, max: '1MiB' })
  assert.equal(bounded.parse(10_000), 10_000)
  assert.equal(bounded.parse('1MiB'), 1_048_576)
  for (const input of [9_999, '9kB', '2MiB']) {
    assert.equal(
      bounded.safeParse(input).error?.issues[0]?.message,
      'a size such as "256KiB", "1MB" or a number of bytes, from 10000 to 1MiB',
    )
  }
})

test('a prefault shows in the JSON Schema as one writes it in the file', () => {
  const schema = z.toJSONSchema(duration().prefault('30s'), { io: 'input' })
  assert.equal(schema.default, '30s')
  assert.equal(duration().prefault('30s').parse(undefined), 30_000)
})

test('whatever is accepted is a whole, safe number within the bounds', () => {
  const unit = fc.constantFrom('B', 'kB', 'MB', 'GB', 'KiB', 'MiB', 'GiB', 'TiB', '')
  const text = fc.tuple(fc.double({ noNaN: true }), unit).map(([n, u]) => `${n}${u}`)
  fc.assert(
    fc.property(fc.oneof(text, fc.double(), fc.integer()), (input) => {
      const result = size({ max: '1GiB' }).safeParse(input)
      if (!result.success) return
      assert.ok(Number.isSafeInteger(result.data))
      assert.ok(result.data >= 0 && result.data <= 2 ** 30)
    }),
  )
})

test('addresses come out in canonical form, and what is none is refused with the reason', () => {
  assert.equal(domain().parse('IM.Example.COM'), 'im.example.com')
  assert.equal(accountJid().parse('Alice@IM.example.com').full, 'alice@im.example.com')
  for (const input of ['', 'a b', 'alice@im.example.com', '-', 5]) {
    const message = domain().safeParse(input).error?.issues[0]?.message ?? ''
    assert.match(message, /^a domain such as "im.example.com"/, `${input}`)
  }
  for (const input of ['', 'im.example.com', 'alice@im.example.com/phone', 'a b@c', null]) {
    const message = accountJid().safeParse(input).error?.issues[0]?.message ?? ''
    assert.match(message, /^an account such as "alice@im.example.com"/, `${input}`)
  }
})

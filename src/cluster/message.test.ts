import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Header, isUnderstood, PROTOCOL, readMessage, writeHeader } from './message.ts'

const octets = fc.string({
  unit: fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)),
})
const count = fc.nat({ max: Number.MAX_SAFE_INTEGER })
const header: fc.Arbitrary<Header> = fc.record(
  {
    from: fc.stringMatching(/^[A-Za-z0-9_-]{1,63}$/),
    fromEpoch: count,
    toEpoch: count,
    first: count,
    acknowledged: count,
    isMissing: fc.boolean(),
    wantsAnswer: fc.boolean(),
    written: count,
  },
  { noNullPrototype: true },
)

const write = (header: Header, entries: readonly string[]) =>
  writeHeader(header) + entries.map((entry) => `${entry.length}:${entry}`).join('')

test('what is written is read again, whatever octets entries have', () => {
  fc.assert(
    fc.property(header, fc.array(octets), (header, entries) => {
      assert.deepEqual(readMessage(write(header, entries)), { header, entries })
    }),
  )
})

test('what is cut off or nonsense is no message', () => {
  fc.assert(
    fc.property(header, fc.array(octets, { minLength: 1 }), (header, entries) => {
      const message = write(header, entries)
      assert.equal(readMessage(message.slice(0, writeHeader(header).length - 1)), undefined)
      const cut = readMessage(message.slice(0, -1))
      assert.ok(cut === undefined || cut.entries.length < entries.length)
    }),
  )
  fc.assert(fc.property(octets, (text) => void readMessage(text)))
})

test('releases before and behind are understood, others are not', () => {
  fc.assert(
    fc.property(
      header,
      fc.array(octets),
      fc.integer({ min: -3, max: 3 }),
      (header, entries, by) => {
        const version = PROTOCOL + by
        const message = write(header, entries).replace(/^\d+/, String(version))
        const isAdjacent = by >= -1 && by <= 1
        assert.equal(isUnderstood(version), isAdjacent)
        assert.deepEqual(readMessage(message), isAdjacent ? { header, entries } : undefined)
      },
    ),
  )
})

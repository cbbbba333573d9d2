import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { formatDateTime, parseDateTime } from './datetime.ts'

describe('DateTime of XEP-0082', () => {
  const moments: Record<string, string> = {
    '1969-07-21T02:56:15Z': '1969-07-21T02:56:15.000Z',
    '1969-07-20T21:56:15-05:00': '1969-07-21T02:56:15.000Z',
    '2024-02-29T23:59:59.9Z': '2024-02-29T23:59:59.900Z',
    '2024-02-29T23:59:59.123456789Z': '2024-02-29T23:59:59.123Z',
    '2024-01-01T00:00:00+14:00': '2023-12-31T10:00:00.000Z',
    '2024-01-01T00:00:00-00:00': '2024-01-01T00:00:00.000Z',
    '2024-01-01T00:00:00+05:30': '2023-12-31T18:30:00.000Z',
    '0001-01-01T00:00:00Z': '0001-01-01T00:00:00.000Z',
    '9999-12-31T23:59:59Z': '9999-12-31T23:59:59.000Z',
  }
  for (const [text, utc] of Object.entries(moments)) {
    test(`${text} is ${utc}`, () => {
      const at = parseDateTime(text)
      assert.ok(at !== undefined)
      assert.equal(formatDateTime(at), utc)
    })
  }

  const refused = [
    '',
    '2024-01-01',
    '2024-01-01T00:00:00',
    '2024-01-01T00:00Z',
    '2024-01-01 00:00:00Z',
    '20240101T00:00:00',
    '2024-01-01t00:00:00z',
    ' 2024-01-01T00:00:00Z',
    '2024-01-01T00:00:00Z\n',
    '2024-01-01T00:00:00.Z',
    '2024-00-01T00:00:00Z',
    '2024-13-01T00:00:00Z',
    '2024-01-00T00:00:00Z',
    '2024-01-32T00:00:00Z',
    '2023-02-29T00:00:00Z',
    '2024-04-31T00:00:00Z',
    '2024-01-01T24:00:00Z',
    '2024-01-01T00:60:00Z',
    '2024-01-01T00:00:60Z',
    '2024-01-01T00:00:00+14:01',
    '2024-01-01T00:00:00+01:60',
    '2024-01-01T00:00:00+0100',
    '12024-01-01T00:00:00Z',
    '-024-01-01T00:00:00Z',
  ]
  for (const text of refused) {
    test(`refuses ${JSON.stringify(text)}`, () => assert.equal(parseDateTime(text), undefined))
  }

  test('what is formatted parses to the same', () => {
    const last = Date.UTC(9999, 11, 31, 23, 59, 59, 999)
    fc.assert(
      fc.property(fc.integer({ min: -62_135_596_800_000, max: last }), (at) => {
        assert.equal(parseDateTime(formatDateTime(at)), at)
      }),
      { seed: 82 },
    )
  })
})

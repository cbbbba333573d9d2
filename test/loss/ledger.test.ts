import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import { Ledger } from './ledger.ts'

const LONG_AGO = 100
const DAYS = 100_000_000

let now = 0
let ledger = new Ledger(10, 1, 1, () => now)

beforeEach(() => {
  now = LONG_AGO
  ledger = new Ledger(10, 1, 1, () => now)
})

/** A message sent and acknowledged; its transmission. */
function acknowledged(): number {
  const transmission = ledger.transmit(ledger.compose(0, 0))
  ledger.acknowledge(transmission)
  return transmission
}

const shown = (transmission: number, stream: number, isAvailable = true) =>
  ledger.show(transmission, { recipient: 0, stream, isAvailable })

const breaches = () => {
  ledger.close(false)
  return Object.fromEntries(ledger.breaches)
}

test('a message that was shown once is fine', () => {
  shown(acknowledged(), ledger.beginStream())
  assert.equal(ledger.owed, 0)
  assert.deepEqual(breaches(), {})
})

test('one that was acknowledged and never shown is lost', () => {
  acknowledged()
  assert.equal(ledger.owed, 1)
  assert.deepEqual(breaches(), { lost: 1 })
})

test('one that was not acknowledged is not', () => {
  ledger.transmit(ledger.compose(0, 0))
  assert.deepEqual(breaches(), {})
})

test('nothing is shown twice on one stream', () => {
  const stream = ledger.beginStream()
  const transmission = acknowledged()
  shown(transmission, stream)
  shown(transmission, stream)
  assert.deepEqual(breaches(), { duplicated: 1 })
})

test('what the server cannot know of may come again on another stream', () => {
  const stream = ledger.beginStream()
  const transmission = acknowledged()
  shown(transmission, stream)
  ledger.endStream(stream)
  shown(transmission, ledger.beginStream())
  assert.deepEqual(breaches(), {})
  assert.equal(ledger.repeated, 1)
})

test('what it knows of may not', () => {
  const stream = ledger.beginStream()
  const transmission = acknowledged()
  shown(transmission, stream)
  ledger.known(transmission)
  ledger.endStream(stream)
  shown(transmission, ledger.beginStream())
  assert.deepEqual(breaches(), { duplicated: 1 })
})

for (const { after, expected } of [
  { after: 1_000, expected: {} },
  { after: DAYS, expected: { duplicated: 1 } },
]) {
  test(`unless it was killed soon after: ${after} ms`, () => {
    const stream = ledger.beginStream()
    const transmission = acknowledged()
    shown(transmission, stream)
    ledger.known(transmission)
    now += after
    ledger.kill()()
    ledger.endStream(stream)
    shown(transmission, ledger.beginStream())
    assert.deepEqual(breaches(), expected)
  })
}

for (const { told, expected } of [
  { told: 'before', expected: {} },
  { told: 'after', expected: { duplicated: 1 } },
]) {
  test(`or since it was told, though it said so late: told ${told} the kill`, () => {
    const stream = ledger.beginStream()
    const transmission = acknowledged()
    shown(transmission, stream)
    if (told === 'before') ledger.told(transmission)
    now += 500
    ledger.kill()()
    now += 1
    if (told === 'after') ledger.told(transmission)
    // Only now does its recipient read what proves it.
    now += DAYS
    ledger.known(transmission)
    ledger.endStream(stream)
    shown(transmission, ledger.beginStream())
    assert.deepEqual(breaches(), expected)
  })
}

test('a client that sends again what was not acknowledged makes no duplicate', () => {
  const stream = ledger.beginStream()
  const message = ledger.compose(0, 0)
  shown(ledger.transmit(message), stream)
  shown(ledger.transmit(message), stream)
  assert.deepEqual(breaches(), {})
  assert.equal(ledger.ambiguous, 1)
})

test('what the server says it has not handled must not be shown', () => {
  const stream = ledger.beginStream()
  const transmission = ledger.transmit(ledger.compose(0, 0))
  ledger.disown(transmission)
  shown(transmission, stream)
  assert.deepEqual(breaches(), { disowned: 1 })
})

test('unless its disk failed between sending and saying so', () => {
  for (const [failsAt, expected] of [
    [30_000, { disowned: 1 }],
    [50_000, {}],
    [90_000, {}],
    [110_000, { disowned: 1 }],
  ] as const) {
    now = 0
    ledger = new Ledger(10, 1, 1, () => now)
    const stream = ledger.beginStream()
    const failDisk = () => {
      now = failsAt
      ledger.failDisk()()
    }
    if (failsAt < 40_000) failDisk()
    now = 40_000
    const transmission = ledger.transmit(ledger.compose(0, 0))
    if (failsAt > 40_000 && failsAt < 100_000) failDisk()
    now = 100_000
    ledger.disown(transmission)
    if (failsAt > 100_000) failDisk()
    shown(transmission, stream)
    assert.deepEqual(breaches(), expected)
  }
})

test('a message shown behind a later one is reordered', () => {
  const stream = ledger.beginStream()
  const [first, second] = [acknowledged(), acknowledged()]
  shown(second, stream)
  shown(first, stream)
  assert.deepEqual(breaches(), { reordered: 1 })
})

test('what comes again comes in order, too', () => {
  const [first, second] = [acknowledged(), acknowledged()]
  const stream = ledger.beginStream()
  shown(first, stream)
  shown(second, stream)
  ledger.endStream(stream)
  const next = ledger.beginStream()
  shown(second, next)
  shown(first, next)
  assert.deepEqual(breaches(), { reordered: 1 })
})

test('to a resource that is not available yet there is no order', () => {
  const stream = ledger.beginStream()
  const [first, second] = [acknowledged(), acknowledged()]
  shown(second, stream, false)
  shown(first, stream)
  assert.deepEqual(breaches(), {})
})

test('an error is an answer where the disk fails, and nowhere else', () => {
  const [first, second] = [acknowledged(), acknowledged()]
  ledger.bounce(ledger.messageOf(first), 'service-unavailable')
  ledger.failDisk()
  ledger.bounce(ledger.messageOf(second), 'resource-constraint')
  assert.deepEqual(breaches(), { bounced: 1 })
})

test('an archive has each message once and in order', () => {
  const stream = ledger.beginStream()
  const all = [acknowledged(), acknowledged(), acknowledged()]
  for (const transmission of all) shown(transmission, stream)
  ledger.archive(1, 0)
  ledger.archive(0, 0)
  ledger.archive(0, 0)
  ledger.close(true)
  assert.deepEqual(Object.fromEntries(ledger.breaches), {
    'archived late': 1,
    'archived twice': 1,
    unarchived: 1,
  })
})

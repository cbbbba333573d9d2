import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { type TestContext, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { acceptConnections, type Side } from '../../test/support/connections.ts'
import { NO_OCTETS } from '../xmpp/octets.ts'
import type { Frame } from '../xmpp/xml-parser.ts'

const HEADER =
  "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
const PEERS = 12
const COUNT = 3_000
const NUMBERS = Array.from({ length: COUNT }, (_, n) => n)
const ELEMENTS = NUMBERS.map((n) => `<a n='${n}'>${'.'.repeat(80)}</a>`).join('')
const SIZE = ELEMENTS.length / COUNT

type Numbered = Side & { readonly got: number[] }

/** Peers that send all elements at once and leave, and the other side of each. */
async function besiege(t: TestContext, onNumber: (n: number, side: Numbered) => void = () => {}) {
  const { port, sides } = await acceptConnections(t, (accepted) => {
    const side: Numbered = { ...accepted, got: [] }
    const onElement = (frame: Frame) => {
      const n = Number(frame.attribute('n'))
      side.got.push(n)
      onNumber(n, side)
    }
    return { side, handler: { onElement } }
  })
  const peers = Array.from({ length: PEERS }, () => connect(port, '127.0.0.1'))
  for (const peer of peers) {
    t.after(() => peer.destroy())
    peer.on('error', () => {}).resume()
    await once(peer, 'connect')
  }
  for (const peer of peers) peer.end(HEADER + ELEMENTS)
  return sides
}

test('what many send at once is taken a little of each in a turn, in order, and all of it though they leave', async (t) => {
  const perTurn = [0]
  let ticking = setImmediate(function tick() {
    perTurn.push(0)
    ticking = setImmediate(tick)
  })
  t.after(() => clearImmediate(ticking))
  const sides = await besiege(t, () => {
    perTurn[perTurn.length - 1] = (perTurn.at(-1) ?? 0) + 1
  })
  while (!(sides.length === PEERS && sides.every((side) => side.isClosed))) await setTimeout(5)
  for (const { got } of sides) assert.deepEqual(got, NUMBERS)
  const most = Math.max(...perTurn) * SIZE
  assert.ok(most < 176 * 1024, `${most} octets in a turn`)
})

test('who waits for work in its midst gets the rest afterwards, in order', async (t) => {
  const working = new Set<Numbered>()
  const sides = await besiege(t, (n, side) => {
    assert.equal(working.has(side), false)
    if (n % 777 !== 0) return
    working.add(side)
    void side.connection.waitFor(setTimeout(n % 2).then(() => working.delete(side)))
  })
  while (!(sides.length === PEERS && sides.every(({ got }) => got.length === COUNT))) {
    await setTimeout(5)
  }
  for (const { got } of sides) assert.deepEqual(got, NUMBERS)
})

test('once it has ended, nothing that was left over is taken', async (t) => {
  const sides = await besiege(t, (n, { connection }) => {
    if (n === 5) connection.end(NO_OCTETS)
  })
  while (!(sides.length === PEERS && sides.every((side) => side.isClosed))) await setTimeout(5)
  for (const { got } of sides) assert.deepEqual(got, NUMBERS.slice(0, 6))
})

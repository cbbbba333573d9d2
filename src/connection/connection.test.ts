import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { type TestContext, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { silentLogger } from '../core/log.ts'
import { NO_OCTETS } from '../xmpp/octets.ts'
import type { Frame } from '../xmpp/xml-parser.ts'
import { Connection, NOBODY } from './connection.ts'
import { Turn } from './turn.ts'

const HEADER =
  "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
const PEERS = 12
const COUNT = 3_000
const NUMBERS = Array.from({ length: COUNT }, (_, n) => n)
const ELEMENTS = NUMBERS.map((n) => `<a n='${n}'>${'.'.repeat(80)}</a>`).join('')
const SIZE = ELEMENTS.length / COUNT

type Side = { readonly connection: Connection; readonly got: number[]; isClosed: boolean }

/** Peers that send all elements at once and leave, and the other side of each. */
async function besiege(t: TestContext, onNumber: (n: number, side: Side) => void = () => {}) {
  const sides: Side[] = []
  const turn = new Turn()
  const limits = { maxStanzaSize: 10_000, maxDepth: 10, maxAttributes: 10 }
  const listener = createServer((socket) => {
    const options = { socket, turn, limits, shaper: undefined, log: silentLogger }
    new Connection(options, (connection) => {
      const side: Side = { connection, got: [], isClosed: false }
      sides.push(side)
      return {
        ...NOBODY,
        onElement(frame: Frame) {
          const n = Number(frame.attribute('n'))
          side.got.push(n)
          onNumber(n, side)
        },
        onClosed() {
          side.isClosed = true
        },
      }
    })
  })
  t.after(() => listener.close())
  await once(listener.listen(0, '127.0.0.1'), 'listening')
  const { port } = listener.address() as AddressInfo
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
  const working = new Set<Side>()
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

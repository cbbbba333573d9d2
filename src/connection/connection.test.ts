import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { type TestContext, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { silentLogger } from '../core/log.ts'
import { NO_OCTETS } from '../xmpp/octets.ts'
import type { Frame } from '../xmpp/xml-parser.ts'
import { Connection, NOBODY } from './connection.ts'
import { WriteTurn } from './write-turn.ts'

const HEADER =
  "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
const COUNT = 10_000
/** Octets, roughly, of one of `numbered`. */
const SIZE = 100
const numbered = Array.from({ length: COUNT }, (_, n) => `<a n='${n}'>${'.'.repeat(80)}</a>`)

/** A connection from which a peer has `onNumber` called with the number of each element. */
async function open(t: TestContext, onNumber: (n: number, connection: Connection) => void) {
  const { promise: closed, resolve } = Promise.withResolvers<void>()
  const turn = new WriteTurn()
  const limits = { maxStanzaSize: 10_000, maxDepth: 10, maxAttributes: 10 }
  const listener = createServer((socket) => {
    const options = { socket, turn, limits, shaper: undefined, log: silentLogger }
    new Connection(options, (connection) => ({
      ...NOBODY,
      onElement: (frame: Frame) => onNumber(Number(frame.attribute('n')), connection),
      onClosed: () => resolve(),
    }))
  })
  t.after(() => listener.close())
  await once(listener.listen(0, '127.0.0.1'), 'listening')
  const peer = connect((listener.address() as AddressInfo).port, '127.0.0.1')
  t.after(() => peer.destroy())
  peer.on('error', () => {})
  peer.write(HEADER)
  return { peer, closed }
}

test('what a peer sends at once is taken a little a turn, in order, and all of it though it leaves', async (t) => {
  const got: number[] = []
  const perTurn = [0]
  let ticking = setImmediate(function tick() {
    perTurn.push(0)
    ticking = setImmediate(tick)
  })
  t.after(() => clearImmediate(ticking))
  const { peer, closed } = await open(t, (n) => {
    got.push(n)
    perTurn[perTurn.length - 1] = (perTurn.at(-1) ?? 0) + 1
  })
  peer.end(numbered.join(''))
  await closed
  assert.deepEqual(
    got,
    numbered.map((_, n) => n),
  )
  // What was left over in one turn, and what the socket has brought.
  const most = Math.max(...perTurn) * SIZE
  assert.ok(most < 24 * 1024, `${most} octets in a turn`)
})

test('who waits for work in its midst gets the rest afterwards, in order', async (t) => {
  const got: number[] = []
  let isWorking = false
  const { peer } = await open(t, (n, connection) => {
    assert.equal(isWorking, false)
    got.push(n)
    if (n % 777 !== 0) return
    isWorking = true
    void connection.waitFor(
      setTimeout(n % 2).then(() => {
        isWorking = false
      }),
    )
  })
  peer.write(numbered.join(''))
  while (got.length < COUNT) await setTimeout(5)
  assert.deepEqual(
    got,
    numbered.map((_, n) => n),
  )
})

test('once it has ended, nothing that was left over is taken', async (t) => {
  const got: number[] = []
  const { peer, closed } = await open(t, (n, connection) => {
    got.push(n)
    if (n === 5) connection.end(NO_OCTETS)
  })
  peer.resume()
  peer.end(numbered.join(''))
  await closed
  assert.deepEqual(got, [0, 1, 2, 3, 4, 5])
})

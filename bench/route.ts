/**
 * What a stanza costs in memory, from the octets that come in to those that go out, without a
 * socket: `node bench/route.ts [--rounds N] [--batch N]`.
 *
 * The parser, the sender's session, all hooks of the default modules, the router's chain, the
 * session manager and the recipient's session are the server's own; the socket is a stream that
 * throws away what is written. Times are of the processor, of the whole process.
 */

import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { parseArgs } from 'node:util'
import { ClientSession } from '../src/c2s/client-session.ts'
import { outboundStages } from '../src/c2s/outbound.ts'
import { SessionPoints } from '../src/c2s/session-points.ts'
import { checkConfig, developmentSettings } from '../src/config.ts'
import { Connection } from '../src/connection/connection.ts'
import { WriteTurn } from '../src/connection/write-turn.ts'
import { silentLogger } from '../src/core/log.ts'
import { modules } from '../src/modules.ts'
import { Server } from '../src/server.ts'
import { type FullJid, parseJid } from '../src/xmpp/jid.ts'
import { Stanza } from '../src/xmpp/stanza.ts'
import { STREAM_START } from './stanzas.ts'

const COUNT = 200_000

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '7' },
    batch: { type: 'string', default: '10' },
    body: { type: 'string', default: '100' },
  },
})
const rounds = Number(values.rounds)
const batch = Number(values.batch)

const loaded = checkConfig(
  { ...developmentSettings, storage: { url: 'sqlite::memory:' } },
  { modules, directory: process.cwd() },
)
await using server = await Server.create({ loaded, log: silentLogger })
const turn = new WriteTurn()
const points = new SessionPoints(server.hooks, 'default')
const environment = {
  router: server.router,
  sessionManager: server.sessionManager,
  points,
  stages: outboundStages(points),
  log: silentLogger,
}

let written = 0

class Drain extends Duplex {
  readonly remoteAddress = '127.0.0.1'
  override _read(): void {}
  override _write(chunk: Buffer, _: BufferEncoding, done: () => void): void {
    written += chunk.length
    done()
  }
}

function connect(address: string): Duplex {
  const socket = new Drain()
  const limits = { maxStanzaSize: 262_144, maxDepth: 100, maxAttributes: 100 }
  const options = {
    socket: socket as unknown as Socket,
    turn,
    limits,
    shaper: undefined,
    log: silentLogger,
  }
  const opening = {
    jid: parseJid(address) as FullJid,
    id: address,
    info: {
      connection: 'tcp',
      address: '127.0.0.1',
      mechanism: 'PLAIN',
      isAnonymous: false,
      openedAt: Date.now(),
    },
    lang: undefined,
  } as const
  new Connection(options, (connection) => {
    const session = new ClientSession(opening, connection, environment)
    session.setPresence(0, Stanza.build('presence'))
    void server.sessionManager.register(session)
    return session
  })
  socket.emit('data', STREAM_START)
  return socket
}

const alice = connect('alice@localhost/a')
connect('bob@localhost/b')

const body = 'x'.repeat(Number(values.body))
const message = `<message to='bob@localhost/b' type='chat' id='0123456789abcdef'><body>${body}</body></message>`
const chunk = Buffer.from(message.repeat(batch))

/** Microseconds of processor time for each stanza. */
function measure(): number {
  const start = process.cpuUsage()
  for (let i = 0; i < COUNT; i += batch) {
    alice.emit('data', chunk)
    turn.flush()
  }
  const { user, system } = process.cpuUsage(start)
  return (user + system) / COUNT
}

console.log(`${COUNT} messages of ${message.length} octets, ${batch} a chunk; ${rounds} rounds`)
measure()
const results: number[] = []
for (let round = 0; round < rounds; round++) results.push(measure())
results.sort((a, b) => a - b)
const delivered = server.router.outcomes.get('sm')?.delivered ?? 0
if (delivered !== COUNT * (rounds + 1)) throw new Error(`delivered ${delivered}`)
if (written === 0) throw new Error('nothing was written')
const median = results[Math.floor(results.length / 2)] as number
console.log(`least ${results[0]?.toFixed(2)} µs, median ${median.toFixed(2)} µs a message`)

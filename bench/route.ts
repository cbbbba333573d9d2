/**
 * What a stanza costs in memory, from the octets that come in to those that go out, without a
 * socket: `node bench/route.ts [--rounds N] [--batch N] [--bare]`.
 *
 * The parser, the sender's session, all hooks of the default modules, the router's chain, the
 * session manager and the recipient's session are the server's own; the socket is a stream that
 * throws away what is written. Times are of the processor, of the whole process. `--bare` leaves out
 * what writes to the disk. What is allocated is told with `node --expose-gc
 * --min-semi-space-size=512 --max-semi-space-size=512`, which keep the collector away while that is
 * measured. `--follow JID`: while somebody follows that account.
 */

import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { parseArgs } from 'node:util'
import { ClientSession } from '../src/c2s/client-session.ts'
import { outboundStages } from '../src/c2s/outbound.ts'
import { SessionPoints } from '../src/c2s/session-points.ts'
import { checkConfig, developmentSettings } from '../src/config.ts'
import { Connection } from '../src/connection/connection.ts'
import { Turn } from '../src/connection/turn.ts'
import { silentLogger } from '../src/core/log.ts'
import { modules } from '../src/modules.ts'
import { Server } from '../src/server.ts'
import { type FullJid, parseJid } from '../src/xmpp/jid.ts'
import { Stanza } from '../src/xmpp/stanza.ts'
import { STREAM_START } from './stanzas.ts'

const COUNT = 200_000
const FEW = 20_000

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '7' },
    batch: { type: 'string', default: '10' },
    body: { type: 'string', default: '100' },
    bare: { type: 'boolean', default: false },
    follow: { type: 'string' },
  },
})
const rounds = Number(values.rounds)
const batch = Number(values.batch)

const isOff = { enabled: false }
const chosen = values.bare ? { modules: { archive: isOff, stream_management: isOff } } : {}
const loaded = checkConfig(
  { ...developmentSettings, ...chosen, storage: { url: 'sqlite::memory:' } },
  { modules, directory: process.cwd() },
)
await using server = await Server.create({ loaded, log: silentLogger })
const turn = new Turn()
const points = new SessionPoints(server.hooks, 'default')
const environment = {
  router: server.router,
  sessionManager: server.sessionManager,
  points,
  stages: outboundStages(points),
  log: silentLogger,
}

let told = 0
const isFollowed = values.follow !== undefined
if (values.follow !== undefined) server.tracing.follow({ jid: values.follow }, () => told++)

let written = 0

class Drain extends Duplex {
  readonly remoteAddress = '127.0.0.1'
  override _read(): void {}
  override _write(chunk: Buffer, _: BufferEncoding, done: () => void): void {
    written += chunk.length
    done()
  }
}

async function connect(address: string): Promise<Duplex> {
  let registered: Promise<void> | undefined
  const socket = new Drain()
  const limits = { maxStanzaSize: 262_144, maxDepth: 100, maxAttributes: 100 }
  const options = {
    socket: socket as unknown as Socket,
    host: { turn, log: silentLogger },
    limits,
    shaper: undefined,
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
    registered = Promise.resolve(server.sessionManager.register(session))
    return session
  })
  socket.emit('data', STREAM_START)
  await registered
  return socket
}

const alice = await connect('alice@localhost/a')
await connect('bob@localhost/b')

const body = 'x'.repeat(Number(values.body))
const message = `<message to='bob@localhost/b' type='chat' id='0123456789abcdef'><body>${body}</body></message>`
const chunk = Buffer.from(message.repeat(batch))

/** Microseconds of processor time for each stanza. */
async function measure(): Promise<number> {
  const start = process.cpuUsage()
  for (let i = 0; i < COUNT; i += batch) {
    alice.emit('data', chunk)
    turn.flush()
    // What is followed is told between turns.
    if (isFollowed && i % 1_000 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  const { user, system } = process.cpuUsage(start)
  return (user + system) / COUNT
}

/** What modules know of the two accounts is at hand behind the first message. */
async function begin(): Promise<void> {
  alice.emit('data', Buffer.from(message))
  for (let turn = 0; delivered() === 0 && turn < 10_000; turn++) {
    await new Promise((resolve) => setImmediate(resolve))
  }
  if (delivered() !== 1) throw new Error('the first message did not arrive')
}

function delivered(): number {
  return server.router.outcomes.get('sm')?.delivered ?? 0
}

/** Octets of the heap for each stanza; `undefined` if the collector cannot be kept away. */
function allocated(): number | undefined {
  const { gc } = globalThis
  if (gc === undefined) return undefined
  gc()
  const { heapUsed } = process.memoryUsage()
  for (let i = 0; i < FEW; i += batch) {
    alice.emit('data', chunk)
    turn.flush()
  }
  return (process.memoryUsage().heapUsed - heapUsed) / FEW
}

console.log(`${COUNT} messages of ${message.length} octets, ${batch} a chunk; ${rounds} rounds`)
await begin()
await measure()
const results: number[] = []
for (let round = 0; round < rounds; round++) results.push(await measure())
results.sort((a, b) => a - b)
if (delivered() !== COUNT * (rounds + 1) + 1) throw new Error(`delivered ${delivered()}`)
if (written === 0) throw new Error('nothing was written')
const median = results[Math.floor(results.length / 2)] as number
console.log(`least ${results[0]?.toFixed(2)} µs, median ${median.toFixed(2)} µs a message`)
const octets = allocated()
if (octets !== undefined) console.log(`${Math.round(octets)} octets of the heap a message`)
if (isFollowed) console.log(`${told} parts of traces told`)

/**
 * What a session costs in the table that each node has of all sessions, with more and more of them there:
 * a login and a change of priority of another node's session as this node hears of it, a login of its own,
 * and memory. No network: the registry is a map. Prints a line for each size.
 *
 *   node --expose-gc bench/registry.ts [--sizes 10000,100000,1000000]
 */
import { parseArgs } from 'node:util'
import { HandOff } from '../src/cluster/hand-off.ts'
import { Link } from '../src/cluster/link.ts'
import { keyOf, SessionTable } from '../src/cluster/session-table.ts'
import { type Change, type Registry, systemClock } from '../src/cluster/transport.ts'
import { silentLogger } from '../src/core/log.ts'
import type { Session, SessionInfo } from '../src/core/session.ts'
import { Sessions } from '../src/core/sessions.ts'
import { type FullJid, parseJid } from '../src/xmpp/jid.ts'

const { values: options } = parseArgs({
  options: { sizes: { type: 'string', default: '10000,100000,1000000' } },
})
const SIZES = options.sizes.split(',').map(Number)
/** Changes that are timed. */
const TIMED = 5_000
const HERE = { node: 'here', epoch: 1 }
const THERE = { node: 'there', epoch: 1 }
const INFO: SessionInfo = {
  connection: 'tls',
  address: '203.0.113.7',
  mechanism: 'SCRAM-SHA-256-PLUS',
  isAnonymous: false,
  openedAt: Date.now(),
}

class MapRegistry implements Registry {
  readonly isConnected = true
  #revision = 0

  async put(): Promise<number> {
    return ++this.#revision
  }

  async remove(): Promise<number> {
    return ++this.#revision
  }

  async get(): Promise<undefined> {}
  async watch(): Promise<void> {}
  async close(): Promise<void> {}
}

function jidOf(index: number): FullJid {
  return parseJid(`user${index}@im.example.com/phone`) as FullJid
}

function rowOf(index: number, priority: number | undefined, revision: number): Change {
  const jid = jidOf(index)
  const row = { jid: jid.full, id: `session-${index}`, ...THERE, priority, shared: {}, info: INFO }
  return { key: keyOf(jid), value: JSON.stringify(row), revision }
}

function tableOf(sessions: Sessions): SessionTable {
  const link: Link = new Link({
    self: HERE,
    peer: THERE,
    clock: systemClock,
    log: silentLogger,
    isConnected: () => true,
    send() {},
    take() {},
    onAcknowledged() {},
    written: () => 0,
    seen: () => undefined,
  })
  const taker = {
    toSession: () => false,
    passedOn: () => undefined,
    toComponent() {},
    toNode() {},
    again() {},
    keptElsewhere() {},
    unreachable() {},
  }
  const handOff = new HandOff({
    link,
    clock: systemClock,
    taker,
    patience: 1_000,
    isClosing: () => false,
  })
  return new SessionTable({
    self: () => HERE,
    registry: new MapRegistry(),
    clock: systemClock,
    log: silentLogger,
    sessions,
    handOffTo: () => handOff,
    closeRemote: async () => {},
    remains: () => undefined,
    isCleaned: () => false,
    isCleaner: () => false,
    holdBack() {},
    onLess() {},
    onSeenLate() {},
    wrote() {},
  })
}

/** A session of this node, as far as the table asks. */
function ownSession(index: number): Session {
  const own = { jid: jidOf(index), id: `own-${index}`, priority: 0, shared: {}, info: INFO }
  return own as unknown as Session
}

/** Microseconds of CPU for each. */
async function cost(work: (index: number) => unknown): Promise<number> {
  const before = process.cpuUsage()
  for (let i = 0; i < TIMED; i++) {
    const pending = work(i)
    if (pending instanceof Promise) await pending
  }
  const { user, system } = process.cpuUsage(before)
  return (user + system) / TIMED
}

for (const size of SIZES) {
  const sessions = new Sessions()
  const table = tableOf(sessions)
  globalThis.gc?.()
  const empty = process.memoryUsage().heapUsed
  let revision = 0
  for (let i = 0; i < size; i++) table.onChange(rowOf(i, 0, ++revision))
  globalThis.gc?.()
  const bytes = (process.memoryUsage().heapUsed - empty) / size
  const changes = Array.from({ length: TIMED }, (_, i) => rowOf(i, 5, ++revision))
  const logins = Array.from({ length: TIMED }, (_, i) => rowOf(size + i, undefined, ++revision))
  const change = await cost((i) => table.onChange(changes[i] as Change))
  const login = await cost((i) => table.onChange(logins[i] as Change))
  const own = await cost((i) => table.opened(ownSession(2 * size + i)))
  console.log(
    `${size.toLocaleString('en')} sessions: ${login.toFixed(1)} µs a login elsewhere, ` +
      `${change.toFixed(1)} µs a change elsewhere, ${own.toFixed(1)} µs a login here, ` +
      `${Math.round(bytes)} bytes of heap a session`,
  )
}

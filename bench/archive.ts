/**
 * What a message costs to archive at 1, 10 and 100 rows per turn of the event loop, and what a page
 * costs to read when the archive is large. Prints JSON.
 * `node bench/archive.ts [rows, default 1000000] [seconds per case, default 3] [fulltext]`.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createHistogram, monitorEventLoopDelay, performance } from 'node:perf_hooks'
import process from 'node:process'
import { silentLogger } from '../src/core/log.ts'
import { FullText } from '../src/modules/archive/full-text.ts'
import { ALL_IDS, ArchiveIds, boundAt } from '../src/modules/archive/ids.ts'
import { indexMigration } from '../src/modules/archive/index-behind.ts'
import {
  type ArchivedMessage,
  ArchiveStore,
  archiveMigration,
  type Selection,
  type Window,
} from '../src/modules/archive/store.ts'
import { ArchiveWriter } from '../src/modules/archive/writer.ts'
import { openSqlite } from '../src/storage/sqlite.ts'
import { jid } from '../src/xmpp/jid.ts'
import { describeMachine, gitCommit } from './machine.ts'

const ROWS = Number(process.argv[2] ?? 1_000_000)
const SECONDS = Number(process.argv[3] ?? 3)
const OWNERS = 200
/** Of each owner; the first half of the messages is with the first of them. */
const CONTACTS = 20
const MAX_BYTES = 256 * 1024
const withFullText = process.argv[4] === 'fulltext'

const DOMAIN = 'im.example.com'
const users = Array.from({ length: OWNERS + CONTACTS }, (_, n) =>
  jid(`user${n}`, DOMAIN, 'balcony'),
)
const user = (n: number) => users[n % users.length] as (typeof users)[number]
const BODY = 'Art thou not Romeo, and a Montague? '.repeat(4)

let time = Date.UTC(2026, 0)
const ids = new ArchiveIds(() => time)
let count = 0

/** The two rows of one message. */
function messages(): ArchivedMessage[] {
  count++
  // A thousand messages in a second.
  time++
  const from = user(count % OWNERS)
  const place = count % 2 === 0 ? 0 : (count * 7) % CONTACTS
  const to = user((count % OWNERS) + 1 + place)
  const id = ids.next()
  const xml = `<message xmlns='jabber:client' from='${from.full}' to='${to.bare}' id='b${count}' type='chat'><body>${BODY}${count}</body><active xmlns='http://jabber.org/protocol/chatstates'/></message>`
  const text = withFullText ? `${BODY}${count}` : undefined
  return [
    { owner: to.bare, id, peer: from, isGroupchat: false, xml, text },
    { owner: from.bare, id, peer: to, isGroupchat: false, xml, text },
  ]
}

/** As the server does it: one group after another is added, and waited for. */
async function writeTurns(store: ArchiveStore, rows: number) {
  const insert = (some: readonly ArchivedMessage[]) => store.insert(some)
  const writer = new ArchiveWriter({ insert, maxBytes: 2 ** 26, log: silentLogger })
  return await measure(rows, async () => {
    let last: Promise<void> | undefined
    for (let row = 0; row < rows; row += 2) {
      for (const message of messages()) last = writer.add(message)
    }
    await last
  })
}

/** About 2000 rows a second, until told to stop. */
function steadyWrites(store: ArchiveStore): () => void {
  const timer = setInterval(() => void store.insert([...messages(), ...messages()]), 2)
  return () => clearInterval(timer)
}

async function read(
  page: (owner: string, n: number) => Promise<readonly unknown[]>,
  stop: () => void = () => {},
) {
  let n = 0
  const result = await measure(1, () => {
    n = (n + 37) % OWNERS
    return page(user(n).bare, n)
  })
  stop()
  return result
}

/** Repeats `act`, of which each does `units`; figures are for one unit, latencies for one act. */
async function measure(units: number, act: () => Promise<unknown>) {
  for (const until = performance.now() + 300; performance.now() < until; ) await act()
  const latency = createHistogram()
  const stalls = monitorEventLoopDelay({ resolution: 1 })
  stalls.enable()
  const cpu = process.cpuUsage()
  const main = process.threadCpuUsage()
  const until = performance.now() + SECONDS * 1000
  let acts = 0
  while (performance.now() < until) {
    const started = performance.now()
    await act()
    latency.record(Math.max(1, micros(performance.now() - started)))
    acts++
  }
  const ofMain = process.threadCpuUsage(main)
  const ofAll = process.cpuUsage(cpu)
  stalls.disable()
  const each = (usage: { user: number; system: number }) =>
    Number(((usage.user + usage.system) / (acts * units)).toFixed(1))
  return {
    mainMicros: each(ofMain),
    totalMicros: each(ofAll),
    p50Micros: latency.percentile(50),
    p99Micros: latency.percentile(99),
    worstStallMs: Number((stalls.max / 1e6).toFixed(1)),
  }
}

function micros(ms: number): number {
  return Math.round(ms * 1000)
}

const directory = mkdtempSync(join(tmpdir(), 'meerkat-bench-'))
try {
  await using storage = await openSqlite(join(directory, 'bench.db'))
  await storage.migrate([archiveMigration, indexMigration])
  const fullText = withFullText ? await FullText.open(storage) : undefined
  const store = new ArchiveStore(storage, fullText)
  const write = (rows: number) => writeTurns(store, rows)
  const empty = { write2: await write(2), write10: await write(10), write100: await write(100) }

  const filling = performance.now()
  while (count * 2 < ROWS) await store.insert(Array.from({ length: 2000 }, messages).flat())
  const fillSeconds = Math.round((performance.now() - filling) / 1000)

  const full = { write2: await write(2), write10: await write(10), write100: await write(100) }
  const range = (owner: string): Selection => ({ owner, ...ALL_IDS, withGroupchat: false })
  const newest: Window = { from: 'newest', limit: 51, maxBytes: MAX_BYTES }
  const oldest: Window = { ...newest, from: 'oldest' }
  const middle = () => boundAt(Date.UTC(2026, 0) + Math.random() * count)
  const pages = {
    newest: await read((owner) => store.window(range(owner), newest)),
    middle: await read((owner) => store.window({ ...range(owner), after: middle() }, oldest)),
    ofContact: await read((owner, n) =>
      store.window({ ...range(owner), peer: user(n + 1).toBare() }, newest),
    ),
    ofNobody: await read((owner) =>
      store.window({ ...range(owner), peer: jid('nobody', DOMAIN) }, newest),
    ),
    ...(fullText !== undefined && {
      ofWord: await read((owner) => store.window({ ...range(owner), search: 'montague' }, newest)),
    }),
  }
  const whileWriting = await read(
    (owner) => store.window(range(owner), newest),
    steadyWrites(store),
  )
  const purging = performance.now()
  const removed = await store.removeOlder(boundAt(Date.UTC(2026, 0) + count / 20))
  const results = {
    machine: describeMachine(),
    commit: gitCommit(),
    rows: count * 2,
    rowBytes: messages()[0]?.xml.length,
    fillSeconds,
    empty,
    full,
    pages,
    whileWriting,
    purge: { removed, microsEach: micros((performance.now() - purging) / removed) },
  }
  console.log(JSON.stringify(results, null, 2))
} finally {
  rmSync(directory, { recursive: true })
}

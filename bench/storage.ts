/**
 * What a stored row costs at 1, 10 and 100 rows per turn of the event loop, and what a page of the
 * archive costs to read. Prints JSON. `node bench/storage.ts [seconds per case]`.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createHistogram, performance } from 'node:perf_hooks'
import process from 'node:process'
import type { Migration, Storage } from '../src/core/storage.ts'
import { openSqlite } from '../src/storage/sqlite.ts'
import { describeMachine, gitCommit } from './machine.ts'

const SECONDS = Number(process.argv[2] ?? 2)
const OWNERS = 200
const PAGE = 50

const archive: readonly Migration[] = [
  {
    name: 'bench/0001-archive',
    async up(db, types) {
      await db.schema
        .createTable('archived')
        .addColumn('owner', types.text, (column) => column.notNull())
        .addColumn('id', 'bigint', (column) => column.notNull())
        .addColumn('peer', types.text, (column) => column.notNull())
        .addColumn('xml', types.text, (column) => column.notNull())
        .addPrimaryKeyConstraint('archived_pk', ['owner', 'id'])
        .execute()
    },
  },
]

const xml = `<message xmlns='jabber:client' type='chat' id='a1b2c3'><body>${'Art thou not Romeo? '.repeat(12)}</body></message>`
const INSERT = 'insert into archived (owner, id, peer, xml) values (?, ?, ?, ?)'
const SELECT = 'select id, peer, xml from archived where owner = ? and id > ? order by id limit ?'

let lastId = 1_700_000_000_000_000
const append = (storage: Storage) => {
  lastId++
  const owner = `user${lastId % OWNERS}@im.example.com`
  return storage.write(INSERT, [owner, lastId, 'juliet@im.example.com', xml])
}

/** One group after another: each is asked for when the one before is durable. */
async function writeGroups(storage: Storage, rowsPerTurn: number) {
  const latency = createHistogram()
  return measure(latency, async (until) => {
    let rows = 0
    while (performance.now() < until) {
      const started = performance.now()
      await Promise.all(Array.from({ length: rowsPerTurn }, () => append(storage)))
      latency.record(Math.max(1, Math.round((performance.now() - started) * 1000)))
      rows += rowsPerTurn
    }
    return rows
  })
}

/** A steady load: rows are asked for every turn, whether or not the disk is behind. */
async function writeSteadily(storage: Storage, rowsPerSecond: number) {
  const latency = createHistogram()
  return measure(latency, async (until) => {
    const started = performance.now()
    let rows = 0
    const all: Promise<void>[] = []
    while (performance.now() < until) {
      const due = ((performance.now() - started) / 1000) * rowsPerSecond
      for (; rows < due; rows++) {
        const asked = performance.now()
        all.push(
          append(storage).then(() => {
            latency.record(Math.max(1, Math.round((performance.now() - asked) * 1000)))
          }),
        )
      }
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    await Promise.all(all)
    return rows
  })
}

async function readPages(storage: Storage) {
  const latency = createHistogram()
  return measure(latency, async (until) => {
    let pages = 0
    while (performance.now() < until) {
      const started = performance.now()
      const owner = `user${pages % OWNERS}@im.example.com`
      const rows = await storage.read(SELECT, [owner, 0, PAGE])
      if (rows.length !== PAGE) throw new Error(`a page of ${rows.length}`)
      latency.record(Math.max(1, Math.round((performance.now() - started) * 1000)))
      pages++
    }
    return pages
  })
}

async function measure(
  latency: ReturnType<typeof createHistogram>,
  run: (until: number) => Promise<number>,
) {
  await run(performance.now() + 300)
  latency.reset()
  const cpu = process.cpuUsage()
  const main = process.threadCpuUsage()
  const started = performance.now()
  const count = await run(started + SECONDS * 1000)
  const elapsed = (performance.now() - started) / 1000
  const ofMain = process.threadCpuUsage(main)
  const ofAll = process.cpuUsage(cpu)
  const each = (usage: { user: number; system: number }) =>
    Number(((usage.user + usage.system) / count).toFixed(2))
  return {
    perSecond: Math.round(count / elapsed),
    mainMicros: each(ofMain),
    totalMicros: each(ofAll),
    p50Micros: latency.percentile(50),
    p99Micros: latency.percentile(99),
  }
}

const directory = mkdtempSync(join(tmpdir(), 'meerkat-bench-'))
try {
  const started = performance.now()
  await using storage = await openSqlite(join(directory, 'bench.db'))
  await storage.migrate(archive)
  const results = {
    machine: describeMachine(),
    commit: gitCommit(),
    openMs: Math.round(performance.now() - started),
    rowBytes: xml.length,
    write1: await writeGroups(storage, 1),
    write10: await writeGroups(storage, 10),
    write100: await writeGroups(storage, 100),
    steady20000: await writeSteadily(storage, 20_000),
    page50: await readPages(storage),
  }
  console.log(JSON.stringify(results, null, 2))
} finally {
  rmSync(directory, { recursive: true })
}

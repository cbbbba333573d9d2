/**
 * How long a server takes to write a backup of a large archive, and how long it answers nobody meanwhile:
 * a client asks for a page of its archive each 20 ms. Prints JSON.
 * `node bench/backup.ts [rows, default 1000000]`.
 */
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createHistogram, monitorEventLoopDelay, performance } from 'node:perf_hooks'
import process from 'node:process'
import { setTimeout } from 'node:timers/promises'
import { checkConfig } from '../src/config.ts'
import { silentLogger } from '../src/core/log.ts'
import { ALL_IDS, ArchiveIds } from '../src/modules/archive/ids.ts'
import { type ArchivedMessage, ArchiveStore } from '../src/modules/archive/store.ts'
import { modules } from '../src/modules.ts'
import { Server } from '../src/server.ts'
import { adminBackup } from '../src/server-admin/backup.ts'
import { jid } from '../src/xmpp/jid.ts'
import { describeMachine, gitCommit } from './machine.ts'

const ROWS = Number(process.argv[2] ?? 1_000_000)
const OWNERS = 200
const AT_ONCE = 2_000
const EACH_MS = 20
const DOMAIN = 'im.example.com'
const BODY = 'Art thou not Romeo, and a Montague? '.repeat(4)

const users = Array.from({ length: OWNERS }, (_, n) => jid(`user${n}`, DOMAIN, 'balcony'))
const user = (n: number) => users[n % OWNERS] as (typeof users)[number]
let time = Date.UTC(2026, 0)
const ids = new ArchiveIds(() => time)

function message(n: number): ArchivedMessage {
  time++
  const [owner, peer] = [user(n), user(n * 7 + 1)]
  const xml = `<message xmlns='jabber:client' from='${peer.full}' to='${owner.bare}' id='b${n}' type='chat'><body>${BODY}${n}</body><active xmlns='http://jabber.org/protocol/chatstates'/></message>`
  return { owner: owner.bare, id: ids.next(), peer, isGroupchat: false, xml, text: undefined }
}

/** What `work` costs, and what others notice of it. */
async function observed(store: ArchiveStore, work: () => Promise<unknown>) {
  const latency = createHistogram()
  const stalls = monitorEventLoopDelay({ resolution: 1 })
  let isDone = false
  const asking = (async () => {
    for (let n = 0; !isDone; n += 37) {
      const begun = performance.now()
      const range = { owner: user(n).bare, ...ALL_IDS, withGroupchat: false }
      await store.window(range, { from: 'newest', limit: 51, maxBytes: 256 * 1024 })
      latency.record(Math.max(1, Math.round((performance.now() - begun) * 1000)))
      await setTimeout(EACH_MS)
    }
  })()
  stalls.enable()
  const cpu = process.cpuUsage()
  const main = process.threadCpuUsage()
  const begun = performance.now()
  await work()
  const seconds = (performance.now() - begun) / 1000
  const [ofMain, ofAll] = [process.threadCpuUsage(main), process.cpuUsage(cpu)]
  stalls.disable()
  isDone = true
  await asking
  const inSeconds = (usage: { user: number; system: number }) =>
    Number(((usage.user + usage.system) / 1e6).toFixed(1))
  return {
    seconds: Number(seconds.toFixed(1)),
    mainCpuSeconds: inSeconds(ofMain),
    cpuSeconds: inSeconds(ofAll),
    stallMs: {
      p50: Number((stalls.percentile(50) / 1e6).toFixed(1)),
      p99: Number((stalls.percentile(99) / 1e6).toFixed(1)),
      longest: Number((stalls.max / 1e6).toFixed(1)),
    },
    pageMs: { p50: latency.percentile(50) / 1000, p99: latency.percentile(99) / 1000 },
  }
}

const directory = mkdtempSync(join(tmpdir(), 'meerkat-bench-'))
try {
  const settings = { domains: [DOMAIN], tls: {}, listen: { c2s: [] }, data_dir: directory }
  const loaded = checkConfig(settings, { modules, directory })
  await using server = await Server.create({ loaded, log: silentLogger })
  const store = new ArchiveStore(server.storage, undefined)
  for (let n = 0; n < ROWS; n += AT_ONCE) {
    await store.insert(Array.from({ length: AT_ONCE }, (_, i) => message(n + i)))
  }
  const call = { progress() {}, signal: new AbortController().signal }
  const idle = await observed(store, () => setTimeout(3_000))
  const target = join(directory, 'saved.db')
  const backup = await observed(store, () => adminBackup(server).backUp({ path: target }, call))
  console.log(
    JSON.stringify(
      {
        machine: describeMachine(),
        commit: gitCommit(),
        rows: ROWS,
        megabytes: Math.round(statSync(target).size / 2 ** 20),
        idle,
        backup,
      },
      null,
      2,
    ),
  )
} finally {
  rmSync(directory, { recursive: true })
}

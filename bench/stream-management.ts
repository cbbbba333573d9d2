/**
 * How long a client waits for the server's word (XEP-0198): from a message to its acknowledgement, at a
 * steady rate, and from the request to resume a session to the last of what it had not acknowledged. The
 * server runs in a process of its own and flushes to the disk whatever it acknowledges. Prints JSON.
 * `node bench/stream-management.ts [messages per second, default 1000] [seconds per case, default 5]
 * [messages not acknowledged, default 100]`.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createHistogram, performance, type RecordableHistogram } from 'node:perf_hooks'
import process from 'node:process'
import { setTimeout } from 'node:timers/promises'
import { createServer as createMeerkat } from '../src/index.ts'
import type { Client } from '../test/support/client.ts'
import { DOMAIN, PASSWORD } from '../test/support/server.ts'
import { ServerProcess } from '../test/support/server-process.ts'
import { enable, SM_NS } from '../test/support/stream-management.ts'
import { describeMachine, gitCommit } from './machine.ts'

const RATE = Number(process.argv[2] ?? 1000)
const SECONDS = Number(process.argv[3] ?? 5)
const QUEUED = Number(process.argv[4] ?? 100)

const PAIRS = 20
const RESUMPTIONS = 50
const WARM_UP_MS = 1_000
const TICK_MS = 2
const BODY = 'x'.repeat(100)
const REQUEST = `<r xmlns='${SM_NS}'/>`

const WITHOUT_ARCHIVE = '[modules.archive]\nenabled = false'

const sender = (pair: number) => `sender${pair}`
const recipient = (pair: number) => `recipient${pair}`

/** From here on the connection is the benchmark's own; whatever comes is text. */
function takeOver({ socket }: Client, onText: (text: string) => void): Socket {
  socket.removeAllListeners('data')
  socket.on('data', (data: Buffer) => onText(data.toString('latin1')))
  return socket
}

function count(text: string, part: string): number {
  let found = 0
  for (let at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + part.length)) found++
  return found
}

/** Acknowledges as soon as it is asked, as clients do. */
async function acknowledges(server: ServerProcess, name: string): Promise<void> {
  const client = await server.connect(name)
  await client.becomesAvailable()
  await enable(client)
  let received = 0
  const socket = takeOver(client, (text) => {
    received += count(text, '</message>')
    if (text.includes('<r ')) socket.write(`<a xmlns='${SM_NS}' h='${received}'/>`)
  })
}

/** Sends messages, and measures how long each takes to be acknowledged. */
class Sender {
  readonly #socket: Socket
  readonly #to: string
  readonly #latency: RecordableHistogram
  /** When those were sent that are not acknowledged. */
  readonly #waiting: number[] = []
  #acknowledged = 0

  constructor(client: Client, to: string, latency: RecordableHistogram) {
    this.#to = to
    this.#latency = latency
    this.#socket = takeOver(client, (text) => this.#read(text))
  }

  get isWaiting(): boolean {
    return this.#waiting.length > 0
  }

  send(): void {
    this.#waiting.push(performance.now())
    this.#socket.write(
      `<message type='chat' to='${this.#to}'><body>${BODY}</body></message>${REQUEST}`,
    )
  }

  #read(text: string): void {
    const now = performance.now()
    for (const [, h] of text.matchAll(/<a xmlns='[^']*' h='(\d+)'/g)) {
      for (; this.#acknowledged < Number(h); this.#acknowledged++) {
        const sent = this.#waiting.shift() ?? now
        this.#latency.record(Math.max(1, Math.round((now - sent) * 1000)))
      }
    }
  }
}

async function measureAcknowledgements(server: ServerProcess, areThere: boolean) {
  const latency = createHistogram()
  const senders: Sender[] = []
  for (let pair = 0; pair < PAIRS; pair++) {
    if (areThere) await acknowledges(server, recipient(pair))
    const client = await server.connect(sender(pair))
    await enable(client)
    senders.push(new Sender(client, `${recipient(pair)}@${DOMAIN}`, latency))
  }
  const started = performance.now()
  let sent = 0
  let isWarm = false
  for (;;) {
    const elapsed = performance.now() - started
    if (elapsed > WARM_UP_MS + SECONDS * 1000) break
    if (!isWarm && elapsed > WARM_UP_MS) {
      isWarm = true
      latency.reset()
    }
    for (; sent < (elapsed * RATE) / 1000; sent++) senders[sent % PAIRS]?.send()
    await setTimeout(TICK_MS)
  }
  while (senders.some(({ isWaiting }) => isWaiting)) await setTimeout(TICK_MS)
  return figures(latency)
}

async function measureResumptions(server: ServerProcess) {
  const latency = createHistogram()
  const from = await server.connect(sender(0))
  let client = await server.connect(recipient(0), 'phone')
  await client.becomesAvailable()
  const id = (await enable(client)).attr('id') ?? ''
  for (let queued = 0; queued < QUEUED; queued++) {
    from.send(`<message type='chat' to='${client.fullJid}'><body>${BODY}</body></message>`)
  }
  for (let queued = 0; queued < QUEUED; queued++) await client.receives({ name: 'message' })
  for (let round = 0; round < RESUMPTIONS; round++) {
    await client.vanishes()
    await setTimeout(50)
    client = await server.authenticate(recipient(0))
    const { promise, resolve } = Promise.withResolvers<void>()
    let received = 0
    const socket = takeOver(client, (text) => {
      received += count(text, '</message>')
      if (received >= QUEUED) resolve()
    })
    const started = performance.now()
    socket.write(`<resume xmlns='${SM_NS}' previd='${id}' h='0'/>`)
    await promise
    latency.record(Math.round((performance.now() - started) * 1000))
  }
  return figures(latency)
}

function figures(latency: RecordableHistogram) {
  const ms = (percentile: number) => Number((latency.percentile(percentile) / 1000).toFixed(2))
  return { count: latency.count, p50Ms: ms(50), p90Ms: ms(90), p99Ms: ms(99) }
}

async function run<T>(
  settings: string,
  measure: (server: ServerProcess) => Promise<T>,
): Promise<T> {
  const directory = mkdtempSync(join(tmpdir(), 'meerkat-bench-'))
  try {
    {
      const storage = { url: `sqlite:${join(directory, 'meerkat.db')}` }
      await using meerkat = await createMeerkat({
        domains: [DOMAIN],
        dataDir: directory,
        listen: { tls: 'none' },
        storage,
      })
      for (let pair = 0; pair < PAIRS; pair++) {
        for (const name of [sender(pair), recipient(pair)]) {
          await meerkat.accounts.register(`${name}@${DOMAIN}`, PASSWORD)
        }
      }
    }
    await using server = await ServerProcess.start(directory, settings)
    return await measure(server)
  } finally {
    rmSync(directory, { recursive: true })
  }
}

const acknowledgement = {
  archived: await run('', (server) => measureAcknowledgements(server, true)),
  archivedAndAway: await run('[modules.offline]\nmax_messages = 1_000_000', (server) =>
    measureAcknowledgements(server, false),
  ),
  withoutArchive: await run(WITHOUT_ARCHIVE, (server) => measureAcknowledgements(server, true)),
}
const resumption = {
  archived: await run('', measureResumptions),
  withoutArchive: await run(WITHOUT_ARCHIVE, measureResumptions),
}
const results = {
  machine: describeMachine(),
  commit: gitCommit(),
  messagesPerSecond: RATE,
  notAcknowledged: QUEUED,
  acknowledgement,
  resumption,
}
console.log(JSON.stringify(results, null, 2))

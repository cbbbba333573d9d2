/**
 * Whether the server stays as it is under a lasting load: memory, pauses, losses.
 *
 *   node bench/sustained.ts [options]      (or `npm run bench:sustained -- [options]`)
 *
 * Measures how much the server can carry, then offers a part of that for as long as is asked, and
 * samples the server's process meanwhile. Writes a table and JSON. Ends with status 1 if anything
 * was lost, doubled, reordered or bounced.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { buildGenerator, type Figures, faultsOf, generate } from './generator.ts'
import { describeMachine, gitCommit } from './machine.ts'
import { RESULTS_FOLDER } from './plan.ts'
import { table } from './report.ts'
import { scratchDirectory } from './scratch.ts'
import { Server } from './server.ts'
import { probed } from './targets/meerkat.ts'
import { VARIANTS, type Variant } from './targets/target.ts'

const USAGE = `usage: node bench/sustained.ts [options]
  --minutes M     default 60
  --load PART     of what the server can carry, default 0.7
  --rate N        messages a second, instead of a part of what is measured
  --variant NAME  ${VARIANTS.join(', ')}; default archive
  --samples N     how many, default one a minute, at least 12
`

/** With so many in flight the capacity is measured; at the rate, few are. */
const CAPACITY_WINDOW = 10
const CAPACITY_SECONDS = 8
const CLIENTS = 200
const BODY_BYTES = 100
/** Time before the rate is reached, the collector at rest and all code warm. */
const WARM_UP_SECONDS = 10
/** More than the clients need to log in. */
const LOGIN_SECONDS = 3

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '60' },
    load: { type: 'string', default: '0.7' },
    rate: { type: 'string' },
    variant: { type: 'string', default: 'archive' },
    samples: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
})
if (values.help) {
  process.stdout.write(USAGE)
  process.exit()
}
const variant = VARIANTS.find((name) => name === values.variant) as Variant
const seconds = Number(values.minutes) * 60
const samples = Number(values.samples ?? Math.max(12, Number(values.minutes)))
if (!variant || !(seconds > 0) || !(samples > 0)) {
  process.stderr.write(USAGE)
  process.exit(1)
}

/** Octets in MiB, milliseconds; the delay is that of the event loop since the sample before. */
interface Sample {
  readonly second: number
  readonly heapMib: number
  readonly externalMib: number
  readonly rssMib: number
  readonly collectionMs: number
  readonly delayP50: number
  readonly delayP99: number
  readonly delayP999: number
  readonly delayMax: number
}

async function sample(server: Server, second: number): Promise<Sample> {
  const delay = await server.ask('delay')
  const heap = await server.ask('heap')
  const mib = (octets: number) => octets / 2 ** 20
  return {
    second,
    heapMib: mib(heap.used),
    externalMib: mib(heap.external),
    rssMib: mib(heap.rss),
    collectionMs: heap.took,
    delayP50: delay.p50,
    delayP99: delay.p99,
    delayP999: delay.p999,
    delayMax: delay.max,
  }
}

const clientOptions = [
  ...(variant === 'bare' ? [] : ['--sm', '--carbons']),
  ...['--clients', String(CLIENTS), '--body', String(BODY_BYTES)],
]

async function capacityOf(server: Server): Promise<number> {
  const options = ['--window', String(CAPACITY_WINDOW), '--time', String(CAPACITY_SECONDS), 'pairs']
  const { port, pids } = server
  const figures = await generate([...clientOptions, ...options], { port, pids })
  return Number(figures.msgs_per_s)
}

async function hold(server: Server, rate: number): Promise<{ figures: Figures; all: Sample[] }> {
  const { port, pids } = server
  const options = [
    ...['--rate', String(rate), '--time', String(seconds), '--warmup', String(WARM_UP_SECONDS)],
    ...['--drain', '30', 'rate'],
  ]
  let isOver = false
  const load = generate([...clientOptions, ...options], { port, pids, seconds: seconds + 120 })
  const ended = load.finally(() => {
    isOver = true
  })
  const all: Sample[] = []
  const pause = (until: number) =>
    Promise.race([ended, new Promise((resolve) => setTimeout(resolve, until - Date.now()))])
  await pause(Date.now() + (WARM_UP_SECONDS + LOGIN_SECONDS) * 1000)
  const started = Date.now()
  await server.ask('watch delay')
  await server.ask('delay')
  for (let i = 1; i <= samples && !isOver; i++) {
    await pause(started + (((seconds - LOGIN_SECONDS) * i) / samples) * 1000)
    const second = Math.round((Date.now() - started) / 1000)
    if (!isOver) all.push(await sample(server, second))
    const last = all.at(-1)
    if (last) process.stderr.write(`${second} s  heap ${last.heapMib.toFixed(1)} MiB\n`)
  }
  return { figures: await load, all }
}

const directory = scratchDirectory()

buildGenerator()
const target = probed(['--expose-gc'])
const server = await Server.start(target, { setting: { variant }, directory })
await target.register?.({ directory }, CLIENTS)
const capacity = values.rate === undefined ? await capacityOf(server) : undefined
const rate = Math.floor(
  capacity === undefined ? Number(values.rate) : capacity * Number(values.load),
)
process.stderr.write(`${rate} messages/s for ${seconds} s\n`)
const { figures, all } = await hold(server, rate)
const log = server.lastWords
await server.stop()

const at = new Date().toISOString()
const result = {
  at,
  command: ['npm run bench:sustained --', ...process.argv.slice(2)].join(' '),
  machine: describeMachine(),
  commit: gitCommit(),
  variant,
  capacity,
  rate,
  figures,
  samples: all,
}
mkdirSync(RESULTS_FOLDER, { recursive: true })
const file = join(RESULTS_FOLDER, `sustained-${at.slice(0, 19).replaceAll(':', '-')}.json`)
writeFileSync(file, `${JSON.stringify(result, undefined, 2)}\n`)

const { cpu, cores, memoryGib, kernel } = result.machine
const whole = (value: unknown) => Number(value).toLocaleString('en', { maximumFractionDigits: 0 })
const some = (value: unknown, digits = 1) => Number(value).toFixed(digits)
const share =
  capacity === undefined ? '' : `, ${values.load} of the ${whole(capacity)} it can carry`
const rows = all.map((one) => [
  String(one.second),
  ...[one.heapMib, one.externalMib, one.rssMib].map((value) => some(value)),
  some(one.collectionMs, 0),
  ...[one.delayP50, one.delayP99, one.delayP999, one.delayMax].map((value) => some(value)),
])
process.stdout.write(`Measured ${at.slice(0, 16).replace('T', ' ')} UTC with \`${result.command}\` at ${result.commit};
${cpu}, ${cores} cores, ${memoryGib} GiB, ${kernel}. Variant \`${variant}\`, ${whole(rate)} messages/s${share}.

${whole(figures.sent)} sent, ${whole(figures.received)} received, ${figures.lost} lost; ${faultsOf(figures) ?? 'none bounced, skipped or reordered'}.
Latency p50 ${some(figures.lat_p50_ms, 2)} ms, p99 ${some(figures.lat_p99_ms, 2)} ms, at most ${some(figures.lat_max_ms)} ms. The
server used ${some(figures.server_cores, 2)} cores, everything else but the generator ${some(figures.other_cores, 2)}.

${table(['second', 'heap MiB', 'external MiB', 'RSS MiB', 'collection ms', 'delay p50 ms', 'p99', 'p99.9', 'max'], rows, 0)}
`)
const isWhole = Number(figures.lost) === 0 && faultsOf(figures) === undefined
if (!isWhole) {
  process.stderr.write(`not all messages arrived as they were sent\n${log}\n`)
  process.exitCode = 1
}

/**
 * Plays many histories of a cluster in simulated time, and checks what must be true after each.
 *
 *   node test/simulation/run.ts [options]      (or `npm run test:simulation -- [options]`)
 */
import { randomInt } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { shrink } from '../loss/shrink.ts'
import { play, type Report } from './history.ts'
import type { Breach } from './ledger.ts'
import { makePlan, type Plan } from './plan.ts'

const USAGE = `usage: npm run test:simulation -- [options]

  --histories N    how many, each with the next seed (1000)
  --seed N         of the first (a random one)
  --failures N     stop after so many that fail (5)
  --shrink N       after a failure, how many seconds to look for a shorter history (20)
  --plan FILE      this plan (JSON) instead of those made from seeds
  --history        print what happened`

const { values } = parseArgs({
  options: {
    histories: { type: 'string', default: '1000' },
    seed: { type: 'string' },
    failures: { type: 'string', default: '5' },
    shrink: { type: 'string', default: '20' },
    plan: { type: 'string' },
    history: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

const say = (line: string) => void process.stdout.write(`${line}\n`)

if (values.help) {
  say(USAGE)
  process.exit(0)
}

const given =
  values.plan === undefined ? undefined : (JSON.parse(readFileSync(values.plan, 'utf8')) as Plan)
const first = values.seed === undefined ? randomInt(2 ** 31) : Number(values.seed)
const count = given === undefined ? Number(values.histories) : 1
const isLogged = values.history
const begin = performance.now()
const total = { histories: 0, messages: 0, simulated: 0, failed: 0 }
const breaches = new Map<Breach, number>()

say(`seeds ${first} to ${first + count - 1}`)
let told = begin
for (let seed = first; seed < first + count; seed++) {
  const plan = given ?? makePlan(seed)
  const report = await play(plan, { isLogged })
  total.histories++
  total.messages += report.messages
  total.simulated += report.duration
  if (isLogged) for (const line of report.log) say(line)
  if (report.breaches.size > 0) {
    process.exitCode = 1
    total.failed++
    await explain(plan, report)
    if (total.failed >= Number(values.failures)) break
  }
  progress()
}
if (process.stderr.isTTY) process.stderr.write('\r\x1b[K')
const seconds = (performance.now() - begin) / 1000
const hours = total.simulated / 3_600_000
say(
  `${total.histories} histories (${hours.toFixed(1)} h of simulated time, ${total.messages} messages) in ${seconds.toFixed(1)} s, ${(total.histories / seconds).toFixed(0)} per second; ${total.failed} failed`,
)
for (const [breach, times] of breaches) say(`${breach}: ${times}`)

/** Prints the shortest history found that fails as well. */
async function explain(plan: Plan, report: Report): Promise<void> {
  say(`seed ${plan.seed} fails:`)
  for (const [breach, details] of report.breaches) {
    breaches.set(breach, (breaches.get(breach) ?? 0) + 1)
    for (const detail of details.slice(0, 3)) say(`  ${breach}: ${detail}`)
  }
  const probe = async (candidate: Plan) => new Set((await play(candidate)).breaches.keys())
  const found = await shrink(plan, new Set(report.breaches.keys()), probe, {
    tries: 1,
    until: Date.now() + Number(values.shrink) * 1_000,
    onFound: () => {},
  })
  const file = join(tmpdir(), `meerkat-simulation-${plan.seed}.json`)
  writeFileSync(file, `${JSON.stringify(found, undefined, 1)}\n`)
  say(
    `of ${plan.happenings.length} happenings these are left (again with --plan ${file} --history):`,
  )
  for (const happening of found.happenings) say(`  ${JSON.stringify(happening)}`)
}

/** On a terminal all the time, else now and then. */
function progress(): void {
  const { isTTY } = process.stderr
  const now = performance.now()
  if (now - told < (isTTY ? 200 : 30_000)) return
  told = now
  const rate = total.histories / ((now - begin) / 1000)
  const left = ((count - total.histories) / rate / 60).toFixed(1)
  const line = `${total.histories} of ${count} histories, ${rate.toFixed(0)} per second, ${total.failed} failed, ${left} min left`
  process.stderr.write(isTTY ? `\r\x1b[K${line}` : `${line}\n`)
}

/**
 * Proves that nothing acknowledged is lost: a real server, killed, cut off and filled up while
 * clients send.
 *
 *   node test/loss/run.ts [options]      (or `npm run test:loss -- [options]`; `test:cluster`: three
 *                                        nodes)
 */
import { randomInt } from 'node:crypto'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { makeClusterPlan } from './cluster-plan.ts'
import { canSkew } from './cluster-stage.ts'
import type { Ledger } from './ledger.ts'
import { makePlan, type Plan, shortened } from './plan.ts'
import { shrink } from './shrink.ts'
import { type Told, Total } from './total.ts'
import { type Report, runTrial } from './trial.ts'

const USAGE = `usage: npm run test:loss -- [options]

  --messages N     how many are sent (3000), by all trials together
  --kills N        how often the server is killed (5), the same
  --trials N       in so many trials one after the other, each with the next seed (1 for each 50,000
                   messages); every other one is without the archive
  --senders N      (4)
  --recipients N   (4)
  --seconds N      how long the sending takes at least (8); 0: as long as it takes
  --minutes N      the same in minutes
  --seed N         the same happenings again (a random one)
  --no-archive     without the archive, so that queues alone keep messages
  --nodes N        so many nodes on NATS and PostgreSQL, instead of one server (or \`npm run test:cluster\`)
  --faults N       of a cluster, its NATS and its database, instead of kills (8)
  --nats N         servers of NATS: 1 or 3 (as the seed has it)
  --no-skew        the clocks of all nodes are right
  --without A,B    without happenings of these kinds: kill, terminate, lock, fill, cut, takeover,
                   replace, leave, offend, stall, 'resume at', 'replace at', pause, sever, drain,
                   'kill nats', 'kill database'
  --main FILE      the server's program
  --shrink N       after a failure, how many minutes to look for a shorter history (2)
  --plan FILE      this plan (JSON) instead of one made from a seed
  --history        print what happened`

const { values } = parseArgs({
  options: {
    messages: { type: 'string', default: '3000' },
    kills: { type: 'string', default: '5' },
    nodes: { type: 'string', default: '1' },
    faults: { type: 'string', default: '8' },
    nats: { type: 'string' },
    skew: { type: 'boolean', default: true },
    trials: { type: 'string' },
    senders: { type: 'string', default: '4' },
    recipients: { type: 'string', default: '4' },
    seconds: { type: 'string', default: '8' },
    minutes: { type: 'string' },
    seed: { type: 'string' },
    archive: { type: 'boolean', default: true },
    without: { type: 'string', default: '' },
    main: { type: 'string' },
    shrink: { type: 'string', default: '2' },
    plan: { type: 'string' },
    history: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
  allowNegative: true,
})

const say = (line: string) => void process.stdout.write(`${line}\n`)

if (values.help) {
  say(USAGE)
  process.exit(0)
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => process.exit(130))
}
const { main } = values
const messages = Number(values.messages)
const trials = Number(values.trials ?? Math.ceil(messages / 50_000))
const firstSeed = values.seed === undefined ? randomInt(2 ** 31) : Number(values.seed)
const plans =
  values.plan === undefined
    ? Array.from({ length: trials }, (_, index) => planOf(index))
    : [JSON.parse(readFileSync(values.plan, 'utf8')) as Plan]
if (values.nodes !== '1' && values.skew && !canSkew) {
  say('all clocks are right: faketime is not installed')
}
const total = new Total()
for (const plan of plans) {
  say(`seed ${plan.seed}${plan.archive ? '' : ', no archive'}`)
  const report = await runTrial(plan, { main, onProgress: progress(plan) })
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K')
  tell(report)
  total.add(report)
  if (values.history) for (const line of report.history) say(line)
  if (report.breaches.size === 0) continue
  process.exitCode = 1
  await explain(plan, report)
}
if (plans.length > 1) {
  say(`all ${plans.length} trials`)
  tell(total)
}

function planOf(index: number): Plan {
  const share = (all: number) =>
    Math.floor((all * (index + 1)) / trials) - Math.floor((all * index) / trials)
  const seconds =
    values.minutes === undefined ? Number(values.seconds) : Number(values.minutes) * 60
  const nodes = Number(values.nodes)
  const common = {
    seed: firstSeed + index,
    messages: share(messages),
    senders: Number(values.senders),
    recipients: Number(values.recipients),
    seconds: seconds / trials,
    archive: values.archive && index % 2 === 0,
  }
  const made =
    nodes === 1
      ? makePlan({ ...common, kills: share(Number(values.kills)) })
      : makeClusterPlan({
          ...common,
          nodes,
          faults: share(Number(values.faults)),
          nats: values.nats === undefined ? undefined : Number(values.nats),
          hasSkew: values.skew && canSkew,
        })
  const without = values.without.split(',')
  return { ...made, happenings: made.happenings.filter(({ what }) => !without.includes(what)) }
}

/** Prints the shortest history found that fails as well. */
async function explain(plan: Plan, { breaches, history }: Report): Promise<void> {
  const until = Date.now() + Number(values.shrink) * 60_000
  let shortest = history
  const probe = async (candidate: Plan) => {
    const { breaches, history, directory } = await runTrial(candidate, { main })
    if (directory !== undefined) rmSync(directory, { recursive: true, force: true })
    last = history
    return new Set(breaches.keys())
  }
  let last = history
  const found = await shrink(plan, new Set(breaches.keys()), probe, {
    tries: 2,
    until,
    shorten: shortened,
    onFound({ messages, happenings }) {
      shortest = last
      say(`it fails with ${messages} messages and ${happenings.length} happenings as well`)
    },
  })
  if (found === plan) return
  const file = join(tmpdir(), `meerkat-loss-${plan.seed}.json`)
  writeFileSync(file, `${JSON.stringify(found, undefined, 1)}\n`)
  say(`seconds, messages sent, and what happened (again with --plan ${file}):`)
  for (const line of shortest) say(line)
}

function tell({ figures, breaches, failures, directory }: Told): void {
  say(
    Object.entries(figures)
      .map(([name, value]) => `${name} ${value}`)
      .join(', '),
  )
  for (const { breach, text } of failures) say(`${breach}: ${text}`)
  const counted = ['lost', 'duplicated', 'reordered'] as const
  const all = new Map<string, number>([...counted.map((name) => [name, 0] as const), ...breaches])
  say([...all].map(([name, count]) => `${name} ${count}`).join(', '))
  if (directory !== undefined) say(`the server's log and data are in ${directory}`)
}

/** On a terminal all the time, else now and then. */
function progress({ messages }: Plan): (ledger: Ledger) => void {
  const { isTTY } = process.stderr
  let last = performance.now()
  return ({ sent, acknowledged, shown, owed, failures }) => {
    const now = performance.now()
    if (now - last < (isTTY ? 200 : 30_000)) return
    last = now
    const line = `sent ${sent} of ${messages}, acknowledged ${acknowledged}, shown ${shown}, owed ${owed}, failures ${failures.length}`
    process.stderr.write(isTTY ? `\r\x1b[K${line}` : `${line}\n`)
  }
}

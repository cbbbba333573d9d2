/**
 * Proves that nothing acknowledged is lost: a real server, killed, cut off and filled up while
 * clients send.
 *
 *   node test/loss/run.ts [options]      (or `npm run test:loss -- [options]`)
 */
import { randomInt } from 'node:crypto'
import { parseArgs } from 'node:util'
import type { Ledger } from './ledger.ts'
import { makePlan, type Plan } from './plan.ts'
import { type Report, runTrial } from './trial.ts'

const USAGE = `usage: npm run test:loss -- [options]

  --messages N     how many are sent (3000)
  --kills N        how often the server is killed (5)
  --senders N      (4)
  --recipients N   (4)
  --seconds N      how long the sending takes at least (8); 0: as long as it takes
  --minutes N      the same in minutes
  --seed N         the same happenings again (a random one)
  --no-archive     without the archive, so that queues alone keep messages
  --without A,B    without happenings of these kinds: kill, terminate, lock, fill, cut, takeover,
                   replace, leave, offend, stall
  --main FILE      the server's program
  --history        print what happened`

const { values } = parseArgs({
  options: {
    messages: { type: 'string', default: '3000' },
    kills: { type: 'string', default: '5' },
    senders: { type: 'string', default: '4' },
    recipients: { type: 'string', default: '4' },
    seconds: { type: 'string', default: '8' },
    minutes: { type: 'string' },
    seed: { type: 'string' },
    archive: { type: 'boolean', default: true },
    without: { type: 'string', default: '' },
    main: { type: 'string' },
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

const made = makePlan({
  seed: values.seed === undefined ? randomInt(2 ** 31) : Number(values.seed),
  messages: Number(values.messages),
  kills: Number(values.kills),
  senders: Number(values.senders),
  recipients: Number(values.recipients),
  seconds: values.minutes === undefined ? Number(values.seconds) : Number(values.minutes) * 60,
  archive: values.archive,
})
const without = values.without.split(',')
const plan: Plan = {
  ...made,
  happenings: made.happenings.filter(({ what }) => !without.includes(what)),
}
say(`seed ${plan.seed}`)
const { main } = values
const report = await runTrial(plan, { main, onProgress: progress(plan) })
if (process.stderr.isTTY) process.stderr.write('\r\x1b[K')
tell(report)
if (values.history) for (const line of report.history) say(line)
process.exitCode = report.breaches.size === 0 ? 0 : 1

function tell({ figures, breaches, failures, directory }: Report): void {
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

function progress({ messages }: Plan): (ledger: Ledger) => void {
  let last = 0
  return ({ sent, acknowledged, shown, owed, failures }) => {
    const now = performance.now()
    if (!process.stderr.isTTY || now - last < 200) return
    last = now
    const line = `sent ${sent} of ${messages}, acknowledged ${acknowledged}, shown ${shown}, owed ${owed}, failures ${failures.length}`
    process.stderr.write(`\r\x1b[K${line}`)
  }
}

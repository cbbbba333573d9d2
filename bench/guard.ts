/**
 * Whether a message or a login has become dearer: what it allocates, the promises it makes, its writes
 * and system calls, against `guard/baseline.json`. No time is measured, so a busy machine does not
 * matter. Ends with status 1 if anything is beyond the tolerance.
 *
 *   node bench/guard.ts [--accept]     (or `npm run bench:guard`)
 *
 * `--accept` makes what is measured now the baseline.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { type Baseline, changes, described, listed } from './guard/costs.ts'
import { measure } from './guard/measure.ts'
import { endEverythingAtExit } from './scratch.ts'

const file = join(import.meta.dirname, 'guard', 'baseline.json')
const { values } = parseArgs({ options: { accept: { type: 'boolean', default: false } } })

endEverythingAtExit()

const started = Date.now()
const now = await measure((act) => process.stderr.write(`${act} `))
process.stderr.write(`(${Math.round((Date.now() - started) / 1000)} s)\n`)
const isTraced = Object.values(now).every(({ syscalls }) => syscalls !== undefined)
if (!isTraced) process.stdout.write('strace cannot be used here: system calls are not compared\n')

if (values.accept) {
  if (!isTraced) throw new Error('a baseline needs strace')
  writeFileSync(file, `${JSON.stringify(now, undefined, 2)}\n`)
  process.stdout.write(`${listed(now, {})}\nthis is the baseline now: ${file}\n`)
} else {
  const baseline = JSON.parse(readFileSync(file, 'utf8')) as Baseline
  const found = changes(baseline, now)
  process.stdout.write(`${listed(now, baseline)}\n`)
  for (const change of found) process.stdout.write(`${described(change)}\n`)
  if (found.some(({ verdict }) => verdict === 'worse')) {
    process.stdout.write(
      'A message or a login costs more than it did. If that is worth it, say why in the commit and\n' +
        'accept it with it: npm run bench:guard -- --accept\n',
    )
    process.exitCode = 1
  } else if (found.length > 0) {
    process.stdout.write('Cheaper than it was. To keep it: npm run bench:guard -- --accept\n')
  }
}
// The clients of the acts are still connected.
process.exit()

/**
 * Looks for streams that the XML parser misjudges, until interrupted:
 *
 *     node test/fuzz/xml-parser.ts [--minutes N] [--seed N]
 *
 * On failure it prints the seed and the smallest input found, and exits with 1.
 */
import { parseArgs } from 'node:util'
import fc from 'fast-check'
import { properties } from '../../src/xmpp/xml-parser.properties.ts'

const RUNS_PER_ROUND = 2000

const { values } = parseArgs({
  options: { minutes: { type: 'string' }, seed: { type: 'string' } },
})
const minutes = values.minutes === undefined ? Number.POSITIVE_INFINITY : Number(values.minutes)
const firstSeed = values.seed === undefined ? Date.now() & 0x7fffffff : Number(values.seed)
const start = performance.now()
const end = start + minutes * 60_000

let runs = 0
for (let seed = firstSeed; performance.now() < end; seed++) {
  for (const [name, property] of Object.entries(properties)) {
    const result = fc.check(property, { seed, numRuns: RUNS_PER_ROUND })
    runs += result.numRuns
    if (!result.failed) continue
    console.error(`\nfailed: ${name}\nagain: node test/fuzz/xml-parser.ts --seed ${seed}`)
    for (const part of result.counterexample as unknown[]) {
      console.error(
        part instanceof Uint8Array ? JSON.stringify(Buffer.from(part).toString()) : part,
      )
    }
    console.error(fc.defaultReportMessage(result))
    console.error(result.errorInstance)
    process.exit(1)
  }
  const seconds = Math.round((performance.now() - start) / 1000)
  console.log(`${seconds} s: seed ${seed} done, ${runs} inputs, no failure`)
}

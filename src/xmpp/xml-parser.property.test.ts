import { test } from 'node:test'
import fc from 'fast-check'
import { properties } from './xml-parser.properties.ts'

const numRuns = Number(process.env.FUZZ_RUNS ?? 2000)

for (const [name, property] of Object.entries(properties)) {
  test(name, () => fc.assert(property, { numRuns }))
}

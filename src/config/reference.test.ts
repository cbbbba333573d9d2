import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { z } from 'zod'
import { duration } from '../core/config-types.ts'
import { modules } from '../modules.ts'
import { type JsonSchema, jsonSchema } from './json-schema.ts'
import { reference } from './reference.ts'

test('docs/configuration.md is up to date; if not: npm run docs', () => {
  const page = readFileSync(new URL('../../docs/configuration.md', import.meta.url), 'utf8')
  assert.equal(page, reference(modules))
})

test('every key of the file and of all modules has a description', () => {
  const missing = [...undescribed(jsonSchema(modules), '')]
  assert.deepEqual(missing, [])
})

const example = {
  name: 'example',
  config: z.strictObject({
    patience: duration({ min: '1s' }).prefault('5m').describe('How long to wait.'),
    size: z.int().min(1).max(9).describe('How many.'),
    colours: z
      .array(z.enum(['red', 'blue']))
      .default(['red'])
      .describe('Which.'),
    inner: z.strictObject({ deep: z.boolean().default(true).describe('How deep.') }).prefault({}),
  }),
}

test('a module is described by its schema', () => {
  const page = reference([example])
  const expected = `### \`[modules.example]\`

| Key        | Type                        | Default   | Meaning           |
| ---------- | --------------------------- | --------- | ----------------- |
| \`patience\` | duration, at least 1s       | \`"5m"\`    | How long to wait. |
| \`size\`     | whole number, 1 to 9        | required  | How many.         |
| \`colours\`  | array of: \`"red"\`, \`"blue"\` | \`["red"]\` | Which.            |

### \`[modules.example.inner]\`

| Key    | Type            | Default | Meaning   |
| ------ | --------------- | ------- | --------- |
| \`deep\` | \`true\`, \`false\` | \`true\`  | How deep. |
`
  assert.equal(page.slice(page.indexOf('### ')), expected)
})

test('the JSON Schema has a table for each module, and wants to know where others are from', () => {
  const { properties } = jsonSchema([example])
  const tables = properties?.modules as JsonSchema
  const table = tables.properties?.example as JsonSchema
  assert.deepEqual(Object.keys(table.properties ?? {}), [
    'enabled',
    'from',
    'patience',
    'size',
    'colours',
    'inner',
  ])
  assert.deepEqual((tables.additionalProperties as JsonSchema).required, ['from'])
})

function* undescribed(schema: JsonSchema, path: string): Generator<string> {
  for (const [name, child] of Object.entries(schema.properties ?? {})) {
    if (typeof child === 'boolean') continue
    if (child.description === undefined) yield `${path}${name}`
    yield* undescribed(child, `${path}${name}.`)
    if (typeof child.items === 'object' && !Array.isArray(child.items)) {
      yield* undescribed(child.items, `${path}${name}[].`)
    }
  }
}

import { markdownTable } from '../core/markdown.ts'
import { type JsonSchema, jsonSchema } from './json-schema.ts'
import type { ModuleDeclaration } from './modules.ts'
import { moduleSwitches } from './schema.ts'

const INTRODUCTION = `\
# Configuration

<!-- Written by \`npm run docs\` from the schemas in the code. -->

Meerkat reads one file in [TOML](https://toml.io). Without \`--config\` it takes \`meerkat.toml\` of the
current directory; without that either, it runs a server to try things with: \`localhost\` on
127.0.0.1, registration off, data in \`./data\`.

The least that a public server needs:

\`\`\`toml
domains = ["im.example.com"]

[tls]
certificate = "/etc/letsencrypt/live/im.example.com/fullchain.pem"
key = "/etc/letsencrypt/live/im.example.com/privkey.pem"
\`\`\`

\`meerkat config check meerkat.toml\` tells everything that is wrong with a file, each problem with line,
key, what was found and what was expected; a server does not start with such a file.
\`meerkat config schema\` prints a JSON Schema, with which editors complete and check keys.

Relative paths start at the directory of the file. A **size** is text such as \`"256KiB"\` or \`"1MB"\`,
or a number of bytes. A **duration** is text such as \`"30s"\`, \`"5m"\` or \`"1h"\`, or a number of
milliseconds.`

/** `docs/configuration.md`: every key with its type, default and meaning. */
export function reference(modules: readonly ModuleDeclaration[]): string {
  const file = jsonSchema(modules)
  const tables = schemaOf(file.properties?.modules)
  const sections = keysOf(file).filter(([name]) => name !== 'modules')
  const top = sections.filter(([, schema]) => !isTable(schema))
  const switches = keysOf(schemaOf(tables.additionalProperties))
  const parts = [
    INTRODUCTION,
    '## At the top',
    keyTable(top, file),
    ...within('', sections, '##'),
    '## Modules',
    tables.description ?? '',
    'Every module has these:',
    keyTable(switches, {}),
    ...keysOf(tables).flatMap(([name, table]) => moduleSection(name, table)),
  ]
  return `${parts.join('\n\n')}\n`
}

type Key = readonly [name: string, schema: JsonSchema]

function keysOf({ properties = {} }: JsonSchema): Key[] {
  return Object.entries(properties).map(([name, schema]) => [name, schemaOf(schema)])
}

function schemaOf(schema: unknown): JsonSchema {
  return isSchema(schema) ? schema : {}
}

/** JSON Schema allows true and false for a schema, and nothing where there need be none. */
function isSchema(value: unknown): value is JsonSchema {
  return typeof value === 'object' && value !== null
}

function moduleSection(name: string, table: JsonSchema): string[] {
  const keys = keysOf(table).filter(([key]) => !(key in moduleSwitches.shape))
  const own = keys.filter(([, schema]) => !isTable(schema))
  const settings = keys.length === 0 ? ['No settings of its own.'] : []
  if (own.length > 0) settings.push(keyTable(own, table))
  const path = `modules.${name}`
  return [`### \`[${path}]\``, ...settings, ...within(path, keys, '###')]
}

/** The tables among these keys, each with those inside of it. */
function within(path: string, keys: readonly Key[], level: string): string[] {
  return keys.flatMap(([name, schema]) => {
    const inner = path === '' ? name : `${path}.${name}`
    const element = schemaOf(schema.items)
    const value = schemaOf(schema.additionalProperties)
    const { description } = schema
    const section = (title: string, table: JsonSchema, path = inner) =>
      tableSection(`${level} \`${title}\``, { ...table, description }, { path, level })
    if (isTable(element)) return section(`[[${inner}]]`, element)
    if (isTable(value)) {
      const named = `${inner}."${namesOf(schema)}"`
      return section(`[${named}]`, value, named)
    }
    return isTable(schema) ? section(`[${inner}]`, schema) : []
  })
}

function tableSection(
  heading: string,
  table: Omit<JsonSchema, 'description'> & { readonly description: string | undefined },
  { path, level }: { readonly path: string; readonly level: string },
): string[] {
  const { description = '', ...schema } = table
  const keys = keysOf(schema)
  const own = keys.filter(([, key]) => !isTable(key))
  const head = own.length === 0 ? [] : [heading, description, keyTable(own, schema)]
  return [...head.filter((part) => part !== ''), ...within(path, keys, level)]
}

/** What stands for any name in a table of tables. */
function namesOf({ propertyNames }: JsonSchema): string {
  return (schemaOf(propertyNames).title ?? 'name').toUpperCase()
}

/** Has a section of its own. */
function isTable(schema: JsonSchema): boolean {
  const isObject = schema.type === 'object' && !isPlainRecord(schema)
  return isObject || schemaOf(schema.items).type === 'object'
}

/** A table of texts, numbers and the like, whatever their names. */
function isPlainRecord({ properties, additionalProperties }: JsonSchema): boolean {
  const { type } = schemaOf(additionalProperties)
  return properties === undefined && type !== undefined && type !== 'object'
}

function keyTable(keys: readonly Key[], { required = [] }: JsonSchema): string {
  const rows = keys.map(([name, schema]) => {
    const isRequired = required.includes(name)
    const { default: preset } = schema
    const shown = preset === undefined ? '' : `\`${toml(preset)}\``
    const cells = [`\`${name}\``, typeOf(schema), isRequired ? 'required' : shown]
    return [...cells, schema.description ?? ''].map((cell) => cell.replaceAll('|', '\\|'))
  })
  return markdownTable(['Key', 'Type', 'Default', 'Meaning'], rows)
}

/** JSON is TOML for all that defaults are made of: texts, numbers, booleans, arrays of them. */
function toml(value: unknown): string {
  return Array.isArray(value) ? `[${value.map(toml).join(', ')}]` : JSON.stringify(value)
}

function typeOf(schema: JsonSchema): string {
  if (schema.title !== undefined) return schema.title
  if (schema.enum) return schema.enum.map((value) => `\`${toml(value)}\``).join(', ')
  if (schema.const !== undefined) return `\`${toml(schema.const)}\``
  if (schema.anyOf) return schema.anyOf.map((option) => typeOf(schemaOf(option))).join(' or ')
  switch (schema.type) {
    case 'array':
      return `array of: ${typeOf(schemaOf(schema.items))}`
    case 'integer':
      return `whole number${rangeOf(schema)}`
    case 'number':
      return `number${rangeOf(schema)}`
    case 'boolean':
      return '`true`, `false`'
    case 'object':
      if (isPlainRecord(schema)) {
        const value = typeOf(schemaOf(schema.additionalProperties))
        return `table: ${namesOf(schema)} = ${value}`
      }
      return `{ ${keysOf(schema)
        .map(([name]) => name)
        .join(', ')} }`
    default:
      return 'text'
  }
}

function rangeOf({ minimum, maximum }: JsonSchema): string {
  const least = minimum === undefined || minimum <= Number.MIN_SAFE_INTEGER ? undefined : minimum
  const most = maximum === undefined || maximum >= Number.MAX_SAFE_INTEGER ? undefined : maximum
  if (least !== undefined && most !== undefined) return `, ${least} to ${most}`
  if (least !== undefined) return `, at least ${least}`
  return most === undefined ? '' : `, at most ${most}`
}

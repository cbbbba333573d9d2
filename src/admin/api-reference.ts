/** `docs/http-api.md`, made from the commands. */
import { markdownTable } from '../core/markdown.ts'
import type { Command } from './command.ts'
import { pathOf, schemaOf } from './openapi.ts'
import type { StreamCommand } from './stream-command.ts'
import { TOKEN_PATH, tokenAnswer } from './token-answer.ts'

type Source = { readonly commands: readonly Command[]; readonly streams: readonly StreamCommand[] }

/** As far as JSON Schema is used here. */
type Schema = {
  readonly type?: string
  readonly description?: string
  readonly title?: string
  readonly enum?: readonly unknown[]
  readonly anyOf?: readonly Schema[]
  readonly items?: Schema
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly default?: unknown
}

const INTRODUCTION = `# HTTP API

<!-- Made by \`npm run docs\` from the commands. -->

Each command of \`meerkat\` is a request, too: \`POST\` to \`/api/\` and its words, with a JSON object of
its arguments; the answer is its result. [Administration](administration.md) says how to open the
listener and make tokens. \`GET /api/openapi.json\` is the same as an OpenAPI 3.1 document.

\`\`\`sh
curl http://127.0.0.1:5280/api/account/info \\
  -H "Authorization: Bearer $TOKEN" \\
  -H 'Content-Type: application/json' -d '{"jid": "alice@example.com"}'
\`\`\`

What is refused is told as problem details (RFC 9457) with a \`code\` for programs:

| Status | \`code\`               | Why                                                       |
| ------ | -------------------- | --------------------------------------------------------- |
| 400    | \`invalid\`            | The arguments cannot be meant; \`detail\` names each.       |
| 401    | \`unauthorized\`       | No token, or one that is not good (any more).             |
| 403    | \`forbidden\`          | Not for the role of this token, or not about this domain. |
| 404    | \`not-found\`          | Something is missing.                                     |
| 405    | \`method-not-allowed\` | Another method than \`POST\`; \`Allow\` says which.           |
| 409    | \`conflict\`           | Something is there already.                               |
| 413    | \`too-large\`          | More than 64 KiB.                                         |
| 429    | \`too-many\`           | Too many requests; \`Retry-After\` says when to try again.  |
| 503    | \`unavailable\`        | Not now.                                                  |

With \`Accept: text/event-stream\` the answer is a stream of events: \`progress\` with
\`{"done", "total", "of"}\` while it takes long, then \`result\` or \`error\`. A comment comes every 15 seconds,
so that whoever is between does not end what is quiet. What is followed ends, with \`error\`, within as long
when its token is revoked or over.

\`GET ${TOKEN_PATH}\` tells what the token that is shown is good for:

\`\`\`text
${shape(schemaOf(tokenAnswer, 'output') as Schema)}
\`\`\`
`

export function apiReference({ commands, streams }: Source): string {
  const groups = new Map<string, string[]>()
  for (const command of commands) put(groups, command, section(command, command.result))
  for (const stream of streams) put(groups, stream, section(stream, stream.item, true))
  const parts = [...groups].map(([noun, sections]) => `## ${noun}\n\n${sections.join('\n')}`)
  return `${INTRODUCTION}\n${parts.join('\n')}`
}

function put(groups: Map<string, string[]>, { name }: { readonly name: string }, text: string) {
  const noun = name.split(' ')[0] ?? name
  groups.set(noun, [...(groups.get(noun) ?? []), text])
}

type Described = Pick<Command, 'name' | 'description' | 'permission' | 'args'>

function section(
  { name, description, permission, args }: Described,
  result: Command['result'],
  isStream = false,
): string {
  const what = isStream ? 'A stream of events `item`, each:' : 'Result:'
  return `### \`POST ${pathOf(name)}\`

${description}. Needs \`${permission}\`.

${fields(schemaOf(args, 'input') as Schema, 'No arguments.')}
${what}

\`\`\`text
${shape(schemaOf(result, 'output') as Schema)}
\`\`\`
`
}

function fields({ properties = {}, required = [] }: Schema, none: string): string {
  const rows = Object.entries(properties).map(([name, schema]) => {
    const isNeeded = required.includes(name)
    const otherwise =
      schema.default === undefined ? '' : ` Default: \`${JSON.stringify(schema.default)}\`.`
    const type = typeOf(schema).replaceAll('|', '\\|')
    const need = isNeeded ? 'yes' : ''
    return [`\`${name}\``, `\`${type}\``, need, `${schema.description ?? ''}${otherwise}`]
  })
  if (rows.length === 0) return `${none}\n`
  return `${markdownTable(['Argument', 'Type', 'Required', ''], rows)}\n`
}

function typeOf(schema: Schema): string {
  if (schema.enum !== undefined) return schema.enum.map((each) => JSON.stringify(each)).join(' | ')
  if (schema.title !== undefined) return schema.title
  if (schema.anyOf !== undefined) return schema.anyOf.map(typeOf).join(' | ')
  if (schema.type === 'array') return `${typeOf(schema.items ?? {})}[]`
  return schema.type ?? 'unknown'
}

function shape(schema: Schema, indent = ''): string {
  const { properties, items } = schema
  if (schema.type === 'array' && items !== undefined) return `${shape(items, indent)}[]`
  if (properties === undefined || Object.keys(properties).length === 0) return typeOf(schema)
  const lines = Object.entries(properties).flatMap(([name, each]) => [
    ...(each.description === undefined ? [] : [`${indent}  /** ${each.description} */`]),
    `${indent}  ${name}: ${shape(each, `${indent}  `)}`,
  ])
  return `{\n${lines.join('\n')}\n${indent}}`
}
